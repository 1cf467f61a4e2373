"""What samples of a class are wrongly given: the confusions of a multi-label decision."""

import numpy as np
import pandas as pd

from lib.labels import CLASSES

FEWEST = 3  # samples: fewer is chance
LEAST_LIFT = 1.3  # times as often as other samples are given it


def matrix(truth_NC: np.ndarray, decision_NC: np.ndarray) -> np.ndarray:
    """Return share_CC: of the samples that carry the row's class but not the column's, how many are given it.

    In [0, 1]; nan where there are none. The diagonal is recall: of the samples that carry the class, how many
    are given it.
    """
    carries_NC, lacks_NC = truth_NC.astype(np.float64), (~truth_NC).astype(np.float64)
    wrong_CC, could_CC = carries_NC.T @ (decision_NC & ~truth_NC), carries_NC.T @ lacks_NC
    own = np.arange(truth_NC.shape[1])
    wrong_CC[own, own], could_CC[own, own] = (truth_NC & decision_NC).sum(axis=0), truth_NC.sum(axis=0)
    return np.divide(wrong_CC, could_CC, out=np.full_like(wrong_CC, np.nan), where=could_CC > 0)


def that_matter(truth_NC: np.ndarray, decision_NC: np.ndarray, classes: list[int]) -> pd.DataFrame:
    """Return which classes are taken for which others, more often than chance says.

    Returns
    -------
    DataFrame
        A row for each pair of classes: class, given (in its place or beside it), samples (that carry the
        class and are wrongly given the other), share (of those that carry the class and lack the other),
        lift (this share over that of all samples that lack the other), and missed (how many of the samples
        are not given the class itself). Only pairs of at least `FEWEST` samples and a lift of `LEAST_LIFT`;
        sorted by how much the share exceeds that of all samples, largest first.
    """
    wrong_NC = decision_NC & ~truth_NC
    share_CC = matrix(truth_NC, decision_NC)
    lacking_C = (~truth_NC).sum(axis=0)
    base_C = np.divide(wrong_NC.sum(axis=0), lacking_C, out=np.zeros(len(lacking_C)), where=lacking_C > 0)
    rows = []
    for label in classes:
        for given in classes:
            both_N = truth_NC[:, label] & wrong_NC[:, given]
            share, base = share_CC[label, given], base_C[given]
            if given != label and both_N.sum() >= FEWEST and share >= LEAST_LIFT * base:
                missed = (both_N & ~decision_NC[:, label]).sum()
                pair = CLASSES[label], CLASSES[given]
                rows.append((*pair, both_N.sum(), share, share / base, missed, share - base))
    table = pd.DataFrame(rows, columns=["class", "given", "samples", "share", "lift", "missed", "excess"])
    return table.sort_values("excess", ascending=False, kind="stable").drop(columns="excess")
