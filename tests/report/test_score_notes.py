"""The notes next to a score say what it is worth, with the numbers of the tables."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib.data import sample_groups
from lib.data.run_data import Fold, RunData
from lib.data.sample_index import SampleIndex
from lib.evaluation.predictions import Predictor
from lib.learning.network_spec import NetworkSpec
from lib.report import score_notes
from lib.run import Invocation
from lib.sections import Split, Threshold, Training
from tests.data.test_duplicate_pairs import table_of

IDS = [f"s{row}" for row in range(8)]
SUBSETS = {"train": [0, 1, 2], "validation": [3, 4], "holdout": [5, 6], "siblings": [7]}
ROWS = [  # macro_f1_present, frequent_classes, macro_f1_frequent, its bounds, macro_f1_weighted, its bounds
    ("a", "holdout", "submitted", 2, 0.45, 3, 0.61, 0.5, 0.7, 0.33, 0.2, 0.4),
    ("a", "siblings", "submitted", 1, 0.79, 0, *[np.nan] * 6),
    ("a", "holdout", "tuned", 2, 0.99, 3, *[np.nan] * 6),
    ("b", "holdout", "submitted", 2, 0.98, 3, *[np.nan] * 6),
]
COLUMNS = ["predictor", "subset", "decision", "samples", "macro_f1_present", "frequent_classes",
           "macro_f1_frequent", "frequent_low", "frequent_high", "macro_f1_weighted", "weighted_low",
           "weighted_high"]  # fmt: skip


def report_of(tmp_path, by="group", **keys):
    index = SampleIndex(IDS, [(row % 4,) for row in range(8)], [])
    table = sample_groups.group_samples(IDS, keys)
    table.to_csv(tmp_path / "sample_groups.csv", index=False)
    subsets = {name: np.array(rows) for name, rows in SUBSETS.items()}
    folds = (Fold(None, subsets["train"], subsets["validation"]),)
    data = RunData(index, subsets, folds, [0, 1, 2, 3], {}, table["group"].to_numpy())
    run = SimpleNamespace(
        sample_groups=tmp_path / "sample_groups.csv",
        duplicates=tmp_path / "duplicates.csv",
        config=SimpleNamespace(split=Split(by=by)),
    )
    return SimpleNamespace(data=data, run=run, subset="holdout")


def test_networks_that_have_seen_the_samples_are_named_unless_they_are_simulated(tmp_path):
    report = SimpleNamespace(run=SimpleNamespace(folder=tmp_path, is_simulated=False))
    Invocation("demo", [], None).write(tmp_path)
    spec = NetworkSpec("resnet18", "RGBY", 16, "start", ["a"], [0])
    seen = replace(spec, initial_weights={"source": "w.pth", "license": "mit", "trained_on": "all images"})
    spec.write(tmp_path / "networks" / "baseline")
    assert score_notes.warnings(report) == []
    seen.write(tmp_path / "networks" / "winner")
    seen.write(tmp_path / "networks" / "folded" / "fold_0")
    (text,) = score_notes.warnings(report)
    assert "folded/fold_0, winner" in text and "all images" in text and "baseline" not in text
    # also those of the runs that a merged run averages
    report.run.folder = tmp_path / "outputs" / "mean"
    Invocation("demo", [], None, ["one", "two"]).write(report.run.folder)
    seen.write(tmp_path / "outputs" / "two" / "networks" / "winner")
    (text,) = score_notes.warnings(report)
    assert "two/winner" in text and "folded" not in text
    report.run.is_simulated = True
    assert score_notes.warnings(report) == []


BASELINE = Predictor("network", "baseline")


def chosen_on(subset, folds=False, epochs=2, keep="last", predictor=BASELINE, **threshold):
    config = SimpleNamespace(training=Training(epochs=epochs, keep=keep), networks={"baseline": ()})
    run = SimpleNamespace(config=config, for_network=lambda _name: SimpleNamespace(config=config))
    report = SimpleNamespace(subset=subset, data=SimpleNamespace(has_folds=folds), run=run)
    report.settings = Threshold(**threshold)
    return score_notes.chosen_on(report, predictor)


def test_what_was_chosen_on_the_scored_samples_is_said():
    assert "not used" in chosen_on("holdout", keep="macro_f1")
    both = chosen_on("validation", keep="validation_loss")
    assert "thresholds and the best epoch were chosen" in both and "optimistic" in both
    assert "no holdout: thresholds were" in chosen_on("validation", method="f1", calibration="none")
    assert "best epoch" not in chosen_on("validation", epochs=0, keep="macro_f1")
    assert ": the best epoch was" in chosen_on("validation", method="fixed", keep="macro_f1")
    for method in ("fixed", "frequency"):
        assert "nothing was chosen" in chosen_on("validation", method=method)
    assert "thresholds" in chosen_on("validation", method="frequency", frequencies="estimated")
    folded = chosen_on("validation", folds=True, keep="macro_f1")
    assert "on the other folds; its best epoch was chosen on these samples" in folded
    assert chosen_on("validation", folds=True, method="fixed").endswith("was not trained on it.")
    learnt = {"predictor": Predictor("ensemble", members={"a": 1.0}, method="weighted"), "method": "fixed"}
    assert "holdout: the ensemble's weights were chosen" in chosen_on("validation", **learnt)
    assert "weights and the best epoch were chosen" in chosen_on("validation", keep="macro_f1", **learnt)
    every = chosen_on("validation", keep="macro_f1", **learnt | {"method": "f1"})
    assert "thresholds, the ensemble's weights and the best epoch were chosen" in every
    assert "it; the ensemble's weights were chosen" in chosen_on("validation", folds=True, **learnt)
    external = {"predictor": Predictor("external", files=["a.csv"]), "method": "fixed"}
    assert "nothing was chosen" in chosen_on("validation", keep="macro_f1", **external)


def notes(report, rows=ROWS):
    return "\n".join(score_notes.notes(report, pd.DataFrame(rows, columns=COLUMNS), "a"))


def test_scores_of_fewer_classes_and_of_the_test_mixture_are_those_of_the_table(tmp_path):
    text = notes(report_of(tmp_path))
    assert "2 of the 4 classes do not occur" in text and "the 2 that do, macro-F1 is 0.450" in text
    assert "the 3 classes" in text and "0.610 (95 % CI 0.500 to 0.700)" in text
    assert "0.330 (0.200 to 0.400)" in text
    others = notes(report_of(tmp_path), [(*ROWS[0][:5], 0, *[np.nan] * 6)])
    assert "expected to have enough" not in others and "mixture" not in others
    assert "the one class that is expected" in notes(report_of(tmp_path), [(*ROWS[0][:5], 1, *ROWS[0][6:])])


def test_a_split_by_groups_names_what_links_samples_and_gives_the_score_of_siblings(tmp_path):
    text = notes(report_of(tmp_path, antibody={"s0": "1", "s7": "1"}))
    assert "by groups of related samples (linked by antibody)" in text and "is unknown" not in text
    assert "two of the subsets, siblings excepted" in text
    assert "On 1 sample not trained on" in text and "0.790" in text
    assert "siblings" not in notes(report_of(tmp_path), ROWS[:1])


def test_a_split_by_sample_counts_the_samples_with_a_related_one_in_train(tmp_path):
    text = notes(report_of(tmp_path, by="sample", table={"s0": "1", "s5": "1", "s3": "2", "s6": "2"}))
    assert "1 of these 2 samples has a related one among the training samples, which makes" in text
    # whatever the settings say: those of a merged run may be others
    text = notes(report_of(tmp_path, by="group", table={"s3": "1", "s5": "1"}))
    assert "0 of these 2 samples have a related one among the training samples." in text
    assert "by groups of related samples" in notes(
        report_of(tmp_path, by="sample", table={"s0": "1", "s1": "1"})
    )


def test_a_split_by_sample_with_folds_counts_related_samples_of_other_folds(tmp_path):
    report = report_of(tmp_path, by="sample", table={"s0": "1", "s1": "1", "s2": "2", "s4": "2"})
    halves = (np.array([0, 1, 2]), np.array([3, 4, 5]))  # s0 and s1 are in the same one
    folds = (Fold(0, halves[1], halves[0]), Fold(1, halves[0], halves[1]))
    subsets = {"validation": np.arange(6)}
    report.data, report.subset = replace(report.data, subsets=subsets, folds=folds), "validation"
    text = notes(report, [("a", "validation", *ROWS[0][2:])])
    assert "2 of these 6 samples have a related one among the training samples" in text


@pytest.mark.parametrize("links", [{}, {"duplicate": {"s0": "1", "s1": "1"}}])
def test_unknown_antibodies_are_pointed_out(tmp_path, links):
    text = notes(report_of(tmp_path, **links))
    assert "antibody is unknown" in text and "data.groups=FILE" in text and "0.1 to 0.17 lower" in text


def test_training_images_that_duplicate_test_images_are_counted(tmp_path):
    assert "duplicate in the test set" not in notes(report_of(tmp_path))
    pairs = table_of(("s0", "t0", "train-test"), ("s1", "t0", "train-test"), ("s1", "s2", "train-train"))
    pairs.to_csv(tmp_path / "duplicates.csv", index=False)
    text = notes(report_of(tmp_path))
    assert (
        "Training images with a duplicate in the test set: 2 (test images with one in the training set: 1)"
        in text
    )


def test_one_class_is_not_several(tmp_path):
    report = report_of(tmp_path)
    report.data = replace(report.data, classes=[0, 1, 2])
    assert "1 of the 3 classes does not occur among these samples and counts as 0" in notes(report)


def test_without_absent_classes_nothing_is_said_of_them(tmp_path):
    report = report_of(tmp_path)
    report.data = replace(report.data, classes=[1, 2])
    assert "do not occur" not in notes(report)
