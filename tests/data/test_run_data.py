"""A run's rows and ids by subset and fold, on tables written by hand and by the split itself."""

from types import SimpleNamespace

import numpy as np
import pytest

from lib import files
from lib.data import run_data, sample_groups, sample_index, splits
from lib.data.run_data import RunData
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.labels import LOCATION_GROUPS
from lib.sections import Hierarchy, Split

# s3 has no usable image: it is in no table
INDEX = SampleIndex([f"s{row}" for row in range(8)], [(row,) for row in range(8)], ["t0", "t1"])
SINGLE = "s7,train,-1 s0,holdout,-1 s6,validation,-1 s1,train,-1 s5,train,-1 s2,validation,-1 s4,holdout,-1"
FOLDS = "s7,train,1 s0,holdout,-1 s6,train,0 s1,train,2 s5,train,0 s2,train,1 s4,train,2"


def write_split(folder, rows):
    files.write_text(folder / "split.csv", "\n".join(["id,subset,fold", *rows.split()]) + "\n")
    return folder / "split.csv"


def make_data(tmp_path, rows, classes=(0, 1, 5), strata=""):
    """Read the data of a run from its files; samples s1 and s2 are related."""
    ids = INDEX.train_ids + INDEX.test_ids
    groups = sample_groups.group_samples(ids, {"table": {"s1": "one", "s2": "one"}})
    files.write_text(tmp_path / "sample_groups.csv", groups.to_csv(index=False))
    sample_index.write_index(tmp_path / "index.csv", INDEX)
    run_data.write_statistics(tmp_path / "statistics.json", np.array(classes), {})
    run = SimpleNamespace(
        index=tmp_path / "index.csv",
        split=write_split(tmp_path, rows),
        statistics=tmp_path / "statistics.json",
        sample_groups=tmp_path / "sample_groups.csv",
        config=SimpleNamespace(hierarchy=Hierarchy(grouping="atlas"), split=Split(strata=str(strata))),
    )
    return RunData.read(run)


def as_lists(fold):
    return fold.number, fold.train.tolist(), fold.validation.tolist()


def test_a_single_split_has_one_fold_of_its_subsets(tmp_path):
    data = make_data(tmp_path, SINGLE)
    rows = {name: data.rows(name).tolist() for name in data.subsets}
    assert rows == {"train": [1, 5, 7], "validation": [2, 6], "holdout": [0, 4]}
    assert [as_lists(fold) for fold in data.folds] == [(None, [1, 5, 7], [2, 6])]
    assert not data.has_folds and data.folds[0].folder == ""
    assert data.predicted_subsets == ["train", "validation", "holdout", "test"]
    assert data.evaluated_subset == "holdout"
    assert data.validation_fold_N.tolist() == [0, 0]
    assert np.array_equal(data.training_NC, INDEX.truth_NC[[1, 5, 7]])
    assert data.ids("holdout") == ["s0", "s4"] and data.ids("test") == ["t0", "t1"]
    assert data.rows("test").tolist() == [0, 1]
    # a network of a single split predicts all of validation
    assert data.ids("validation", data.folds[0]) == ["s2", "s6"]
    assert data.classes == [0, 1, 5] and data.groups == LOCATION_GROUPS


def test_with_folds_validation_is_every_fold_and_each_fold_has_its_rows(tmp_path):
    data = make_data(tmp_path, FOLDS)
    rows = {name: data.rows(name).tolist() for name in data.subsets}
    assert rows == {"validation": [1, 2, 4, 5, 6, 7], "holdout": [0]}
    assert [as_lists(fold) for fold in data.folds] == [
        (0, [1, 2, 4, 7], [5, 6]),
        (1, [1, 4, 5, 6], [2, 7]),
        (2, [2, 5, 6, 7], [1, 4]),
    ]
    assert [fold.folder for fold in data.folds] == ["fold_0", "fold_1", "fold_2"]
    assert data.has_folds and data.predicted_subsets == ["validation", "holdout", "test"]
    assert data.validation_fold_N.tolist() == [2, 1, 2, 0, 0, 1]
    assert np.array_equal(data.training_NC, INDEX.truth_NC[[1, 2, 4, 5, 6, 7]])


def test_a_fold_predicts_its_own_validation_samples_and_all_of_the_rest(tmp_path):
    data = make_data(tmp_path, "s1,train,0 s2,train,1 s4,train,1 s5,train,0 s0,holdout,-1")
    first, second = data.folds
    assert (data.rows("validation", first).tolist(), data.ids("validation", first)) == ([1, 5], ["s1", "s5"])
    assert data.ids("validation", second) == ["s2", "s4"]
    assert data.ids("holdout", first) == data.ids("holdout") == ["s0"]
    assert data.ids("test", second) == ["t0", "t1"]
    assert data.rows("validation").tolist() == [1, 2, 4, 5] and data.validation_fold_N.tolist() == [
        0,
        1,
        1,
        0,
    ]
    own = [row for fold in data.folds for row in fold.validation]
    assert sorted(own) == data.rows("validation").tolist(), "each validation sample is of one fold"


def test_without_a_holdout_validation_is_evaluated(tmp_path):
    single = make_data(tmp_path, "s1,train,-1 s2,validation,-1")
    assert single.evaluated_subset == "validation" and single.predicted_subsets[-2:] == ["validation", "test"]
    folded = make_data(tmp_path, "s1,train,0 s2,train,1")
    assert folded.evaluated_subset == "validation" and list(folded.subsets) == ["validation"]


def test_groups_of_samples_and_weights_of_strata_are_those_of_the_index(tmp_path):
    sides = [f"{sample},{2048 if sample in ('s1', 's7', 't0') else 3072}" for sample in
             INDEX.train_ids + INDEX.test_ids]  # fmt: skip
    files.write_text(tmp_path / "sides.csv", "\n".join(["id,side", *sides]) + "\n")
    data = make_data(tmp_path, SINGLE, strata=tmp_path / "sides.csv")
    assert data.sample_group_N.tolist() == [0, 1, 1, 2, 3, 4, 5, 6] and data.has_groups
    # half of the test samples are small; of the training samples, two of three are
    assert data.ids("train") == ["s1", "s5", "s7"]
    assert data.weights["train"] == pytest.approx([0.75, 1.5, 0.75])
    assert make_data(tmp_path, SINGLE).weights == {}
    # those of train alone are of a stratum that the test set lacks
    sides = [side.replace("2048", "1024") if side[:2] in ("s1", "s5", "s7") else side for side in sides]
    sides = [side.replace("3072", "1024") if side[:2] in ("s1", "s5", "s7") else side for side in sides]
    files.write_text(tmp_path / "sides.csv", "\n".join(["id,side", *sides]) + "\n")
    data = make_data(tmp_path, SINGLE, strata=tmp_path / "sides.csv")
    assert "train" not in data.weights and set(data.weights) >= {"validation", "holdout"}


@pytest.mark.parametrize("folds", [1, 4])
def test_the_table_of_a_split_is_read_as_it_was_made(tmp_path, folds):
    random = np.random.default_rng(0)
    targets = [(int(label),) for label in random.integers(0, 5, 60)]
    index = SampleIndex([f"s{row:02d}" for row in range(60)], targets, [])
    rows = np.sort(random.permutation(60)[:50])  # the others are left out
    ids = [index.train_ids[row] for row in rows]
    split = splits.make_split(ids, index.truth_NC[rows], Split(validation=0.2, holdout=0.2, folds=folds))
    path = tmp_path / "split.csv"
    files.write_text(path, split.to_csv(index=False))
    subsets, found = run_data.read_split(path, index)
    table = split.set_index("id")
    for name in subsets:
        wanted = "train" if folds > 1 and name == "validation" else name
        assert [index.train_ids[row] for row in subsets[name]] == table.index[
            table["subset"] == wanted
        ].tolist()
    assert sum(map(len, subsets.values())) == 50
    assert [fold.number for fold in found] == ([None] if folds == 1 else list(range(folds)))
    for fold in found:
        assert not set(fold.train) & set(fold.validation)
        together = sorted([*fold.train, *fold.validation])
        trained = ("train", "validation") if folds == 1 else ("validation",)
        assert together == sorted(row for name in trained for row in subsets[name])
        if folds > 1:
            assert (table["fold"].loc[[index.train_ids[row] for row in fold.validation]] == fold.number).all()


def test_ids_stay_text(tmp_path):
    index = SampleIndex(["007", "NA", "7"], [(0,)] * 3, [])
    path = write_split(tmp_path, "NA,validation,-1 007,train,-1")
    subsets, _ = run_data.read_split(path, index)
    assert {name: rows.tolist() for name, rows in subsets.items()} == {"train": [0], "validation": [1]}


def test_what_is_missing_names_the_stage_that_creates_it(tmp_path):
    with pytest.raises(UserError, match=r"split.csv is missing: run `python 00_prepare.py"):
        run_data.read_split(tmp_path / "split.csv", INDEX)
    with pytest.raises(UserError, match=r"statistics.json is missing: run `python 00_prepare.py"):
        run_data.read_channel_statistics(tmp_path / "statistics.json", 32, 1)
    data = make_data(tmp_path, SINGLE)
    assert data.index == INDEX
    (tmp_path / "statistics.json").unlink()
    with pytest.raises(UserError, match=r"statistics.json is missing: run `python 00_prepare.py"):
        run = SimpleNamespace(
            index=tmp_path / "index.csv",
            split=tmp_path / "split.csv",
            statistics=tmp_path / "statistics.json",
            config=SimpleNamespace(split=Split()),
        )
        RunData.read(run)


def test_channel_statistics_are_those_of_each_fold_and_size(tmp_path):
    path = tmp_path / "statistics.json"
    small = [{"mean": [1.0, 2.0, 3.0, 4.0], "std": [5.0] * 4}, {"mean": [2.0] * 4, "std": [6.0] * 4}]
    run_data.write_statistics(path, np.array([0, 25]), {64: small, 128: small[::-1]})
    assert run_data.read_channel_statistics(path, 64, 2) == small
    assert run_data.read_channel_statistics(path, 128, 2) == small[::-1]
    with pytest.raises(UserError, match="it has 2 folds, the split has 3"):
        run_data.read_channel_statistics(path, 128, 3)
    assert files.read_json(path)["classes"] == [0, 25]
    with pytest.raises(UserError) as error:
        run_data.read_channel_statistics(path, 32, 2)
    message = str(error.value)
    assert str(path) in message and "64, 128" in message and "32" in message
    assert "data.sizes=32" in message and "--run NAME" in message


def test_an_index_may_be_passed_in_place_of_the_runs_own(tmp_path):
    make_data(tmp_path, SINGLE)
    other = SampleIndex(INDEX.train_ids, INDEX.targets, ["mine"])
    run = SimpleNamespace(
        index=tmp_path / "none.csv", split=tmp_path / "split.csv", statistics=tmp_path / "statistics.json",
        sample_groups=tmp_path / "sample_groups.csv",
        config=SimpleNamespace(hierarchy=Hierarchy(grouping="two"), split=Split(strata="none.csv")),
    )  # fmt: skip
    data = RunData.read(run, other)
    assert data.ids("test") == ["mine"] and data.ids("holdout") == ["s0", "s4"]
    assert data.weights == {}, "the strata of other samples are unknown"
    assert list(data.groups) == ["Nucleus", "Cytoplasm & secretory"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("x,train,-1 s0,validation,-1", "line 2 has an id"),
        ("t0,train,-1 s0,validation,-1", "line 2 has an id"),
        ("s0,train,-1 s0,validation,-1", "line 3 repeats"),
        ("s0,train,-1 s1,test,-1", "line 3 has a subset"),
        ("s0,train,-1 s1,train,-1", "no sample of train or of validation"),
        ("", "no sample"),
        ("s0,train,0 s1,train,99", "fold is '99'"),
        ("s0,train,0 s1,train,-2", "fold is '-2'"),
        ("s0,train,0 s1,train,x", "fold is 'x'"),
        ("s0,train,0 s1,train,", "fold"),
        ("s0,train,0 s1,train,0.5", "line 3 has a fold"),
        ("s0,train,0 s1,train,2", "folds 0, 2"),
        ("s0,train,0 s1,train,0", "folds 0"),
        ("s0,train,0 s1,train,1 s2,train,-1", "line 4 has a fold"),
        ("s0,train,0 s1,train,1 s2,holdout,1", "line 4 has a fold"),
        ("s0,train,0 s1,train,1 s2,validation,-1", "line 4 has a subset"),
    ],
)
def test_a_damaged_split_names_reason_and_stage(tmp_path, rows, reason):
    path = write_split(tmp_path, rows)
    with pytest.raises(UserError) as error:
        run_data.read_split(path, INDEX)
    assert all(
        part in str(error.value) for part in (str(path), reason, "delete it and run `python 00_prepare.py`")
    )


GREY = {"mean": [1.0] * 4, "std": [1.0] * 4}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"classes": [], "channels": {}}, "classes is []"),
        ({"classes": [1, 1], "channels": {}}, "classes"),
        ({"classes": [1, 28], "channels": {}}, "classes"),
        ({"classes": [-1], "channels": {}}, "classes"),
        ({"classes": [2, 1], "channels": {}}, "classes"),
        ({"classes": [1.5], "channels": {}}, "classes[0]"),
        ({"classes": [1], "channels": []}, "channels"),
        ({"classes": [1], "channels": {"64": GREY}}, "channels"),
        ({"classes": [1], "channels": {"64": [GREY | {"mean": [1.0] * 3}]}}, "mean"),
        ({"classes": [1], "channels": {"64": [GREY | {"std": [float("nan")] * 4}]}}, "NaN"),
        ({"classes": [1], "channels": {"64": [GREY | {"std": [300.0] * 4}]}}, "std"),
        ({"classes": [1]}, "channels"),
        ([1], "object"),
    ],
)
def test_damaged_statistics_name_reason_and_stage(tmp_path, content, reason):
    path = tmp_path / "statistics.json"
    files.write_json(path, content)
    with pytest.raises(UserError) as error:
        run_data.read_channel_statistics(path, 64, 1)
    assert all(
        part in str(error.value) for part in (str(path), reason, "delete it and run `python 00_prepare.py`")
    )
