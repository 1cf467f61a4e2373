"""Scores of decisions: precision, recall, F1, prediction advantage and macro-F1."""

import numpy as np
import pandas as pd

from lib.labels import CLASSES


def f1_per_class(
    truth_NC: np.ndarray, decision_NC: np.ndarray, weight_N: np.ndarray | None = None
) -> np.ndarray:
    """Return the F1 score of each class.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
    weight_N : ndarray of shape (N,), float, or None
        Weight of each sample. Default: 1.

    Returns
    -------
    ndarray of shape (C,), float64, in [0, 1]
        ``2 TP / (2 TP + FP + FN)``; 0 for a class that is neither present nor predicted, as in Kaggle's
        scorer and in scikit-learn with ``zero_division=0``.
    """
    weight_N = np.ones(len(truth_NC)) if weight_N is None else weight_N
    true_positives_C = weight_N @ (truth_NC & decision_NC)
    return _ratio(2 * true_positives_C, weight_N @ truth_NC + weight_N @ decision_NC)


def macro_f1(truth_NC: np.ndarray, decision_NC: np.ndarray, weight_N: np.ndarray | None = None) -> float:
    """Return the unweighted mean of the classes' F1 scores, the competition's metric; see `f1_per_class`."""
    return float(f1_per_class(truth_NC, decision_NC, weight_N).mean())


def scores(truth_NC: np.ndarray, decision_NC: np.ndarray) -> pd.DataFrame:
    """Compute all scores that the papers report, for each column.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
        The columns are classes or groups of classes.

    Returns
    -------
    DataFrame
        One row per column: support (samples that have it), predicted (samples it is predicted for), frequency
        (support over N), precision, recall, f1, and prediction_advantage.
    """
    true_positives_C = (truth_NC & decision_NC).sum(axis=0)
    support_C, predicted_C = truth_NC.sum(axis=0), decision_NC.sum(axis=0)
    f1_C = f1_per_class(truth_NC, decision_NC)
    frequency_C = support_C / max(len(truth_NC), 1)
    return pd.DataFrame(
        {
            "support": support_C,
            "predicted": predicted_C,
            "frequency": frequency_C,
            "precision": _ratio(true_positives_C, predicted_C),
            "recall": _ratio(true_positives_C, support_C),
            "f1": f1_C,
            "prediction_advantage": prediction_advantage(f1_C, frequency_C),
        }
    )


def class_scores(truth_NC: np.ndarray, decision_NC: np.ndarray) -> pd.DataFrame:
    """Return the `scores` of all 28 classes, in Kaggle's order; the index holds their names."""
    return scores(truth_NC, decision_NC).set_index(pd.Index(CLASSES, name="class"))


def prediction_advantage(f1: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return ``1 - (1 - F1) / (1 - frequency)`` (Hoogenboom 2019, equation 7).

    0 is no better than guessing by frequency, 1 is perfect; nan for a class that every sample has.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(frequency < 1, 1 - (1 - f1) / (1 - frequency), np.nan)


def expected_f1(calibrated_NC: np.ndarray, decision_NC: np.ndarray) -> np.ndarray:
    """Estimate the F1 score of decisions on unlabelled samples, class by class.

    ``2 * (sum of the probabilities of predicted samples) / (predicted samples + sum of all probabilities)``:
    the plug-in estimate that `thresholds.expected_f1_threshold` maximises.

    Parameters
    ----------
    calibrated_NC : ndarray of shape (N, C), float, in [0, 1]
        Calibrated probabilities.
    decision_NC : ndarray of shape (N, C), bool

    Returns
    -------
    ndarray of shape (C,), float64, in [0, 1]
    """
    true_positives_C = np.where(decision_NC, calibrated_NC, 0).sum(axis=0)
    return _ratio(2 * true_positives_C, decision_NC.sum(axis=0) + calibrated_NC.sum(axis=0))


def guessing_macro_f1(truth_NC: np.ndarray, frequency_C: np.ndarray) -> float:
    """Return the macro-F1 expected when every class is guessed at random with the given frequency.

    If a class has frequency t and is guessed with frequency q, its F1 is close to ``2 t q / (t + q)``.
    """
    truth_C = truth_NC.mean(axis=0)
    return float(_ratio(2 * truth_C * frequency_C, truth_C + frequency_C).mean())


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
