"""Scores of a hierarchy's stages on their own, by hand."""

import numpy as np
import pytest

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
