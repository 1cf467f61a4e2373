import numpy as np
import pytest
from scipy.stats import beta

from lib.evaluation import intervals
from lib.evaluation.intervals import FREQUENT, macro_f1_interval
from lib.evaluation.metrics import macro_f1


def draw(random, samples, frequency_C, accuracy=0.85):
    truth_NC = random.uniform(size=(samples, len(frequency_C))) < frequency_C
    return truth_NC, np.where(random.uniform(size=truth_NC.shape) < accuracy, truth_NC, ~truth_NC)


def counts(true_positives, errors):
    """A class with so many true positives and errors, half of them of either kind."""
    truth_N1, decision_N1 = np.zeros((2, true_positives + errors + 30, 1), bool)
    truth_N1[: true_positives + errors // 2] = True
    decision_N1[:true_positives] = decision_N1[true_positives + errors // 2 : true_positives + errors] = True
    return truth_N1, decision_N1


@pytest.mark.parametrize(("true_positives", "errors"), [(0, 6), (3, 0), (1, 1), (8, 4), (40, 25)])
def test_the_interval_of_one_class_is_that_of_clopper_and_pearson(true_positives, errors):
    # J = TP / (TP + FP + FN) is a binomial proportion, and F1 = 2 J / (1 + J)
    low = beta.ppf(0.025, true_positives, errors + 1) if true_positives else 0.0
    high = beta.ppf(0.975, true_positives + 1, errors) if errors else 1.0
    expected = [2 * bound / (1 + bound) for bound in (low, high)]
    assert macro_f1_interval(*counts(true_positives, errors), draws=20_000) == pytest.approx(
        expected, abs=0.01
    )


def test_a_class_that_does_not_occur_can_have_any_f1():
    nothing_NC = np.zeros((50, 1), bool)
    assert macro_f1_interval(nothing_NC, nothing_NC) == (0.0, 1.0)
    low, high = macro_f1_interval(
        np.ones((500, 2), bool) & [True, False], np.ones((500, 2), bool) & [True, False]
    )
    assert low == pytest.approx(0.5, abs=0.01) and high == pytest.approx(1.0)


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_contain_the_macro_f1_of_the_population_as_often_as_stated(grouped):
    random, frequency_C = np.random.default_rng(0), np.array([0.4, 0.2, 0.1, 0.05])
    true, group_N = macro_f1(*draw(random, 200_000, frequency_C)), np.repeat(np.arange(400), 3)
    rows_N = group_N if grouped else np.arange(400)  # the samples of a group are the same
    drawn = [draw(random, 400, frequency_C) for _ in range(150)]
    found = [
        macro_f1_interval(
            truth_NC[rows_N], decision_NC[rows_N], group_N if grouped else None, FREQUENT, draws=300
        )
        for truth_NC, decision_NC in drawn
    ]
    scores = [macro_f1(*pair) for pair in drawn]
    assert np.mean([low <= true <= high for low, high in found]) >= 0.91
    assert np.mean([high - low for low, high in found]) < 1.4 * (
        np.quantile(scores, 0.975) - np.quantile(scores, 0.025)
    )


def test_copies_of_a_sample_add_nothing_if_they_are_in_its_group():
    pair = draw(np.random.default_rng(1), 60, np.array([0.3, 0.1]))
    group_N = np.arange(60)
    copies = [np.repeat(array, 4, axis=0) for array in (*pair, group_N)]
    assert macro_f1_interval(*copies) == pytest.approx(macro_f1_interval(*pair), abs=1e-6)
    low, high = macro_f1_interval(*copies[:2])
    assert high - low < 0.7 * np.diff(macro_f1_interval(*pair))[0]


def test_weights_count_samples_more_than_once():
    truth_NC, decision_NC = draw(np.random.default_rng(2), 200, np.array([0.4, 0.2]))
    twice_N = np.arange(200) < 100
    weighted = macro_f1_interval(truth_NC, decision_NC, weight_N=np.where(twice_N, 2.0, 0.0))
    half = macro_f1_interval(truth_NC[twice_N], decision_NC[twice_N])
    assert weighted == pytest.approx(half, abs=0.03)


def test_a_lower_level_gives_a_narrower_interval_around_the_score():
    truth_NC, decision_NC = np.random.default_rng(1).uniform(size=(2, 200, 3)) < 0.4
    (low, high), (lower, higher) = (
        macro_f1_interval(truth_NC, decision_NC, draws=200, level=level) for level in (0.5, 0.95)
    )
    assert lower < low < macro_f1(truth_NC, decision_NC) < high < higher
    assert macro_f1_interval(truth_NC, decision_NC, draws=200) == (lower, higher), "the same on every call"


def test_frequent_classes_are_expected_to_have_five_positives_in_independent_groups():
    frequency_C = np.array([0.5, 0.05, 0.049, 0.01])
    assert intervals.enough_positives(frequency_C, np.arange(100)).tolist() == [True, True, False, False]
    assert intervals.enough_positives(frequency_C, np.arange(100) // 10).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_the_interval_does_not_depend_on_the_size_of_the_blocks(monkeypatch):
    pair = draw(np.random.default_rng(3), 500, np.array([0.3, 0.1]))
    whole = macro_f1_interval(*pair, draws=4000)
    monkeypatch.setattr(intervals, "BLOCK", 64)
    assert macro_f1_interval(*pair, draws=4000) == pytest.approx(whole, abs=0.005)
