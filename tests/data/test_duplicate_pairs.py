"""The table of duplicates is read as it was written, and says how many images are in both sets."""

import pandas as pd
import pytest

from lib.data import duplicate_pairs
from lib.errors import UserError


def table_of(*pairs):
    """Return a table of pairs (a, b, kind)."""
    rows = [(a, b, 1, 2, 3, 0.9, kind) for a, b, kind in pairs]
    return pd.DataFrame(rows, columns=duplicate_pairs.COLUMNS)


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "\0\0", None])
def test_a_table_that_is_missing_or_damaged_names_the_remedy(tmp_path, content):
    path = tmp_path / "duplicates.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"duplicates\.csv.*00_prepare\.py"):
        duplicate_pairs.read(path)


def test_ids_that_look_like_numbers_or_gaps_stay_text(tmp_path):
    path, table = tmp_path / "duplicates.csv", table_of(("001", "NA", "train-test"))
    table.to_csv(path, index=False)
    assert duplicate_pairs.read(path).iloc[0].tolist() == table.iloc[0].tolist()


def test_images_in_both_sets_are_counted_once_on_each_side():
    across = [("a", "x", "train-test"), ("a", "y", "train-test"), ("b", "x", "train-test"),
              ("c", "x", "train-test")]  # fmt: skip
    text = duplicate_pairs.describe(table_of(*across, ("c", "d", "train-train"), ("y", "z", "test-test")))
    assert "duplicate in the test set: 3 " in text and "in the training set: 2)" in text
    assert duplicate_pairs.describe(table_of(("c", "d", "train-train"))) == ""
