"""The sample table: which samples there are, what their labels are, and which subset each is in.

``index.csv`` (columns id, set, target) lies in the dataset's cache and gives the row order of every
array: the labelled samples in the order of ``train.csv``, then the test samples in the order of
``sample_submission.csv``. ``split.csv`` (columns id, subset, fold) lies in the run's folder.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.errors import UserError
from lib.labels import parse_target, target_matrix

SUBSETS = ("train", "validation", "holdout")  # of the labelled samples


@dataclass(frozen=True)
class Index:
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
        """Labels as a table of yes and no, shape (N, C), bool."""
        return target_matrix(self.targets)


def write_index(path: Path, index: Index) -> None:
    """Write ``index.csv``."""
    table = pd.DataFrame(
        {
            "id": index.train_ids + index.test_ids,
            "set": ["train"] * len(index.train_ids) + ["test"] * len(index.test_ids),
            "target": [" ".join(map(str, labels)) for labels in index.targets] + [""] * len(index.test_ids),
        }
    )
    files.write_text(path, table.to_csv(index=False))


def read_index(path: Path) -> Index:
    """Read ``index.csv``; a `UserError` names the stage that makes it where it is missing."""
    table = pd.read_csv(files.require(path, "00_prepare.py"), dtype=str, keep_default_na=False)
    train = table[table["set"] == "train"]
    return Index(
        train_ids=list(train["id"]),
        targets=[parse_target(text) for text in train["target"]],
        test_ids=list(table.loc[table["set"] == "test", "id"]),
    )


def read_subsets(path: Path, index: Index) -> dict[str, np.ndarray]:
    """Read ``split.csv``.

    Returns
    -------
    dict of ndarray of int
        Row numbers in the index, ascending, of the subsets train, validation and holdout; a subset
        without samples is left out.
    """
    split = pd.read_csv(files.require(path, "00_prepare.py"), dtype={"id": str})
    row_of = {sample: row for row, sample in enumerate(index.train_ids)}
    rows = split["id"].map(row_of).to_numpy()
    return {
        name: np.sort(rows[split["subset"] == name]) for name in SUBSETS if (split["subset"] == name).any()
    }


def read_classes(path: Path) -> list[int]:
    """Read the class numbers that the run keeps from ``statistics.json``."""
    return files.read_json(files.require(path, "00_prepare.py"))["classes"]


def read_statistics(path: Path, size: int) -> tuple[list[int], dict[str, list[float]]]:
    """Read ``statistics.json``.

    Returns
    -------
    classes : list of int
        The class numbers that the run keeps.
    channels : dict of list of 4 float
        ``mean`` and ``deviation`` of the training rows at this size, grey levels 0-255, R G B Y.
    """
    statistics = files.read_json(files.require(path, "00_prepare.py"))
    if str(size) not in statistics["channels"]:
        raise UserError(
            f"{path} knows the sizes {', '.join(statistics['channels'])}, not {size}: "
            f"run `python 00_prepare.py` with data.sizes={size} for a run of another name (--run NAME)"
        )
    return statistics["classes"], statistics["channels"][str(size)]
