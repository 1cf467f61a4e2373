"""Users' own images: cached, measured and predicted by the networks of a finished run.

To the run they are another test set. Their arrays, features and predictions lie in
``outputs/<run>/own_images/<name>/``, in the layout of the cache and of a run. The run's own arrays are not
needed; its networks are, and its ``index.csv``.
"""

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, presets
from lib.data import cache, kaggle
from lib.data.cache import ShardedArray
from lib.data.run_data import RunData
from lib.data.sample_index import SampleIndex, read_index
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import PredictionTable
from lib.features import table as feature_table
from lib.labels import CLASSES
from lib.learning.network_spec import NetworkSpec
from lib.learning.training_data import SampleSource
from lib.run import Invocation, Run
from lib.steps import Step

LONGEST_NAME = 200  # bytes, of a folder; the names of files are derived from it
SOURCE_FILE = "source.json"  # in a folder of results


@dataclass(frozen=True)
class OwnImages:
    """A folder of images, and the run that predicts them.

    Attributes
    ----------
    run : Run
        Finished.
    source : Path
        The folder with the images.
    folder : Path
        For everything that is made from them.
    data : RunData
        The run's, with the usable images as its test samples.
    row_ids : list of str
        Ids of the rows of the arrays and features, those of bad images included.
    """

    run: Run
    source: Path
    folder: Path
    data: RunData
    row_ids: list[str]

    @classmethod
    def open(cls, run: Run, source: Path, folder: Path, sizes: list[int]) -> "OwnImages":
        """Decode and cache a folder's images, as far as that is not done.

        Parameters
        ----------
        sizes : list of int
            Sides of the arrays that the networks need, in pixels.

        Raises
        ------
        UserError
            If there is no such folder, it holds no images, or more are unusable than
            ``data.max_bad_images`` allows.
        """
        row_ids, bad = _cache(run, source, folder, tuple(sorted(set(sizes))))
        ids = [sample for sample in row_ids if sample not in bad]
        data = RunData.read(run, replace(read_index(run.index), test_ids=ids))
        return cls(run, source, folder, data, row_ids)

    @property
    def ids(self) -> list[str]:
        """The usable images' ids, in the order of the arrays' rows."""
        return self.data.index.test_ids

    @cached_property
    def rows(self) -> np.ndarray:
        """Rows of the usable images in the arrays and features, int; the others are black."""
        return np.flatnonzero(np.isin(self.row_ids, self.ids))

    @property
    def networks(self) -> Path:
        """Folder of the networks' predictions; several runs may predict the same images."""
        return self.folder / "predictions" / self.run.folder.name

    def array(self, size: int) -> ShardedArray:
        """Return the images' array of a size."""
        return ShardedArray(self.folder / f"{self.source.name}_{size}")

    @cached_property
    def features(self) -> pd.DataFrame:
        """Biological features of the arrays' rows, computed if they are not yet.

        Raises
        ------
        UserError
            If the settings differ from those of the features that the run's networks were trained with.
        """
        settings, size = self.run.config.features, self.run.config.feature_size
        known = Invocation.read(self.run.folder)
        trained = presets.load(known.preset, known.set)
        for field, value in asdict(trained.features).items():
            if (given := getattr(settings, field)) != value:
                raise UserError(
                    f"features.{field}={given}: the run {self.run.folder.name} was trained with {value}: "
                    f"leave it out"
                )
        index, arrays = SampleIndex([], [], self.row_ids), {"test": self.array(size)}
        folder = self.folder / self.run.config.feature_folder
        return feature_table.build(arrays, index, folder, settings, self.run.workers, force=False)

    def _feature_input(self) -> dict[str, str]:
        """Return the fingerprint of the images' features, which are measured if they are not yet."""
        self.features  # noqa: B018, writes the table
        table = self.folder / self.run.config.feature_folder / self.run.features.name
        return {"features of the images": files.fingerprint_file(table)}

    def predict_network(self, name: str, views: int) -> PredictionTable:
        """Predict the images with a network, averaged over its folds, unless that is up to date.

        Parameters
        ----------
        views : int
            1, or 8 with test-time augmentation.
        """
        checkpoints = self.run.checkpoints(name)
        if not checkpoints:
            raise UserError(
                f"{self.run.network(name)} holds no trained network: run `python 02_train_cnn.py`"
            )
        weights = [folder / "weights.safetensors" for folder in checkpoints]
        spec = NetworkSpec.read(checkpoints[0])
        classes, columns = spec.classes, len(CLASSES) if spec.classes else len(spec.outputs)
        if spec.array_side not in self.run.config.data.sizes:
            path, reason = checkpoints[0] / "model.json", f"size {spec.array_side} is not of the run"
            raise files.damaged(path, reason, predictions.creator(path.parent))

        inputs = files.fingerprints(*weights)
        if spec.features:
            inputs |= self._feature_input()

        def predict() -> PredictionTable:
            found = [self._predict_checkpoint(folder, views) for folder in checkpoints]
            tables = [
                predictions.from_outputs(self.ids, values_NO, classes, spec.outputs) for values_NO in found
            ]
            return predictions.average(tables, self.ids, "the images")

        return self._once(name, views, spec.array_side, inputs, columns, predict)

    def _predict_checkpoint(self, folder: Path, views: int) -> np.ndarray:
        from lib.learning import devices, models, train_and_predict  # torch takes seconds
        from lib.learning.loader import make_loader

        model = models.load(folder).to(devices.choose_device())
        spec, training = model.spec, self.run.config.training
        features = feature_table.select(self.features, spec.features, folder) if spec.features else None
        source = SampleSource(self.array(spec.array_side), self.row_ids, features=features)
        workers = train_and_predict.loading_processes(self.run.workers, next(model.parameters()).device)
        loader = make_loader(source, self.rows, training.batch_size, workers)
        return train_and_predict.predict_with(model, loader, views, f"predicting with {folder.name}")

    def predict_trees(self, name: str) -> PredictionTable:
        """Predict the images with trees on the features, fitted again to the run's training samples."""
        config = self.run.for_network(name).config
        columns, known = config.network.features, read_index(self.run.index)
        # a tree model is quicker to fit again than safe to store: sklearn's own format executes code

        def predict() -> PredictionTable:
            from lib.learning import feature_trees

            training = feature_table.read(self.run.features, known, columns).loc[known.train_ids]
            own_NF = self.features[list(training)].to_numpy(np.float32)[self.rows]
            all_NF = np.concatenate([training.to_numpy(np.float32), own_NF])
            truth_NC = known.truth_NC[:, self.data.classes]
            tables = []
            for fold in self.data.folds:
                all_NO = feature_trees.fit_and_predict(all_NF, truth_NC, fold.train, config.training.seed)
                own_NO = all_NO[len(known.train_ids) :]
                tables.append(predictions.from_outputs(self.ids, own_NO, self.data.classes))
            return predictions.average(tables, self.ids, "the images")

        run, inputs = self.run, self._feature_input() | {"seed": str(config.training.seed)}
        features = files.require(run.features, "01_features.py")
        inputs |= files.fingerprints(features, run.index, run.split, run.statistics)
        return self._once(name, 1, run.config.feature_size, inputs, len(CLASSES), predict)

    def _once(
        self,
        name: str,
        views: int,
        size: int,
        inputs: dict[str, str],
        columns: int,
        predict: Callable[[], PredictionTable],
    ) -> PredictionTable:
        """Return the predictions of a network or of trees, from the file if it is up to date."""
        path = predictions.table_path(self.networks / name, "test", views)
        manifest = path.with_suffix(".json")
        inputs = {"images": self.array(size).fingerprint()} | inputs
        if len(self.ids) < len(self.row_ids):
            inputs["list of usable images"] = files.fingerprint(self.ids)
        step = Step(name, manifest, {}, inputs, [path], script="predict.py")
        if not step.up_to_date(rebuild=True):
            predictions.save(path, predict())
            step.finish()
        return predictions.load(path, columns, "predict.py")


def results_folder(run: Run, source: Path) -> Path:
    """Return the folder for all that is made from a folder of images: it has the same name.

    Where that contains the results of another folder of this name, a number is appended.
    """
    numbered = (f"{source.name}_{number}" for number in itertools.count(2))
    folders = (run.folder / "own_images" / name for name in itertools.chain([source.name], numbered))
    return next(folder for folder in folders if not os.path.lexists(folder) or _read_source(folder) == source)


def _read_source(folder: Path) -> Path | None:
    """Return the folder of images that a folder of results was made from, if it says so."""
    record = folder / SOURCE_FILE
    return Path(files.read_json(record)["folder"]) if record.exists() else None


def _check_source(source: Path) -> None:
    if not str(source).isprintable():
        raise UserError(
            f"{str(source)!r}: a name with characters that cannot be displayed: rename the folder"
        )
    if not os.path.isdir(source):  # noqa: PTH112, as a Path raises an error for a name that is too long
        kind = "not a folder" if os.path.lexists(source) else "no such folder"
        raise UserError(f"{source}: {kind}; expected one with {{id}}_green.png and so on")
    if len(os.fsencode(source.name)) > LONGEST_NAME:
        raise UserError(f"{source}: the folder's name is longer than {LONGEST_NAME} bytes: rename it")


def _cache(run: Run, source: Path, folder: Path, sizes: tuple[int, ...]) -> tuple[list[str], set[str]]:
    """Decode and resize a folder's images; return the ids of the rows, and those of bad images."""
    _check_source(source)
    data, ids = run.config.data, kaggle.list_samples(source)
    files.write_json(folder / SOURCE_FILE, {"folder": str(source)})
    for made in (folder / "predictions", folder / run.config.feature_folder):
        if run.force and made.exists():  # the array is replaced below
            shutil.rmtree(made)
    # the folder may hold other images than before
    how = dict(workers=run.workers, force=run.force, replace_others=True, projection=data.projection)
    bad = cache.build(source.parent, folder, source.name, ids, sizes, data.shard_rows, **how)
    kaggle.report_bad_images(bad, folder / "bad_images.csv", data.max_bad_images, {source.name: ids})
    return ids, {image.id for image in bad}
