"""Test images that duplicate others: their labels in the submission, by ``submit.duplicates``.

Stage 04 evaluates a predictor's own decisions; only the submission differs from them.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.data.sample_groups import group_samples
from lib.evaluation.predictor_scores import EvaluatedPredictor


@dataclass(frozen=True)
class SubmittedDecisions:
    """Decisions for the test samples, and how duplicates changed them.

    Attributes
    ----------
    decision_NC : ndarray of shape (N, C), bool
    how : str
        The setting ``submit.duplicates``.
    concerned, changed : int
        Number of samples decided by their duplicates, and of those among them whose labels thereby differ
        from the predictor's own decision.
    """

    decision_NC: np.ndarray
    how: str = "network"
    concerned: int = 0
    changed: int = 0

    def describe(self) -> str:
        """Return what the submission has for duplicates, as a sentence; empty for ``network``."""
        if self.how == "network":
            return ""
        is_leak, made = {
            "average": ("", "the decision on the mean prediction of duplicates within the test set"),
            "label": (
                " is a leak",
                "the labels of a duplicate from the training set instead of a prediction",
            ),
        }[self.how]
        return (
            f"submit.duplicates={self.how}{is_leak}: in {self.concerned:,} of {len(self.decision_NC):,} "
            f"rows, submission.csv has {made}, and in {self.changed:,} of these it differs from the "
            f"predictor's own decision, which stage 04 has evaluated"
        )


def decide(one: EvaluatedPredictor, how: str, pairs: pd.DataFrame) -> SubmittedDecisions:
    """Decide for the test samples, those that duplicate others by their duplicates.

    Parameters
    ----------
    how : str
        ``average`` or ``label``.
    pairs : DataFrame
        As `lib.data.duplicate_pairs.read` returns it.
    """
    own_NC = one.decisions("test")
    if how == "average":
        averaged_NC, concerned_N = average(one.raw_NC("test"), one.data.index.test_ids, pairs)
        decision_NC = one.decisions("test", averaged_NC)
    else:
        source_N = training_duplicates(one.data.index.test_ids, one.data.index.train_ids, pairs)
        concerned_N, decision_NC = source_N >= 0, own_NC.copy()
        decision_NC[concerned_N] = one.data.index.truth_NC[source_N[concerned_N]]
    changed = int((decision_NC != own_NC).any(axis=1).sum())
    return SubmittedDecisions(decision_NC, how, int(concerned_N.sum()), changed)


def average(
    probabilities_NC: np.ndarray, ids: list[str], pairs: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Replace the predictions of duplicates by their mean.

    Parameters
    ----------
    probabilities_NC : ndarray of shape (N, C), float
    ids : list of str, length N
        Pairs with other samples are ignored: they do not even connect two of these.

    Returns
    -------
    averaged_NC : ndarray of shape (N, C), of the same dtype
    concerned_N : ndarray of shape (N,), bool
        Whether a sample has duplicates.
    """
    group_N = group_samples(ids, {}, zip(pairs["a"], pairs["b"], strict=True))["group"].to_numpy()
    size_G = np.bincount(group_N)
    concerned_N = size_G[group_N] > 1
    sum_GC = np.zeros((len(size_G), probabilities_NC.shape[1]))
    np.add.at(sum_GC, group_N, probabilities_NC)
    averaged_NC = probabilities_NC.copy()
    averaged_NC[concerned_N] = (sum_GC / size_G[:, None])[group_N[concerned_N]]
    return averaged_NC, concerned_N


def training_duplicates(test_ids: list[str], train_ids: list[str], pairs: pd.DataFrame) -> np.ndarray:
    """Return the row of the training image that each test image duplicates, shape (N,), int; -1: none.

    Of several, the one whose thumbnail correlates most.
    """
    row_of = {sample: row for row, sample in enumerate(train_ids)}
    closest = pairs.sort_values("correlation", ascending=False, kind="stable")
    source_of: dict[str, int] = {}
    for a, b in zip(closest["a"], closest["b"], strict=True):
        if a in row_of:
            source_of.setdefault(b, row_of[a])
    return np.array([source_of.get(sample, -1) for sample in test_ids], dtype=int)
