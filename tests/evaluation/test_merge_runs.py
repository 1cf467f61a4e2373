import numpy as np
import pytest

from lib import files
from lib.data import run_data, sample_groups
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.evaluation import merge_runs, predictions
from lib.evaluation.predictions import PredictionTable, Predictor

INDEX = SampleIndex([f"a{row}" for row in range(6)], [(0,)] * 6, ["t0", "t1"])
SPLIT = ("train,-1", "validation,-1", "train,-1", "validation,-1", "train,-1", "holdout,-1")
FOLDS = ("train,0", "train,1", "train,0", "train,1", "train,0", "holdout,-1")


def write_run(folder, value, split=SPLIT, classes=(0, 1), names=("baseline",)):
    """Write a run whose predictors predict the same probability for everything."""
    rows = [f"{sample},{place}" for sample, place in zip(INDEX.train_ids, split, strict=True)]
    files.write_text(folder / "split.csv", "\n".join(["id,subset,fold", *rows]) + "\n")
    groups = sample_groups.group_samples(INDEX.train_ids + INDEX.test_ids, {})
    files.write_text(folder / "sample_groups.csv", groups.to_csv(index=False))
    files.write_json(folder / "statistics.json", {"classes": list(classes), "channels": {}})
    for name in names:
        for subset, ids in ids_of(folder).items():
            table = PredictionTable(ids[::-1], np.full((len(ids), 28), value, np.float32))
            predictions.save(folder / "predictions" / name / f"{subset}.npz", table)
        Predictor("network", name).write(folder / "predictions" / name)
    return folder


def ids_of(folder):
    subsets, _ = run_data.read_split(folder / "split.csv", INDEX)
    labelled = {name: [INDEX.train_ids[row] for row in rows] for name, rows in subsets.items()}
    return labelled | {"test": INDEX.test_ids}


def merge(folder, runs):
    """Merge runs; return the names of the predictors."""
    merge_runs.start(runs, folder)
    return merge_runs.merge(runs, folder / "predictions", ids_of(folder))


@pytest.mark.parametrize("split", [SPLIT, FOLDS])
def test_a_merged_predictor_is_the_mean_in_every_subset(tmp_path, split):
    runs = [
        write_run(tmp_path / name, value, split)
        for name, value in (("one", 0.1), ("two", 0.4), ("three", 0.7))
    ]
    folder = tmp_path / "merged"
    assert merge(folder, runs) == ["baseline"]
    ids = ids_of(folder)
    assert ids == ids_of(runs[0]) and set(ids) == (
        {"validation", "holdout", "test"} | ({"train"} if split is SPLIT else set())
    )
    for subset, wanted in ids.items():
        table = predictions.load(folder / "predictions" / "baseline" / f"{subset}.npz")
        assert table.ids == wanted and table.probabilities_NC == pytest.approx(0.4)
    assert Predictor.read(folder / "predictions" / "baseline") == Predictor(
        "merged", runs=["one", "two", "three"]
    )
    for name in ("split.csv", "sample_groups.csv"):
        assert (folder / name).read_bytes() == (runs[1] / name).read_bytes()
    assert files.read_json(folder / "statistics.json")["classes"] == [0, 1]


def test_only_predictors_that_all_runs_have_are_merged(tmp_path):
    runs = [
        write_run(tmp_path / "one", 0.1, names=("hierarchy_hard", "b", "only_one")),
        write_run(tmp_path / "two", 0.5, names=("b", "hierarchy_hard")),
    ]
    assert merge(tmp_path / "merged", runs) == ["b", "hierarchy_hard"]
    assert predictions.list_predictors(tmp_path / "merged" / "predictions") == ["b", "hierarchy_hard"]


@pytest.mark.parametrize(
    ("members", "names", "expected"),
    [
        ("all", ("a", "b", "ensemble"), ["a", "b"]),
        ("a,b", ("a", "b", "ensemble"), ["a", "b"]),
        ("all", ("a", "ensemble"), ["a", "ensemble"]),  # of one predictor none is built
        ("none", ("a", "b", "ensemble"), ["a", "b", "ensemble"]),
    ],
)
def test_an_ensemble_of_the_merged_run_is_not_replaced_by_the_mean_of_those_of_the_runs(
    tmp_path, members, names, expected
):
    runs = [write_run(tmp_path / name, 0.1, names=names) for name in ("one", "two")]
    folder = tmp_path / "merged"
    merge_runs.start(runs, folder)
    own = folder / "predictions" / "ensemble"
    Predictor("ensemble", members={"a": 1.0}, method="mean").write(own)
    assert merge_runs.merge(runs, own.parent, ids_of(folder), members) == expected
    assert (Predictor.read(own).kind == "ensemble") is ("ensemble" not in expected)


def test_the_table_of_training_samples_may_be_missing(tmp_path):
    runs = [write_run(tmp_path / name, 0.1) for name in ("one", "two")]
    merge(tmp_path / "merged", runs)
    (runs[1] / "predictions" / "baseline" / "train.npz").unlink()
    merge(tmp_path / "merged", runs)  # again: the older table goes
    merged = {path.stem for path in (tmp_path / "merged" / "predictions" / "baseline").glob("*.npz")}
    assert merged == {"validation", "holdout", "test"}


@pytest.mark.parametrize(
    "split",
    [
        ("validation,-1", "train,-1", "train,-1", "validation,-1", "train,-1", "holdout,-1"),  # another seed
        (
            "train,-1",
            "validation,-1",
            "train,-1",
            "validation,-1",
            "holdout,-1",
            "train,-1",
        ),  # another holdout
        FOLDS,
    ],
)
def test_runs_with_different_splits_are_rejected(tmp_path, split):
    runs = [
        write_run(tmp_path / "one", 0.2),
        write_run(tmp_path / "two", 0.2),
        write_run(tmp_path / "three", 0.2, split),
    ]
    with pytest.raises(UserError) as error:
        merge_runs.start(runs, tmp_path / "merged")
    message = str(error.value)
    assert all(str(run / "split.csv") in message for run in (runs[0], runs[2]))
    assert "split settings" in message and "\n" not in message
    assert not (tmp_path / "merged").exists()


def test_runs_of_different_classes_are_rejected(tmp_path):
    runs = [write_run(tmp_path / "one", 0.2), write_run(tmp_path / "two", 0.2, classes=(0,))]
    with pytest.raises(UserError, match=r"one, two keep different classes: .* split.rare_class_minimum"):
        merge_runs.start(runs, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_runs_that_are_missing_or_have_nothing_in_common_are_one_line(tmp_path):
    one = write_run(tmp_path / "one", 0.2)
    with pytest.raises(UserError, match=r"none/split.csv is missing: run `python 00_prepare.py"):
        merge_runs.start([one, tmp_path / "none"], tmp_path / "merged")
    other = write_run(tmp_path / "other", 0.2, names=("another",))
    with pytest.raises(UserError, match=r"one, other have no predictor in common"):
        merge(tmp_path / "merged", [one, other])
    empty = write_run(tmp_path / "empty", 0.2, names=())
    with pytest.raises(UserError, match=r"empty/predictions is missing: run `python 02_train_cnn.py"):
        merge(tmp_path / "merged", [one, empty])


def test_a_run_with_a_split_of_its_own_is_not_overwritten(tmp_path):
    runs = [write_run(tmp_path / name, 0.2) for name in ("one", "two")]
    files.write_json(runs[0] / "manifests" / "00_prepare.json", {})
    before = {path: path.read_bytes() for path in runs[0].rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"--merge .*one already exists: add --run NAME"):
        merge_runs.start(runs, runs[0])
    assert before == {path: path.read_bytes() for path in runs[0].rglob("*") if path.is_file()}


def test_predictors_of_an_earlier_merge_are_removed(tmp_path):
    one, two, three = (
        write_run(tmp_path / name, 0.5, names=names)
        for name, names in (("one", ("a", "b")), ("two", ("a", "b")), ("three", ("a",)))
    )
    folder = tmp_path / "merged"
    assert merge(folder, [one, two]) == ["a", "b"]
    Predictor("external", files=["scores.csv"]).write(folder / "predictions" / "theirs")
    assert merge(folder, [one, three]) == ["a"]
    assert {path.name for path in (folder / "predictions").iterdir()} == {"a", "theirs"}


def test_a_merged_run_can_be_merged_again(tmp_path):
    runs = [write_run(tmp_path / name, value) for name, value in (("one", 0.2), ("two", 0.4))]
    merge(tmp_path / "merged", runs)
    runs.append(write_run(tmp_path / "three", 0.9))
    assert merge(tmp_path / "merged", runs) == ["baseline"]
    table = predictions.load(tmp_path / "merged" / "predictions" / "baseline" / "test.npz")
    assert table.probabilities_NC == pytest.approx(0.5)


def test_a_sample_that_no_run_has_predicted_is_named(tmp_path):
    runs = [write_run(tmp_path / name, 0.2) for name in ("one", "two")]
    ids = ids_of(runs[0]) | {"test": ["t0", "t9"]}
    with pytest.raises(UserError, match=r"no prediction for t9 of baseline, test"):
        merge_runs.merge(runs, tmp_path / "merged" / "predictions", ids)
