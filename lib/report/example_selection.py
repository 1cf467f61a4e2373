"""Selects samples that illustrate what a predictor gets right and wrong, and where it is uncertain."""

from typing import NamedTuple

import numpy as np
from scipy.special import logit

from lib.evaluation.calibration import SMALLEST

KINDS = {
    "correct": "true positives with the highest probability",
    "wrong": "false positives with the highest probability",
    "missed": "false negatives with the lowest probability",
    "uncertain": "probabilities closest to the threshold, on either side",
}


class Example(NamedTuple):
    """A sample (its row) selected for a class, and its kind, of `KINDS`."""

    label: int
    kind: str
    row: int


def choose(
    truth_NC: np.ndarray,
    probabilities_NC: np.ndarray,
    decision_NC: np.ndarray,
    thresholds: np.ndarray,
    classes: list[int],
    each: int,
) -> list[Example]:
    """Select up to `each` samples of every kind for every class; no sample twice for the same class.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
    probabilities_NC : ndarray of shape (N, C), float
    thresholds : ndarray of shape (C,) or (N, C)
        The distance to them is measured in logits.
    classes : list of int
        Class numbers, in the order in which they are shown.
    """
    found = []
    thresholds_NC = np.broadcast_to(thresholds, probabilities_NC.shape)
    for label in classes:
        true_N, decided_N, probability_N = (
            table_NC[:, label] for table_NC in (truth_NC, decision_NC, probabilities_NC)
        )
        distance_N = np.abs(_logit(probability_N) - _logit(thresholds_NC[:, label]))
        taken: set[int] = set()
        for kind, among_N, order_N in (
            ("correct", true_N & decided_N, -probability_N),
            ("wrong", ~true_N & decided_N, -probability_N),
            ("missed", true_N & ~decided_N, probability_N),
            ("uncertain", np.ones(len(probability_N), bool), distance_N),
        ):
            rows = [row for row in np.argsort(order_N, kind="stable").tolist() if among_N[row]]
            chosen = [row for row in rows if row not in taken][:each]
            taken.update(chosen)
            found += [Example(label, kind, row) for row in chosen]
    return found


def _logit(probability: np.ndarray) -> np.ndarray:
    return logit(np.clip(np.asarray(probability, np.float64), SMALLEST, 1 - SMALLEST))
