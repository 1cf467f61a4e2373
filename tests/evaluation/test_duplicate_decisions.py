"""Duplicates in the test set share a prediction or take the labels of training images; no others change."""

from types import SimpleNamespace

import numpy as np
import pytest

from lib.data.sample_index import SampleIndex
from lib.evaluation import duplicate_decisions
from lib.labels import target_matrix
from tests.data.test_duplicate_pairs import table_of

# t0 = t2 = t4, through t2 alone; t1 and t3 both duplicate b, but not each other; c is closer to t3
PAIRS = table_of(
    ("a", "c", "train-train"),
    ("b", "t1", "train-test"),
    ("b", "t3", "train-test"),
    ("c", "t3", "train-test"),
    ("t0", "t2", "test-test"),
    ("t2", "t4", "test-test"),
)
PAIRS.loc[3, "correlation"] = 0.95
INDEX = SampleIndex(["a", "b", "c"], [(0,), (1, 2), (3,)], ["t0", "t1", "t2", "t3", "t4"])
PROBABILITIES = np.zeros((5, 28), np.float32)
PROBABILITIES[:, 0] = 0.9, 0.8, 0.3, 0.1, 0.6
PROBABILITIES[:, 5] = 0.3, 0.8, 0.6, 0.9, 0.3


def predictor():
    """Return a predictor with a threshold of 0.5 for every class."""

    def decisions(_subset, probabilities_NC=PROBABILITIES):
        return probabilities_NC >= 0.5

    data = SimpleNamespace(index=INDEX)
    return SimpleNamespace(data=data, raw_NC=lambda _subset: PROBABILITIES, decisions=decisions)


def test_duplicates_within_the_test_set_get_their_mean():
    averaged_NC, concerned_N = duplicate_decisions.average(PROBABILITIES, INDEX.test_ids, PAIRS)
    assert concerned_N.tolist() == [True, False, True, False, True]
    assert averaged_NC[:, 0].tolist() == pytest.approx([0.6, 0.8, 0.6, 0.1, 0.6])
    assert averaged_NC[:, 5].tolist() == pytest.approx([0.4, 0.8, 0.4, 0.9, 0.4])
    assert averaged_NC.dtype == np.float32 and PROBABILITIES[0, 0] == np.float32(0.9)


def test_averaged_decisions_and_how_many_changed():
    made = duplicate_decisions.decide(predictor(), "average", PAIRS)
    assert np.array_equal(made.decision_NC, target_matrix([(0,), (0, 5), (0,), (5,), (0,)]))
    assert (made.concerned, made.changed) == (3, 1)
    text = made.describe()
    assert (
        "3 of 5 rows" in text
        and "in 1 of these it differs" in text
        and "average" in text
        and "leak" not in text
    )


def test_labels_are_those_of_the_closest_training_duplicate_and_called_a_leak():
    made = duplicate_decisions.decide(predictor(), "label", PAIRS)
    assert np.array_equal(made.decision_NC, target_matrix([(0,), (1, 2), (5,), (3,), (0,)]))
    assert (made.concerned, made.changed) == (2, 2)
    assert "2 of 5 rows" in made.describe() and "leak" in made.describe()


def test_without_duplicates_nothing_changes():
    own_NC = predictor().decisions("test")
    for how in ("average", "label"):
        made = duplicate_decisions.decide(predictor(), how, PAIRS[:0])
        assert np.array_equal(made.decision_NC, own_NC) and (made.concerned, made.changed) == (0, 0)
    assert duplicate_decisions.SubmittedDecisions(own_NC).describe() == ""
