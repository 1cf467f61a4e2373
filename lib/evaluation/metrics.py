"""Scores from yes and no: precision, recall, F1, prediction advantage, macro-F1."""

import numpy as np
import pandas as pd

from lib.labels import CLASSES


def f1_per_class(truth_NC: np.ndarray, decision_NC: np.ndarray) -> np.ndarray:
    """Score each class for itself.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool

    Returns
    -------
    ndarray of shape (C,), float64, in [0, 1]
        ``2 TP / (2 TP + FP + FN)``; 0 for a class with no positive on either side, as Kaggle's
        scorer and scikit-learn with ``zero_division=0`` have it.
    """
    hits_C = (truth_NC & decision_NC).sum(axis=0)
    return _ratio(2 * hits_C, truth_NC.sum(axis=0) + decision_NC.sum(axis=0))


def macro_f1(truth_NC: np.ndarray, decision_NC: np.ndarray) -> float:
    """Return the mean of the classes' F1 scores, each class counting alike: Kaggle's score."""
    return float(f1_per_class(truth_NC, decision_NC).mean())


def scores(truth_NC: np.ndarray, decision_NC: np.ndarray) -> pd.DataFrame:
    """Score each column in every way that the papers report.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
        C columns of any meaning: classes, or groups of them.

    Returns
    -------
    DataFrame
        A row a column: support and predicted (samples that carry and that were
        given the class), frequency (support's share), precision, recall, f1, and
        prediction_advantage ``1 - (1 - F1) / (1 - frequency)`` (Hoogenboom 2019, equation 7):
        0 is as good as guessing by frequency, 1 is perfect.
    """
    hits_C = (truth_NC & decision_NC).sum(axis=0)
    support_C, predicted_C = truth_NC.sum(axis=0), decision_NC.sum(axis=0)
    f1_C = f1_per_class(truth_NC, decision_NC)
    frequency_C = support_C / max(len(truth_NC), 1)
    return pd.DataFrame(
        {
            "support": support_C,
            "predicted": predicted_C,
            "frequency": frequency_C,
            "precision": _ratio(hits_C, predicted_C),
            "recall": _ratio(hits_C, support_C),
            "f1": f1_C,
            "prediction_advantage": prediction_advantage(f1_C, frequency_C),
        }
    )


def class_scores(truth_NC: np.ndarray, decision_NC: np.ndarray) -> pd.DataFrame:
    """Return the `scores` of all 28 classes, in Kaggle's order, by name."""
    return scores(truth_NC, decision_NC).set_index(pd.Index(CLASSES, name="class"))


def prediction_advantage(f1: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return ``1 - (1 - F1) / (1 - frequency)``; nan for a class that every sample carries."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(frequency < 1, 1 - (1 - f1) / (1 - frequency), np.nan)


def expected_f1(chances_NC: np.ndarray, decision_NC: np.ndarray) -> np.ndarray:
    """Return the F1 that is expected of decisions on samples without labels, class by class.

    ``2 * (sum of the chances of what is given the class) / (number given it + sum of all chances)``: the
    plug-in value that `thresholds.expected_f1_threshold` maximises.

    Parameters
    ----------
    chances_NC : ndarray of shape (N, C), float, in [0, 1]
        How likely each sample carries each class.
    decision_NC : ndarray of shape (N, C), bool
    """
    hits_C = np.where(decision_NC, chances_NC, 0).sum(axis=0)
    return _ratio(2 * hits_C, decision_NC.sum(axis=0) + chances_NC.sum(axis=0))


def macro_f1_interval(
    truth_NC: np.ndarray, decision_NC: np.ndarray, draws: int = 1000, share: float = 0.95
) -> tuple[float, float]:
    """Return between what the macro-F1 lies with the given certainty, were there other samples.

    The Bayesian bootstrap (Rubin 1981): every sample is weighted at random, by an exponential. Unlike drawing
    samples, it never leaves a rare class without one, which would pull the macro-F1 down.
    """
    weight_DN = np.random.default_rng(0).standard_exponential((draws, len(truth_NC)), np.float32)
    hits_DC, truth_DC, decision_DC = (
        weight_DN @ table.astype(np.float32) for table in (truth_NC & decision_NC, truth_NC, decision_NC)
    )
    total_DC = truth_DC + decision_DC
    f1_DC = np.divide(2 * hits_DC, total_DC, out=np.zeros_like(total_DC), where=total_DC > 0)
    low, high = np.quantile(f1_DC.mean(axis=1), [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def guessing_macro_f1(truth_NC: np.ndarray, frequency_C: np.ndarray) -> float:
    """Return the macro-F1 expected of guessing each class by chance with its frequency.

    With share t of a class true and share q guessed, F1 is close to ``2 t q / (t + q)``.
    """
    truth_C = truth_NC.mean(axis=0)
    return float(_ratio(2 * truth_C * frequency_C, truth_C + frequency_C).mean())


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
