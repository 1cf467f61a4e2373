import numpy as np
import pytest

from lib import labels


def test_classes_are_kaggles():
    assert len(labels.CLASSES) == len(set(labels.CLASSES)) == 28
    assert [labels.CLASSES[label] for label in (0, 16, 25, 27)] == [
        "Nucleoplasm", "Cytokinetic bridge", "Cytosol", "Rods & rings",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no label; expected class numbers 0-27 separated by blanks"),
        ("  ", "has no label"),
        ("3 x", "label 'x' is no class number; expected 0-27"),
        ("-1", "label '-1' is no class number; expected 0-27"),
        ("1.0", "label '1.0' is no class number"),
        ("²", "label '²' is no class number"),
        ("28", "label 28 is out of range; expected 0-27"),
        ("999 1", "label 999 is out of range"),
        ("3 3", "labels '3 3' name a class twice"),
    ],
)
def test_bad_targets_are_explained(text, reason):
    with pytest.raises(ValueError, match="^" + reason.replace("(", r"\(")):
        labels.parse_target(text)


def test_targets_survive_the_way_there_and_back():
    targets = [(0, 16), (27,), (1, 2, 3)]
    truth_NC = labels.target_matrix(targets)
    assert truth_NC.shape == (3, 28) and truth_NC.sum() == 6
    assert [labels.parse_target(labels.format_target(row)) for row in truth_NC] == targets
    assert labels.format_target(np.zeros(28, bool)) == ""
