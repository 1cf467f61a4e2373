import numpy as np

from lib.report.example_selection import Example, choose

#                     0     1     2     3     4     5     6
SAID = np.array([[0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.45]]).T
HAS = np.array([[1, 0, 1, 0, 1, 1, 0]]).T.astype(bool)
THRESHOLD = np.array([0.5])


def kinds(each, classes=(0,)):
    return choose(HAS, SAID, SAID >= 0.5, THRESHOLD, list(classes), each)


def test_the_most_certain_hits_and_errors_the_least_thought_of_and_the_nearest_to_the_threshold():
    assert kinds(1) == [
        Example(0, "right", 0),
        Example(0, "wrong", 1),
        Example(0, "missed", 5),
        Example(0, "unsure", 6),  # 0.45 is nearer to 0.5 than 0.6
    ]


def test_no_sample_is_shown_twice_for_a_class_and_none_is_made_up():
    shown = kinds(3)
    assert [(e.kind, e.row) for e in shown] == [
        ("right", 0), ("right", 2), ("wrong", 1), ("wrong", 3), ("missed", 5), ("missed", 4), ("unsure", 6)
    ]  # fmt: skip


def test_distance_to_a_low_threshold_is_taken_in_logits():
    said = np.array([[0.001, 0.05, 0.02]]).T
    none = np.zeros((3, 1), bool)
    (nearest,) = choose(none, said, none, np.array([0.03]), [0], 1)
    assert nearest == Example(0, "unsure", 2)  # by difference 0.05 is nearly as far, by odds it is farther


def test_only_the_classes_asked_for_in_their_order():
    both = [np.repeat(x, 2, axis=1) for x in (HAS, SAID, SAID >= 0.5)]
    shown = choose(*both, np.array([0.5, 0.5]), [1], 1)
    assert {example.label for example in shown} == {1}
