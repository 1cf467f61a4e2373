"""What networks learn from: samples by row number, their subsets, their fingerprints; knows no torch."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from lib import cli
from lib.data import sample_index
from lib.data.cache import ShardedArray
from lib.data.sample_index import Index
from lib.features import table as feature_table


@dataclass(frozen=True)
class Source:
    """Where samples come from, all by row number.

    Attributes
    ----------
    array : ShardedArray or None
        None where the images are not looked at: `lib.learning.own_images`.
    ids : list of str, length N
    truth_NC : ndarray of shape (N, C), bool, or None
        Targets; without them batches have none, shape (B, 0).
    features : DataFrame or None
        Biological features, a row a sample, a column a feature, nan where a value cannot be said;
        without them batches have none.
    """

    array: ShardedArray | None
    ids: list[str]
    truth_NC: np.ndarray | None = None
    features: pd.DataFrame | None = None

    @cached_property
    def features_NF(self) -> np.ndarray:
        """The features as an array of float32, shape (N, F)."""
        if self.features is None:
            return np.zeros((len(self.ids), 0), np.float32)
        return self.features.to_numpy(np.float32)


@dataclass(frozen=True)
class Material:
    """What a run's networks of one input size learn from.

    Attributes
    ----------
    index : Index
    subsets : dict of ndarray of int
        Rows of the labelled samples: train, validation, and holdout where there is one.
    classes : list of int
        The class numbers that the run keeps.
    channels : dict of list of 4 float
        ``mean`` and ``deviation`` of the training rows, grey levels, R G B Y.
    train, test : Source
        The labelled samples, without targets: those are the task's; and the test samples.
    inputs : dict of str
        Fingerprints of all this, by name.
    """

    index: Index
    subsets: dict[str, np.ndarray]
    classes: list[int]
    channels: dict[str, list[float]]
    train: Source
    test: Source
    inputs: dict[str, str]

    @classmethod
    def of(cls, run: cli.Run) -> "Material":
        """Read it; what is missing is refused with the stage that makes it."""
        size, taken = run.config.training.size, run.config.network.features
        index = sample_index.read_index(run.index)
        subsets = sample_index.read_subsets(run.split, index)
        classes, channels = sample_index.read_statistics(run.statistics, size)
        train, test = (ShardedArray(run.array(part, size)) for part in ("train", "test"))
        inputs = cli.prints(run.index, run.split, run.statistics)
        inputs |= {array.folder.name: array.fingerprint() for array in (train, test)}
        sources = Source(train, index.train_ids), Source(test, index.test_ids)
        if run.config.uses_features:
            table = feature_table.read(run.features, index, taken)
            sources = tuple(replace(source, features=table.loc[source.ids]) for source in sources)
            inputs |= cli.prints(run.features)
        return cls(index, subsets, classes, channels, *sources, inputs)

    def ids(self, subset: str) -> list[str]:
        """Return the ids of a subset, or of ``test``, in the order in which it is predicted."""
        if subset == "test":
            return self.index.test_ids
        return [self.index.train_ids[row] for row in self.subsets[subset]]
