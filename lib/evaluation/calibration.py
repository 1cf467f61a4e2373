"""Calibration of predicted probabilities, its measurement, and adjustment to other class frequencies."""

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from lib.labels import CLASSES

SMALLEST = 1e-7  # probabilities are clipped to [SMALLEST, 1 - SMALLEST], so that logits stay finite
# probabilities up to this are of samples that hard routing sends to no group: they only rank the labels
NOWHERE = 1e-6
MAX_ITERATIONS, TOLERANCE = 500, 1e-6  # of the expectation maximisation
BINS = 8  # of a reliability curve


class Calibration:
    """Platt scaling: a slope and an offset for the logit of each class, by logistic regression (Platt 1999).

    Parameters
    ----------
    probabilities_NC : ndarray of shape (N, C), float, in [0, 1]
        Predictions for labelled samples. Probabilities up to `NOWHERE`, which hard routing produces, carry no
        information about the slope: they are left out of the fit. One of exactly 0 stays 0.
    truth_NC : ndarray of shape (N, C), bool
        Labels of the same samples. A class for which all labels are equal is left unchanged. Where the
        fitted slope is not positive, the class is only shifted, so that the ranking is never reversed.
    pooled : bool
        Fit one slope and one offset for all classes together, which is more stable for rare classes.
    """

    def __init__(self, probabilities_NC: np.ndarray, truth_NC: np.ndarray, pooled: bool = False) -> None:
        logit_NC, classes = _logit(probabilities_NC), truth_NC.shape[1]
        self.slope_C, self.offset_C = np.ones(classes), np.zeros(classes)
        blocks = [slice(None)] if pooled else [slice(label, label + 1) for label in range(classes)]
        for block in blocks:
            usable_N = probabilities_NC[:, block].ravel() > NOWHERE
            truth_N, logit_N = (values[:, block].ravel()[usable_N] for values in (truth_NC, logit_NC))
            if truth_N.any() and not truth_N.all():
                fitted = LogisticRegression().fit(logit_N[:, None], truth_N)
                slope, offset = fitted.coef_[0, 0], fitted.intercept_[0]
                if slope <= 0:
                    slope, offset = 1.0, logit(truth_N.mean()) - logit(expit(logit_N).mean())
                self.slope_C[block], self.offset_C[block] = slope, offset

    def __call__(self, probabilities_NC: np.ndarray) -> np.ndarray:
        """Return calibrated_NC, the calibrated probabilities, float64."""
        calibrated_NC = expit(_logit(probabilities_NC) * self.slope_C + self.offset_C)
        return np.where(probabilities_NC > 0, calibrated_NC, 0)


def adjust_to_frequencies(probabilities_NC: np.ndarray, from_C: np.ndarray, to_C: np.ndarray) -> np.ndarray:
    """Adjust calibrated probabilities to other class frequencies (prior shift), each class on its own.

    Saerens, Latinne, Decaestecker 2002, equation 4.

    Parameters
    ----------
    probabilities_NC : ndarray of shape (N, C), float, in [0, 1]
    from_C, to_C : ndarray of shape (C,), float, in [0, 1]
        Class frequencies that the probabilities are calibrated for, and those to adjust them to. Where
        the first is 0 or 1, the class is left unchanged; where the second is, all become 0 or 1.

    Returns
    -------
    ndarray of shape (N, C), float64
    """
    usable_C = (from_C > 0) & (from_C < 1)
    shift_C = np.zeros(len(from_C))
    shift_C[usable_C] = logit(to_C[usable_C]) - logit(from_C[usable_C])
    return np.where(probabilities_NC > 0, expit(_logit(probabilities_NC) + shift_C), 0)


def estimate_frequencies(probabilities_NC: np.ndarray, from_C: np.ndarray) -> np.ndarray:
    """Estimate class frequencies among unlabelled samples by expectation maximisation, class by class.

    Saerens, Latinne, Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori
    probabilities". Alexandari, Kundaje, Shrikumar 2020 show that it requires calibrated probabilities.

    Parameters
    ----------
    probabilities_NC : ndarray of shape (N, C), float, in [0, 1]
        Calibrated predictions for the unlabelled samples.
    from_C : ndarray of shape (C,), float, in [0, 1]
        Class frequencies that the probabilities are calibrated for; a frequency of 0 stays 0.

    Returns
    -------
    ndarray of shape (C,), float64, in [0, 1]
    """
    frequency_C = from_C.astype(np.float64)
    for _ in range(MAX_ITERATIONS):
        previous_C = frequency_C
        adjusted_NC = adjust_to_frequencies(probabilities_NC, from_C, previous_C)
        frequency_C = np.where(from_C > 0, adjusted_NC.mean(axis=0), 0.0)
        if np.abs(frequency_C - previous_C).max() < TOLERANCE:
            break
    return frequency_C


def reliability_curve(truth_N: np.ndarray, probability_N: np.ndarray) -> pd.DataFrame:
    """Return the points of a class's reliability curve.

    The bins hold equal sums of probabilities rather than equal numbers of samples: for a rare class only the
    few most probable samples are informative.

    Parameters
    ----------
    truth_N : ndarray of shape (N,), bool
    probability_N : ndarray of shape (N,), float, in [0, 1]

    Returns
    -------
    DataFrame
        One row per non-empty bin, in ascending order of probability: predicted (mean probability), observed
        (share of the samples that have the class), samples (their number).
    """
    order = np.argsort(probability_N, kind="stable")
    sum_N = np.cumsum(probability_N[order], dtype=np.float64)
    bin_N = np.minimum((sum_N / max(sum_N[-1], 1e-12) * BINS).astype(int), BINS - 1)
    table = pd.DataFrame(
        {"bin": bin_N, "predicted": probability_N[order], "observed": truth_N[order].astype(float)}
    )
    bins = table.groupby("bin")
    return bins.mean().assign(samples=bins.size()).reset_index(drop=True)


def reliability_by_class(
    truth_NC: np.ndarray, probabilities: dict[str, np.ndarray], classes: list[int]
) -> pd.DataFrame:
    """Measure the reliability of probabilities, class by class.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
    probabilities : dict of ndarray of shape (N, C), float, in [0, 1]
        By name, for example raw and calibrated.
    classes : list of int
        Class numbers to measure.

    Returns
    -------
    DataFrame
        One row per class and name: class, probabilities (the name), support (samples that have the class),
        expected (sum of the probabilities), calibration_error (mean distance between predicted and observed
        frequency over the bins of `reliability_curve`, weighted by samples: Naeini et al. 2015), brier (mean
        squared error).
    """
    rows = []
    for label in classes:
        for name, probabilities_NC in probabilities.items():
            truth_N, probability_N = truth_NC[:, label], probabilities_NC[:, label].astype(np.float64)
            points = reliability_curve(truth_N, probability_N)
            distance = (points["predicted"] - points["observed"]).abs() * points["samples"]
            rows.append(
                {
                    "class": CLASSES[label],
                    "probabilities": name,
                    "support": truth_N.sum(),
                    "expected": probability_N.sum(),
                    "calibration_error": distance.sum() / len(truth_N),
                    "brier": np.mean((probability_N - truth_N) ** 2),
                }
            )
    return pd.DataFrame(rows)


def _logit(probabilities: np.ndarray) -> np.ndarray:
    return logit(probabilities.astype(np.float64).clip(SMALLEST, 1 - SMALLEST))
