"""The table of duplicates that stage 00 leaves in the cache: read here without OpenCV.

`lib.data.duplicates` finds them.
"""

from pathlib import Path

import pandas as pd

from lib import files
from lib.stage_files import COUNT

SCRIPT = "00_prepare.py"  # writes the table
DISTANCE_COLUMNS = ("distance_red", "distance_green", "distance_blue")
COLUMNS = ("a", "b", *DISTANCE_COLUMNS, "correlation", "kind")


def read(path: Path) -> pd.DataFrame:
    """Read ``duplicates.csv``.

    Returns
    -------
    DataFrame
        A row per pair, in the order of the rows of the two images in the tables; columns

        - a, b: ids; a is the earlier row;
        - distance_red, distance_green, distance_blue: bits by which the hashes differ, 0 to 64;
        - correlation: of the thumbnails, second highest of the three channels, at most 1;
        - kind: the sets of a and b, such as train-test.

    Raises
    ------
    UserError
        If the file is missing or is not such a table.
    """
    numbers = dict.fromkeys(DISTANCE_COLUMNS, COUNT) | {"correlation": (-1.0, 1.0)}
    return files.read_results(path, SCRIPT, ("a", "b", "kind"), numbers, may_be_empty=True)


def describe(pairs: pd.DataFrame) -> str:
    """Return how many images of the training and of the test set duplicate the other's; empty if none does.

    Parameters
    ----------
    pairs : DataFrame
        As `read` returns it.
    """
    found = pairs[pairs["kind"] == "train-test"]
    if found.empty:
        return ""
    return (
        f"training images with a duplicate in the test set: {found['a'].nunique():,} "
        f"(test images with one in the training set: {found['b'].nunique():,})"
    )
