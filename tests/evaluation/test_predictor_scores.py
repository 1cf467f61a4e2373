from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lib import files, location_groups
from lib.data.run_data import Fold, RunData
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.evaluation import predictions, predictor_scores, thresholds
from lib.evaluation.calibration import Calibration
from lib.evaluation.intervals import FREQUENT, macro_f1_interval
from lib.evaluation.metrics import macro_f1
from lib.evaluation.predictions import LabelledPredictions, PredictionTable
from lib.evaluation.predictor_scores import EvaluatedPredictor
from lib.labels import CLASSES, target_matrix
from lib.sections import Threshold

SAMPLES, FOLDS = 90, 3


@pytest.fixture(scope="module")
def random_data():
    """A run of three interleaved folds without a holdout, with labels of classes 0 to 5."""
    random = np.random.default_rng(0)
    targets = [tuple(np.flatnonzero(row)) or (5,) for row in random.uniform(size=(SAMPLES, 5)) < 0.3]
    index = SampleIndex([f"s{row:02d}" for row in range(SAMPLES)], targets, [f"t{row}" for row in range(40)])
    return folded(index)


def folded(index):
    rows = np.arange(SAMPLES)
    folds = tuple(Fold(k, rows[rows % FOLDS != k], rows[rows % FOLDS == k]) for k in range(FOLDS))
    return RunData(index, {"validation": rows}, folds, list(range(6)), location_groups.read("atlas"))


def write_tables(folder, data, seed=1):
    """Write a predictor of the run whose probabilities follow the labels; return it."""
    random = np.random.default_rng(seed)
    for subset in ("validation", "test"):
        ids = data.ids(subset)
        truth_NC = data.truth_NC("validation") if subset == "validation" else np.zeros((len(ids), 28))
        probabilities_NC = expit(1.5 * truth_NC - 2 + random.normal(size=truth_NC.shape))
        path = folder / "predictions" / "some" / f"{subset}.npz"
        order = random.permutation(len(ids))  # tables are matched by id
        table = PredictionTable([ids[row] for row in order], probabilities_NC[order])
        predictions.save(path, table)


def predictor(folder, data, method="f1", **more):
    frequency_C = data.training_NC.mean(axis=0)
    return EvaluatedPredictor("some", folder, data, Threshold(method, **more), frequency_C)


# thresholds of folds


@pytest.mark.parametrize(
    "settings",
    [Threshold("f1"), Threshold("global"), Threshold("shrunk"), Threshold(),
     Threshold("frequency", frequencies="estimated")],
    ids=lambda settings: settings.method,
)  # fmt: skip
def test_a_folds_thresholds_do_not_depend_on_its_own_labels(tmp_path, random_data, settings):
    data = random_data
    write_tables(tmp_path, data)
    targets = [
        ((5,) if row % FOLDS == 0 else labels) for row, labels in enumerate(data.index.targets)
    ]  # other labels in fold 0
    flipped = folded(SampleIndex(data.index.train_ids, targets, data.index.test_ids))
    # the class frequencies of the training set are given: they are no labels to tune on
    frequency_C = data.training_NC.mean(axis=0)
    before, after = (
        EvaluatedPredictor("some", tmp_path, own, settings, frequency_C).tune()["validation"]
        for own in (data, flipped)
    )
    assert before.shape == (FOLDS, 28)
    assert np.array_equal(before[0], after[0])
    assert (before[1] != after[1]).any() and (before[2] != after[2]).any()


def test_a_folds_thresholds_are_those_of_the_other_folds(tmp_path, random_data):
    data = random_data
    write_tables(tmp_path, data)
    one = predictor(tmp_path, data)
    tuned = one.tune()
    assert list(tuned) == ["validation", "test"] and tuned["test"].shape == (28,)
    everything = LabelledPredictions(data.truth_NC("validation"), one.raw_NC("validation"))
    rule = thresholds.choose(everything, one.frequency_C, one.settings)
    assert np.array_equal(tuned["test"], rule(one.raw_NC("test")))
    for k in range(FOLDS):
        others = np.arange(SAMPLES) % FOLDS != k
        rule = thresholds.choose(everything.rows(others), one.frequency_C, one.settings)
        assert np.array_equal(tuned["validation"][k], rule(everything.probabilities_NC[~others]))


def test_each_sample_is_decided_with_the_thresholds_of_its_fold(tmp_path, random_data):
    data = random_data
    write_tables(tmp_path, data)
    one = predictor(tmp_path, data, max_labels=2)
    tuned = one.tune()
    files.write_json(one.thresholds_path, thresholds.as_table(tuned))
    decision_NC, raw_NC = one.decisions("validation"), one.raw_NC("validation")
    for k in range(FOLDS):
        rows = np.arange(SAMPLES) % FOLDS == k
        alone_NC = thresholds.final_decisions(raw_NC[rows], tuned["validation"][k], max_labels=2)
        assert np.array_equal(decision_NC[rows], alone_NC)
    assert one.thresholds("validation").shape == (SAMPLES, 28)
    assert np.array_equal(one.thresholds("validation")[4], tuned["validation"][1])
    assert np.array_equal(one.thresholds("test"), tuned["test"])
    assert np.array_equal(
        one.decisions("test"), thresholds.final_decisions(one.raw_NC("test"), tuned["test"], max_labels=2)
    )
    assert decision_NC.any(axis=1).all() and decision_NC.sum(axis=1).max() == 2


def test_in_a_single_split_all_samples_have_the_same_thresholds(tmp_path, random_data):
    rows = np.arange(SAMPLES)
    subsets = {"train": rows[:30], "validation": rows[30:]}
    data = RunData(random_data.index, subsets, (Fold(None, rows[:30], rows[30:]),), list(range(6)), {})
    write_tables(tmp_path, data)
    one = predictor(tmp_path, data)
    tuned = one.tune()
    assert {subset: values.shape for subset, values in tuned.items()} == {"validation": (28,), "test": (28,)}
    assert np.array_equal(tuned["validation"], tuned["test"])
    assert np.array_equal(one.per_sample("validation", tuned["validation"]), tuned["validation"])


def test_only_labels_that_stage_1_accepts_are_decided(tmp_path, random_data):
    write_tables(tmp_path, random_data)
    one = predictor(tmp_path, random_data)
    files.write_json(one.thresholds_path, thresholds.as_table(one.tune()))
    allowed_NC = np.zeros((SAMPLES, 28), bool)
    allowed_NC[:, :2] = True
    asked = []

    def allow(subset):
        asked.append(subset)
        return allowed_NC

    restricted = EvaluatedPredictor("some", tmp_path, random_data, one.settings, one.frequency_C, allow)
    assert not restricted.decisions("validation")[:, 2:].any() and one.decisions("validation")[:, 2:].any()
    assert np.array_equal(restricted.labelled("validation").allowed_NC, allowed_NC)
    assert one.labelled("validation").allowed_NC is None and asked == ["validation"] * 2


def test_calibrated_probabilities_are_calibrated_on_validation(tmp_path, random_data):
    write_tables(tmp_path, random_data)
    one = predictor(tmp_path, random_data)
    expected = Calibration(one.raw_NC("validation"), random_data.truth_NC("validation"))
    assert np.array_equal(one.calibrated_NC("test"), expected(one.raw_NC("test")))
    assert np.abs(one.calibrated_NC("test") - one.raw_NC("test")).max() > 0.01


# scores


def test_evaluation_by_hand():
    truth_NC = target_matrix([(0,), (1,), (0, 1), (0,)])
    probabilities_NC = np.zeros((4, 28), np.float32)
    probabilities_NC[:, 0] = [0.9, 0.2, 0.4, 0.1]
    probabilities_NC[:, 1] = [0.1, 0.6, 0.2, 0.05]
    thresholds_C = np.full(28, 0.5)
    thresholds_C[0] = 0.3
    subsets = {"validation": LabelledPredictions(truth_NC, probabilities_NC)}
    per_class, summary = predictor_scores.evaluate(
        subsets, {"validation": thresholds_C}, Threshold(fixed=0.5), [0, 1, 2], np.full(28, 0.1)
    )
    scores = per_class.set_index(["decision", "class"])["f1"]
    # class 0: 1 of 3 predicted at 0.5; 2 of 3 at 0.3; all 3 when the empty last row gets its best class
    assert [scores[d, "Nucleoplasm"] for d in ("fixed", "tuned", "submitted")] == pytest.approx(
        [0.5, 0.8, 1.0]
    )
    assert scores["tuned", "Nuclear membrane"] == pytest.approx(2 / 3)
    assert list(per_class)[:3] == ["subset", "decision", "class"] and len(per_class) == 9
    row = summary.set_index("decision").loc["submitted"]
    assert row["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert row["macro_f1_present"] == pytest.approx((1 + 2 / 3) / 2)
    assert row["labels_per_sample"] == 1.0 and row["samples"] == 4
    # class 1: one of two, and no false positive; class 2 is neither present nor predicted
    assert row["macro_precision"] == pytest.approx((1 + 1 + 0) / 3)
    assert row["macro_recall"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    # with the frequencies of the validation samples themselves
    assert row["guessing_macro_f1"] == pytest.approx((3 / 4 + 2 / 4 + 0) / 3)


def test_only_submitted_decisions_on_samples_not_trained_on_have_intervals():
    random = np.random.default_rng(0)
    truth_NC, probabilities_NC = random.uniform(size=(40, 28)) < 0.2, random.uniform(size=(40, 28))
    group_N, weight_N, thresholds_C = np.arange(40) // 2, np.repeat([0.5, 1.5], 20), np.full(28, 0.8)
    frequency_C = np.where(np.arange(28) < 5, 0.25, 0.24)  # 20 groups: five positives in classes 0 to 4
    labelled = LabelledPredictions(truth_NC, probabilities_NC, None, group_N, weight_N)
    names = ("train", "validation")
    _, summary = predictor_scores.evaluate(
        dict.fromkeys(names, labelled), dict.fromkeys(names, thresholds_C), Threshold(), list(range(3, 10)),
        frequency_C,
    )  # fmt: skip
    with_interval = summary.dropna(subset=["low", "frequent_low", "weighted_low"])
    assert with_interval[["subset", "decision"]].values.tolist() == [["validation", "submitted"]]
    assert summary[list(predictor_scores.INTERVALS)].notna().sum().tolist() == [1] * 6
    decision_NC, row = thresholds.final_decisions(probabilities_NC, thresholds_C), with_interval.iloc[0]
    pair = truth_NC[:, 3:10], decision_NC[:, 3:10]
    assert row[["low", "high"]].tolist() == pytest.approx(macro_f1_interval(*pair, group_N))
    weighted = macro_f1_interval(*pair, group_N, weight_N=weight_N)
    assert row[["weighted_low", "weighted_high"]].tolist() == pytest.approx(weighted)
    twice = [np.concatenate([array[:20], *[array[20:]] * 3]) for array in pair]  # weights 1 : 3
    assert row["macro_f1_weighted"] == pytest.approx(macro_f1(*twice))
    assert row["frequent_classes"] == 2
    frequent = truth_NC[:, 3:5], decision_NC[:, 3:5]
    assert row["macro_f1_frequent"] == pytest.approx(macro_f1(*frequent))
    expected = macro_f1_interval(*frequent, group_N, FREQUENT)
    assert row[["frequent_low", "frequent_high"]].tolist() == pytest.approx(expected)


def test_thresholds_can_be_chosen_for_the_mixture_of_the_test_set(tmp_path, random_data):
    write_tables(tmp_path, random_data)
    weight_N = np.where(random_data.index.truth_NC[:, 0], 3.0, 1.0)
    data = replace(random_data, weights={"validation": weight_N / weight_N.mean()})
    settings = Threshold(method="f1", weights="strata")
    weighted, equal, unknown = (
        replace(predictor(tmp_path, own), settings=chosen)
        for own, chosen in ((data, settings), (data, Threshold(method="f1")), (random_data, settings))
    )
    chosen = weighted.tune()["test"]
    # the more of a class there is, the lower the threshold with the best F1
    assert chosen[0] < equal.tune()["test"][0]
    repeated = weighted.labelled("validation").in_test_mixture()
    share = random_data.index.truth_NC[:, 0].mean()
    assert repeated.truth_NC[:, 0].mean() == pytest.approx(3 * share / (3 * share + 1 - share), abs=0.02)
    assert len(repeated.truth_NC) == 4 * SAMPLES
    with pytest.raises(UserError, match=r"split\.strata"):
        unknown.tune()


def test_the_three_ways_to_decide():
    probabilities_NC = np.array([[0.9, 0.6, 0.2], [0.3, 0.1, 0.2]])
    allowed_NC = np.array([[True, False, True], [True, True, True]])
    class_thresholds = np.array([0.8, 0.55, 0.15])
    decided = predictor_scores.decide_all(
        probabilities_NC, class_thresholds, Threshold(fixed=0.7, max_labels=1), allowed_NC
    )
    assert {name: decision.astype(int).tolist() for name, decision in decided.items()} == {
        "fixed": [[1, 0, 0], [0, 0, 0]],
        "tuned": [[1, 1, 1], [0, 0, 1]],
        "submitted": [[1, 0, 0], [0, 0, 1]],
    }


def test_a_predictor_decides_with_any_thresholds_and_as_submitted_with_its_own(tmp_path, random_data):
    write_tables(tmp_path, random_data)
    one = predictor(tmp_path, random_data)
    chosen = one.tune()
    files.write_json(one.thresholds_path, thresholds.as_table(chosen))
    allowed_NC = np.zeros((40, 28), bool)
    allowed_NC[:, 3] = True
    restricted = replace(one, allowed_NC=lambda _subset: allowed_NC)
    decided = restricted.decide("test", chosen["test"])
    assert list(decided) == ["fixed", "tuned", "submitted"]
    assert (decided["submitted"] == allowed_NC).all()
    assert (decided["tuned"] == (one.raw_NC("test") >= chosen["test"])).all()
    assert (restricted.decisions("test") == decided["submitted"]).all()
    assert not restricted.decide("test", np.full(28, 1.1))["tuned"].any()


# tables


def write_summary(run, name, rows):
    """Write a predictor's summary of (subset, decision, macro_f1), and its thresholds."""
    lines = [
        f"{subset},{decision},40,{score},0.1,0.5,,2,0.35,0.3,0.4,,,,0,0,1,0.05"
        for subset, decision, score in rows
    ]
    header = ",".join(["subset", "decision", *predictor_scores.SUMMARY_COLUMNS])
    files.write_text(run / "evaluation" / f"{name}_summary.csv", "\n".join([header, *lines]) + "\n")
    files.write_json(run / "thresholds" / f"{name}.json", {})


def test_predictors_stand_side_by_side_best_on_top(tmp_path):
    for name, fixed, submitted in (("a", 0.2, 0.3), ("longer_name", 0.1, 0.4)):
        scores = (("fixed", fixed), ("tuned", 0.25), ("submitted", submitted))
        write_summary(tmp_path, name, [(s, *score) for s in ("validation", "holdout") for score in scores])
    table = predictor_scores.side_by_side(tmp_path, ["a", "longer_name"])
    assert list(table)[:3] == ["predictor", "subset", "decision"] and len(table) == 12
    lines = predictor_scores.describe(table, "holdout", 3, 0.5).splitlines()
    assert all(piece in lines[0] for piece in ("3 classes", "40 samples of holdout", "0.050"))
    assert [line.split() for line in lines[1:]] == [
        ["at", "0.5", "tuned", "submitted", *"95 % CI 2 frequent classes, 95 % CI".split()],
        ["longer_name", "0.100", "0.250", "0.400", *"0.100 to 0.500 0.350, 0.300 to 0.400".split()],
        ["a", "0.200", "0.250", "0.300", *"0.100 to 0.500 0.350, 0.300 to 0.400".split()],
    ]


OTHERS = [(subset, decision) for subset in ("holdout", "validation") for decision in ("fixed", "tuned")]
OTHERS += [("holdout", "submitted")]


def test_the_best_predictor_has_the_highest_score_on_validation_as_submitted(tmp_path):
    with pytest.raises(UserError, match=rf"{tmp_path}/evaluation.*run `python 04_threshold.py"):
        predictor_scores.best_predictor(tmp_path)
    for name, score in (("a", 0.3), ("b", 0.5), ("c", 0.4)):
        others = [(subset, decision, 0.9 - score) for subset, decision in OTHERS]
        write_summary(tmp_path, name, [*others, ("validation", "submitted", score)])
    assert predictor_scores.best_predictor(tmp_path) == "b"
    assert predictor_scores.best_predictor(tmp_path, ["a", "c", "not evaluated"]) == "c"
    (tmp_path / "thresholds" / "b.json").unlink()  # its table alone is left from before
    assert predictor_scores.best_predictor(tmp_path) == "c"


def test_the_best_is_selected_among_the_predictors_that_exist(tmp_path):
    for name, score in (("a", 0.3), ("b", 0.5), ("c", 0.4)):
        others = [(subset, decision, score) for subset, decision in OTHERS]
        write_summary(tmp_path, name, [*others, ("validation", "submitted", score)])
        files.write_bytes(tmp_path / "predictions" / name / "validation.npz", b"")
    assert predictor_scores.select_predictor(tmp_path, None) == "b"
    (tmp_path / "predictions" / "b" / "validation.npz").unlink()
    assert predictor_scores.select_predictor(tmp_path, None) == "c"
    assert predictor_scores.select_predictor(tmp_path, "a") == "a"
    with pytest.raises(UserError, match=r"--predictor b: .* it has a c"):
        predictor_scores.select_predictor(tmp_path, "b")


def test_the_scores_of_classes_are_read_by_subset_and_decision(tmp_path):
    with pytest.raises(UserError, match=r"a_classes.csv is missing: run `python 04_threshold.py"):
        predictor_scores.read_classes(tmp_path, "a", "holdout", [0, 1])
    rows = [
        {"subset": subset, "decision": decision, "class": name}
        | dict.fromkeys(predictor_scores.CLASS_COLUMNS, value / 4)
        for value, (subset, decision) in enumerate(
            (s, d) for s in ("validation", "holdout") for d in ("fixed", "submitted")
        )
        for name in CLASSES[:2]
    ]
    files.write_csv(tmp_path / "evaluation" / "a_classes.csv", pd.DataFrame(rows))
    assert predictor_scores.read_classes(tmp_path, "a", "holdout", [0, 1])["f1"].to_dict() == dict.fromkeys(
        CLASSES[:2], 0.75
    )
    fixed = predictor_scores.read_classes(tmp_path, "a", "validation", [0, 1], "fixed")
    assert fixed["f1"].tolist() == [0, 0]
    with pytest.raises(UserError, match=r"a_classes.csv is damaged .*run `python 04_threshold.py"):
        predictor_scores.read_classes(tmp_path, "a", "validation", [0, 2])
