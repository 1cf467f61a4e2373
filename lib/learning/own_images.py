"""Images that no stage has seen: a finished run says where in the cell their proteins are.

They are one more test set to the run. Their arrays, features and prediction tables lie in
``outputs/<run>/images/<name>/``, in the layout of the cache and of a run, so that what predicts and puts
together Kaggle's test samples does so here. The run's own arrays are not needed; its networks are, and its
``index.csv``.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lib import cli, files, location_groups
from lib.cli import Run
from lib.console import say
from lib.data import cache, kaggle, sample_index
from lib.data.cache import ShardedArray
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation import ensemble, merge_runs, predictions, predictor_scores, thresholds
from lib.evaluation.predictions import PredictionTable
from lib.features import table as feature_table
from lib.hierarchy import tasks
from lib.hierarchy.evaluation import Parts, table_path
from lib.labels import CLASSES
from lib.learning import task
from lib.learning.task import Task
from lib.learning.training_data import Material, Source
from lib.report import example_images, page
from lib.report.example_images import Shown
from lib.report.run_report import Judge

CONFIDENCE = ((0.8, "high"), (0.5, "medium"), (0.0, "low"))  # from which probability
MOST_SHOWN = 500  # images on the page; all are in the tables


@dataclass(frozen=True)
class NewImages:
    """A folder of images and the run that looks at them.

    Attributes
    ----------
    run : Run
        Finished.
    source : Path
        The folder with the images.
    folder : Path
        Where what is made of them lies.
    index : Index
        The run's labelled samples, and the images as its test samples.
    """

    run: Run
    source: Path
    folder: Path
    index: Index

    @property
    def ids(self) -> list[str]:
        """The images' ids, in the order of the arrays' rows."""
        return self.index.test_ids

    @property
    def networks(self) -> Path:
        """Where the networks' predictions lie: several runs may look at the images."""
        return self.folder / "predictions" / self.run.folder.name

    def array(self, size: int) -> ShardedArray:
        """Return the images' array of a size."""
        return ShardedArray(self.folder / f"{self.source.name}_{size}")

    @cached_property
    def features(self) -> Path:
        """The table of the images' features, measured if that is not done."""
        settings, size = self.run.config.features, self.run.config.feature_size
        folder = self.folder / f"features_{size}_{settings.denoise}_{settings.columns}"
        only = Index([], [], self.ids)
        feature_table.build({"test": self.array(size)}, only, folder, settings, self.run.workers, force=False)
        return folder / "features.csv"

    def material(self, run: Run) -> Material:
        """Return what one of the run's networks looks at: the images as test samples, none to learn from."""
        config, index = run.config, self.index
        classes, channels = sample_index.read_statistics(run.statistics, config.training.size)
        train, test = Source(None, index.train_ids), Source(self.array(config.training.size), self.ids)
        if config.uses_features:
            table = feature_table.read(self.features, Index([], [], self.ids), config.network.features)
            if config.is_network:  # it carries the scale of the features that it has learnt from
                learnt = pd.DataFrame(np.nan, index.train_ids, table.columns)
            else:
                known = sample_index.read_index(run.index)
                learnt = feature_table.read(run.features, known, config.network.features).loc[known.train_ids]
            train, test = replace(train, features=learnt), replace(test, features=table)
        subsets = sample_index.read_subsets(run.split, index)
        return Material(index, subsets, classes, channels, train, test, {})

    @cached_property
    def stages(self) -> dict[str, Task]:
        """The tasks of the run's hierarchy, by name."""
        return tasks.tasks(self.run, location_groups.read(self.run.config.hierarchy.grouping), self.material)

    @cached_property
    def parts(self) -> Parts:
        """The run's hierarchy, with what its networks say of the images."""
        for name, own in self.stages.items():
            if name != "joint":
                self.ask(own)
        return replace(Parts.of(self.run.folder, self.run.config, self.index), networks=self.networks)

    def ask(self, own: Task) -> dict[str, PredictionTable]:
        """Return what a network or trees of the run say of the images, by suffix; said once, it is read."""
        run, columns = own.run, len(CLASSES) if own.classes is not None else own.truth_NO.shape[1]
        paths = {end: table_path(self.networks, own.name, "test", end) for end in task.suffixes(run)}
        learnt = own.folder / "weights.pt" if run.config.is_network else run.features
        inputs = {"images": self.array(run.config.training.size).fingerprint()} | cli.prints(
            files.require(learnt, "02_train_cnn.py")
        )
        manifest = self.networks / own.name / "manifest.json"
        step = files.Step(own.name, manifest, {}, inputs, list(paths.values()))
        if not step.done(anew=True):
            from lib.learning import train_and_predict  # torch takes seconds

            for end, probabilities_NO in train_and_predict.predict_test(own).items():
                predictions.save(paths[end], own.as_table(self.ids, probabilities_NO))
            step.finish()
        return {end: predictions.load(path, columns) for end, path in paths.items()}

    def say_of(self, predictor: str) -> PredictionTable:
        """Return what a predictor of the run says of the images.

        Raises
        ------
        UserError
            If it was made elsewhere, or joins ranks, which an image alone does not have.
        """
        run, config = self.run, self.run.config
        network = predictor.removesuffix("_tta")
        suffix = predictor.removeprefix(network)
        if predictor == ensemble.NAME:
            if config.ensemble.method == "rank_mean":
                raise UserError(
                    "ensemble.method=rank_mean ranks the samples of a set, which new images are not: "
                    "name one of its members with --predictor"
                )
            weights = ensemble.read_weights(run.folder)
            tables = [self.say_of(name) for name in weights]
            return ensemble.combine(
                tables, self.ids, "the images", np.array([*weights.values()]), ranks=False
            )
        if run.members:
            others = [replace(self, run=run.sibling(name)) for name in run.members]
            return merge_runs.mean([other.say_of(predictor) for other in others], self.ids, "the images")
        if network in config.networks:
            return self.ask(task.of_classes(network, run.of_network(network), self.material))[suffix]
        if network == "joint":
            return self.ask(self.stages["joint"])[suffix]
        if network.startswith("hierarchy_"):
            calibrate = Parts.of(run.folder, config, self.index).calibration(suffix)
            return self.parts.together("test", calibrate, suffix)[predictor]
        raise UserError(
            f"{predictor} was made elsewhere and cannot look at new images: name another with --predictor"
        )


def classify(run: Run, source: Path, predictor: str) -> Path:
    """Say where in the cell the proteins of new images are; return the page that shows it.

    Writes ``outputs/<run>/images/<name>/``: ``locations.csv`` (a row for each image and location that it is
    given), ``probabilities.csv`` (a row an image, a column a class), ``pictures/`` and ``report.html``.

    Parameters
    ----------
    source : Path
        Folder with the four channels of each image, as `lib.data.kaggle` reads them.
    predictor : str
        Of the run; its thresholds are those for the test samples.
    """
    source, index, settings = source.resolve(), sample_index.read_index(run.index), run.config.threshold
    if not source.is_dir():
        raise UserError(f"--images {source}: no such folder; expected one with {{id}}_green.png and so on")
    thresholds_C = thresholds.load(run.thresholds(predictor), "test")
    validation = files.require(run.predictions(predictor, "validation"), "02_train_cnn.py")
    folder = run.folder / "images" / source.name
    images = NewImages(run, source, folder, replace(index, test_ids=cache_images(run, source, folder)))
    say(f"{len(images.ids):,} images of {source}, looked at by {predictor} of {run.folder}")
    table = images.say_of(predictor)
    known = Parts.of(run.folder, run.config, index)
    parts = images.parts if settings.consistent else known  # stage 1 is asked only where it decides
    decision_NC = predictor_scores.submitted(table.probabilities_NC, thresholds_C, settings, parts, "test")
    chances_NC = predictor_scores.calibration(validation, known)(table.probabilities_NC)

    probabilities = pd.DataFrame(chances_NC, columns=list(CLASSES)).assign(id=images.ids)
    files.write_csv(folder / "probabilities.csv", probabilities[["id", *CLASSES]])
    judge = Judge.of(run.folder, known, settings, run.data_name)
    precision = predictor_scores.read_classes(run.evaluation(predictor, "classes"), judge.subset)["precision"]
    locations = as_locations(images.ids, decision_NC, chances_NC, precision.to_dict(), judge.subset)
    files.write_csv(folder / "locations.csv", locations)

    likeliest_N = np.where(decision_NC, chances_NC, -1).argmax(axis=1)
    shown = [
        Shown(
            images.ids[row],
            row,
            int(label),
            "",
            float(chances_NC[row, label]),
            [],
            example_images.names(decision_NC[row]),
        )
        for row, label in enumerate(likeliest_N[:MOST_SHOWN])
    ]
    network = example_images.looking(run, predictor)
    looker = tasks.of_predictor(network, run, images.material) if network else None
    size = looker.run.config.training.size if looker else run.config.training.size
    source_of_images = looker.material.test if looker else Source(images.array(size), images.ids)
    example_images.draw(folder / "pictures", shown, source_of_images, looker, {"predictor": predictor})
    report = folder / "report.html"
    page.write_images(report, judge, predictor, source, locations)
    say(
        f"locations: {folder / 'locations.csv'}\nprobabilities of all classes: {folder / 'probabilities.csv'}"
    )
    return report


def cache_images(run: Run, source: Path, folder: Path) -> list[str]:
    """Decode and resize a folder's images at the sizes that a run needs; return the ids that are usable."""
    data, runs = run.config.data, [run, *map(run.sibling, run.members)]
    sizes = tuple(sorted({size for one in runs for size in one.config.data.sizes}))
    ids = kaggle.list_samples(source)

    def build(chosen: list[str]) -> list[kaggle.BadImage]:
        # forced: another list of images than last time is no mistake here
        return cache.build(
            source.parent, folder, source.name, chosen, sizes, data.shard_rows, run.workers, force=True
        )

    bad = build(ids)
    kaggle.refuse_bad_images(bad, folder / "bad_images.csv", data.max_bad_images)
    usable = [sample for sample in ids if sample not in {image.id for image in bad}]
    if bad:
        build(usable)
    return usable


def as_locations(
    ids: list[str], decision_NC: np.ndarray, chances_NC: np.ndarray, precision: dict[str, float], subset: str
) -> pd.DataFrame:
    """Return a row for each image and location that it is given, an image's likeliest first.

    Parameters
    ----------
    chances_NC : ndarray of shape (N, C)
        Probabilities, calibrated on validation.
    precision : dict of float
        By class: the share of those that were given it on the judged subset that have it.

    Returns
    -------
    DataFrame
        id, location, probability, confidence (a word for the probability: `CONFIDENCE`), and
        precision_on_<subset>.
    """
    rows = []
    for sample, decision_C, chances_C in zip(ids, decision_NC, chances_NC, strict=True):
        given = np.flatnonzero(decision_C)
        for label in given[np.argsort(-chances_C[given], kind="stable")]:
            chance = float(chances_C[label])
            word = next(word for least, word in CONFIDENCE if chance >= least)
            rows.append((sample, CLASSES[label], chance, word, precision.get(CLASSES[label])))
    return pd.DataFrame(
        rows, columns=["id", "location", "probability", "confidence", f"precision_on_{subset}"]
    )
