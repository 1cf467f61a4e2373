"""Example images of a page: correct, wrong, missed and uncertain decisions, with attributions."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.console import Progress
from lib.data.cache import ShardedArray
from lib.errors import quote
from lib.evaluation import predictions, predictor_scores
from lib.evaluation.predictions import Predictor
from lib.features import table as feature_table
from lib.labels import CLASSES
from lib.report import example_selection
from lib.report.run_report import RunReport
from lib.run import Run

PER_KIND = 2  # examples of each class and kind
BATCH = 16  # images whose attributions are computed at once
PICTURE = re.compile(r"\d{4,}\.webp")  # names of pictures
SCRIPT = "05_submit.py"  # draws the examples of a run


@dataclass(frozen=True)
class ExampleImage:
    """One image on a page: a row of ``examples.json``.

    Attributes
    ----------
    id : str
        Of the sample.
    row : int
        Of the sample in its array.
    label : int
        The class that it is shown for, and that the attributions are of.
    kind : str
        Of `example_selection.KINDS`; empty where the true classes are unknown.
    probability : float
        Of the class, calibrated on validation.
    true, predicted : list of str
        Names of the classes that the sample has, and of those predicted.
    file : str
        The picture, in the folder of ``examples.json``; empty before it is drawn.
    """

    id: str
    row: int
    label: int
    kind: str
    probability: float
    true: list[str]
    predicted: list[str]
    file: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.label < len(CLASSES) or self.kind not in ("", *example_selection.KINDS):
            raise ValueError(f"label {self.label} or kind {self.kind!r} of an image is unknown")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability} is not from 0 to 1")
        if self.file and not PICTURE.fullmatch(self.file):  # it must not lead out of the folder
            raise ValueError(f"{quote(self.file)} is not the name of a picture")


@dataclass(frozen=True)
class ExampleList:
    """Content of ``examples.json``.

    Attributes
    ----------
    predictor : str
        Whose decisions are shown.
    subset : str
        That the images are from; empty for users' own.
    network : str or None
        Whose attributions are shown.
    images : list of ExampleImage
    """

    predictor: str
    subset: str
    network: str | None
    images: list[ExampleImage] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, classes: list[int], script: str) -> "ExampleList":
        """Read ``examples.json``, whose images are of some classes; `script` is the one that writes it."""
        path = folder / "examples.json"
        examples = files.read_json(path, script, cls)
        for image in examples.images:
            if image.label not in classes or not image.file or bool(image.kind) != bool(examples.subset):
                raise files.damaged(path, f"the entry of image {quote(image.id)} is wrong", script)
        return examples


def draw_examples(report: RunReport, predictor: str) -> None:
    """Select and draw examples from the evaluated subset, unless that is up to date.

    Writes ``outputs/<run>/examples/``: a WebP file per image, and ``examples.json``. Does nothing in a run
    whose images are not cached.
    """
    run = report.run
    folder, cached = run.folder / "examples", run.array("train", run.config.array_size)
    if not (cached / "array.json").exists():
        return
    one, network = report.predictor(predictor), attributed_network(run, predictor)
    weights = [path / "weights.safetensors" for path in (run.checkpoints(network) if network else ())]
    tables = [one.tables[subset] for subset in dict.fromkeys(("validation", report.subset))]
    outputs = [folder / "examples.json"]
    if outputs[0].exists():
        listed = ExampleList.read(folder, report.data.classes, SCRIPT)
        outputs += [folder / image.file for image in listed.images]
    array = ShardedArray(cached, report.data.index.train_ids)
    run.once(
        "05_submit examples",
        lambda _step: _draw_selected(report, predictor, network, array),
        settings=["threshold"],
        inputs=files.fingerprints(run.index, run.split, one.thresholds_path, *tables, *weights)
        | {cached.name: array.fingerprint()},
        outputs=outputs,
        rebuild=True,
    )


def _draw_selected(report: RunReport, predictor: str, network: str | None, array: ShardedArray) -> None:
    run, data, subset = report.run, report.data, report.subset
    one = report.predictor(predictor)
    truth_NC, raw_NC, decision_NC = data.truth_NC(subset), one.raw_NC(subset), one.decisions(subset)
    calibrated_NC, ids, rows = one.calibrated_NC(subset), data.ids(subset), data.rows(subset)
    selected = example_selection.choose(
        truth_NC, raw_NC, decision_NC, one.thresholds(subset), data.classes, PER_KIND
    )
    images = [
        ExampleImage(
            ids[example.row],
            int(rows[example.row]),
            example.label,
            example.kind,
            float(calibrated_NC[example.row, example.label]),
            class_names(truth_NC[example.row]),
            class_names(decision_NC[example.row]),
        )
        for example in selected
    ]

    def read_features() -> pd.DataFrame:
        return feature_table.read(run.features, data.index).loc[data.index.train_ids]

    checkpoint = run.checkpoints(network)[0] if network else None
    examples = ExampleList(predictor, subset, network)
    draw(run.folder / "examples", images, array, checkpoint, read_features, examples)


def class_names(chosen_C: np.ndarray) -> list[str]:
    """Return the names of the classes that are true."""
    return [CLASSES[label] for label in np.flatnonzero(chosen_C)]


def attributed_network(run: Run, predictor: str) -> str | None:
    """Return the network whose attributions are shown; None in a run without networks that predict classes.

    It is that of the predictor, or, where the predictor is not a single network, that of the run's best one.
    """
    own = Predictor.read(run.predictor(predictor))
    if own.kind == "network" and run.checkpoints(own.network):
        return own.network
    networks = {}
    for name in predictions.list_predictors(run.folder / "predictions"):
        one = Predictor.read(run.predictor(name))
        if one.kind == "network" and run.checkpoints(one.network) and run.thresholds(name).exists():
            networks[name] = one.network
    return networks[predictor_scores.best_predictor(run.folder, list(networks))] if networks else None


def draw(
    folder: Path,
    images: list[ExampleImage],
    array: ShardedArray,
    checkpoint: Path | None,
    read_features: Callable[[], pd.DataFrame],
    examples: ExampleList,
) -> None:
    """Draw images into a folder, and list them in its ``examples.json``.

    Parameters
    ----------
    array : ShardedArray
        Holds the images.
    checkpoint : Path or None
        Folder of the network whose attributions are overlaid.
    read_features : callable
        Returns the biological features of the array's rows; called only if the network takes any.
    examples : ExampleList
        Without images, which are added.
    """
    from lib.figures.thumbnails import tile  # this and torch take seconds to import

    model, features_NF = None, np.zeros((len(array), 0), np.float32)
    if checkpoint:
        from lib.learning import attribution, devices, models

        model = models.load(checkpoint).to(devices.choose_device())
        if model.spec.features:
            features = feature_table.select(read_features(), model.spec.features, checkpoint)
            features_NF = features.to_numpy(np.float32)
        unknown = {image.label for image in images}.difference(model.spec.classes or ())
        if unknown:
            reason = f"it has no output for {CLASSES[min(unknown)]}"
            raise files.damaged(checkpoint / "model.json", reason, predictions.creator(checkpoint))
    files.make_folder(folder)
    drawn: list[ExampleImage] = []
    with Progress(len(images), "example images", "samples") as progress:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            pixels_BHWK = np.stack([array[image.row] for image in batch])
            heatmaps = [None] * len(batch)
            if model:
                outputs = [model.spec.classes.index(image.label) for image in batch]
                features_BF = features_NF[[image.row for image in batch]]
                heatmaps = attribution.heatmaps(model, pixels_BHWK, features_BF, outputs)
            for image, pixels_HWK, heatmap_HW in zip(batch, pixels_BHWK, heatmaps, strict=True):
                drawn.append(replace(image, file=f"{len(drawn):04d}.webp"))
                files.write_bytes(folder / drawn[-1].file, tile(pixels_HWK, heatmap_HW))
            progress.update(len(batch))
    for outdated in set(folder.glob("*.webp")) - {folder / image.file for image in drawn}:
        outdated.unlink()
    files.write_json(folder / "examples.json", asdict(replace(examples, images=drawn)))
