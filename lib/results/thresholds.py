"""From probabilities to yes and no: one threshold a class."""

import numpy as np

from lib.config import Threshold
from lib.labels import CLASSES


def best_f1_threshold(truth_N: np.ndarray, probability_N: np.ndarray) -> tuple[float, float]:
    """Find the threshold with the highest F1, exactly.

    Only cuts between two different probabilities can differ, so those are tried, all of them: sorted
    once, true positives counted from the top. Of equally good cuts the highest is taken.

    Parameters
    ----------
    truth_N : ndarray of shape (N,), bool
        At least one is true.
    probability_N : ndarray of shape (N,), float, in [0, 1]

    Returns
    -------
    threshold, f1 : float
        ``probability >= threshold`` is a yes. The threshold lies half way between the two
        probabilities that it parts, or is 0 where all are a yes.

    Examples
    --------
    >>> best_f1_threshold(np.array([True, False, True]), np.array([0.9, 0.2, 0.6]))
    (0.4, 1.0)
    """
    order = np.argsort(-probability_N, kind="stable")
    sorted_N = probability_N[order].astype(np.float64)
    hits_N = np.cumsum(truth_N[order])
    predicted_N = np.arange(1, len(order) + 1)
    f1_N = 2 * hits_N / (predicted_N + hits_N[-1])
    # equal probabilities get equal decisions: a cut can only follow the last of them
    last_of_equals = np.append(sorted_N[1:] < sorted_N[:-1], True)
    best = int(np.argmax(np.where(last_of_equals, f1_N, -1)))
    lower = sorted_N[best + 1] if best + 1 < len(order) else -sorted_N[best]
    return float((sorted_N[best] + lower) / 2), float(f1_N[best])


def tune(truth_NC: np.ndarray, probabilities_NC: np.ndarray, settings: Threshold) -> np.ndarray:
    """Choose a threshold for every class on samples with known labels.

    Returns
    -------
    ndarray of shape (C,), float64
        ``settings.fixed`` for method fixed, and for a class that no sample carries.
    """
    thresholds_C = np.full(truth_NC.shape[1], settings.fixed)
    if settings.method == "f1":
        for label in np.flatnonzero(truth_NC.any(axis=0)):
            thresholds_C[label], _ = best_f1_threshold(truth_NC[:, label], probabilities_NC[:, label])
    return thresholds_C


def decide(probabilities_NC: np.ndarray, thresholds_C: np.ndarray) -> np.ndarray:
    """Return decision_NC, bool: yes where a probability reaches its class's threshold."""
    return probabilities_NC.astype(np.float64) >= thresholds_C


def at_least_one(decision_NC: np.ndarray, probabilities_NC: np.ndarray) -> np.ndarray:
    """Give every sample without a yes its most probable class; returns a new decision_NC."""
    result_NC = decision_NC.copy()
    empty = ~decision_NC.any(axis=1)
    result_NC[empty, probabilities_NC[empty].argmax(axis=1)] = True
    return result_NC


def submitted(probabilities_NC: np.ndarray, thresholds_C: np.ndarray) -> np.ndarray:
    """Return the decisions that are handed in: `decide`, then `at_least_one`."""
    return at_least_one(decide(probabilities_NC, thresholds_C), probabilities_NC)


def as_table(thresholds_C: np.ndarray) -> dict[str, float]:
    """Return thresholds by class name, for a JSON file; `from_table` reads it back."""
    return dict(zip(CLASSES, thresholds_C.tolist(), strict=True))


def from_table(table: dict[str, float]) -> np.ndarray:
    """Return thresholds_C of a table by class name."""
    return np.array([table[name] for name in CLASSES])
