import numpy as np
import pytest
from scipy.special import expit, logit

from lib.evaluation import calibration
from lib.evaluation.calibration import Calibration
from lib.hierarchy import routing


def test_overconfident_probabilities_are_calibrated(sample):
    truth_NC, true_NC = sample
    overconfident_NC = expit(2 * logit(true_NC))
    calibrated_NC = Calibration(overconfident_NC, truth_NC)(overconfident_NC)
    assert (
        np.abs(calibrated_NC - true_NC)[:, :3].mean()
        < 0.02
        < np.abs(overconfident_NC - true_NC)[:, :3].mean()
    )
    assert calibrated_NC.mean(axis=0) == pytest.approx(truth_NC.mean(axis=0), abs=1e-3)


def test_pooled_calibration_has_one_slope_and_offset(sample):
    truth_NC, true_NC = sample
    overconfident_NC = expit(2 * logit(true_NC[:, :4]))
    pooled = Calibration(overconfident_NC, truth_NC[:, :4], pooled=True)
    assert len(set(pooled.slope_C)) == len(set(pooled.offset_C)) == 1
    assert pooled.slope_C[0] == pytest.approx(0.5, abs=0.05)


def test_classes_with_equal_labels_are_unchanged():
    probabilities_NC = np.array([[0.2, 0.7], [0.4, 0.1]])
    calibrate = Calibration(probabilities_NC, np.array([[True, False], [True, False]]))
    assert calibrate(probabilities_NC) == pytest.approx(probabilities_NC)


def test_the_ranking_is_never_reversed():
    random = np.random.default_rng(0)
    probability_N1 = random.uniform(0.1, 0.9, (500, 1))
    truth_N1 = random.uniform(size=(500, 1)) < 0.5 * (1 - probability_N1)  # less frequent the higher
    calibrated_N1 = Calibration(probability_N1, truth_N1)(probability_N1)
    assert np.array_equal(calibrated_N1.argsort(axis=0), probability_N1.argsort(axis=0))
    assert calibrated_N1.mean() == pytest.approx(truth_N1.mean(), abs=0.06)


def test_zeros_are_left_out_of_the_fit_and_stay_zero(sample):
    truth_NC, probabilities_NC = (values[:, :2] for values in sample)
    fitted = Calibration(probabilities_NC, truth_NC)
    routed_NC, routed_truth_NC = (
        np.vstack([probabilities_NC, 0 * probabilities_NC]),
        np.vstack([truth_NC] * 2),
    )
    with_zeros = Calibration(routed_NC, routed_truth_NC)
    assert with_zeros.slope_C == pytest.approx(fitted.slope_C)
    calibrated_NC = with_zeros(routed_NC)
    assert not calibrated_NC[len(truth_NC) :].any() and calibrated_NC.dtype == np.float64


def test_samples_without_a_group_do_not_change_the_fit(sample):
    truth_NC, probabilities_NC = (values[:, :2] for values in sample)
    groups = {"one": (0,), "two": (1,)}
    fitted = Calibration(probabilities_NC, truth_NC)
    accepted_NG = np.vstack([np.ones_like(truth_NC), np.zeros_like(truth_NC)])
    within_NC, probabilities_NG = np.vstack([probabilities_NC] * 2), np.full(accepted_NG.shape, 0.9)
    routed_NC = routing.hard(accepted_NG, within_NC, groups, probabilities_NG)
    assert (routed_NC > 0).all()
    routed = Calibration(routed_NC, np.vstack([truth_NC] * 2))
    assert routed.slope_C == pytest.approx(fitted.slope_C, rel=1e-3)
    assert routed(routed_NC)[len(truth_NC) :].max() < 1e-3


def test_a_class_that_no_sample_has_becomes_impossible():
    probabilities_NC = np.array([[0.5, 0.3, 0.9]])
    from_C, to_C = np.array([0.5, 0.2, 1.0]), np.array([0.0, 1.0, 0.0])
    adjusted_NC = calibration.adjust_to_frequencies(probabilities_NC, from_C, to_C)
    assert adjusted_NC == pytest.approx(np.array([[0, 1, 0.9]])), "unchanged where nothing is known of odds"


def test_adjusted_probabilities_by_hand():
    # odds of 1 where half have the class; where a fifth does, odds of 1/4
    adjusted_NC = calibration.adjust_to_frequencies(
        np.array([[0.5, 0.0, 0.7]]), np.array([0.5, 0.5, 0]), np.array([0.2, 0.2, 0.2])
    )
    assert adjusted_NC == pytest.approx(np.array([[0.2, 0, 0.7]]))


def test_frequencies_are_estimated_where_a_class_has_become_rarer(sample):
    truth_NC, probabilities_NC = sample
    random = np.random.default_rng(1)
    keep_N = ~truth_NC[:, 0] | (random.uniform(size=len(truth_NC)) < 0.3)  # class 0 becomes rarer
    now_C, before_C = truth_NC[keep_N].mean(axis=0), truth_NC.mean(axis=0)
    estimated_C = calibration.estimate_frequencies(probabilities_NC[keep_N], before_C)
    assert estimated_C[0] == pytest.approx(now_C[0], abs=0.05) and before_C[0] > now_C[0] + 0.15
    assert before_C[4] == estimated_C[4] == 0


def test_bins_hold_equal_sums_of_probabilities():
    probability_N = np.array([0.1] * 40 + [0.5] * 8 + [1.0] * 4)  # sums 4, 4, 4
    truth_N = np.array([True] + [False] * 39 + [True, False] * 4 + [True, True, True, False])
    points = calibration.reliability_curve(truth_N, probability_N)
    assert points["samples"].sum() == 52 and len(points) <= calibration.BINS
    assert (points["predicted"] * points["samples"]).to_numpy() == pytest.approx(
        np.full(len(points), 12 / calibration.BINS), abs=1.01
    )
    assert np.diff(points["predicted"]).min() > -1e-9
    assert (points["observed"] * points["samples"]).sum() == pytest.approx(truth_N.sum())


def test_calibrated_probabilities_lie_on_the_diagonal():
    random = np.random.default_rng(0)
    probability_N = random.beta(0.3, 2, 100_000)
    points = calibration.reliability_curve(
        random.uniform(size=len(probability_N)) < probability_N, probability_N
    )
    assert len(points) == calibration.BINS
    assert np.abs(points["predicted"] - points["observed"]).max() < 0.03


def test_reliability_of_a_class_by_hand():
    # ten samples predicted with 0.2, three of which have the class
    raw_NC, truth_NC = np.full((10, 28), 0.2), np.zeros((10, 28), bool)
    truth_NC[:3, 0] = True
    table = calibration.reliability_by_class(truth_NC, {"raw": raw_NC, "calibrated": raw_NC / 2}, [0, 1])
    assert list(table["class"]) == ["Nucleoplasm"] * 2 + ["Nuclear membrane"] * 2
    assert list(table["probabilities"]) == ["raw", "calibrated"] * 2
    row, _, other, halved = table.to_dict("records")
    assert (row["support"], row["expected"]) == (3, pytest.approx(2.0))
    assert row["brier"] == pytest.approx((3 * 0.64 + 7 * 0.04) / 10)
    assert other["calibration_error"] == pytest.approx(0.2)
    assert halved["calibration_error"] == pytest.approx(0.1)
