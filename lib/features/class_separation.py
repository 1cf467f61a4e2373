"""How well each feature alone separates the samples with a class from those without it."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from lib.labels import CLASSES


def by_class(features: pd.DataFrame, truth_NC: np.ndarray) -> pd.DataFrame:
    """Compute the area under the ROC curve of every feature for every class.

    The area is the probability that a sample with the class has a larger value than a sample without it,
    where ties count half (Mann and Whitney 1947): 0.5 means no separation, 0 and 1 complete separation.

    Parameters
    ----------
    features : DataFrame
        One row per sample, one column per feature; nan, an undefined value, is left out.
    truth_NC : ndarray of shape (N, C), bool

    Returns
    -------
    DataFrame
        One row per class with at least one sample (index: class name), one column per feature, values in
        [0, 1]; nan where no sample with the class, or none without it, has a value.
    """
    present = np.flatnonzero(truth_NC.any(axis=0))
    table = {name: _areas(values.to_numpy(), truth_NC[:, present]) for name, values in features.items()}
    return pd.DataFrame(table, index=pd.Index([CLASSES[label] for label in present], name="class"))


def _areas(values_N: np.ndarray, truth_NC: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each class, from rank sums."""
    defined_N = ~np.isnan(values_N)
    rank_N, truth_NC = rankdata(values_N[defined_N]), truth_NC[defined_N]
    positives_C = truth_NC.sum(axis=0)
    pairs_C = positives_C * (len(rank_N) - positives_C)
    larger_C = rank_N @ truth_NC - positives_C * (positives_C + 1) / 2
    return np.divide(larger_C, pairs_C, out=np.full(len(positives_C), np.nan), where=pairs_C > 0)
