import numpy as np
import pytest

from lib import labels


def test_classes_are_kaggles():
    assert len(labels.CLASSES) == len(set(labels.CLASSES)) == 28
    assert [labels.CLASSES[label] for label in (0, 16, 25, 27)] == [
        "Nucleoplasm", "Cytokinetic bridge", "Cytosol", "Rods & rings",
    ]  # fmt: skip


def test_every_class_is_in_one_location_group():
    assert sorted(sum(labels.LOCATION_GROUPS.values(), ())) == list(range(28))
    assert [labels.CLASSES[label] for label in labels.LOCATION_GROUPS["Secretory"][:2]] == [
        "Endoplasmic reticulum", "Golgi apparatus",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), (" 27 ", 27), ("28", None), ("-1", None), ("1.0", None), ("²", None), ("", None),
        ("9" * 5000, None), ("0005", 5),
        ("Nucleoli", 2), (" Rods & rings", 27), ("nucleoli", None), ("Nucleus", None),
    ],
)  # fmt: skip
def test_a_class_is_found_by_number_or_name(text, number):
    assert labels.class_number(text) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", "no label"),
        ("  ", "no label"),
        ("3 x", "'x'"),
        ("-1", "'-1'"),
        ("1.0", "'1.0'"),
        ("²", "'²'"),
        ("28", "28"),
        ("999 1", "999"),
        ("3 3", "'3 3'"),
    ],
)
def test_a_bad_target_is_explained(text, value):
    with pytest.raises(ValueError) as error:
        labels.parse_target(text)
    assert value in str(error.value)
    assert "0-27" in str(error.value) or "repeat" in str(error.value)


def test_targets_are_sorted():
    assert labels.parse_target(" 16 0  2 ") == (0, 2, 16)


def test_targets_survive_the_round_trip():
    targets = [(0, 16), (27,), (1, 2, 3)]
    truth_NC = labels.target_matrix(targets)
    assert truth_NC.shape == (3, 28) and truth_NC.dtype == bool and truth_NC.sum() == 6
    assert [labels.parse_target(labels.format_target(row)) for row in truth_NC] == targets
    assert labels.format_target(np.zeros(28, bool)) == ""
