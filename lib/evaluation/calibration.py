"""Probabilities made true to their frequency, and moved to other frequencies."""

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

SMALLEST = 1e-7  # probability, and 1 less it: logits stay finite
ITERATIONS, CLOSE = 500, 1e-6  # of the estimate of frequencies


class Calibration:
    """Platt scaling: a slope and an offset of each column's logit, by logistic regression (Platt 1999).

    Parameters
    ----------
    probabilities_NC, truth_NC : ndarray of shape (N, C)
        Of samples with known answers. A column whose answers are all the same is left as it is; one whose
        slope would not be positive is only shifted, so that order is never turned round. A probability of
        exactly 0, which hard routing gives, is no measurement: it is left out, and stays 0.
    pooled : bool
        One slope and one offset for all columns, which a rare class cannot upset.
    """

    def __init__(self, probabilities_NC: np.ndarray, truth_NC: np.ndarray, pooled: bool = False) -> None:
        logit_NC, columns = _logit(probabilities_NC), truth_NC.shape[1]
        self.slope_C, self.offset_C = np.ones(columns), np.zeros(columns)
        parts = [slice(None)] if pooled else [slice(column, column + 1) for column in range(columns)]
        for part in parts:
            said_N = probabilities_NC[:, part].ravel() > 0
            truth_N, logit_N = (values[:, part].ravel()[said_N] for values in (truth_NC, logit_NC))
            if truth_N.any() and not truth_N.all():
                fitted = LogisticRegression().fit(logit_N[:, None], truth_N)
                slope, offset = fitted.coef_[0, 0], fitted.intercept_[0]
                if slope <= 0:
                    slope, offset = 1.0, logit(truth_N.mean()) - logit(expit(logit_N).mean())
                self.slope_C[part], self.offset_C[part] = slope, offset

    def __call__(self, probabilities_NC: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of the same shape, float64."""
        calibrated_NC = expit(_logit(probabilities_NC) * self.slope_C + self.offset_C)
        return np.where(probabilities_NC > 0, calibrated_NC, 0)


def moved(probabilities_NC: np.ndarray, from_C: np.ndarray, to_C: np.ndarray) -> np.ndarray:
    """Return the probabilities where classes are as frequent as `to_C` instead of `from_C`.

    Saerens, Latinne, Decaestecker 2002, equation 4. Each class is a yes or no of its own. A frequency of
    0 on either side leaves a column as it is.
    """
    usable_C = (from_C > 0) & (from_C < 1) & (to_C > 0) & (to_C < 1)
    shift_C = np.zeros(len(from_C))
    shift_C[usable_C] = logit(to_C[usable_C]) - logit(from_C[usable_C])
    return np.where(probabilities_NC > 0, expit(_logit(probabilities_NC) + shift_C), 0)


def estimate_frequencies(probabilities_NC: np.ndarray, known_C: np.ndarray) -> np.ndarray:
    """Estimate how frequent classes are among samples without labels, from calibrated probabilities.

    Saerens, Latinne, Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori
    probabilities": expectation maximisation, here class by class. Alexandari, Kundaje, Shrikumar 2020 show
    that it needs calibrated probabilities.

    Parameters
    ----------
    probabilities_NC : ndarray of shape (N, C)
        Of the samples without labels.
    known_C : ndarray of shape (C,)
        How frequent the classes are among those that the probabilities were calibrated on; 0 stays 0.
    """
    frequency_C = known_C.astype(np.float64)
    for _ in range(ITERATIONS):
        before_C = frequency_C
        frequency_C = np.where(known_C > 0, moved(probabilities_NC, known_C, before_C).mean(axis=0), 0.0)
        if np.abs(frequency_C - before_C).max() < CLOSE:
            break
    return frequency_C


def _logit(probabilities: np.ndarray) -> np.ndarray:
    return logit(probabilities.astype(np.float64).clip(SMALLEST, 1 - SMALLEST))
