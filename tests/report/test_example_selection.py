import numpy as np

from lib.report.example_selection import KINDS, Example, choose

#                              0     1     2     3     4     5     6
PROBABILITIES_NC = np.array([[0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.45]]).T
TRUTH_NC = np.array([[1, 0, 1, 0, 1, 1, 0]]).T.astype(bool)
THRESHOLD_C = np.array([0.5])


def examples(each, classes=(0,)):
    return choose(TRUTH_NC, PROBABILITIES_NC, PROBABILITIES_NC >= 0.5, THRESHOLD_C, list(classes), each)


def test_each_kind_is_an_extreme():
    assert examples(1) == [
        Example(0, "correct", 0),  # the highest probability of the true positives
        Example(0, "wrong", 1),  # the highest of the false positives
        Example(0, "missed", 5),  # the lowest of the false negatives
        Example(0, "uncertain", 6),  # 0.45 is nearer to 0.5 than 0.6
    ]


def test_the_kinds_are_correct_wrong_missed_and_uncertain():
    assert list(KINDS) == ["correct", "wrong", "missed", "uncertain"]
    assert {example.kind for example in examples(2)} == set(KINDS)


def test_no_sample_is_shown_twice_for_a_class_and_none_is_made_up():
    assert [(example.kind, example.row) for example in examples(3)] == [
        ("correct", 0), ("correct", 2), ("wrong", 1), ("wrong", 3), ("missed", 5), ("missed", 4),
        ("uncertain", 6),
    ]  # fmt: skip


def test_decisions_not_thresholds_tell_which_samples_are_correct():
    """A sample without a label is given its most probable class, below the threshold."""
    decision_NC = PROBABILITIES_NC >= 0.5
    decision_NC[4] = True
    found = choose(TRUTH_NC, PROBABILITIES_NC, decision_NC, THRESHOLD_C, [0], 3)
    assert [example.row for example in found if example.kind == "correct"] == [0, 2, 4]
    assert [example.row for example in found if example.kind == "missed"] == [5]


def test_distance_to_a_low_threshold_is_taken_in_logits():
    probabilities_NC = np.array([[0.001, 0.05, 0.02]]).T
    none = np.zeros((3, 1), bool)
    (nearest,) = choose(none, probabilities_NC, none, np.array([0.03]), [0], 1)
    assert nearest == Example(0, "uncertain", 2)  # by difference 0.05 is nearly as far, by odds it is farther


def test_thresholds_may_differ_from_sample_to_sample():
    none, probabilities_NC = np.zeros((3, 1), bool), np.array([[0.5, 0.4, 0.1]]).T
    thresholds_NC = np.array([[0.9], [0.9], [0.11]])
    (nearest,) = choose(none, probabilities_NC, none, thresholds_NC, [0], 1)
    assert nearest == Example(0, "uncertain", 2)


def test_probabilities_of_0_and_1_have_a_place():
    probabilities_NC = np.array([[0.0, 1.0]]).T
    truth_NC = np.array([[True], [True]])
    found = choose(truth_NC, probabilities_NC, probabilities_NC >= 0.5, THRESHOLD_C, [0], 2)
    assert [(example.kind, example.row) for example in found] == [("correct", 1), ("missed", 0)]


def test_only_the_classes_asked_for_in_their_order():
    both = [np.repeat(table, 2, axis=1) for table in (TRUTH_NC, PROBABILITIES_NC, PROBABILITIES_NC >= 0.5)]
    assert {example.label for example in choose(*both, np.array([0.5, 0.5]), [1], 1)} == {1}
    order = [example.label for example in choose(*both, np.array([0.5, 0.5]), [1, 0], 1)]
    assert order == [1] * 4 + [0] * 4
