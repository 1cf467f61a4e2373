"""The pictures of a report: what a predictor got right, wrong or was unsure of, and where it looked."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lib import cli, files
from lib.cli import Run
from lib.console import Progress
from lib.data.cache import ShardedArray
from lib.evaluation import predictions, predictor_scores
from lib.hierarchy import tasks
from lib.labels import CLASSES
from lib.learning.task import Task
from lib.learning.training_data import Source
from lib.report import example_selection
from lib.report.run_report import Judge

EACH = 2  # pictures of a class and kind
BATCH = 16  # images whose heat is computed at once


@dataclass(frozen=True)
class Shown:
    """One picture on a page: a row of ``pictures.json``.

    Attributes
    ----------
    id : str
        Of the sample.
    row : int
        Of the sample in its source.
    label : int
        The class that it is shown for, and that the heat speaks for.
    kind : str
        Of `lib.report.example_selection.KINDS`; empty where the answer is not known.
    probability : float
        Of the class, calibrated on validation.
    has, given : list of str
        Names of the classes that it carries, and of those that it is given.
    """

    id: str
    row: int
    label: int
    kind: str
    probability: float
    has: list[str]
    given: list[str]


def make(run: Run, judge: Judge, predictor: str) -> None:
    """Choose and draw the pictures of the samples that evaluation is about, unless that is done.

    Writes ``outputs/<run>/pictures/``: a WebP file a picture, and ``pictures.json``. Nothing is done in a run
    whose images are not cached: of labels alone.
    """
    parts, subset = judge.parts, judge.subset
    folder = run.folder / "pictures"
    cached = run.array("train", run.config.training.size)
    if not (cached / "array.json").exists():
        return
    array, network = ShardedArray(cached), looking(run, predictor)
    tables = predictions.tables(run.folder / "predictions" / predictor, ["validation", subset])
    thresholds_json = run.thresholds(predictor)
    weights = [run.network(network) / "weights.pt"] if network else []
    files = [run.index, run.split, thresholds_json, *tables.values(), *weights]
    inputs = cli.prints(*files, folders=True) | {cached.name: array.fingerprint()}
    step = run.step("05_submit pictures", ["threshold"], inputs, [folder / "pictures.json"])
    if step.done(run.force, anew=True):
        return
    truth_NC, said, thresholds_C, decision_NC = judge.decided(predictor)
    chosen = example_selection.choose(
        truth_NC, said["as given"], decision_NC, thresholds_C, parts.classes, EACH
    )
    ids, rows = parts.ids(subset), parts.subsets[subset]
    shown = [
        Shown(
            ids[example.row],
            int(rows[example.row]),
            example.label,
            example.kind,
            float(said["calibrated"][example.row, example.label]),
            names(truth_NC[example.row]),
            names(decision_NC[example.row]),
        )
        for example in chosen
    ]
    looker = tasks.of_predictor(network, run) if network else None
    source = looker.material.train if looker else Source(array, parts.index.train_ids)
    draw(folder, shown, source, looker, {"predictor": predictor, "subset": subset})
    step.finish()


def names(chosen_C: np.ndarray) -> list[str]:
    """Return the names of the classes that are true."""
    return [CLASSES[label] for label in np.flatnonzero(chosen_C)]


def looking(run: Run, predictor: str) -> str | None:
    """Name the network whose looking is shown; None in a run without a network that knows classes.

    That of the predictor; of predictors put together, the run's best network.
    """
    known = [name for name in run.config.networks if run.config.of_network(name).is_network]
    known = [name for name in (*known, "joint") if (run.network(name) / "weights.pt").exists()]
    judged = [name for name in known if run.evaluation(name, "summary").exists()]
    name = predictor.removesuffix("_tta")
    if name in known:
        return name
    return predictor_scores.best_predictor(run.folder / "evaluation", judged) if judged else None


def draw(
    folder: Path, shown: list[Shown], source: Source, looker: Task | None, about: dict[str, str]
) -> None:
    """Draw pictures into a folder, and list them in its ``pictures.json``.

    Parameters
    ----------
    source : Source
        Of the images, and of the features where `looker` takes them.
    looker : Task or None
        The network that is asked where it looks.
    about : dict of str
        Kept beside the list.
    """
    from lib.figures.thumbnails import tile  # these and their packages take seconds

    if looker:
        from lib.learning import attribution, train_and_predict

        model = train_and_predict.trained(looker)
    files.make_folder(folder)
    listed = []
    with Progress(len(shown), "pictures", "samples") as progress:
        for start in range(0, len(shown), BATCH):
            part = shown[start : start + BATCH]
            rows = [one.row for one in part]
            images = [source.array[row] for row in rows]
            heats = [None] * len(part)
            if looker:
                outputs = [looker.classes.index(one.label) for one in part]
                given = np.stack(images), source.features_NF[rows], outputs
                heats = attribution.heat(model, *given, looker.run.config.training)
            for one, image_HWK, heat_HW in zip(part, images, heats, strict=True):
                file = f"{len(listed):04d}.webp"
                files.write_bytes(folder / file, tile(image_HWK, heat_HW))
                listed.append(asdict(one) | {"file": file})
            progress.update(len(part))
    for left in set(folder.glob("*.webp")) - {folder / one["file"] for one in listed}:
        left.unlink()
    network = looker.name if looker else None
    files.write_json(folder / "pictures.json", about | {"network": network, "pictures": listed})
