"""Predictions of users' own images by any predictor of a finished run, as tables and a page."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, presets
from lib.console import info, warn
from lib.data import run_data
from lib.data.run_data import RunData
from lib.errors import UserError
from lib.evaluation import ensemble, predictions, predictor_scores, thresholds
from lib.evaluation.predictions import PredictionTable, Predictor
from lib.features import image_plausibility
from lib.hierarchy.combination import HierarchyPredictions
from lib.labels import CLASSES
from lib.learning.network_spec import NetworkSpec
from lib.learning.own_images import OwnImages, results_folder
from lib.names import MAIN_HIERARCHY
from lib.report import example_images, html, score_notes
from lib.report.example_images import ExampleImage, ExampleList
from lib.report.page import predictor_summary
from lib.report.run_report import RunReport
from lib.run import Invocation, Run
from lib.steps import Manifest

CONFIDENCE = ((0.8, "high"), (0.5, "medium"), (0.0, "low"))  # from which probability
LIMITS = ("max_labels", "consistent")  # settings of decisions that the thresholds do not depend on
MAX_SHOWN = 500  # images on the page; the tables contain all


def classify(run: Run, source: Path, predictor: str) -> Path:
    """Predict where the proteins of users' own images are; return the page that shows it.

    Writes ``outputs/<run>/own_images/<name>/``: ``locations.csv`` (a row for each image and predicted
    location), ``probabilities.csv`` (a row per image, a column per class), ``examples/`` and ``report.html``;
    and ``image_warnings.csv`` where images are implausible.

    Parameters
    ----------
    source : Path
        Folder with the four channels of each image, as `lib.data.kaggle` reads them.
    predictor : str
        Of the run; its thresholds for the test samples are used.

    Raises
    ------
    UserError
        As `RunReport.require_evaluation`, whatever the `LIMITS`; or if the images or the predictor cannot be
        used.
    """
    source = Path(os.path.realpath(source))  # which, unlike resolve, raises no error for a circle of links
    folder, report = results_folder(run, source), RunReport.of(run, RunData.read(run))
    one = _as_evaluated(report, predictor).require_evaluation(predictor)
    sizes = [size for member in _runs(run, predictor) for size in member.config.data.sizes]
    images = OwnImages.open(run, source, folder, sizes)
    info(f"{len(images.ids):,} images of {source}, predicted by {predictor} of {run.folder}")
    raw_NC = predict(images, predictor).probabilities_NC
    allowed_NC = None
    if report.settings.consistent:
        images.predict_network(report.hierarchy.stage_1[0], 1)
        allowed_NC = _hierarchy(images).allowed_NC("test")
    thresholds_C = thresholds.load(one.thresholds_path, "test")
    max_labels = report.settings.max_labels
    decision_NC = thresholds.final_decisions(raw_NC, thresholds_C, max_labels, allowed_NC)
    warnings = score_notes.warnings(report)
    for warning in warnings:
        warn(warning)
    # a calibration would be fitted to images that the networks have seen
    calibrated_NC = raw_NC if warnings else one.calibration(raw_NC)

    probabilities = pd.DataFrame(calibrated_NC, columns=list(CLASSES)).assign(id=images.ids)
    files.write_csv(folder / "probabilities.csv", probabilities[["id", *CLASSES]])
    scores = predictor_scores.read_classes(run.folder, predictor, report.subset, report.data.classes)
    precision = scores["precision"].to_dict()
    locations = locations_table(images.ids, decision_NC, calibrated_NC, precision, report.subset)
    files.write_csv(folder / "locations.csv", locations)
    findings = _check_plausibility(images, predictor)
    info(f"locations: {folder / 'locations.csv'}\nprobabilities: {folder / 'probabilities.csv'}")
    _draw(images, predictor, decision_NC, calibrated_NC)
    return _write_page(report, images, predictor, locations, findings, warnings)


def _as_evaluated(report: RunReport, predictor: str) -> RunReport:
    """Return a report with stage 04's limits on decisions; those of the command line are for the images."""
    run, settings = report.run, report.settings
    manifest = run.manifest(f"{predictor_scores.STEP} {predictor}")
    if manifest.exists():
        known = Manifest.read(manifest, predictor_scores.SCRIPT).settings
        limits = {name: known.get(f"threshold.{name}", getattr(settings, name)) for name in LIMITS}
        run = replace(run, config=replace(run.config, threshold=replace(settings, **limits)))
    return replace(report, run=run)


def _check_plausibility(images: OwnImages, predictor: str) -> pd.DataFrame:
    """Compare the images with those that the networks were trained on; warn, and list what is implausible.

    Returns
    -------
    DataFrame
        As `image_plausibility.check_array` returns it; also in ``image_warnings.csv``, where there is any.
    """
    member = _runs(images.run, predictor)[0]
    size, path = max(member.config.data.sizes), images.folder / "image_warnings.csv"
    (statistics, *_) = run_data.read_channel_statistics(member.statistics, size)
    array, workers = images.array(size), images.run.workers
    found = image_plausibility.check_array(array, images.row_ids, statistics, workers)
    found = pd.concat([image_plausibility.check_shapes(images.source, images.ids), found], ignore_index=True)
    found = found[found["id"].isin(images.ids)]  # bad images are listed elsewhere
    path.unlink(missing_ok=True)
    if len(found):
        files.write_csv(path, found)
        image_plausibility.warn_of_findings(found, len(images.ids), str(path))
    return found


def predict(images: OwnImages, predictor: str, within: tuple[Path, ...] = ()) -> PredictionTable:
    """Predict the images with any predictor of their run.

    Parameters
    ----------
    within : tuple of Path
        Folders of the ensembles or merged predictors that it is a member of.

    Raises
    ------
    UserError
        If the predictor is external, or ranks samples, which single images do not allow.
    """
    run, folder = images.run, images.run.predictor(predictor)
    about = Predictor.read(folder)
    if folder in within:
        raise files.damaged(
            folder / "predictor.json", "it is a member of itself", predictions.creator(folder)
        )
    within = (*within, folder)
    if about.kind == "network":
        table = images.predict_network(about.network, about.views)
        if table.probabilities_NC.shape[1] != len(CLASSES):
            reason = f"its network {about.network} does not predict classes"
            raise files.damaged(folder / "predictor.json", reason, predictions.creator(folder))
        return table
    if about.kind == "trees":
        return images.predict_trees(about.network)
    if about.kind == "hierarchy":
        return _predict_hierarchy(images, about)
    if about.kind == "ensemble":
        if about.method == "rank_mean":
            raise UserError(
                "ensemble.method=rank_mean ranks the samples of a set, which single images are not: "
                "select one of its members with --predictor"
            )
        tables = [predict(images, name, within) for name in about.members]
        weight_M = np.array([*about.members.values()])
        return ensemble.combine(tables, images.ids, "the images", weight_M, ranks=False)
    if about.kind == "merged":
        tables = []
        for member in _averaged_runs(run, about):
            data = RunData.read(member, images.data.index)
            tables.append(predict(replace(images, run=member, data=data), predictor, within))
        return predictions.average(tables, images.ids, "the images")
    raise UserError(
        f"{predictor} consists of external predictions ({', '.join(about.files)}) and cannot predict new "
        f"images: select another one with --predictor"
    )


def _averaged_runs(run: Run, about: Predictor) -> list[Run]:
    """Return the runs whose predictors a merged one averages."""
    found = []
    for name in about.runs:
        folder = run.folder.parent / name
        known = Invocation.read(folder)
        config = presets.load(known.preset, known.set)
        found.append(replace(run, config=config, invocation=known, folder=folder))
    return found


def _runs(run: Run, predictor: str, within: tuple[Path, ...] = ()) -> list[Run]:
    """Return the runs whose networks a predictor uses: the run itself, or those that it averages.

    Members of an ensemble, and of averaged runs, are followed; `within` is as in `predict`.
    """
    folder = run.predictor(predictor)
    about = Predictor.read(folder)
    parts = [(run, name) for name in about.members]
    parts += [(member, predictor) for member in _averaged_runs(run, about)]
    if folder in within or not parts:  # `predict` rejects a member of itself
        return [run]
    within = (*within, folder)
    found = {one.folder: one for member, name in parts for one in _runs(member, name, within)}
    return list(found.values())


def _hierarchy(images: OwnImages, name: str = MAIN_HIERARCHY) -> HierarchyPredictions:
    return HierarchyPredictions.of(images.run, images.data, name, images.networks)


def _predict_hierarchy(images: OwnImages, about: Predictor) -> PredictionTable:
    """Predict with every network of a hierarchy, then combine as the run does."""
    name = about.hierarchy or MAIN_HIERARCHY
    of_run = HierarchyPredictions.of(images.run, images.data, name)
    for network in (about.stage_1, *about.stage_2.values()):
        images.predict_network(network, about.views)
    return _hierarchy(images, name).combine(about, "test", of_run.calibration(about.views))


def locations_table(
    ids: list[str],
    decision_NC: np.ndarray,
    calibrated_NC: np.ndarray,
    precision: dict[str, float],
    subset: str,
) -> pd.DataFrame:
    """Return a row for each image and predicted location, an image's most probable first.

    Parameters
    ----------
    decision_NC : ndarray of shape (N, C), bool
    calibrated_NC : ndarray of shape (N, C)
        Probabilities, calibrated on validation (`classify`).
    precision : dict of float
        Precision on the evaluated subset, by class.

    Returns
    -------
    DataFrame
        id, location, probability, confidence (a word for the probability: `CONFIDENCE`), and
        precision_on_<subset>.
    """
    rows = []
    for sample, decision_C, calibrated_C in zip(ids, decision_NC, calibrated_NC, strict=True):
        predicted = np.flatnonzero(decision_C)
        for label in predicted[np.argsort(-calibrated_C[predicted], kind="stable")]:
            probability = float(calibrated_C[label])
            word = next(word for lowest, word in CONFIDENCE if probability >= lowest)
            rows.append((sample, CLASSES[label], probability, word, precision.get(CLASSES[label])))
    return pd.DataFrame(
        rows, columns=["id", "location", "probability", "confidence", f"precision_on_{subset}"]
    )


def _draw(images: OwnImages, predictor: str, decision_NC: np.ndarray, calibrated_NC: np.ndarray) -> None:
    """Draw the images with attributions of the most probable predicted location."""
    run = images.run
    label_N = np.where(decision_NC, calibrated_NC, -1).argmax(axis=1)
    shown = [
        ExampleImage(
            images.ids[number],
            int(row),
            int(label),
            "",
            float(calibrated_NC[number, label]),
            [],
            example_images.class_names(decision_NC[number]),
        )
        for number, (row, label) in enumerate(zip(images.rows, label_N[:MAX_SHOWN], strict=False))
    ]
    network = example_images.attributed_network(run, predictor)
    checkpoint = run.checkpoints(network)[0] if network else None
    # a merged run has no networks, and its settings may be those of another preset
    config = _runs(run, predictor)[0].config
    size = NetworkSpec.read(checkpoint).array_side if checkpoint else config.array_size
    examples = ExampleList(predictor, "", network)
    example_images.draw(
        images.folder / "examples",
        shown,
        images.array(size),
        checkpoint,
        lambda: images.features,
        examples,
    )


def _write_page(
    report: RunReport,
    images: OwnImages,
    predictor: str,
    locations: pd.DataFrame,
    findings: pd.DataFrame,
    warnings: list[str],
) -> Path:
    folder, path = images.folder / "examples", images.folder / "report.html"
    examples = ExampleList.read(folder, list(range(len(CLASSES))), "predict.py")
    by_image = {sample: rows.to_dict("records") for sample, rows in locations.groupby("id", sort=False)}
    html.render(
        path,
        "own_images.html",
        run=report.run,
        report=report,
        predictor=predictor,
        source=images.source,
        network=examples.network,
        images=[
            asdict(image) | {"path": folder / image.file, "locations": by_image[image.id]}
            for image in examples.images
        ],
        count=len(by_image),
        findings=findings.to_dict("records"),
        warnings=warnings,
        counts=locations["location"].value_counts().to_dict(),
        score=next(row for row in predictor_summary(report) if row["predictor"] == predictor),
    )
    return path
