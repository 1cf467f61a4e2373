"""A run's samples: index, subsets, folds, classes, groups, labels and ids.

``split.csv`` (columns id, subset, fold) and ``statistics.json`` (classes; mean and standard deviation of the
channels, by size, for the training rows of every fold) lie in the run's folder; stage 00 writes them.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, location_groups
from lib.data import sample_groups, sample_index, strata
from lib.data.sample_index import SUBSETS, SampleIndex
from lib.errors import UserError
from lib.labels import CHANNELS, CLASSES
from lib.location_groups import LocationGroups
from lib.run import Run
from lib.stage_files import parse_numbers, rewrite

SCRIPT = "00_prepare.py"  # writes both files
MOST_FOLDS = 50  # as the setting ``split.folds``


@dataclass(frozen=True)
class Fold:
    """Rows of the labelled samples that a network is trained on and validated on.

    Attributes
    ----------
    number : int or None
        Of the fold; None in a single split.
    train, validation : ndarray of int
        Row numbers in the index, ascending.
    """

    number: int | None
    train: np.ndarray
    validation: np.ndarray

    @property
    def folder(self) -> str:
        """Name of its folder within a network's; empty in a single split."""
        return "" if self.number is None else f"fold_{self.number}"


@dataclass(frozen=True)
class RunData:
    """The samples of a run.

    Attributes
    ----------
    index : SampleIndex
        All samples of the dataset.
    subsets : dict of ndarray of int
        Rows of the labelled samples, ascending, by subset: validation; train, in a single split; holdout,
        where there is one. With folds, validation holds all samples of all folds.
    folds : tuple of Fold
        One in a single split.
    classes : list of int
        The class numbers that the run keeps.
    groups : dict of tuple of int
        Class numbers by location group, all 28.
    sample_group_N : ndarray of shape (N,), int
        Group of related samples of every labelled sample. Default: each its own.
    weights : dict of ndarray of float
        By labelled subset, weights that give its samples the mixture of strata of the test set; not of one
        with none of these strata, and empty where no strata are known.
    """

    index: SampleIndex
    subsets: dict[str, np.ndarray]
    folds: tuple[Fold, ...]
    classes: list[int]
    groups: LocationGroups
    sample_group_N: np.ndarray | None = None
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sample_group_N is None:
            object.__setattr__(self, "sample_group_N", np.arange(len(self.index.train_ids)))

    @classmethod
    def read(cls, run: Run, index: SampleIndex | None = None) -> "RunData":
        """Read a run's data; a `UserError` names the stage that creates what is missing.

        Parameters
        ----------
        index : SampleIndex or None
            The run's labelled samples, and others in place of its test set. Default: the run's own.
        """
        weighted = bool(run.config.split.strata) and index is None
        index = index or sample_index.read_index(run.index)
        subsets, folds = read_split(run.split, index)
        classes = Statistics.read(run.statistics).classes
        groups = location_groups.read(run.config.hierarchy.grouping)
        sample_group_N = sample_groups.read_sample_groups(run.sample_groups, index.train_ids)
        weights = {}
        if weighted:
            stratum_N = strata.read_strata(Path(run.config.split.strata), index.train_ids + index.test_ids)
            of_test_M = stratum_N[len(index.train_ids) :]
            for name, rows in subsets.items():
                # a few siblings, or the training samples, may lack them: nothing depends on their weights
                if name in ("validation", "holdout") or np.isin(stratum_N[rows], of_test_M).any():
                    weights[name] = strata.weights(stratum_N[rows], of_test_M, name)
        return cls(index, subsets, folds, classes, groups, sample_group_N, weights)

    def rows(self, subset: str, fold: Fold | None = None) -> np.ndarray:
        """Return the rows of a labelled subset, or of ``test``, in the order in which it is predicted.

        Parameters
        ----------
        fold : Fold or None
            Only the rows that this fold's networks predict: of validation, the fold's own.
        """
        if subset == "test":
            return np.arange(len(self.index.test_ids))
        if subset == "validation" and fold is not None and fold.number is not None:
            return self.folds[fold.number].validation
        return self.subsets[subset]

    def ids(self, subset: str, fold: Fold | None = None) -> list[str]:
        """Return the ids of `rows`."""
        if subset == "test":
            return self.index.test_ids
        return [self.index.train_ids[row] for row in self.rows(subset, fold)]

    def truth_NC(self, subset: str) -> np.ndarray:
        """Return the labels of a subset, shape (N, C), bool."""
        return self.index.truth_NC[self.subsets[subset]]

    @property
    def predicted_subsets(self) -> list[str]:
        """The subsets that every predictor predicts, and ``test``."""
        return [*self.subsets, "test"]

    def predictions_with(self, views: list[int]) -> list[tuple[int, str]]:
        """Return what is predicted with some numbers of views, as pairs of a number and a subset.

        Training samples are predicted with one view only: their score decides nothing, and several views
        would take as long as several epochs.
        """
        return [
            (number, subset)
            for number in views
            for subset in self.predicted_subsets
            if number == 1 or subset != "train"
        ]

    @property
    def evaluated_subset(self) -> str:
        """The subset that tables and figures report: the holdout, or validation where there is none."""
        return "holdout" if "holdout" in self.subsets else "validation"

    @property
    def training_NC(self) -> np.ndarray:
        """Labels of the samples that networks are trained on, in any fold, shape (N, C), bool."""
        return self.truth_NC("train" if "train" in self.subsets else "validation")

    @property
    def has_groups(self) -> bool:
        """Whether some labelled samples are known to be related."""
        return len(np.unique(self.sample_group_N)) < len(self.sample_group_N)

    @property
    def has_folds(self) -> bool:
        """Whether validation is predicted out of fold."""
        return self.folds[0].number is not None

    @property
    def validation_fold_N(self) -> np.ndarray:
        """Position in `folds` of every validation sample, shape (N,), int."""
        fold_of_row = np.zeros(len(self.index.train_ids), int)
        for position, fold in enumerate(self.folds):
            fold_of_row[fold.validation] = position
        return fold_of_row[self.subsets["validation"]]


def read_split(path: Path, index: SampleIndex) -> tuple[dict[str, np.ndarray], tuple[Fold, ...]]:
    """Read ``split.csv``; returns the subsets and folds of `RunData`."""
    with files.reading(path, SCRIPT):
        split = files.read_table(path, rewrite(SCRIPT), ("id", "subset", "fold"))
        rows, fold_N = _check_split(split, index)
    subsets = {
        name: np.sort(rows[split["subset"] == name]) for name in SUBSETS if (split["subset"] == name).any()
    }
    numbers = np.unique(fold_N[fold_N >= 0]).tolist()
    if not numbers:
        train, validation = (subsets.get(name, np.array([], int)) for name in ("train", "validation"))
        return subsets, (Fold(None, train, validation),)
    folds = tuple(
        Fold(number, np.sort(rows[(fold_N >= 0) & (fold_N != number)]), np.sort(rows[fold_N == number]))
        for number in numbers
    )
    subsets = {"validation": subsets.pop("train")} | subsets
    return subsets, folds


def _check_split(split: pd.DataFrame, index: SampleIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return the row in the index and the fold of every row of a split; a `ValueError` if it is damaged."""
    row_of = {sample: row for row, sample in enumerate(index.train_ids)}
    row_N, fold_N = split["id"].map(row_of), parse_numbers(split["fold"], -1, MOST_FOLDS - 1)
    with_folds = (fold_N >= 0).any()
    # with folds, the samples of the folds are those of the subset train, and none is of validation
    has_fold_N = (split["subset"] == "train") & with_folds
    allowed = [name for name in SUBSETS if name != "validation" or not with_folds]
    for wrong_N, reason in (
        (row_N.isna(), "has an id that is not a labelled one of index.csv"),
        (split["id"].duplicated(), "repeats an id"),
        (~split["subset"].isin(allowed), f"has a subset other than {', '.join(allowed)}"),
        ((fold_N % 1 != 0) | ((fold_N >= 0) != has_fold_N), "has a fold that does not fit its subset"),
    ):
        if wrong_N.any():
            raise ValueError(f"line {wrong_N.idxmax()} {reason}")
    folds = sorted(set(fold_N[fold_N >= 0].astype(int)))
    if folds != list(range(len(folds))) or len(folds) == 1:
        raise ValueError(f"it has the folds {', '.join(map(str, folds))}")
    if not folds and not {"train", "validation"} <= set(split["subset"]):
        raise ValueError("it has no sample of train or of validation")
    return row_N.to_numpy(int), fold_N.to_numpy(int)


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of the training rows of a fold: 4 grey levels, 0-255, R G B Y."""

    mean: list[float]
    std: list[float]

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != len(CHANNELS) or not all(0 <= value <= 255 for value in values):
                raise ValueError(f"{name} is not {len(CHANNELS)} grey levels from 0 to 255")


@dataclass(frozen=True)
class Statistics:
    """Content of ``statistics.json``.

    Attributes
    ----------
    classes : list of int
        The class numbers that the run keeps, ascending.
    channels : dict of list of ChannelStatistics
        Of every fold, by size; empty in a run that averages others, or without images.
    """

    classes: list[int]
    channels: dict[str, list[ChannelStatistics]]

    def __post_init__(self) -> None:
        if not self.classes or self.classes != sorted(set(self.classes) & set(range(len(CLASSES)))):
            raise ValueError(f"classes is {self.classes}, expected class numbers 0-27, ascending")

    @classmethod
    def read(cls, path: Path) -> "Statistics":
        """Read ``statistics.json``; a `UserError` if it is missing or damaged."""
        return files.read_json(path, SCRIPT, cls)


def write_statistics(
    path: Path, classes: np.ndarray, channels: dict[int, list[dict[str, list[float]]]]
) -> None:
    """Write ``statistics.json``; `channels` holds, by size, what `read_channel_statistics` returns."""
    by_size = {str(size): statistics for size, statistics in channels.items()}
    files.write_json(path, {"classes": classes.tolist(), "channels": by_size})


def read_channel_statistics(path: Path, size: int, folds: int | None = None) -> list[dict[str, list[float]]]:
    """Read the channel statistics of a size from ``statistics.json``.

    Parameters
    ----------
    folds : int or None
        Number of folds that there must be, 1 in a single split; None: any.

    Returns
    -------
    list of dict of list of 4 float
        For every fold, ``mean`` and ``std`` of the training rows, grey levels 0-255, R G B Y.

    Raises
    ------
    UserError
        If the size is not among those of the run.
    """
    channels = Statistics.read(path).channels
    if str(size) not in channels:
        raise UserError(
            f"{path} has the sizes {', '.join(channels)}, not {size}: "
            f"run `python 00_prepare.py` with data.sizes={size} for a run of another name (--run NAME)"
        )
    if folds not in (None, len(channels[str(size)])):
        raise files.damaged(path, f"it has {len(channels[str(size)])} folds, the split has {folds}", SCRIPT)
    return [asdict(statistics) for statistics in channels[str(size)]]
