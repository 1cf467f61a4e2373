import numpy as np
import pytest

from lib.evaluation import metrics, reliability


def test_bins_hold_equal_sums_of_probabilities():
    probability_N = np.array([0.1] * 40 + [0.5] * 8 + [1.0] * 4)  # sums 4, 4, 4
    truth_N = np.array([True] + [False] * 39 + [True, False] * 4 + [True, True, True, False])
    points = reliability.curve(truth_N, probability_N)
    assert points["samples"].sum() == 52 and len(points) <= reliability.BINS
    assert (points["said"] * points["samples"]).to_numpy() == pytest.approx(
        np.full(len(points), 12 / reliability.BINS), abs=1.01
    )
    assert np.diff(points["said"]).min() > -1e-9
    assert (points["found"] * points["samples"]).sum() == pytest.approx(truth_N.sum())


def test_what_is_said_of_a_class_against_what_is_found():
    # 0.2 is said of ten, three of which carry the class: one bin after another at 0.2
    said_NC, truth_NC = np.full((10, 28), 0.2), np.zeros((10, 28), bool)
    truth_NC[:3, 0] = True
    table = reliability.by_class(truth_NC, {"as given": said_NC}, [0, 1]).set_index("class")
    row = table.loc["Nucleoplasm"]
    assert (row["support"], row["expected"]) == (3, pytest.approx(2.0))
    assert row["brier"] == pytest.approx((3 * 0.64 + 7 * 0.04) / 10)
    assert table.loc["Nuclear membrane", "calibration_error"] == pytest.approx(0.2)


def test_right_probabilities_lie_on_the_diagonal():
    random = np.random.default_rng(0)
    probability_N = random.beta(0.3, 2, 100_000)
    points = reliability.curve(random.uniform(size=len(probability_N)) < probability_N, probability_N)
    assert len(points) == reliability.BINS
    assert np.abs(points["said"] - points["found"]).max() < 0.03


def test_the_interval_holds_the_macro_f1_of_other_samples_as_often_as_it_says():
    random = np.random.default_rng(0)
    frequency_C = np.array([0.4, 0.2, 0.1, 0.05])

    def draw(samples):
        truth_NC = random.uniform(size=(samples, 4)) < frequency_C
        return truth_NC, np.where(random.uniform(size=truth_NC.shape) < 0.85, truth_NC, ~truth_NC)

    true = metrics.macro_f1(*draw(200_000))
    bounds = [metrics.macro_f1_interval(*draw(400), draws=300) for _ in range(100)]
    held = np.mean([low <= true <= high for low, high in bounds])
    assert 0.88 <= held <= 1.0
    widths = [high - low for low, high in bounds]
    assert 0.03 < np.mean(widths) < 0.15


def test_a_class_of_one_sample_does_not_pull_the_interval_down():
    truth_NC = np.zeros((50, 2), bool)
    truth_NC[:20, 0] = truth_NC[0, 1] = True
    assert metrics.macro_f1_interval(truth_NC, truth_NC) == (1.0, 1.0)


def test_the_expected_f1_by_hand():
    chances_NC, decision_NC = np.array([[0.9, 0.2], [0.5, 0.0]]), np.array([[True, False], [True, False]])
    assert metrics.expected_f1(chances_NC, decision_NC) == pytest.approx([2 * 1.4 / (2 + 1.4), 0])
