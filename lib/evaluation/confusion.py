"""Confusions between classes in multi-label decisions."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.labels import CLASSES
from lib.stage_files import COUNT, SHARE

COLUMNS = {"samples": COUNT, "share": SHARE, "lift": COUNT, "missed": COUNT}  # of numbers, and their bounds
MIN_SAMPLES = 3  # fewer may well be chance
MIN_LIFT = 1.3  # false positives of a class, relative to all samples without it


def matrix(truth_NC: np.ndarray, decision_NC: np.ndarray) -> np.ndarray:
    """Return the confusion matrix of multi-label decisions.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool

    Returns
    -------
    ndarray of shape (C, C), float64, in [0, 1]
        Row: true class, column: predicted class. Off the diagonal: of the samples that have the row's class
        and lack the column's, the share for which the column's class is predicted. On the diagonal: recall.
        nan where there are no such samples.
    """
    truth_float_NC, lacking_NC = truth_NC.astype(np.float64), (~truth_NC).astype(np.float64)
    wrong_CC, possible_CC = truth_float_NC.T @ (decision_NC & ~truth_NC), truth_float_NC.T @ lacking_NC
    diagonal = np.arange(truth_NC.shape[1])
    wrong_CC[diagonal, diagonal] = (truth_NC & decision_NC).sum(axis=0)
    possible_CC[diagonal, diagonal] = truth_NC.sum(axis=0)
    return np.divide(wrong_CC, possible_CC, out=np.full_like(wrong_CC, np.nan), where=possible_CC > 0)


def frequent_confusions(truth_NC: np.ndarray, decision_NC: np.ndarray, classes: list[int]) -> pd.DataFrame:
    """Find pairs of classes that are confused more often than expected by chance.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
    classes : list of int
        Class numbers to consider.

    Returns
    -------
    DataFrame
        One row per pair with at least `MIN_SAMPLES` samples and a lift of at least `MIN_LIFT`: class (name of
        the true class), predicted_as (name of the wrongly predicted class, which the samples lack), samples
        (that have the one and are wrongly predicted to have the other), share (of the samples that have the
        one and lack the other), lift (share divided by that of all samples that lack the other), missed (for
        how many of these samples the true class is not predicted). Sorted by the difference between the share
        and that of all samples, largest first.
    """
    wrong_NC = decision_NC & ~truth_NC
    share_CC = matrix(truth_NC, decision_NC)
    lacking_C = (~truth_NC).sum(axis=0)
    base_C = np.divide(wrong_NC.sum(axis=0), lacking_C, out=np.zeros(len(lacking_C)), where=lacking_C > 0)
    rows = []
    for label in classes:
        for wrong in classes:
            both_N = truth_NC[:, label] & wrong_NC[:, wrong]
            share, base = share_CC[label, wrong], base_C[wrong]
            if wrong != label and both_N.sum() >= MIN_SAMPLES and share >= MIN_LIFT * base:
                missed = (both_N & ~decision_NC[:, label]).sum()
                pair = CLASSES[label], CLASSES[wrong]
                rows.append((*pair, both_N.sum(), share, share / base, missed, share - base))
    columns = ["class", "predicted_as", *COLUMNS, "excess"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("excess", ascending=False, kind="stable").drop(columns="excess")


def read(path: Path) -> pd.DataFrame:
    """Read a table of `frequent_confusions`, which stage 04 wrote; a `UserError` if it is damaged."""
    return files.read_results(path, "04_threshold.py", ("class", "predicted_as"), COLUMNS, may_be_empty=True)
