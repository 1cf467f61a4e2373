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

SUBSETS = ("train", "validation", "holdout")  # of the labelled samples


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
    """Read ``index.csv``; a `UserError` names the stage that creates it where it is missing."""
    table = pd.read_csv(files.require(path, "00_prepare.py"), dtype=str, keep_default_na=False)
    train = table[table["set"] == "train"]
    return SampleIndex(
        train_ids=list(train["id"]),
        targets=[parse_target(text) for text in train["target"]],
        test_ids=list(table.loc[table["set"] == "test", "id"]),
    )
