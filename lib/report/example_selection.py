"""Which samples show best what a predictor gets right, what wrong, and what it is unsure of."""

from typing import NamedTuple

import numpy as np
from scipy.special import logit

from lib.evaluation.calibration import SMALLEST

KINDS = {
    "right": "has it and is given it; the most certain",
    "wrong": "is given it and has it not; the most certain",
    "missed": "has it and is not given it; the least thought of",
    "unsure": "nearest to the threshold, on either side",
}


class Example(NamedTuple):
    """A sample (its row) shown for a class, and which of `KINDS` it is."""

    label: int
    kind: str
    row: int


def choose(
    truth_NC: np.ndarray,
    probabilities_NC: np.ndarray,
    decision_NC: np.ndarray,
    thresholds_C: np.ndarray,
    classes: list[int],
    each: int,
) -> list[Example]:
    """Choose up to `each` samples of every kind for every class; no sample twice for the same class.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
    probabilities_NC : ndarray of shape (N, C), float
    thresholds_C : ndarray of shape (C,)
        Distance to them is taken in logits.
    classes : list of int
        Class numbers, in the order in which they are shown.
    """
    found = []
    for label in classes:
        has_N, given_N, said_N = truth_NC[:, label], decision_NC[:, label], probabilities_NC[:, label]
        distance_N = np.abs(_logit(said_N) - _logit(thresholds_C[label]))
        taken: set[int] = set()
        for kind, among_N, order_N in (
            ("right", has_N & given_N, -said_N),
            ("wrong", ~has_N & given_N, -said_N),
            ("missed", has_N & ~given_N, said_N),
            ("unsure", np.ones(len(said_N), bool), distance_N),
        ):
            rows = [row for row in np.argsort(order_N, kind="stable").tolist() if among_N[row]]
            chosen = [row for row in rows if row not in taken][:each]
            taken.update(chosen)
            found += [Example(label, kind, row) for row in chosen]
    return found


def _logit(probability: np.ndarray) -> np.ndarray:
    return logit(np.clip(np.asarray(probability, np.float64), SMALLEST, 1 - SMALLEST))
