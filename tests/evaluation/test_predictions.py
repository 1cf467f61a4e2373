import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lib import files
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import KINDS, LabelledPredictions, PredictionTable, Predictor

PREDICTORS = [
    Predictor("network", "baseline", views=8, crops=4, combine="max"),
    Predictor("trees", "features_alone"),
    Predictor(
        "hierarchy", views=8, routing="hard", stage_1="stage_1", stage_2={"Nucleus": "stage_2_nucleus"}
    ),
    Predictor("ensemble", members={"a": 0.25, "b_tta": 0.75}, method="weighted"),
    Predictor("external", files=["scores.csv", "more.npy"]),
    Predictor("merged", runs=["one", "two"]),
]


def table(ids=("a", "b"), value=0.5, known_C=None):
    return PredictionTable(list(ids), np.full((len(ids), 28), value, np.float32), known_C)


# what a predictor is


@pytest.mark.parametrize("predictor", PREDICTORS, ids=lambda predictor: predictor.kind)
def test_predictors_survive_their_file(tmp_path, predictor):
    predictor.write(tmp_path / "x")
    assert Predictor.read(tmp_path / "x") == predictor
    content = files.read_json(tmp_path / "x" / "predictor.json")
    assert content["kind"] == predictor.kind and all(content.values()), "what does not apply is left out"


def test_every_kind_of_predictor_is_tested():
    assert [predictor.kind for predictor in PREDICTORS] == list(KINDS)


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        ({"kind": "forest"}, ("forest", "network trees hierarchy ensemble external merged")),
        ({"kind": "network", "nett": "baseline"}, ("nett",)),
        ({"network": "baseline"}, ("kind",)),
        ({"kind": "network", "network": "../../x"}, ("../../x", "letters")),
        ({"kind": "hierarchy", "routing": "hard", "stage_1": "/x"}, ("'/x'",)),
        ({"kind": "hierarchy", "routing": "hard", "stage_1": "a", "stage_2": {"Nucleus": ".."}}, ("'..'",)),
        ({"kind": "merged", "runs": ["../x"]}, ("'../x'",)),
        ({"kind": "ensemble", "members": {"a/b": 1.0}, "method": "mean"}, ("'a/b'",)),
        ({"kind": "ensemble", "members": {"a": 7.0}, "method": "mean"}, ("weights",)),
        ({"kind": "ensemble", "members": {"a": 1.0}, "method": "median"}, ("median", "rank_mean")),
        ({"kind": "network", "network": "a", "views": -8}, ("views", "-8")),
        ({"kind": "network", "network": "a", "views": "8"}, ("views", "whole number")),
        ({"kind": "network", "network": "a", "crops": 4}, ("crops", "4", "8 views")),
        ({"kind": "network", "network": "a", "views": 8, "combine": "median"}, ("combine", "median")),
        ({"kind": "network"}, ("needs network",)),
        ({"kind": None}, ("kind", "null")),
        ([1], ("a list", "an object")),
    ],
)
def test_another_predictor_json_is_one_line(tmp_path, content, pieces):
    files.write_json(tmp_path / "predictor.json", content)
    with pytest.raises(UserError) as error:
        Predictor.read(tmp_path)
    message = str(error.value)
    pieces = (str(tmp_path / "predictor.json"), "delete it and run `python 02_", *pieces)
    assert all(piece in message for piece in pieces) and "\n" not in message


def test_a_predictor_of_no_known_kind_cannot_be_made():
    with pytest.raises(UserError, match=r"'forest': expected one of network trees"):
        Predictor("forest")


def test_a_missing_predictor_json_names_the_stage_that_writes_it(tmp_path):
    with pytest.raises(UserError, match=r"predictor.json is missing: run `python 02_train_cnn.py"):
        Predictor.read(tmp_path)


# prediction tables


def test_prediction_tables_survive_their_file(tmp_path):
    path, known_C = tmp_path / "p" / "validation.npz", np.arange(28) != 3
    predictions.save(path, table(known_C=known_C))
    loaded = predictions.load(path)
    assert loaded.ids == ["a", "b"] and np.array_equal(loaded.probabilities_NC, table().probabilities_NC)
    assert loaded.probabilities_NC.dtype == np.float32 and np.array_equal(loaded.known_C, known_C)
    first = path.read_bytes()
    predictions.save(path, table(known_C=known_C))
    assert path.read_bytes() == first


def test_tables_of_outputs_that_are_no_classes_have_their_own_width(tmp_path):
    path = tmp_path / "validation.npz"
    predictions.save(path, PredictionTable(["a"], np.full((1, 3), 0.5)))
    assert predictions.load(path, 3).probabilities_NC.tolist() == [[0.5] * 3]
    with pytest.raises(UserError, match=r"\(1, 3\).*, expected \(1, 28\)"):
        predictions.load(path)


def test_bad_prediction_tables_are_one_line(tmp_path):
    path = tmp_path / "validation.npz"
    with pytest.raises(UserError, match=r"validation.npz is missing: run `python 02_train_cnn.py"):
        predictions.load(path)
    with pytest.raises(UserError, match=r"validation.npz is missing: run `python 03_train_hier.py"):
        predictions.load(path, script="03_train_hier.py")
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=rf"{path} is damaged .*zip"):
        predictions.load(path)
    np.savez(path, ids=np.array(["a"]))
    with pytest.raises(UserError, match=rf"{path} is damaged .*no probabilities"):
        predictions.load(path)
    np.savez(path, ids=np.array(["a"]), probabilities=np.zeros((1, 27)))
    with pytest.raises(UserError, match=rf"{path}.*\(1, 27\).*, expected \(1, 28\)"):
        predictions.load(path)
    predictions.save(path, table(("a", "a")))
    with pytest.raises(UserError, match=rf"{path}.* twice"):
        predictions.load(path)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_found_with_its_id(tmp_path, value):
    path, bad = tmp_path / "validation.npz", table(("a", "b"))
    bad.probabilities_NC[1, 27] = value
    predictions.save(path, bad)
    with pytest.raises(UserError, match=rf"{path} is damaged \(id 'b': .*\[0, 1\]"):
        predictions.load(path)


def test_rows_are_matched_by_id_never_by_position():
    probabilities_NC = np.arange(3 * 28, dtype=np.float32).reshape(3, 28) / 100
    shuffled = PredictionTable(["c", "a", "b"], probabilities_NC)
    assert np.array_equal(shuffled.select(["c", "b"], "the test subset"), probabilities_NC[[0, 2]])
    with pytest.raises(UserError, match=r"1 of the 2 ids of the test subset, for example x"):
        shuffled.select(["a", "x"], "the test subset")


def test_classes_that_a_network_does_not_predict_are_zero_and_marked_as_unknown():
    made = predictions.from_outputs(["a"], np.array([[0.25, 0.75, 0.5]]), [27, 3])  # the third is "other"
    probabilities_NC = made.probabilities_NC
    assert np.flatnonzero(made.known_C).tolist() == [3, 27]
    assert probabilities_NC.shape == (1, 28) and probabilities_NC.dtype == np.float32
    assert (probabilities_NC[0, 27], probabilities_NC[0, 3], probabilities_NC.sum()) == (0.25, 0.75, 1.0)


def test_outputs_that_are_no_classes_stay_as_they_are():
    outputs_NO = np.array([[0.25, 0.75, 0.5]])
    made = predictions.from_outputs(["a"], outputs_NO, None)
    assert np.array_equal(made.probabilities_NC, outputs_NO) and made.known_C.tolist() == [True] * 3


def test_labelled_predictions_of_some_samples():
    random = np.random.default_rng(0)
    truth_NC, probabilities_NC = random.uniform(size=(5, 3)) < 0.5, random.uniform(size=(5, 3))
    allowed_NC = random.uniform(size=(5, 3)) < 0.5
    mask = np.array([False, True, False, True, True])
    for rows in (mask, np.array([3, 0])):
        some = LabelledPredictions(truth_NC, probabilities_NC, allowed_NC).rows(rows)
        assert np.array_equal(some.truth_NC, truth_NC[rows])
        assert np.array_equal(some.probabilities_NC, probabilities_NC[rows])
        assert np.array_equal(some.allowed_NC, allowed_NC[rows])
    assert LabelledPredictions(truth_NC, probabilities_NC).rows(mask).allowed_NC is None


# the mean over tables


def test_out_of_fold_predictions_are_concatenated_in_the_order_of_the_ids():
    folds = [table(("c", "a"), 0.25), table(("b",), 0.75)]
    merged = predictions.average(folds, ["a", "b", "c"], "validation")
    assert merged.ids == ["a", "b", "c"] and merged.probabilities_NC.dtype == np.float32
    assert np.array_equal(merged.probabilities_NC, np.repeat([[0.25], [0.75], [0.25]], 28, axis=1))


def test_predictions_of_the_same_samples_are_averaged():
    folds = [table(("a", "b"), 0.1), table(("b", "a"), 0.4), table(("a", "b", "x"), 0.7)]
    folds[0].probabilities_NC[0, 5] = 0.7
    merged = predictions.average(folds, ["b", "a"], "test")
    assert merged.ids == ["b", "a"]
    assert merged.probabilities_NC[0] == pytest.approx(np.full(28, 0.4))
    assert merged.probabilities_NC[1] == pytest.approx(np.where(np.arange(28) == 5, 0.6, 0.4))


def test_the_mean_knows_the_classes_that_all_tables_know():
    number_C = np.arange(28)
    tables = [table(known_C=number_C != 3), table(known_C=number_C != 4)]
    merged = predictions.average(tables, ["a"], "test")
    assert np.flatnonzero(~merged.known_C).tolist() == [3, 4]


def test_a_sample_without_a_prediction_is_named():
    with pytest.raises(UserError, match=r"no prediction for c of baseline, test: run stages 02 and 03"):
        predictions.average([table(("a",)), table(("b",))], ["a", "b", "c"], "baseline, test")


# where tables lie


def test_only_the_table_of_training_samples_may_be_missing(tmp_path):
    subsets = ["train", "validation", "test"]
    with pytest.raises(UserError, match=r"validation.npz is missing: run `python 02_train_cnn.py"):
        predictions.table_paths(tmp_path, subsets)
    for name in ("validation", "test"):
        predictions.save(tmp_path / f"{name}.npz", table())
    assert predictions.table_paths(tmp_path, subsets) == {
        name: tmp_path / f"{name}.npz" for name in ("validation", "test")
    }
    predictions.save(tmp_path / "train.npz", table())
    assert list(predictions.table_paths(tmp_path, subsets)) == subsets


def test_tables_with_test_time_augmentation_have_their_own_name():
    assert predictions.table_path(Path("stage_1"), "test", 1) == Path("stage_1/test.npz")
    assert predictions.table_path(Path("stage_1"), "test", 8) == Path("stage_1/test_tta.npz")


def test_predictors_are_listed_by_name(tmp_path):
    with pytest.raises(UserError, match=r"predictions is missing: run `python 02_train_cnn.py"):
        predictions.list_predictors(tmp_path / "predictions")
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match=rf"{tmp_path}.*validation.npz: run `python 02_train_cnn.py"):
        predictions.list_predictors(tmp_path)
    for name in ("b", "a", "hierarchy_x"):
        predictions.save(tmp_path / name / "validation.npz", table())
    predictions.save(tmp_path / "unfinished" / "test.npz", table())
    assert predictions.list_predictors(tmp_path) == ["a", "b", "hierarchy_x"]


def test_the_output_other_is_kept_saved_and_averaged(tmp_path):
    outputs_NO = np.array([[0.25, 0.5, 0.75], [0.1, 0.2, 0.3]])
    made = predictions.from_outputs(["a", "b"], outputs_NO, [3, 5], ["x", "y", "other"])
    assert made.other_N.tolist() == [0.75, 0.3] and made.rows(["b", "a"], "these") == [1, 0]
    for names in ((), ("x", "y", "Nucleus"), ("x", "other", "other")):  # groups of a joint network
        other_N = predictions.from_outputs(["a", "b"], outputs_NO, [3, 5], names).other_N
        assert (other_N is None) == (names != ("x", "other", "other"))
    predictions.save(tmp_path / "t.npz", made)
    read = predictions.load(tmp_path / "t.npz", other=True)
    assert read.other_N == pytest.approx(made.other_N) and read.known_C.sum() == 2
    second = predictions.from_outputs(["b"], np.array([[0.3, 0.4, 0.5]]), [3, 5], ["x", "y", "other"])
    mean = predictions.average([made, second], ["b", "a"], "these")
    assert mean.other_N == pytest.approx([0.4, 0.75]) and mean.probabilities_NC[0, 3] == pytest.approx(0.2)
    plain = predictions.from_outputs(["b"], np.array([[0.3, 0.4]]), [3, 5])
    assert predictions.average([made, plain], ["a"], "these").other_N is None
    predictions.save(tmp_path / "plain.npz", plain)
    predictions.save(tmp_path / "bad.npz", dataclasses.replace(made, other_N=np.array([0.5, 1.5])))
    for name, words in (("plain", "has no other"), ("bad", "id 'b': a value is not a probability")):
        with pytest.raises(UserError, match=rf"{name}.npz.*{words}"):
            predictions.load(tmp_path / f"{name}.npz", other=True)


def test_thresholds_of_a_veto_are_probabilities():
    with pytest.raises(UserError, match=r"veto .*1.5.*from 0 to 1"):
        Predictor("hierarchy", routing="hard", stage_1="stage_1", veto={"Nucleus": 1.5})
