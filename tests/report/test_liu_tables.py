"""Table 1 and section 6.3 of Liu et al. 2018, and the preset in miniature."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from lib import files
from lib.errors import UserError
from lib.evaluation import submission
from lib.evaluation.predictions import Predictor
from lib.presets import PRESETS
from lib.report import liu_tables, paper_tables
from lib.sections import Threshold
from tests.conftest import call, missing_of_paper
from tests.report.conftest import report_of

EXTERNAL = Predictor("external", files=["scores.csv"])
NETWORKS = {
    "zero_20": Predictor("network", "zero_20"),
    "copied": Predictor("network", "copied"),
    "copied_tta": Predictor("network", "copied", views=8),
    "rgb_512": Predictor("network", "rgb_512"),
    "rgb_512_weight_decay": Predictor("network", "rgb_512_weight_decay"),
    "other": Predictor("network", "other"),
}
SCORES = [0.1, 0.4, 0.3, 0.4]  # on validation, by epoch


def history(epochs=4):
    rows = [
        {"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 2 / epoch,
         "train_macro_f1": epoch / 10, "validation_macro_f1": SCORES[epoch - 1]}
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def report(copied):
    """A run of the preset with the predictions of another, for networks of four epochs."""
    threshold = Threshold("frequency", calibration="none")
    run = replace(copied, config=replace(copied.config, name="liu", threshold=threshold))
    for name, predictor in NETWORKS.items():
        shutil.copytree(run.predictor("baseline"), run.predictor(name))
        predictor.write(run.predictor(name))
        files.write_csv(run.network(predictor.network) / "history.csv", history())
    return replace(report_of(copied), run=run)


def networks(*names):
    return {name: NETWORKS[name].network for name in names}


def test_the_papers_numbers_are_those_of_table_1_and_figure_6():
    printed = liu_tables.PRINTED
    assert [row.score for row in printed] == [0.366, 0.387, 0.403, 0.394, 0.401]
    assert [row.train_loss for row in printed] == [0.0716, 0.0502, 0.0499, 0.0700, 0.0509]
    assert [row.validation_loss for row in printed] == [0.0808, 0.0795, 0.0795, 0.0790, 0.0799]
    assert [row.epochs for row in printed] == [20, 40, 40, 40, 40]
    assert [row.method for row in printed] == ["fixed"] + ["frequency"] * 4
    highest = [(row.epoch, row.score) for row in liu_tables.SECTION_6_3]
    assert highest == [(40, 0.4189), (49, 0.4110)] + [(None, None)] * 4
    ours = [row for row in liu_tables.TABLE_1 if row.method == "f1"]
    assert [row.predictor for row in ours] == [row.predictor for row in printed[1:]]
    assert all(row.score is None for row in ours)


# table 1


def best_thresholds(truth_NC, probabilities_NC):
    """Return each class's threshold with the best F1 by trying all; 0.5 for a class without a sample."""
    chosen = []
    for truth_N, probability_N in zip(truth_NC.T, probabilities_NC.T, strict=True):
        values = np.unique(probability_N)
        scores = [f1_score(truth_N, probability_N >= value, zero_division=0) for value in values]
        chosen.append(values[np.argmax(scores)] if truth_N.any() else 0.5)
    return np.array(chosen)


def as_frequent_as(frequency_C, probabilities_NC):
    """Return decisions that give every class the number of samples nearest to its frequency."""
    count_C = np.rint(frequency_C * len(probabilities_NC)).clip(frequency_C > 0).astype(int)
    rank_NC = np.argsort(np.argsort(-probabilities_NC, axis=0), axis=0)
    return rank_NC < count_C


def macro_f1(report, decision_NC):
    """Return the macro-F1 of decisions on validation."""
    classes, truth_NC = report.data.classes, report.data.truth_NC("validation")
    return f1_score(truth_NC[:, classes], decision_NC[:, classes], average="macro", zero_division=0)


def test_each_row_has_the_thresholds_that_it_names(report):
    table = liu_tables.table_1(report, networks("zero_20", "copied", "copied_tta"))
    methods = ["0.5", "frequency (training)", "frequency (training)", *["best F1 on validation (ours)"] * 2]
    assert table["thresholds"].tolist() == methods
    assert table["predictor"].tolist() == ["zero_20", "copied", "copied_tta", "copied", "copied_tta"]
    raw_NC, truth_NC = report.predictor("copied").raw_NC("validation"), report.data.truth_NC("validation")
    fixed = macro_f1(report, raw_NC >= 0.5)
    by_frequency = macro_f1(report, as_frequent_as(report.frequency_C, raw_NC))
    tuned = macro_f1(report, raw_NC >= best_thresholds(truth_NC, raw_NC))
    assert not (raw_NC >= best_thresholds(truth_NC, raw_NC)).any(axis=1).all(), "some have no label"
    assert len({round(score, 4) for score in (fixed, by_frequency, tuned)}) == 3
    expected = [fixed, by_frequency, by_frequency, tuned, tuned]
    assert table["validation_macro_f1"].tolist() == pytest.approx(expected)


def test_the_thresholds_of_the_test_set_come_from_its_own_predictions(report):
    table = liu_tables.table_1(report, networks("copied"))
    raw_NC = report.predictor("copied").raw_NC("test")
    decision_NC = as_frequent_as(report.frequency_C, raw_NC)
    expected = submission.score(report.data.ids("test"), decision_NC, report.run.solution)["All"]
    assert table["test_macro_f1"][0] == pytest.approx(expected)
    unknown = replace(report, run=replace(report.run, source=report.folder))
    assert liu_tables.table_1(unknown, networks("copied"))["test_macro_f1"].isna().all()


def test_frequencies_of_the_test_set_can_be_estimated_or_given(report):
    def first(source):
        threshold = Threshold("expected_f1", frequencies=source)  # the rows name their own method
        run = replace(report.run, config=replace(report.run.config, threshold=threshold))
        return liu_tables.table_1(replace(report, run=run), networks("copied")).iloc[0]

    assert first("estimated")["thresholds"] == "frequency (estimated)"
    assert first("frequencies.csv")["thresholds"] == "frequency (table)"


def test_ours_stand_beside_theirs(report):
    table = liu_tables.table_1(report, networks("zero_20", "copied"))
    assert table["epochs"].tolist() == [4, 4, 4] and table["train_loss"].tolist() == [0.25] * 3
    assert table["validation_loss"].tolist() == [0.5] * 3
    assert table["paper_score"].tolist()[:2] == [0.366, 0.403]
    assert table.loc[2, ["paper_epochs", "paper_train_loss", "paper_score"]].isna().all()
    table.loc[1, "test_macro_f1"] = np.nan
    lines = liu_tables.describe_table_1(table, "simulated cells").splitlines()
    assert "simulated cells" in lines[0] and "Kaggle's images" in lines[0]
    assert "0.2500 / 0.0716" in lines[2] and lines[2].endswith(" / 0.366")
    assert lines[3].endswith(" / 0.403  on validation")
    assert lines[4].endswith(" / -") and "(ours)" in lines[4]
    assert len({line.index("/") for line in lines[2:]}) == 1, "the columns are aligned"
    shown = liu_tables.table_1_pairs(table)
    assert shown[1]["epochs"] == "4 / 40" and shown[2]["epochs"] == "4 / -"


# section 6.3


def test_the_highest_score_over_the_epochs_is_compared_not_the_last():
    table = liu_tables.section_6_3({"rgb_512": history(), "rgb_512_weight_decay": history(3)})
    assert table["network"].tolist() == ["rgb_512", "rgb_512_weight_decay"]
    assert table["epochs"].tolist() == [4, 3]
    # the first of the highest
    assert table["epoch"].tolist() == [2, 2] and table["validation_macro_f1"].tolist() == [0.4, 0.4]
    assert table["train_macro_f1"].tolist() == [0.2, 0.2]
    first, second = liu_tables.section_6_3_pairs(table)
    assert (first["in epoch"], first["on validation"]) == ("2 / 40", "0.4000 / 0.4189")
    assert (second["in epoch"], second["on validation"]) == ("2 / -", "0.4000 / -")
    lines = liu_tables.describe_section_6_3(table, "simulated cells").splitlines()
    assert "highest" in lines[0] and "simulated cells" in lines[0] and len(lines) == 4


def test_both_tables_and_the_figure_are_written_and_read_back(report, monkeypatch):
    drawn = []
    monkeypatch.setattr(liu_tables.figures, "macro_f1_over_epochs", lambda *given: drawn.append(given))
    texts = liu_tables.write(report, [*NETWORKS, "features_alone"])
    assert [text.split(":")[0] for text in texts] == [
        "Liu et al. 2018, table 1", "Liu et al. 2018, section 6.3"
    ]  # fmt: skip
    for name, count in (("table_1", 5), ("section_6_3", 2)):
        shown, path = paper_tables.SHOWN[name], report.run.evaluation(name)
        rows = shown.rows(shown.read(path))
        assert len(rows) == count and rows == shown.rows(pd.read_csv(path))
    ((path, panels, _),) = drawn
    assert path == report.run.figure("macro_f1_over_epochs")
    assert [panel.paper_score for panel in panels] == [0.4189, None]
    assert panels[0].history["validation_macro_f1"].tolist() == SCORES
    assert panels[0].title.startswith("rgb_512\n")


def test_predictors_without_a_history_are_left_out(report):
    """Merged runs have no networks, and anybody may call external predictions as in the paper."""
    Predictor("merged", runs=["a", "b"]).write(report.run.predictor("copied"))
    EXTERNAL.write(report.run.predictor("rgb_512"))
    assert liu_tables.write(report, ["copied", "rgb_512"]) == []
    assert not report.run.evaluation("table_1").exists()
    assert not report.run.evaluation("section_6_3").exists()


# histories


def test_with_folds_the_history_is_that_of_the_first(tmp_path):
    for fold in (1, 0):
        files.write_csv(tmp_path / "copied" / f"fold_{fold}" / "history.csv", history(3 + fold))
    assert liu_tables.read_history(tmp_path / "copied")["epoch"].tolist() == [1, 2, 3]


def test_a_missing_or_damaged_history_names_the_network_to_train_again(tmp_path):
    path, lines = tmp_path / "copied" / "history.csv", history().to_csv(index=False)
    for content in (None, "", "epoch,train_loss\n1,0.5\n", lines.replace("0.5", "-1")):
        if content is not None:
            files.write_text(path, content)
        with pytest.raises(UserError) as error:
            liu_tables.read_history(path.parent)
        for text in (str(path), "`python 02_train_cnn.py --network copied --force`"):
            assert text in str(error.value)


# all of it


def in_miniature(preset):
    """Return the preset with networks and images so small that all of it runs in seconds."""
    networks = {}
    for name, changes in preset.networks.items():
        larger = any("resnet50" in change for change in changes)
        networks[name] = (
            *changes, "training.size=32", "training.epochs=2",
            f"network.architecture={'resnet10t' if larger else 'test_resnet'}",
        )  # fmt: skip
    training = replace(preset.training, size=32, cycle_epochs=2.0, batch_size=32)
    network = replace(preset.network, pretrained=False, architecture="test_resnet")
    data = replace(preset.data, sizes=(32,))
    return replace(preset, data=data, training=training, network=network, networks=networks)


@pytest.mark.slow
def test_the_preset_runs_through_all_stages_on_simulated_cells(smoke, tmp_path, monkeypatch, capsys):
    liu = in_miniature(PRESETS["liu"])
    monkeypatch.setitem(PRESETS, "liu", liu)
    options = ["--preset", "liu", "--data", smoke / "data" / "smoke", "--work", tmp_path]
    for script in ("00_prepare", "01_features", "02_train_cnn", "03_train_hier", "04_threshold", "05_submit"):
        call(script, *options)
    run, printed = tmp_path / "outputs" / "liu", capsys.readouterr().out
    table = pd.read_csv(run / "evaluation" / "table_1.csv")
    assert table["predictor"].tolist() == [row.predictor for row in liu_tables.TABLE_1]
    assert table["thresholds"].tolist()[:2] == ["0.5", "frequency (estimated)"]
    assert table["test_macro_f1"].notna().all()
    best = pd.read_csv(run / "evaluation" / "section_6_3.csv")
    assert best["network"].tolist() == [row.network for row in liu_tables.SECTION_6_3]
    assert (best["epochs"] == 2).all()
    for row in (*liu_tables.TABLE_1, *liu_tables.SECTION_6_3):
        assert row.model in printed
    figures = {path.stem for path in (run / "figures").glob("*.png")}
    assert figures >= {"macro_f1_over_epochs", "schedules", "class_counts", "samples"}
    with_features = {name for name in liu.networks if liu.for_network(name).uses_features}
    assert len(with_features) == 4 and figures >= {f"network_{name}" for name in with_features}
    assert figures >= {f"training_{name}" for name in liu.networks}
    page = (run / "report.html").read_text()
    for shown in (paper_tables.SHOWN["table_1"], paper_tables.SHOWN["section_6_3"]):
        assert shown.title in page
    assert len(pd.read_csv(run / "submission.csv")) == 24
    assert missing_of_paper("Liu, Zhang, Zhou 2018", run) == []
    tta, plain = ((run / "predictions" / name / "test.npz").read_bytes() for name in ("copied_tta", "copied"))
    assert tta != plain
