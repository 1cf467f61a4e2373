"""What networks are trained on: images and features by row number, their statistics, their fingerprints.

Does not load torch.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from lib import files
from lib.data.cache import ShardedArray
from lib.data.run_data import RunData, read_channel_statistics
from lib.features import table as feature_table
from lib.run import Run


@dataclass(frozen=True)
class SampleSource:
    """Images, targets and features, by row number.

    Attributes
    ----------
    images : ShardedArray, or sequence of ndarray of shape (H, W, 4), uint8, R G B Y
    ids : list of str, length N
    truth_NC : ndarray of shape (N, C), bool, or None
        Targets; without them batches have none, shape (B, 0).
    features : DataFrame or None
        Biological features, a row per sample, a column per feature, nan where a value is undefined; without
        them batches have none, shape (B, 0).
    """

    images: ShardedArray
    ids: list[str]
    truth_NC: np.ndarray | None = None
    features: pd.DataFrame | None = None

    @cached_property
    def features_NF(self) -> np.ndarray:
        """The features as float32, shape (N, F)."""
        if self.features is None:
            return np.zeros((len(self.ids), 0), np.float32)
        return self.features.to_numpy(np.float32)


@dataclass(frozen=True)
class TrainingData:
    """What a run's networks of one size of arrays are trained on.

    Attributes
    ----------
    data : RunData
    channels : list of dict of list of 4 float
        For every fold, ``mean`` and ``std`` of the training rows, grey levels 0-255, R G B Y.
    labelled, test : SampleSource
        Without targets, which are the task's.
    inputs : dict of str
        Fingerprints of all this, by name.
    """

    data: RunData
    channels: list[dict[str, list[float]]]
    labelled: SampleSource
    test: SampleSource
    inputs: dict[str, str]

    @classmethod
    def read(cls, run: Run, data: RunData) -> "TrainingData":
        """Open it; a `UserError` names the stage that creates what is missing."""
        size, index = run.config.array_size, data.index
        channels = read_channel_statistics(run.statistics, size, len(data.folds))
        labelled, test = (
            SampleSource(ShardedArray(run.array(subset, size), ids), ids)
            for subset, ids in (("train", index.train_ids), ("test", index.test_ids))
        )
        inputs = files.fingerprints(run.index, run.split, run.statistics)
        inputs |= {source.images.folder.name: source.images.fingerprint() for source in (labelled, test)}
        if run.config.uses_features:
            table = feature_table.read(run.features, index, run.config.network.features)
            labelled, test = (replace(source, features=table.loc[source.ids]) for source in (labelled, test))
            inputs |= files.fingerprints(run.features)
        return cls(data, channels, labelled, test, inputs)
