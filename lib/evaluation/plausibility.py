"""Plausibility of training labels and of decisions: simple rules, and phrases for a warning."""

import numpy as np

from lib.labels import CLASSES

MIN_SAMPLES = 100  # for training; presets on real data have thousands
MIN_CLASS_SAMPLES = 3  # for training, of a class; the rarest one of the competition has 11 labelled
MIN_ROWS = 5  # of decisions; nothing is stated about fewer
LABELS_RATIO = (0.65, 2.5)  # labels per row over those of the training set; good submissions have 1.1 to 1.5
FREQUENT = 0.9  # share of the rows with a class ...
MAX_CLASS_RATIO = 2.0  # ... that is implausible where it is this many times the training set's share
SHOWN = 3  # classes that a phrase names


def check_training(truth_NC: np.ndarray, classes: list[int]) -> list[str]:
    """Return why there are too few training samples, in phrases; none if there are enough.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
        Labels of the training samples.
    classes : list of int
        The class numbers that the run keeps.
    """
    found = []
    if len(truth_NC) < MIN_SAMPLES:
        found.append(f"only {len(truth_NC):,} training samples, expected at least {MIN_SAMPLES}")
    rare = [label for label in classes if truth_NC[:, label].sum() < MIN_CLASS_SAMPLES]
    if rare:
        have = "has" if len(rare) == 1 else "have"
        found.append(
            f"{len(rare)} of {len(classes)} classes {have} fewer than {MIN_CLASS_SAMPLES} training samples: "
            f"{_names(rare)}"
        )
    return found


def check_decisions(decision_NC: np.ndarray, training_NC: np.ndarray, max_labels: int = 0) -> list[str]:
    """Return what is implausible in decisions, in phrases that state what was observed.

    Parameters
    ----------
    decision_NC : ndarray of shape (N, C), bool
    training_NC : ndarray of shape (M, C), bool
        Labels of the training samples.
    max_labels : int
        The most labels per row that were allowed; 0: any number.
    """
    rows = len(decision_NC)
    if rows < MIN_ROWS:
        return []
    found, empty = [], (~decision_NC.any(axis=1)).sum()
    if empty:
        found.append(f"{empty:,} of {rows:,} rows have no label")
    if (decision_NC == decision_NC[0]).all():
        labels = np.flatnonzero(decision_NC[0])
        return [*found, f"all {rows:,} rows have the same {len(labels)} labels: {_names(labels)}"]
    labels, usual = decision_NC.sum(axis=1).mean(), training_NC.sum(axis=1).mean()
    lowest, highest = (ratio * usual for ratio in LABELS_RATIO)
    if labels > highest or (labels < lowest and not max_labels):
        found.append(f"{labels:.2f} labels per row, the training set has {usual:.2f}")
    share_C, usual_C = decision_NC.mean(axis=0), training_NC.mean(axis=0)
    frequent = np.flatnonzero((share_C >= FREQUENT) & (share_C > MAX_CLASS_RATIO * usual_C))
    if len(frequent):
        found.append(f"{_names(frequent)} in at least {FREQUENT:.0%} of the rows")
    return found


def _names(labels: np.ndarray | list[int]) -> str:
    """Return the names of the first classes, and how many more there are."""
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return ", ".join(CLASSES[label] for label in labels[:SHOWN]) + more
