"""Whether probabilities are as frequent as they say, class by class."""

import numpy as np
import pandas as pd

from lib.labels import CLASSES

BINS = 8  # of a class's samples, each with the same number of expected labels


def curve(truth_N: np.ndarray, probability_N: np.ndarray) -> pd.DataFrame:
    """Return the points of a reliability curve.

    Bins hold equal sums of probabilities, not equal numbers of samples: a rare class has few samples that
    matter, and they are the most probable ones.

    Returns
    -------
    DataFrame
        A row a bin that has samples: said (mean probability), found (share that carries the class), samples.
    """
    order = np.argsort(probability_N, kind="stable")
    sum_N = np.cumsum(probability_N[order], dtype=np.float64)
    bin_N = np.minimum((sum_N / max(sum_N[-1], 1e-12) * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"bin": bin_N, "said": probability_N[order], "found": truth_N[order].astype(float)})
    groups = table.groupby("bin")
    return groups.mean().assign(samples=groups.size()).reset_index(drop=True)


def by_class(truth_NC: np.ndarray, said: dict[str, np.ndarray], classes: list[int]) -> pd.DataFrame:
    """Return how reliable probabilities are.

    Parameters
    ----------
    said : dict of ndarray of shape (N, C)
        Probabilities by name: as the predictor gives them, and calibrated.

    Returns
    -------
    DataFrame
        A row for each of the classes and names: class, probabilities (the name), support (samples that carry
        it), expected (sum of probabilities), calibration_error (mean distance of what is said from what is
        found, weighted by samples: Naeini et al. 2015), brier (mean squared error).
    """
    rows = []
    for label in classes:
        for name, probabilities_NC in said.items():
            truth_N, probability_N = truth_NC[:, label], probabilities_NC[:, label].astype(np.float64)
            points = curve(truth_N, probability_N)
            distance = (points["said"] - points["found"]).abs() * points["samples"]
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
