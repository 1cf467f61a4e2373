import numpy as np
import pytest
from sklearn.metrics import f1_score

from lib.config import Threshold
from lib.results import thresholds


def best_by_search(truth_N, probability_N):
    """Highest F1 of all cuts there are: between any two neighbours, and below and above all."""
    cuts = np.unique(np.concatenate([probability_N, [0.0, 1.1]]))
    return max(f1_score(truth_N, probability_N >= cut, zero_division=0) for cut in cuts)


@pytest.mark.parametrize("seed", range(60))
def test_the_optimum_is_exact_ties_and_all(seed):
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 14))
    truth_N = generator.uniform(size=count) < 0.4
    truth_N[generator.integers(count)] = True
    steps = 4 if seed % 2 else 1000  # few values: many ties
    probability_N = (generator.integers(0, steps + 1, count) / steps).astype(np.float32)
    threshold, f1 = thresholds.best_f1_threshold(truth_N, probability_N)
    assert 0 <= threshold <= 1
    assert f1 == pytest.approx(best_by_search(truth_N, probability_N))
    decision_N = thresholds.decide(probability_N[:, None], np.array([threshold]))[:, 0]
    assert f1_score(truth_N, decision_N, zero_division=0) == pytest.approx(f1)


def test_neighbouring_float32_values_are_parted():
    high = np.float32(0.3)
    low = np.nextafter(high, np.float32(0))
    threshold, f1 = thresholds.best_f1_threshold(np.array([True, False]), np.array([high, low]))
    assert f1 == 1.0
    assert thresholds.decide(np.array([[high], [low]]), np.array([threshold])).ravel().tolist() == [
        True,
        False,
    ]


def test_of_equal_cuts_the_highest_is_taken():
    # after the first and after the third sample F1 is 2/3 alike
    truth_N = np.array([True, False, True, False, False])
    threshold, f1 = thresholds.best_f1_threshold(truth_N, np.array([0.9, 0.7, 0.6, 0.2, 0.1]))
    assert (threshold, f1) == (0.4, 0.8)
    threshold, f1 = thresholds.best_f1_threshold(
        np.array([True, False, False, True]), np.array([0.8, 0.6, 0.4, 0.2])
    )
    assert f1 == pytest.approx(2 / 3) and threshold == pytest.approx(0.7)


def test_tune_leaves_classes_without_samples_at_the_fixed_value():
    truth_NC = np.zeros((4, 28), bool)
    truth_NC[:2, 3] = True
    probabilities_NC = np.full((4, 28), 0.2, np.float32)
    probabilities_NC[:, 3] = [0.4, 0.3, 0.1, 0.05]
    tuned_C = thresholds.tune(truth_NC, probabilities_NC, Threshold(fixed=0.6))
    assert tuned_C[3] == pytest.approx(0.2) and set(np.delete(tuned_C, 3)) == {0.6}
    assert set(thresholds.tune(truth_NC, probabilities_NC, Threshold("fixed", 0.6))) == {0.6}


def test_empty_rows_get_the_most_probable_class():
    probabilities_NC = np.zeros((2, 28), np.float32)
    probabilities_NC[0, 7], probabilities_NC[1, 2], probabilities_NC[1, 9] = 0.4, 0.9, 0.95
    decision_NC = thresholds.decide(probabilities_NC, np.where(np.arange(28) == 2, 0.8, 0.99))
    filled_NC = thresholds.at_least_one(decision_NC, probabilities_NC)
    # the second row keeps its one yes, although class 9 is more probable
    assert [np.flatnonzero(row).tolist() for row in filled_NC] == [[7], [2]]
    assert not decision_NC[0].any(), "the decisions handed in are left alone"


def test_thresholds_survive_their_file():
    thresholds_C = np.random.default_rng(0).uniform(size=28)
    assert np.array_equal(thresholds.from_table(thresholds.as_table(thresholds_C)), thresholds_C)
