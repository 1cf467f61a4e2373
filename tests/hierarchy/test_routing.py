import numpy as np
import pytest

from lib.evaluation import thresholds
from lib.hierarchy import routing

GROUPS = {"first": (0, 2), "second": (1,)}
WITHIN_NC = np.array([[0.9, 0.8, 0.2], [0.6, 0.7, 0.5]])


def test_hard_routing_is_the_union_over_the_groups_that_stage_1_accepts():
    decision_NG = np.array([[True, False], [True, True]])
    probabilities_NC = routing.hard(decision_NG, WITHIN_NC, GROUPS, decision_NG)
    assert probabilities_NC == pytest.approx(np.array([[0.9, 0, 0.2], [0.6, 0.7, 0.5]]))
    assert probabilities_NC.dtype == np.float32
    decision_NC = thresholds.decide(probabilities_NC, np.full(3, 0.5))
    assert decision_NC.tolist() == [[True, False, False], [True, True, True]]


def test_a_sample_without_a_group_gets_its_most_likely_label():
    decision_NG, probabilities_NG = np.zeros((2, 2), bool), np.array([[0.1, 0.4], [0.4, 0.1]])
    found_NC = routing.hard(decision_NG, WITHIN_NC, GROUPS, probabilities_NG)
    for threshold in (0.5, 1e-6):
        assert not thresholds.decide(found_NC, np.full(3, threshold)).any()
    final_NC = thresholds.final_decisions(found_NC, np.full(3, 0.5))
    # 0.1 * 0.9, 0.4 * 0.8, 0.1 * 0.2; and 0.4 * 0.6, 0.1 * 0.7, 0.4 * 0.5
    assert final_NC.tolist() == [[False, True, False], [True, False, False]]


def test_soft_routing_weights_by_the_group():
    probabilities_NG = np.array([[0.5, 0.1], [1.0, 0.0]])
    found = routing.soft(probabilities_NG, WITHIN_NC, GROUPS)
    assert found == pytest.approx(np.array([[0.45, 0.08, 0.1], [0.6, 0, 0.5]]))
    assert found.dtype == np.float32


def test_every_class_gets_the_value_of_its_group():
    values_NG = np.array([[True, False], [False, True]])
    assert routing.spread(values_NG, GROUPS).tolist() == [[True, False, True], [False, True, False]]
    assert routing.spread(values_NG, GROUPS).dtype == bool
