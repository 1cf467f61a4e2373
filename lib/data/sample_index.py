"""The sample index: all samples of a dataset and their labels.

``index.csv`` (columns id, set, target) lies in the dataset's cache and gives the row order of every array:
the labelled samples in the order of ``train.csv``, then the test samples in the order of
``sample_submission.csv``.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.labels import parse_target, target_matrix
from lib.stage_files import rewrite

SCRIPT = "00_prepare.py"  # writes the index
SUBSETS = ("train", "validation", "holdout", "siblings")  # of the labelled samples


@dataclass(frozen=True)
class SampleIndex:
    """All samples of a dataset, in the row order of its arrays.

    Attributes
    ----------
    train_ids : list of str, length N
    targets : list of tuple of int, length N
        Class numbers of the labelled samples.
    test_ids : list of str
    """

    train_ids: list[str]
    targets: list[tuple[int, ...]]
    test_ids: list[str]

    @property
    def ids(self) -> dict[str, list[str]]:
        """Ids by folder of images: train and test."""
        return {"train": self.train_ids, "test": self.test_ids}

    @cached_property
    def truth_NC(self) -> np.ndarray:
        """Labels of the labelled samples, shape (N, C), bool."""
        return target_matrix(self.targets)


def write_index(path: Path, index: SampleIndex) -> None:
    """Write ``index.csv``."""
    table = pd.DataFrame(
        {
            "id": index.train_ids + index.test_ids,
            "set": ["train"] * len(index.train_ids) + ["test"] * len(index.test_ids),
            "target": [" ".join(map(str, labels)) for labels in index.targets] + [""] * len(index.test_ids),
        }
    )
    files.write_text(path, table.to_csv(index=False))


def read_index(path: Path) -> SampleIndex:
    """Read ``index.csv``; a `UserError` names the stage that creates it where it is missing or damaged."""
    with files.reading(path, SCRIPT):
        table = files.read_table(path, rewrite(SCRIPT), ("id", "set", "target"))
        is_train = table["set"] == "train"
        other = table[~is_train & ((table["set"] != "test") | (table["target"] != ""))]
        repeated = table[table["id"].duplicated() | (table["id"] == "")]
        for wrong, reason in ((other, "is no sample of train or test"), (repeated, "repeats or lacks an id")):
            if len(wrong):
                raise ValueError(f"line {wrong.index[0]} {reason}")
        if not is_train.any() or not is_train.is_monotonic_decreasing:
            raise ValueError("the labelled samples are missing, or do not come first")
        train = table[is_train]
        return SampleIndex(
            train_ids=list(train["id"]),
            targets=[parse_target(text) for text in train["target"]],
            test_ids=list(table.loc[~is_train, "id"]),
        )
