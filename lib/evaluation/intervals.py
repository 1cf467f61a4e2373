"""Confidence intervals of the macro-F1, with verified coverage (``benchmarks/interval_coverage.py``).

The F1 of a class depends on its true positives TP and its errors E = FP + FN alone: 2 TP / (2 TP + E). If
every sample, or every group of related samples, is weighted by an exponential variate (the Bayesian
bootstrap, Rubin 1981), TP / (TP + E) follows a beta distribution with these counts as parameters. One
pseudo-observation, added to the errors for the lower bound and to the true positives for the upper bound,
turns its quantiles into the exact binomial interval of Clopper and Pearson (1934): conservative, and valid
even for a class that does not occur at all. A quarter of one is enough where no class is that rare.
"""

import numpy as np

EXPECTED_POSITIVES = 5  # that a class must have, in independent groups, to count as frequent
CONSERVATIVE, FREQUENT = 1.0, 0.25  # pseudo-observations: for any classes, for frequent ones
BLOCK = 4096  # groups that are weighted at once, so that memory does not grow with their number


def enough_positives(frequency_C: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    """Return which classes are expected to have enough positives for the narrower interval.

    Parameters
    ----------
    frequency_C : ndarray of shape (C,)
        Fraction of the samples that have each class, known independently of the evaluated samples.
    group_N : ndarray of shape (N,), int
        As `macro_f1_interval` takes it.

    Returns
    -------
    ndarray of shape (C,), bool
        Whether frequency times number of groups is at least `EXPECTED_POSITIVES`.
    """
    return frequency_C * len(np.unique(group_N)) >= EXPECTED_POSITIVES


def macro_f1_interval(
    truth_NC: np.ndarray,
    decision_NC: np.ndarray,
    group_N: np.ndarray | None = None,
    pseudo_observations: float = CONSERVATIVE,
    weight_N: np.ndarray | None = None,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return a confidence interval of the macro-F1.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
        The columns are the classes that are averaged.
    group_N : ndarray of shape (N,), int, or None
        Group of every sample; samples of a group are not independent of each other. Default: one group each.
    pseudo_observations : float
        `CONSERVATIVE`, or `FREQUENT` where the columns are those of `enough_positives`.
    weight_N : ndarray of shape (N,), float, or None
        Weight of every sample, with a mean of 1. Default: 1.
    draws : int
        Number of random weightings; the random seed is fixed.
    level : float
        Confidence level, 0 to 1.

    Returns
    -------
    low, high : float, in [0, 1]
    """
    random = np.random.default_rng(0)
    weight_N1 = np.ones((len(truth_NC), 1)) if weight_N is None else weight_N[:, None]
    counts_NC = np.concatenate(
        [(truth_NC & decision_NC) * weight_N1, (truth_NC ^ decision_NC) * weight_N1], 1
    )
    counts_GC = _sum_by_group(counts_NC, group_N).astype(np.float32)
    counts_DC = np.zeros((draws, counts_GC.shape[1]), np.float32)
    for start in range(0, len(counts_GC), BLOCK):
        block_GC = counts_GC[start : start + BLOCK]
        counts_DC += random.standard_exponential((draws, len(block_GC)), np.float32) @ block_GC
    true_positives_DC, errors_DC = np.split(counts_DC, 2, axis=1)
    group_size = len(truth_NC) / max(len(counts_GC), 1)
    pseudo_DC = group_size * random.standard_gamma(pseudo_observations, errors_DC.shape).astype(np.float32)
    low = np.quantile(_macro_f1(true_positives_DC, errors_DC + pseudo_DC), (1 - level) / 2)
    high = np.quantile(_macro_f1(true_positives_DC + pseudo_DC, errors_DC), (1 + level) / 2)
    return float(low), float(high)


def _sum_by_group(counts_NC: np.ndarray, group_N: np.ndarray | None) -> np.ndarray:
    if group_N is None:
        return counts_NC
    groups, position_N = np.unique(group_N, return_inverse=True)
    sums_GC = np.zeros((len(groups), counts_NC.shape[1]))
    np.add.at(sums_GC, position_N, counts_NC)
    return sums_GC


def _macro_f1(true_positives_DC: np.ndarray, errors_DC: np.ndarray) -> np.ndarray:
    total_DC = 2 * true_positives_DC + errors_DC
    f1_DC = np.divide(2 * true_positives_DC, total_DC, out=np.zeros_like(total_DC), where=total_DC > 0)
    return f1_DC.mean(axis=1)
