"""Strata: kinds of samples whose shares differ between the labelled samples and the test set.

For example original image sizes: half of Kaggle's test images come from large originals, a fifth of its
training images. Weighting the samples of a stratum by the ratio of the shares makes a score that of the test
set's mixture.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, tables
from lib.console import warn
from lib.errors import UserError


def read_strata(path: Path, ids: list[str]) -> np.ndarray:
    """Read the stratum of every sample.

    Parameters
    ----------
    path : Path
        A CSV file with the column id and one other, the stratum; a column ``set`` is ignored.
    ids : list of str, length N

    Returns
    -------
    ndarray of shape (N,), object
        Text of the other column.

    Raises
    ------
    UserError
        If the table cannot be read, has other columns, lists an id twice or lacks one of the ids.
    """
    expected = "expected the column id and one other, for example id,side"
    table = files.read_table(path, expected, ("id",))
    columns = [name for name in table if name not in ("id", "set")]
    if len(columns) != 1:
        raise UserError(f"{path} has the columns {','.join(table)}; {expected}")
    tables.lines_by_id(path, table["id"])
    stratum_of = dict(zip(table["id"], table[columns[0]], strict=True))
    missing = [sample for sample in ids if sample not in stratum_of]
    if missing:
        raise UserError(
            f"{path} lacks {len(missing):,} of the {len(ids):,} samples, for example {missing[0]}: "
            f"add a row for each"
        )
    return np.array([stratum_of[sample] for sample in ids], dtype=object)


def weights(stratum_N: np.ndarray, target_M: np.ndarray, what: str) -> np.ndarray:
    """Return weights that give samples the mixture of strata of others.

    Parameters
    ----------
    stratum_N : ndarray of shape (N,), object
        Strata of the samples that are weighted.
    target_M : ndarray of shape (M,), object
        Strata of the samples whose mixture is wanted.
    what : str
        Names the weighted samples in the warning where some of the mixture's strata do not occur among them.

    Returns
    -------
    ndarray of shape (N,), float64
        Share of the sample's stratum in the target over its share here, scaled to a mean of 1.
    """
    here, target = (pd.Series(strata).value_counts(normalize=True) for strata in (stratum_N, target_M))
    absent = target[~target.index.isin(here.index)]
    if absent.sum() > 0:
        warn(
            f"{absent.sum():.1%} of the test samples are of a stratum that {what} lacks ({absent.index[0]}): "
            f"the weighted score leaves them out"
        )
    ratio = target.reindex(here.index).fillna(0.0) / here
    weight_N = ratio.loc[stratum_N].to_numpy()
    if not weight_N.any():
        raise UserError(f"no stratum of the test samples occurs in {what}: check split.strata")
    return weight_N / weight_N.mean()
