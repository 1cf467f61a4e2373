"""The tables of an evaluation are what is computed from the predictions directly."""

import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from lib import files
from lib.errors import UserError
from lib.evaluation import confusion, predictions, predictor_scores, submission, thresholds
from lib.evaluation.calibration import Calibration, reliability_by_class
from lib.evaluation.intervals import macro_f1_interval
from lib.evaluation.predictions import LabelledPredictions, Predictor
from lib.labels import CLASSES
from lib.report import own_images_page
from lib.run import Run
from lib.sections import Threshold
from tests.conftest import call
from tests.data.test_duplicate_pairs import table_of
from tests.report.conftest import (
    LABELS,
    PREDICTORS,
    SETTINGS,
    assert_equal,
    read,
    report_of,
    restart,
    start,
)


def probabilities(run, name, subset, ids):
    return predictions.load(run.predictor(name) / f"{subset}.npz").select(ids, subset)


def chosen_thresholds(run, name, data, subset):
    """Choose the thresholds of a subset from validation, as the settings ask for."""
    validation = LabelledPredictions(
        data.truth_NC("validation"), probabilities(run, name, "validation", data.ids("validation"))
    )
    rule = thresholds.choose(validation, data.truth_NC("train").mean(axis=0), run.config.threshold)
    return rule(probabilities(run, name, subset, data.ids(subset)))


def decided(run, name, data, subset):
    raw_NC = probabilities(run, name, subset, data.ids(subset))
    thresholds_C = chosen_thresholds(run, name, data, subset)
    return {
        "fixed": raw_NC >= 0.5,
        "tuned": raw_NC.astype(np.float64) >= thresholds_C,
        "submitted": thresholds.final_decisions(raw_NC, thresholds_C),
    }


@pytest.mark.parametrize("name", ["baseline", "hierarchy_soft"])
@pytest.mark.parametrize("subset", ["train", "validation", "holdout"])
def test_the_scores_of_classes_are_scikit_learns(finished, name, subset):
    data = report_of(finished).data
    table = read(finished, f"{name}_classes")
    assert sorted(data.classes) == sorted(LABELS), "classes without a sample are left out"
    truth_NC = data.truth_NC(subset)
    for decision, decision_NC in decided(finished, name, data, subset).items():
        rows = table[(table["subset"] == subset) & (table["decision"] == decision)]
        assert rows["class"].tolist() == [CLASSES[label] for label in data.classes]
        pair = truth_NC[:, data.classes], decision_NC[:, data.classes]
        for column, score in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
            expected = score(*pair, average=None, zero_division=0)
            assert rows[column].to_numpy() == pytest.approx(expected, abs=1e-6), (decision, column)
        assert rows["support"].tolist() == pair[0].sum(axis=0).tolist()
        assert rows["predicted"].tolist() == pair[1].sum(axis=0).tolist()


def test_summaries_are_means_over_the_runs_classes(finished):
    data = report_of(finished).data
    table = read(finished, "baseline_summary").set_index(["subset", "decision"])
    for decision, decision_NC in decided(finished, "baseline", data, "holdout").items():
        row, pair = table.loc["holdout", decision], (data.truth_NC("holdout"), decision_NC)
        pair = tuple(table_NC[:, data.classes] for table_NC in pair)
        assert row["macro_f1"] == pytest.approx(f1_score(*pair, average="macro", zero_division=0), abs=1e-6)
        assert row["labels_per_sample"] == pytest.approx(decision_NC.sum(axis=1).mean(), abs=1e-6)
        assert row["samples"] == len(decision_NC) == len(data.ids("holdout"))
        if decision == "submitted":
            assert row["macro_f1"] != table.loc[("holdout", "tuned"), "macro_f1"]
            assert row[["low", "high"]].tolist() == pytest.approx(macro_f1_interval(*pair), abs=1e-6)


def test_thresholds_are_those_of_each_subset(finished):
    data = report_of(finished).data
    for subset in ("validation", "holdout", "test"):
        saved = thresholds.load(finished.thresholds("features_alone"), subset)
        assert np.array_equal(saved, chosen_thresholds(finished, "features_alone", data, subset))


def test_reliability_is_that_of_raw_and_calibrated_probabilities(finished):
    data = report_of(finished).data
    truth_NC, raw_NC = (
        data.truth_NC("holdout"),
        probabilities(finished, "baseline", "holdout", data.ids("holdout")),
    )
    validation_NC = probabilities(finished, "baseline", "validation", data.ids("validation"))
    calibration = Calibration(validation_NC, data.truth_NC("validation"))
    expected = reliability_by_class(
        truth_NC, {"raw": raw_NC, "calibrated": calibration(raw_NC)}, data.classes
    )
    assert_equal(read(finished, "baseline_reliability"), expected)


def test_the_comparison_lists_every_predictors_summary(finished):
    table = read(finished, "predictors")
    assert table["predictor"].unique().tolist() == PREDICTORS
    for name in PREDICTORS:
        own = table[table["predictor"] == name].drop(columns="predictor")
        assert_equal(own.reset_index(drop=True), read(finished, f"{name}_summary"))


def test_confusions_are_those_of_the_best_predictors_submitted_decisions(finished):
    data = report_of(finished).data
    best = predictor_scores.best_predictor(finished.folder)
    decision_NC = decided(finished, best, data, "holdout")["submitted"]
    expected = confusion.frequent_confusions(data.truth_NC("holdout"), decision_NC, data.classes)
    assert_equal(read(finished, "confusions"), expected)


def test_every_figure_of_the_evaluation_is_drawn(finished):
    names = {path.stem for path in (finished.folder / "figures").glob("*.png")}
    each = {f"{figure}_{name}" for figure in ("f1", "scores") for name in PREDICTORS}
    assert names >= each | {
        "predictors",
        "reliability",
        "confusions",
        "groups",
        "within_groups",
        "advantages",
    }


def test_figures_show_the_reported_subset(copied, drawn):
    report = report_of(copied)
    one = report.predictor("baseline")
    report._evaluate(one)
    report._compare(PREDICTORS)
    classes = read(copied, "baseline_classes")
    holdout = classes[classes["subset"] == "holdout"]
    path, scores, title, tuned_name = drawn["class_f1"]
    assert path == copied.figure("f1_baseline") and title == "baseline: holdout, simulated cells"
    assert tuned_name == drawn["predictors"][-1] == "per-class thresholds"
    assert_equal(scores.reset_index(drop=True), holdout)
    path, scores, groups, title = drawn["class_scores"]
    assert_equal(scores.reset_index(drop=True), holdout[holdout["decision"] == "fixed"])
    assert groups == report.data.groups and "0.5 for all classes" in title
    best, truth_NC = predictor_scores.best_predictor(copied.folder), report.data.truth_NC("holdout")
    decision_NC = report.predictor(best).decisions("holdout")
    path, share_CC, groups, classes, title = drawn["confusions"]
    assert path == copied.figure("confusions") and best in title and classes == report.data.classes
    assert np.array_equal(share_CC, confusion.matrix(truth_NC, decision_NC), equal_nan=True)  # rows: true
    _, shown_NC, both, *_ = drawn["reliability"]
    assert np.array_equal(shown_NC, truth_NC) and list(both) == ["raw", "calibrated"]
    _, table, subset, fixed, *_ = drawn["predictors"]
    assert (subset, fixed, table["predictor"].nunique()) == ("holdout", 0.5, 5)


@pytest.mark.parametrize(
    ("method", "words"), [("fixed", ""), ("global", "one threshold"), ("frequency", "per-class thresholds")]
)
def test_tuned_thresholds_are_named_where_there_are_any(copied, method, words):
    report = report_of(copied)
    settings = dataclasses.replace(copied.config, threshold=Threshold(method=method))
    name = dataclasses.replace(report, run=dataclasses.replace(copied, config=settings)).tuned_name
    assert name.startswith(words) and bool(name) == bool(words)


# folds


def test_with_folds_each_fold_is_decided_with_the_thresholds_of_the_others(folded):
    report = report_of(folded)
    data, fold_N = report.data, report.data.validation_fold_N
    truth_NC = data.truth_NC("validation")
    raw_NC = probabilities(folded, "baseline", "validation", data.ids("validation"))
    everything, frequency_C = LabelledPredictions(truth_NC, raw_NC), truth_NC.mean(axis=0)
    saved = thresholds.load(folded.thresholds("baseline"), "validation", 3)
    decision_NC = np.zeros_like(truth_NC)
    assert saved.shape == (3, 28) and len(truth_NC) == 60
    for k in range(3):
        rule = thresholds.choose(everything.rows(fold_N != k), frequency_C, folded.config.threshold)
        thresholds_C = rule(raw_NC[fold_N == k])
        assert np.array_equal(saved[k], thresholds_C)
        decision_NC[fold_N == k] = thresholds.final_decisions(raw_NC[fold_N == k], thresholds_C)
    table = read(folded, "baseline_summary").set_index(["subset", "decision"])
    assert set(table.index.get_level_values("subset")) == {"validation"}
    pair = truth_NC[:, data.classes], decision_NC[:, data.classes]
    expected = f1_score(*pair, average="macro", zero_division=0)
    assert table.loc[("validation", "submitted"), "macro_f1"] == pytest.approx(expected, abs=1e-6)
    everywhere = thresholds.choose(everything, frequency_C, folded.config.threshold)
    test_NC = probabilities(folded, "baseline", "test", data.ids("test"))
    assert np.array_equal(thresholds.load(folded.thresholds("baseline"), "test"), everywhere(test_NC))


# done once


def test_a_predictor_is_evaluated_once_until_its_predictions_change(copied):
    report = report_of(copied)
    assert not report.evaluate("baseline")
    path = copied.predictor("baseline") / "holdout.npz"
    table = predictions.load(path)
    table.probabilities_NC[0, 0] = 0.123
    predictions.save(path, table)
    with pytest.raises(UserError, match=r"different holdout.npz: .*--force"):
        report.evaluate("baseline")


def test_another_way_to_choose_thresholds_is_another_run(finished):
    changed = start(*restart(finished, "threshold.method=f1"))
    with pytest.raises(UserError, match=r"threshold.method=expected_f1, not f1"):
        report_of(changed).evaluate("baseline")


def test_thresholds_of_other_predictions_or_settings_are_not_submitted(copied):
    before = copied.submission.read_bytes()
    other = restart(copied, "threshold.method=fixed", "threshold.max_labels=1")
    for more in ((), ("--force",)):
        with pytest.raises(UserError, match=r"threshold.method=expected_f1, not fixed.*04_threshold.py") as e:
            call("05_submit", *other, "--no-report", *more)
        assert "\n" not in str(e.value)
    path = copied.predictor("baseline") / "test.npz"
    table = predictions.load(path)
    predictions.save(path, dataclasses.replace(table, probabilities_NC=1 - table.probabilities_NC))
    options = (*restart(copied), "--no-report", "--predictor", "baseline")
    with pytest.raises(UserError, match=r"baseline was made from a different test.npz: .*04_threshold.py"):
        call("05_submit", *options)
    assert copied.submission.read_bytes() == before
    path = copied.manifest("04_threshold features_alone")
    files.write_json(path, files.read_json(path) | {"finished": False})
    with pytest.raises(UserError, match=r"features_alone is not finished: run `python 04_threshold.py"):
        call("05_submit", *options[:-1], "features_alone")
    call("05_submit", *options[:-1], "hierarchy_hard")


def test_a_predictor_that_was_not_compared_is_not_submitted(copied):
    options = (*restart(copied), "--no-report", "--predictor", "baseline")
    path = copied.evaluation("baseline_summary")
    before = path.read_bytes()
    path.write_bytes(before + b"\n")  # stage 04 was interrupted between evaluation and comparison
    with pytest.raises(
        UserError, match=r"predictors.csv was made before baseline was .*04_threshold.py` again"
    ):
        call("05_submit", *options)
    path.write_bytes(before)
    call("05_submit", *options)


def test_an_ensemble_of_other_predictions_or_settings_is_not_submitted(copied):
    before = copied.submission.read_bytes()
    options = ("--no-report", "--predictor", "ensemble")
    with pytest.raises(
        UserError, match=r"ensemble.* with ensemble.method=\w+, not rank_mean: .*04_threshold.py"
    ):
        call("05_submit", *restart(copied, "ensemble.method=rank_mean"), *options)
    path = copied.predictor("features_alone") / "test.npz"
    table = predictions.load(path)
    predictions.save(path, dataclasses.replace(table, probabilities_NC=1 - table.probabilities_NC))
    with pytest.raises(UserError, match=r"from a different features_alone/test.npz: .*04_threshold.py"):
        call("05_submit", *restart(copied), *options)
    assert copied.submission.read_bytes() == before
    call("04_threshold", *restart(copied), "--force")
    call("05_submit", *restart(copied), *options)


def test_learnt_weights_depend_on_the_labels(copied):
    inputs = files.read_json(copied.manifest("04_threshold ensemble predictions"))["inputs"]
    assert copied.config.ensemble.method == "weighted"
    assert files.fingerprints(copied.index, copied.split).items() <= inputs.items()


def test_an_ensemble_that_is_no_longer_wanted_is_removed_with_force_alone(copied):
    options = restart(copied, "ensemble.members=none")
    call("04_threshold", *options)  # the ensemble may have been made by stage 04 alone
    assert "ensemble" in read(copied, "predictors")["predictor"].unique()
    call("05_submit", *restart(copied), "--no-report", "--predictor", "ensemble")
    call("04_threshold", *options, "--force")
    assert sorted(read(copied, "predictors")["predictor"].unique()) == [*PREDICTORS[:1], *PREDICTORS[2:]]
    call("05_submit", *options, "--no-report")


def test_tables_and_figures_that_were_deleted_are_made_again(copied):
    deleted = [copied.evaluation("groups"), copied.figure("advantages"), copied.figure("f1_baseline")]
    for path in deleted:
        path.unlink()
    call("04_threshold", *restart(copied))
    assert all(path.exists() for path in deleted)


def test_unusable_images_concern_predictors_of_images_alone(copied, tmp_path):
    data = report_of(copied).data
    ids = [sample for subset in data.predicted_subsets for sample in data.ids(subset)]
    scores = pd.DataFrame(0.0, index=ids, columns=range(28))
    scores[5] = 0.9
    scores.to_csv(tmp_path / "theirs.csv", index_label="id")
    call("04_threshold", *restart(copied), "--add", "theirs", tmp_path / "theirs.csv")
    first, *_ = data.ids("test")
    options = (*restart(copied), "--no-report", "--predictor")
    call("05_submit", *options, "baseline")
    bad = copied.folder / "bad_images.csv"
    bad.write_text(f"subset,id,file,reason\ntest,{first},{first}_red.png,is missing\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "bad_images", property(lambda _self: bad))
        with pytest.raises(UserError, match=r"different bad_images.csv"):
            call("05_submit", *options, "baseline")
        call("05_submit", *options, "theirs")
        assert submission.check(copied.submission, data.ids("test"))[0].nonzero()[0].tolist() == [5]
        call("05_submit", *options, "baseline", "--force")
        frequent = int(data.index.truth_NC.sum(axis=0).argmax())
        assert submission.check(copied.submission, data.ids("test"))[0].nonzero()[0].tolist() == [frequent]


def test_an_added_predictor_changes_no_others(copied, tmp_path):
    data, before = report_of(copied).data, read(copied, "baseline_summary")
    ids = [sample for subset in data.predicted_subsets for sample in data.ids(subset)]
    pd.DataFrame(0.5, index=ids, columns=range(28)).to_csv(tmp_path / "theirs.csv", index_label="id")
    added = ("--add", "theirs", tmp_path / "theirs.csv")
    with pytest.raises(UserError, match=r"baseline was made with threshold.method=expected_f1, not fixed"):
        call("04_threshold", *restart(copied, "threshold.method=fixed"), *added)
    assert_equal(read(copied, "baseline_summary"), before)
    shutil.rmtree(copied.predictor("theirs"))
    call("04_threshold", *restart(copied), *added)
    shutil.rmtree(copied.predictor("theirs"))
    with pytest.raises(UserError, match=r"predictors.csv lists theirs, which is gone: .*04_threshold.py"):
        call("05_submit", *restart(copied), "--predictor", "baseline")


def test_strata_may_be_named_later_and_concern_only_the_evaluation(copied, tmp_path, capsys):
    report, path = report_of(copied), tmp_path / "sides.csv"
    ids = report.data.index.train_ids + report.data.index.test_ids
    rows = [f"{sample},{2048 + 1024 * (row % 3 == 0)}" for row, sample in enumerate(ids)]
    path.write_text("\n".join(["id,side", *rows]))
    options = restart(copied, f"split.strata={path}")
    call("00_prepare", *options)
    with pytest.raises(UserError, match=r"different sides.csv.*--force"):
        call("04_threshold", *options)
    call("04_threshold", *options, "--force")
    assert read(copied, "baseline_summary")["macro_f1_weighted"].notna().all()
    capsys.readouterr()
    call("05_submit", *options, "--no-report")
    assert "submission.csv is up to date" in capsys.readouterr().out


def test_frequencies_are_those_of_training_or_of_a_table(finished, tmp_path):
    report = report_of(finished)
    assert np.array_equal(report.frequency_C, report.data.truth_NC("train").mean(axis=0))
    assert report.decision_inputs(["test"]) == []
    table = tmp_path / "frequencies.csv"
    table.write_text("class,frequency\nNucleoplasm,0.9\n")
    other = report_of(start(*restart(finished, f"threshold.frequencies={table}")))
    assert other.frequency_C[0] == 0.9 and np.array_equal(other.frequency_C[1:], report.frequency_C[1:])
    assert other.decision_inputs(["test"]) == [table]


def test_consistent_decisions_depend_on_stage_1(finished):
    report = report_of(start(*restart(finished, "threshold.consistent=true")))
    inputs = report.decision_inputs(["validation", "test"])
    assert inputs == [finished.network("stage_1") / f"{subset}.npz" for subset in ("validation", "test")]
    one = report.predictor("baseline")
    allowed_NC = one.allowed_NC("holdout")
    assert np.array_equal(allowed_NC, report.hierarchy.allowed_NC("holdout")) and not allowed_NC.all()
    decision_NC, restricted_N = one.decisions("holdout"), allowed_NC.any(axis=1)
    assert not (decision_NC & ~allowed_NC)[restricted_N].any()
    assert report_of(finished).predictor("baseline").allowed_NC is None


def test_a_merged_run_has_no_stage_1_to_be_consistent_with(copied):
    name, options = copied.folder.name, ["--work", copied.folder.parents[1], "--run", "merged"]
    given = [*restart(copied)[:2], "--data", copied.source, "--preset", "smoke", "--set", *SETTINGS]
    consistent = ("hierarchy.train=stages", "threshold.consistent=true")
    with pytest.raises(UserError, match=r"the merged run merged .*--set threshold.consistent=false"):
        call("04_threshold", *given, *consistent, "--run", "merged", "--merge", name, name)
    assert not (copied.folder.parent / "merged" / "predictions").exists()
    off = ("--set", "threshold.consistent=false")
    call("04_threshold", *options, *off, "--merge", name, name)
    call("04_threshold", *options[:-1], "again", "--merge", name, name)
    started = files.read_json(copied.folder / "run.json")
    merged = files.read_json(copied.folder.parent / "again" / "run.json")
    assert (merged["preset"], merged["set"]) == (started["preset"], started["set"])
    with pytest.raises(UserError, match=r"the merged run merged .*--set threshold.consistent=false"):
        call("05_submit", *options, "--set", "threshold.consistent=true", "--no-report")
    call("05_submit", *options, "--no-report")


def test_external_predictors_are_added_whatever_their_name(copied, tmp_path):
    data, random = report_of(copied).data, np.random.default_rng(5)
    ids = [sample for subset in data.predicted_subsets for sample in data.ids(subset)]
    names = ["hierarchy_x", "features_alone_tta"]
    for name in names:
        scores = pd.DataFrame(random.uniform(size=(len(ids), 28)), columns=list(CLASSES)).assign(Id=ids)
        scores.to_csv(tmp_path / f"{name}.csv", index=False)
        call("04_threshold", *restart(copied), "--add", name, tmp_path / f"{name}.csv")
    assert set(read(copied, "predictors")["predictor"]) == {*PREDICTORS, *names}
    ensemble = Predictor.read(copied.predictor("ensemble"))
    assert set(ensemble.members) == {*PREDICTORS, *names} - {"ensemble"}
    assert sum(ensemble.members.values()) == pytest.approx(1)
    for name in names:
        assert Predictor.read(copied.predictor(name)).kind == "external"
        with pytest.raises(UserError, match=rf"{name}.*external.*{name}.csv.*--predictor"):
            own_images_page.predict(SimpleNamespace(run=copied), name)


# duplicates


def submit_with(run, how, monkeypatch, *options):
    """Call stage 05 with ``submit.duplicates`` and this table: a01 = t02, and t00 = t01."""
    path = run.folder.parent / "duplicates.csv"
    table_of(("a01", "t02", "train-test"), ("t00", "t01", "test-test")).to_csv(path, index=False)
    monkeypatch.setattr(Run, "duplicates", property(lambda _run: path))
    call("05_submit", *restart(run), *options, "--set", f"submit.duplicates={how}")
    return submission.check(run.submission, report_of(run).data.ids("test"))


def test_labels_of_training_duplicates_are_submitted_only_on_request_and_called_a_leak(
    copied, monkeypatch, capsys
):
    report = report_of(copied)
    own_NC = submission.check(copied.submission, report.data.ids("test"))
    with pytest.raises(UserError, match=r"submit.duplicates=network, not label.*--run.*--force"):
        submit_with(copied, "label", monkeypatch)
    leaked_NC = submit_with(copied, "label", monkeypatch, "--force")
    assert np.array_equal(leaked_NC[2], report.data.index.truth_NC[1])
    assert np.array_equal(np.delete(leaked_NC, 2, axis=0), np.delete(own_NC, 2, axis=0))
    assert "leak" in capsys.readouterr().err
    text = copied.report.read_text()
    assert "Leak." in text and "1 of 12 rows" in text and "with a duplicate in the test set: 1" in text


def test_duplicates_within_the_test_set_share_their_decision(copied, monkeypatch):
    averaged_NC = submit_with(copied, "average", monkeypatch, "--force", "--no-report")
    report, name = report_of(copied), predictor_scores.best_predictor(copied.folder)
    ids = report.data.ids("test")
    raw_NC = probabilities(copied, name, "test", ids)
    raw_NC[:2] = raw_NC[:2].mean(axis=0)
    expected_NC = thresholds.final_decisions(raw_NC, thresholds.load(copied.thresholds(name), "test", 1), 0)
    assert np.array_equal(averaged_NC, expected_NC) and np.array_equal(averaged_NC[0], averaged_NC[1])


def test_without_a_table_of_duplicates_the_remedy_is_named(copied, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "duplicates", property(lambda _run: tmp_path / "none.csv"))
    with pytest.raises(UserError, match=r"none.csv.*00_prepare.py.*submit.duplicates=network"):
        call("05_submit", *restart(copied, "submit.duplicates=average"), "--force", "--no-report")
    call("05_submit", *restart(copied), "--no-report")


def test_known_test_labels_are_scored_and_reported(copied, tmp_path, capsys):
    (tmp_path / "answers.csv").write_text("Id,Target\nt03,0\nt05,2 25\n")
    call("05_submit", *restart(copied), "--known-labels", tmp_path / "answers.csv")
    expected = "in answers.csv: 2 of 12,"
    assert expected in capsys.readouterr().out and expected in copied.report.read_text()


# what is implausible


def test_implausible_decisions_are_warned_of_when_they_are_compared_and_submitted(copied, capsys):
    report = report_of(copied)
    baseline = copied.folder / "thresholds" / "baseline.json"
    content = files.read_json(baseline)
    zero = {subset: dict.fromkeys(values, 0.0) for subset, values in content.items()}
    files.write_json(baseline, zero)
    copied.manifest("05_submit").unlink()
    rows = len(report.data.ids("test"))
    capsys.readouterr()
    report.submit("baseline")
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "implausible" in line)
    assert str(copied.submission) in line and f"all {rows} rows have the same 28 labels" in line
    report._compare(["baseline"])
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "implausible" in line)
    assert "baseline on holdout" in line and "same 28 labels" in line


def test_plausible_decisions_are_not_warned_of(finished, capsys):
    report = report_of(finished)
    report._warn_if_implausible("x", report.data.training_NC)
    assert capsys.readouterr().err == ""
