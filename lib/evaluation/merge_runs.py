"""Several runs on the same split, for example with different seeds, merged into one by averaging."""

from pathlib import Path

from lib import files
from lib.data.run_data import Statistics
from lib.errors import UserError
from lib.evaluation import ensemble, predictions
from lib.evaluation.predictions import Predictor


def start(runs: list[Path], folder: Path) -> None:
    """Copy what stages 04 and 05 read besides predictions: split, groups of samples, and classes.

    Parameters
    ----------
    runs : list of Path
        Folders in ``outputs/``.
    folder : Path
        The merged run's.

    Raises
    ------
    UserError
        If the runs have different splits or classes, or the folder is that of a run with a split of its own.
    """
    if (folder / "manifests" / "00_prepare.json").exists():
        raise UserError(f"--merge creates a new run, but {folder.name} already exists: add --run NAME")
    first, *others = [files.require(run / "split.csv", "00_prepare.py") for run in runs]
    for other in others:
        if other.read_bytes() != first.read_bytes():
            raise UserError(
                f"{other} differs from {first}: expected runs with the same data and split settings, so that "
                f"none is trained on samples that another is evaluated on"
            )
    classes = [Statistics.read(run / "statistics.json").classes for run in runs]
    if any(own != classes[0] for own in classes):
        raise UserError(
            f"{', '.join(run.name for run in runs)} keep different classes: expected runs with the same "
            f"split.rare_class_minimum"
        )
    files.write_bytes(folder / "split.csv", first.read_bytes())
    groups = files.require(runs[0] / "sample_groups.csv", "00_prepare.py")
    files.write_bytes(folder / "sample_groups.csv", groups.read_bytes())
    files.write_json(folder / "statistics.json", {"classes": classes[0], "channels": {}})


def merge(
    runs: list[Path], folder: Path, ids: dict[str, list[str]], ensemble_members: str = "none"
) -> list[str]:
    """Write the mean predictions of every predictor that all runs have; return their names.

    Where the merged run builds an ensemble of its own, those of the runs are left out.

    Parameters
    ----------
    folder : Path
        ``outputs/<merged run>/predictions``.
    ids : dict of list of str
        By labelled subset, and of ``test``.
    ensemble_members : str
        The setting ``ensemble.members`` of the merged run.
    """
    found = [set(predictions.list_predictors(run / "predictions")) for run in runs]
    names = sorted(set.intersection(*found))
    others = [name for name in names if name != ensemble.NAME]
    if ensemble_members != "none" and (ensemble_members != "all" or len(others) > 1):
        names = others
    if not names:
        raise UserError(f"{', '.join(run.name for run in runs)} have no predictor in common")
    for name in names:
        for subset, wanted in ids.items():
            paths = [run / "predictions" / name / f"{subset}.npz" for run in runs]
            if subset == "train" and not all(path.exists() for path in paths):
                (folder / name / "train.npz").unlink(missing_ok=True)  # of a merge before
                continue
            tables = [predictions.load(path) for path in paths]
            mean = predictions.average(tables, wanted, f"{name}, {subset}")
            predictions.save(folder / name / f"{subset}.npz", mean)
        Predictor("merged", runs=[run.name for run in runs]).write(folder / name)
    others = (path for path in folder.iterdir() if path.name not in names)
    predictions.remove_outdated(others, lambda one: one.kind == "merged")  # of a merge before
    return names
