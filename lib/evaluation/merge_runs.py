"""Several runs made one: folds into out-of-fold predictions, folds and seeds into means.

A sample is predicted by the runs that did not train on it: of each run's validation and holdout samples,
and of the test samples, the mean over the runs that have them. So the folds' validation subsets together
become validation, and runs that differ in their seeds alone become the mean of all.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.data import sample_index
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import PredictionTable

JUDGED = ("validation", "holdout")  # not trained on


def subsets(runs: list[Path], index: Index) -> pd.DataFrame:
    """Return the subsets of the joined run, as ``split.csv`` has them.

    Parameters
    ----------
    runs : list of Path
        Folders in ``outputs/``.

    Raises
    ------
    UserError
        If a run holds out what another trains on or tunes with.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in JUDGED}
    for run in runs:
        own = sample_index.read_subsets(run / "split.csv", index)
        for name in JUDGED:
            found[name] |= dict.fromkeys((index.train_ids[row] for row in own.get(name, [])), run.name)
        used = {index.train_ids[row] for name in ("train", "validation") for row in own.get(name, [])}
        for sample, other in found["holdout"].items():
            if sample in used:
                raise UserError(
                    f"{other} holds out {sample}, which {run.name} trains on or tunes with: expected runs of "
                    f"the same split.seed and split.holdout"
                )
    table = [(sample, name, -1) for name in JUDGED for sample in found[name]]
    return pd.DataFrame(table, columns=["id", "subset", "fold"])


def join(runs: list[Path], folder: Path, ids: dict[str, list[str]]) -> list[str]:
    """Write the prediction tables of every predictor that all runs have; return their names.

    Parameters
    ----------
    folder : Path
        ``outputs/<joined>/predictions``.
    ids : dict of list of str
        Of validation, holdout where there is one, and ``test``.
    """
    names = set.intersection(*(set(predictions.predictors(run / "predictions")) for run in runs))
    if not names:
        raise UserError(f"{', '.join(run.name for run in runs)} have no predictor in common")
    for name in sorted(names):
        for subset, wanted in ids.items():
            paths = [run / "predictions" / name / f"{subset}.npz" for run in runs]
            tables = [predictions.load(path) for path in paths if path.exists()]
            predictions.save(folder / name / f"{subset}.npz", mean(tables, wanted, f"{name}, {subset}"))
    return sorted(names)


def mean(tables: list[PredictionTable], ids: list[str], of: str) -> PredictionTable:
    """Return the mean of what tables say of each sample, over those that have it; `of` names the samples."""
    row_of = {sample: row for row, sample in enumerate(ids)}
    sum_NC, count_N = np.zeros((len(ids), tables[0].probabilities_NC.shape[1])), np.zeros(len(ids))
    for table in tables:
        known = [row for row, sample in enumerate(table.ids) if sample in row_of]
        rows = [row_of[table.ids[row]] for row in known]
        sum_NC[rows] += table.probabilities_NC[known]
        count_N[rows] += 1
    if not count_N.all():
        raise UserError(f"no run predicts {ids[int(count_N.argmin())]} of {of}: run stages 02 and 03 of all")
    known_C = np.all([table.known_C for table in tables], axis=0)
    return PredictionTable(ids, (sum_NC / count_N[:, None]).astype(np.float32), known_C)


def classes(runs: list[Path]) -> list[int]:
    """Return the class numbers that the runs keep; a `UserError` where they differ."""
    kept = [sample_index.read_classes(run / "statistics.json") for run in runs]
    for run, own in zip(runs, kept, strict=True):
        if own != kept[0]:
            raise UserError(f"{run.name} keeps other classes than {runs[0].name}: expected the same filter")
    return kept[0]


def begin(runs: list[Path], folder: Path, index: Index) -> None:
    """Write what stages 04 and 05 read of a run beside predictions: ``split.csv``, ``statistics.json``.

    A `UserError` says so where the folder is that of a run with a split of its own.
    """
    if (folder / "manifests" / "00_prepare.json").exists():
        raise UserError(
            f"--join makes a run of its own, {folder.name} is one already: name it with --run NAME"
        )
    for run in runs:
        files.require(run / "predictions", "02_train_cnn.py")
    table, kept = subsets(runs, index), classes(runs)
    files.write_text(folder / "split.csv", table.to_csv(index=False))
    files.write_json(folder / "statistics.json", {"classes": kept, "channels": {}})
