"""Confidence intervals of scores."""

import numpy as np


def macro_f1_interval(
    truth_NC: np.ndarray, decision_NC: np.ndarray, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Return a confidence interval of the macro-F1 by the Bayesian bootstrap (Rubin 1981).

    Each draw weights every sample by an exponential variate. Unlike resampling with replacement, this never
    leaves a rare class without a sample, which would bias the macro-F1 downwards.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
    draws : int
        Number of random weightings; the random seed is fixed.
    level : float
        Confidence level, 0 to 1.

    Returns
    -------
    low, high : float
    """
    weight_DN = np.random.default_rng(0).standard_exponential((draws, len(truth_NC)), np.float32)
    true_positives_DC, truth_DC, decision_DC = (
        weight_DN @ table.astype(np.float32) for table in (truth_NC & decision_NC, truth_NC, decision_NC)
    )
    total_DC = truth_DC + decision_DC
    f1_DC = np.divide(2 * true_positives_DC, total_DC, out=np.zeros_like(total_DC), where=total_DC > 0)
    low, high = np.quantile(f1_DC.mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
