import numpy as np
import pandas as pd
import pytest

from lib import location_groups
from lib.data import splits
from lib.errors import UserError
from lib.labels import CLASSES, LOCATION_GROUPS, parse_target, target_matrix
from tests.conftest import REAL, needs_real


def write(folder, rows, header="group,label"):
    path = folder / "groups.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def every(**group_of):
    """Rows of a table with all labels in group a, but those named by number."""
    return [f"{group_of.get(f'c{label}', 'a')},{label}" for label in range(28)]


def test_the_atlas_has_three_groups_of_the_28_labels():
    assert location_groups.read("atlas") is LOCATION_GROUPS
    assert sorted(label for labels in LOCATION_GROUPS.values() for label in labels) == list(range(28))
    two = location_groups.read("two")
    assert list(two) == ["Nucleus", "Cytoplasm & secretory"] and two["Nucleus"] == (0, 1, 2, 3, 4, 5)
    assert two["Cytoplasm & secretory"] == tuple(range(6, 28))


def test_a_table_names_labels_by_number_or_name(tmp_path):
    rows = every(c3="Fibrillar center", c0="b")
    rows[3] = f"Fibrillar center,{CLASSES[3]}"
    found = location_groups.read(write(tmp_path, rows))
    assert list(found) == ["b", "a", "Fibrillar center"]
    assert found["b"] == (0,) and found["Fibrillar center"] == (3,) and len(found["a"]) == 26
    assert [location_groups.short(group) for group in found] == ["b", "a", "fibrillar_center"]


@pytest.mark.parametrize(
    ("rows", "pieces"),
    [
        ([*every(c0="b"), "b,7"], ("line 30", "Golgi apparatus", "line 9", "once")),
        (every(c0="b")[:-2], ("Cytoplasmic bodies, Rods & rings", "28")),
        (["b,28"], ("line 2", "'28'", "0-27 or a name")),
        (["b,Golgi"], ("line 2", "'Golgi'", "0-27 or a name")),
        (["&,7"], ("line 2", "Golgi apparatus", "expected a name")),
        (every(), ("one group, a", "at least two")),
        (every(c0="A"), ("'A'", "'a'", "would both be called a", "case")),
        (every(c0="A other"), ("'A other'", "'a'", "would both be called a_other", "rename one")),
        (["a other,0", *every()[1:]], ("'a other'", "'a'", "would both be called a_other")),
        (every(c0="細胞核"), ("line 2", "'細胞核'", "letters a-z")),
        (every(c0="x" * 300), ("line 2", "at most 80")),
    ],
)  # fmt: skip
def test_a_table_that_does_not_group_the_classes_is_one_line(tmp_path, rows, pieces):
    with pytest.raises(UserError) as error:
        location_groups.read(write(tmp_path, rows))
    message = str(error.value)
    assert all(piece in message for piece in ("groups.csv", *pieces)) and "\n" not in message


def test_unknown_location_groups_are_one_line_with_the_choices(tmp_path):
    with pytest.raises(UserError, match=r"hierarchy.grouping=three: .*atlas or two.*CSV file.*group,label"):
        location_groups.read("three")
    with pytest.raises(
        UserError, match=r"groups.csv has the columns 'group,name'; expected the columns group,label"
    ):
        location_groups.read(write(tmp_path, ["a,0"], "group,name"))
    with pytest.raises(UserError, match=r"is a folder: expected the columns group,label"):
        location_groups.read(str(tmp_path))
    with pytest.raises(UserError, match=r"hierarchy.grouping=xxx.*expected atlas or two"):
        location_groups.read("x" * 300)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": range(14), "b": range(14, 27)}, ".*Rods & rings.* 28"),
        ({"a": range(14), "b": range(13, 28)}, ".*in two groups.*0-27"),
        ({"a": range(28)}, ".*one group, a: expected at least two"),
    ],
)
def test_an_entry_that_does_not_group_the_classes_is_one_line(monkeypatch, groups, message):
    monkeypatch.setitem(
        location_groups.GROUPINGS, "mine", {name: tuple(labels) for name, labels in groups.items()}
    )
    with pytest.raises(UserError, match=f"^lib/location_groups.py, mine{message}"):
        location_groups.read("mine")


def test_membership_and_the_seven_combinations_by_hand():
    truth_NC = target_matrix([(0, 5), (25,), (6,), (0, 25), (0, 21), (23, 7), (1, 11, 8)])
    truth_NG = location_groups.membership(truth_NC, LOCATION_GROUPS)
    assert truth_NG.astype(int).tolist() == [
        [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1],
    ]  # fmt: skip
    assert np.array_equal(location_groups.combinations(3), truth_NG)  # N C S NC NS CS NCS
    assert np.array_equal(location_groups.to_combinations(truth_NG), np.eye(7, dtype=bool))
    assert not location_groups.to_combinations(np.zeros((1, 3), bool)).any()


def test_combinations_are_turned_back_into_groups():
    probabilities_NM = np.array([[0.1, 0.2, 0, 0.3, 0.4, 0, 0], [0, 0, 0.5, 0, 0, 0.3, 0.2]])
    probabilities_NG, decision_NG = location_groups.from_combinations(probabilities_NM, 3)
    # Nucleus of the first: N + NC + NS + NCS; the most probable combination is NS
    assert probabilities_NG == pytest.approx(np.array([[0.8, 0.5, 0.4], [0.2, 0.5, 1.0]]))
    assert decision_NG.tolist() == [[True, False, True], [False, False, True]]


def test_too_many_groups_to_combine_are_rejected():
    assert location_groups.combinations(6).shape == (63, 6)
    with pytest.raises(UserError, match=r"7 groups have 127 combinations.*hierarchy.stage_1=multi_label"):
        location_groups.combinations(7)


@needs_real
def test_groups_and_combinations_of_kaggles_labels():
    targets = pd.read_csv(REAL / "kaggle_labels" / "train.csv")["Target"]
    truth_NC = target_matrix([parse_target(text) for text in targets])
    truth_NG = location_groups.membership(truth_NC, LOCATION_GROUPS)
    assert truth_NG.sum(axis=0).tolist() == [19625, 16245, 8312]
    counts = location_groups.to_combinations(truth_NG).sum(axis=0)
    assert counts.tolist() == [8725, 6781, 3403, 7254, 2699, 1263, 947]  # N C S NC NS CS NCS
    assert counts.sum() == 31072
    kept = splits.without_rare(truth_NC, splits.frequent_classes(truth_NC, 0.01))
    assert kept.sum() == 30560
