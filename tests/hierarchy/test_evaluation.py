"""Scores of a hierarchy's stages on their own, by hand."""

import numpy as np
import pytest

from lib import files
from lib.errors import UserError
from lib.evaluation.predictions import PredictionTable
from lib.hierarchy import evaluation


def test_stage_1_is_scored_group_by_group(hierarchy):
    table = evaluation.evaluate_groups(hierarchy, "validation")
    assert list(table)[:2] == ["network", "group"] and len(table) == 8
    scores = table.set_index(["network", "group"])
    for network in ("multi-label", "single-label"):
        assert scores.loc[(network, "Pair"), ["support", "f1"]].tolist() == [2, 1]
        assert scores.loc[(network, "Single"), ["support", "predicted"]].tolist() == [1, 1]
        assert scores.loc[(network, "Empty"), "support"] == 0


def test_stage_2_is_scored_on_the_samples_of_its_group(hierarchy):
    ids = hierarchy.data.ids("validation")
    nothing = PredictionTable(ids, np.zeros((4, 28), np.float32))
    table = evaluation.evaluate_within_groups(hierarchy, "validation", "baseline", nothing, 0.5)
    assert table["group"].unique().tolist() == ["Pair", "Rest"]  # the others have no network
    assert list(table)[:4] == ["group", "predictor", "samples", "class"]
    scores = table.set_index(["predictor", "class"])
    row = scores.loc[("stage 2 without other", "Nucleoplasm")]
    # Pair's two validation samples have class 1 and class 0; 0 is predicted for both: F1 is 2/3
    assert (row["samples"], row["support"], row["predicted"]) == (2, 1, 2)
    assert row["prediction_advantage"] == pytest.approx(1 - (1 / 3) / (1 / 2))
    row = scores.loc[("baseline", "Nucleoplasm")]
    assert row["f1"] == 0 and row["prediction_advantage"] == pytest.approx(-1)


def test_the_threshold_decides_and_the_baseline_is_matched_by_id(hierarchy):
    ids = hierarchy.data.ids("validation")
    probabilities_NC = np.zeros((4, 28), np.float32)
    probabilities_NC[:, 0] = [0.1, 0.9, 0.1, 0.1]  # s9 alone has class 0
    table = PredictionTable(ids[::-1], probabilities_NC[::-1])

    def row(threshold, predictor):
        scores = evaluation.evaluate_within_groups(hierarchy, "validation", "some", table, threshold)
        return scores.set_index(["predictor", "class"]).loc[(predictor, "Nucleoplasm")]

    assert row(0.5, "some")["f1"] == 1 and row(0.05, "some")["predicted"] == 2
    assert row(0.85, "stage 2 without other")["predicted"] == 0


def test_other_is_scored_for_all_samples_and_for_those_of_its_group(with_other):
    veto = with_other.veto_thresholds()
    table = evaluation.evaluate_other(with_other, "validation", veto, 0.5)
    keys = ["group", "samples", "decision"]
    assert table[["network", "group"]].drop_duplicates().values.tolist() == [
        ["stage_2_pair_other", "Pair"], ["stage_2_rest_other", "Rest"]
    ]  # fmt: skip
    columns = ["threshold", "count", "accuracy", "support", "predicted", "precision", "recall"]
    rows = table.set_index(keys)[columns]
    # Pair: the last two of the four samples are others, with 0.4 and 0.9; stage 1 accepts all
    for samples in ("all", "accepted"):
        assert rows.loc[("Pair", samples, "fixed")].tolist() == [0.5, 4, 0.75, 2, 1, 1, 0.5]
        assert rows.loc[("Pair", samples, "tuned")].tolist() == pytest.approx([0.35, 4, 1, 2, 2, 1, 1])
    # Rest: the first three, with 0.9, 0.9 and 0.5; stage 1 accepts the last alone
    assert rows.loc[("Rest", "all", "fixed")].tolist() == pytest.approx([0.5, 4, 0.75, 3, 2, 1, 2 / 3])
    assert rows.loc[("Rest", "accepted", "fixed")].tolist() == [0.5, 1, 1, 0, 0, 0, 0]
    rows = evaluation.other_rows(table)
    assert [row["network"] for row in rows] == ["stage_2_pair_other"] * 2 + ["stage_2_rest_other"] * 2
    assert [*rows[0].values()][1:] == ["0.500 (fixed)", "4", "1", "100.0%", "50.0%"]
    assert [*rows[2].values()][-3:] == ["0", "-", "-"]
    lines = evaluation.describe_other(table, "validation, cells").splitlines()
    assert "validation, cells" in lines[0] and len(lines) == 6
    assert lines[2].split() == ["stage_2_pair_other", "0.500", "(fixed)", "4", "1", "100.0%", "50.0%"]


def test_the_table_of_other_is_read_back_and_checked(with_other, tmp_path):
    table = evaluation.evaluate_other(with_other, "validation", with_other.veto_thresholds(), 0.5)
    files.write_csv(tmp_path / "other.csv", table)
    assert evaluation.other_rows(evaluation.read_other(tmp_path / "other.csv", "x.py")) == (
        evaluation.other_rows(table)
    )
    (tmp_path / "other.csv").write_text("network,group\n")
    with pytest.raises(UserError, match=r"other.csv.*x.py"):
        evaluation.read_other(tmp_path / "other.csv", "x.py")
