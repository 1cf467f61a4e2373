import numpy as np
import pytest

from lib.evaluation import thresholds
from lib.evaluation.calibration import Calibration
from lib.hierarchy import routing

GROUPS = {"first": (0, 2), "second": (1,)}
WITHIN_NC = np.array([[0.9, 0.8, 0.2], [0.6, 0.7, 0.5]])


def test_hard_routing_is_the_union_of_the_answers_of_groups_with_a_yes():
    decision_NG = np.array([[True, False], [True, True]])
    probabilities_NC = routing.hard(decision_NG, WITHIN_NC, GROUPS)
    assert probabilities_NC == pytest.approx(np.array([[0.9, 0, 0.2], [0.6, 0.7, 0.5]]))
    decision_NC = thresholds.decide(probabilities_NC, np.full(3, 0.5))
    assert decision_NC.tolist() == [[True, False, False], [True, True, True]]
    assert not routing.hard(np.zeros((2, 2), bool), WITHIN_NC, GROUPS).any()


def test_soft_routing_weights_by_the_group():
    probabilities_NG = np.array([[0.5, 0.1], [1.0, 0.0]])
    found = routing.soft(probabilities_NG, WITHIN_NC, GROUPS)
    assert found == pytest.approx(np.array([[0.45, 0.08, 0.1], [0.6, 0, 0.5]]))
    assert found.dtype == np.float32


def test_calibrated_probabilities_are_as_frequent_as_they_say():
    random = np.random.default_rng(0)
    true_NG = random.uniform(0.02, 0.98, (20_000, 2))
    truth_NG = random.uniform(size=true_NG.shape) < true_NG
    # too sure, and shifted: logits times 2, less 1
    said_NG = 1 / (1 + np.exp(-(2 * np.log(true_NG / (1 - true_NG)) - 1)))
    calibrate = Calibration(said_NG, truth_NG)
    assert calibrate.slope_C == pytest.approx([0.5, 0.5], abs=0.03)
    assert calibrate.offset_C == pytest.approx([0.5, 0.5], abs=0.05)
    assert np.abs(calibrate(said_NG) - true_NG).max() < 0.02


def test_what_cannot_be_calibrated_is_left_as_it_is():
    said_NG = np.array([[0.2, 0.0], [0.7, 1.0]])
    calibrate = Calibration(said_NG, np.array([[True, False], [True, False]]))
    assert calibrate(said_NG) == pytest.approx(said_NG, abs=1e-6)
