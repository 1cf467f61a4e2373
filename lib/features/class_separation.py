"""How well one number alone tells samples with a class from those without."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from lib.labels import CLASSES


def by_class(features: pd.DataFrame, truth_NC: np.ndarray) -> pd.DataFrame:
    """Compare every feature over samples with and without every class.

    Parameters
    ----------
    features : DataFrame
        A row a sample, a column a feature; nan where a value cannot be said: left out.
    truth_NC : ndarray of shape (N, C), bool

    Returns
    -------
    DataFrame
        A row (index: name) for each class with a sample, a column a feature: the chance that a sample
        with the class has the larger value than one without, ties counting half. That is the area under
        the ROC curve: 0.5 tells nothing, 0 and 1 everything; nan where one side is empty.
    """
    present = np.flatnonzero(truth_NC.any(axis=0))
    table = {name: _areas(values.to_numpy(), truth_NC[:, present]) for name, values in features.items()}
    return pd.DataFrame(table, index=pd.Index([CLASSES[label] for label in present], name="class"))


def _areas(values_N: np.ndarray, truth_NC: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each class, from rank sums (Mann and Whitney 1947)."""
    said = ~np.isnan(values_N)
    rank_N, truth_NC = rankdata(values_N[said]), truth_NC[said]
    with_C = truth_NC.sum(axis=0)
    pairs_C = with_C * (len(rank_N) - with_C)
    larger_C = rank_N @ truth_NC - with_C * (with_C + 1) / 2
    return np.divide(larger_C, pairs_C, out=np.full(len(with_C), np.nan), where=pairs_C > 0)
