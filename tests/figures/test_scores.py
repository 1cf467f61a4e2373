import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from lib.evaluation import confusion
from lib.figures import scores
from lib.figures.data_and_training import BLUE, GREY, ORANGE
from lib.labels import CLASSES, target_matrix

GROUPS = {"Nucleus": (0, 1), "Rest": (25, 21, 7)}


def texts(items):
    return [item.get_text() for item in items]


def lines_by_label(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def rows_of(axes):
    """Return the label of each row by its height."""
    return dict(zip(axes.get_yticks().tolist(), texts(axes.get_yticklabels()), strict=True))


def values_by_row(axes):
    """Return the values of each row by the label of their marker: row, then marker."""
    rows = rows_of(axes)
    found = {name: {} for name in rows.values()}
    for label, line in lines_by_label(axes).items():
        if not label.startswith("_"):  # not of the legend
            for value, height in zip(*line.get_data(), strict=True):
                found[rows[round(height)]][label] = value
    return found


def test_class_f1_has_both_thresholds_the_most_frequent_class_on_top(draw):
    table = pd.DataFrame(
        [
            ("fixed", "Nucleoli", 3, 0.2), ("fixed", "Cytosol", 1200, 0.6),
            ("tuned", "Nucleoli", 3, 0.5), ("tuned", "Cytosol", 1200, 0.7),
            ("submitted", "Nucleoli", 3, 0.9), ("submitted", "Cytosol", 1200, 0.9),
        ],
        columns=["decision", "class", "support", "f1"],
    )  # fmt: skip
    figure = draw(scores.class_f1, table, "toy")
    (axes,) = figure.axes
    assert rows_of(axes) == {0: "Nucleoli  (3)", 1: "Cytosol  (1,200)"}
    common, own = "common threshold, macro-F1 0.400", "per-class thresholds, macro-F1 0.600"
    assert values_by_row(axes) == {
        "Nucleoli  (3)": {common: 0.2, own: 0.5},
        "Cytosol  (1,200)": {common: 0.6, own: 0.7},
    }
    assert texts(figure.legends[0].get_texts()) == [common, own]
    untuned = draw(scores.class_f1, table, "toy", "")
    assert texts(untuned.legends[0].get_texts()) == [common]


def test_class_scores_have_a_panel_for_each_group_and_nothing_for_a_class_without_samples(draw):
    table = pd.DataFrame(
        {
            "class": ["Cytosol", "Golgi apparatus", "Nucleoplasm"],
            "support": [7, 0, 2],
            "precision": [0.1, 0.2, 0.3],
            "recall": [0.4, 0.5, 0.6],
            "f1": [0.16, 0.28, 0.4],
            "prediction_advantage": [-0.8, 0.1, 0.35],
        }
    )
    figure = draw(scores.class_scores, table, GROUPS, "toy")
    nucleus, rest = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Nucleus", "Rest"]
    wanted = {"precision": 0.3, "recall": 0.6, "F1": 0.4, "prediction advantage": 0.35}
    assert values_by_row(nucleus) == {"Nucleoplasm  (2)": wanted}
    shown = values_by_row(rest)
    assert shown["Cytosol  (7)"] == {
        "precision": 0.1, "recall": 0.4, "F1": 0.16, "prediction advantage": -0.5,  # at the limit
    }  # fmt: skip
    assert np.isnan(list(shown["Golgi apparatus  (0)"].values())).all()
    assert "-0.5" in rest.get_xlabel() and rest.yaxis_inverted()
    assert texts(figure.legends[0].get_texts()) == list(wanted)


def test_group_scores_have_a_panel_for_each_score_and_a_marker_for_each_network(draw):
    table = pd.DataFrame(
        {
            "network": ["multi-label", "multi-label", "single-label", "single-label"],
            "group": ["Nucleus", "Rest", "Nucleus", "Rest"],
            "support": [30, 1500, 30, 1500],
            "precision": [0.1, 0.2, 0.3, 0.4],
            "recall": [0.5, 0.6, 0.7, 0.8],
            "f1": [0.15, 0.25, 0.35, 0.45],
        }
    )
    precision, recall, f1 = draw(scores.group_scores, table, "toy").axes
    assert values_by_row(precision) == {
        "Nucleus  (30)": {"multi-label": 0.1, "single-label": 0.3},
        "Rest  (1,500)": {"multi-label": 0.2, "single-label": 0.4},
    }
    assert values_by_row(recall)["Rest  (1,500)"] == {"multi-label": 0.6, "single-label": 0.8}
    assert values_by_row(f1)["Nucleus  (30)"] == {"multi-label": 0.15, "single-label": 0.35}
    assert [axes.get_title(loc="left") for axes in (precision, recall, f1)] == ["precision", "recall", "F1"]


ADVANTAGES = pd.DataFrame(
    {
        "predictor": ["baseline", "hierarchy"] * 3,
        "class": ["Nucleoplasm"] * 2 + ["Cytosol"] * 2 + ["Golgi apparatus"] * 2,
        "support": [9, 9, 4, 4, 0, 0],
        "group": ["Nucleus"] * 2 + ["Rest"] * 4,
        "samples": [10] * 2 + [1100] * 4,
        "prediction_advantage": [0.2, 0.3, -0.1, 0.6, 0.0, 0.0],
    }
)


def test_advantages_have_a_marker_for_each_predictor(draw):
    nucleus, rest = draw(scores.class_advantages, ADVANTAGES, GROUPS, "toy").axes
    assert values_by_row(nucleus) == {"Nucleoplasm  (9)": {"baseline": 0.2, "hierarchy": 0.3}}
    assert values_by_row(rest)["Cytosol  (4)"] == {"baseline": -0.1, "hierarchy": 0.6}
    assert np.isnan(values_by_row(rest)["Golgi apparatus  (0)"]["baseline"])
    assert {line.get_color() for line in rest.get_lines()} == {BLUE, scores.RED, GREY}  # grey: the zero


def test_advantages_within_groups_count_the_groups_samples(draw):
    nucleus, rest = draw(scores.within_groups, ADVANTAGES, "toy").axes
    assert [axes.get_title(loc="left") for axes in (nucleus, rest)] == [
        "Nucleus: 10 samples", "Rest: 1,100 samples",
    ]  # fmt: skip
    assert values_by_row(rest)["Cytosol  (4)"] == {"baseline": -0.1, "hierarchy": 0.6}


def test_more_series_than_markers_are_an_error(tmp_path):
    table = pd.concat([ADVANTAGES.assign(predictor=f"p{number}") for number in range(5)])
    with pytest.raises(ValueError, match="zip"):
        scores.within_groups(tmp_path / "a.png", table.drop_duplicates(["predictor", "class"]), "toy")


def test_predictors_are_sorted_and_have_their_intervals(draw):
    rows = [
        ("a", "holdout", "fixed", 0.30, np.nan, np.nan), ("a", "holdout", "submitted", 0.60, 0.55, 0.66),
        ("b", "holdout", "fixed", 0.50, np.nan, np.nan), ("b", "holdout", "submitted", 0.40, 0.31, 0.48),
        ("a", "validation", "fixed", 0.9, np.nan, np.nan), ("a", "validation", "submitted", 0.9, 0.9, 0.9),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["predictor", "subset", "decision", "macro_f1", "low", "high"])
    figure = draw(scores.predictors, table.assign(guessing_macro_f1=0.05), "holdout", 0.2, "toy")
    (axes,) = figure.axes
    assert rows_of(axes) == {0: "b", 1: "a"}  # the best on top
    fixed, submitted = "threshold 0.2 for all classes", "as submitted: per-class thresholds"
    assert values_by_row(axes) == {
        "a": {fixed: 0.30, submitted: 0.60},
        "b": {fixed: 0.50, submitted: 0.40},
    }
    (interval,) = [lines for lines in axes.collections if lines.get_label() == "95 % CI"]
    assert to_hex(interval.get_color()[0]) == to_hex(lines_by_label(axes)[submitted].get_color()) == ORANGE
    (b, a) = interval.get_segments()
    assert b[:, 0].tolist() == [0.31, 0.48] and a[:, 0].tolist() == [0.55, 0.66]
    assert set(texts(axes.texts)) == {"0.600", "0.400", "guessing"}
    assert [0.05, 0.05] in [list(line.get_xdata()) for line in axes.get_lines()]
    assert set(texts(figure.legends[0].get_texts())) == {"95 % CI", fixed, submitted}
    untuned = draw(scores.predictors, table.assign(guessing_macro_f1=0.05), "holdout", 0.2, "toy", "")
    assert "as submitted: at least one label" in texts(untuned.legends[0].get_texts())


def test_reliability_has_observed_over_predicted_for_raw_and_calibrated(draw):
    truth_NC, raw_NC = np.zeros((10, 28), bool), np.full((10, 28), 0.2)
    truth_NC[:3, 7] = True  # of ten samples predicted with 0.2, three have it; none has class 0
    figure = draw(scores.reliability, truth_NC, {"raw": raw_NC, "calibrated": 1.5 * raw_NC}, [7, 0], "toy")
    golgi, nucleoplasm, spare = figure.axes
    assert golgi.get_title(loc="left") == "Golgi apparatus (3)"
    lines = lines_by_label(golgi)
    assert set(lines["raw"].get_xdata()) == {0.2} and set(lines["calibrated"].get_xdata()) == {0.2 * 1.5}
    assert lines["raw"].get_color() == GREY and lines["calibrated"].get_color() == ORANGE
    # eight bins of a tenth of the samples each, or two: the shares in order
    assert lines["raw"].get_ydata().max() == 1 and lines["raw"].get_ydata().min() == 1e-3
    assert set(lines_by_label(nucleoplasm)["raw"].get_ydata()) == {1e-3}, "drawn at the limit, not left out"
    assert lines["perfectly calibrated"].get_xdata().tolist() == [1e-3, 1]
    assert lines["perfectly calibrated"].get_ydata().tolist() == [1e-3, 1]
    assert not spare.axison
    assert "predicted" in figure._supxlabel.get_text() and "observed" in figure._supylabel.get_text()


def test_rows_of_the_confusion_matrix_are_true_and_columns_predicted_classes(draw):
    truth_NC = target_matrix([(0,), (0,), (0,), (0,), (25,), (25,), (7,)])
    decision_NC = target_matrix([(25,), (25,), (25,), (0,), (25,), (25,), (7,)])  # 0 as 25, never 25 as 0
    share_CC = confusion.matrix(truth_NC, decision_NC)
    axes, _ = draw(scores.confusions, share_CC, GROUPS, [0, 7, 25, 21], "toy").axes
    order = ["Nucleoplasm", "Cytosol", "Plasma membrane", "Golgi apparatus"]
    assert texts(axes.get_xticklabels()) == texts(axes.get_yticklabels()) == order
    assert axes.get_ylabel().startswith("true") and axes.get_xlabel().startswith("predicted")
    shown = axes.get_images()[0].get_array().filled(np.nan)
    # row 0: Nucleoplasm, found in one of four, three predicted as Cytosol
    np.testing.assert_array_equal(
        shown,
        [[0.25, 0.75, 0, 0], [0, 1, 0, 0], [np.nan, np.nan, np.nan, np.nan], [0, 0, 0, 1]],
    )
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "25", (1, 0): "75", (1, 1): "100", (3, 3): "100",  # (column, row)
    }  # fmt: skip
    assert [patch.get_xy() for patch in axes.patches] == [(k - 0.5, k - 0.5) for k in range(4)]
    assert [line.get_ydata()[0] for line in axes.get_lines()] == [0.5, 0]  # between the groups


def test_class_shares_of_training_and_submission_by_group(draw):
    shares = pd.DataFrame({"training set": 1.0, "submission": 2.0}, index=list(CLASSES))
    shares.loc["Nucleoplasm"] = 40.0, 50.0
    shares.loc["Cytosol"] = 0.0, 20.0
    groups = {"Nucleus": tuple(range(6)), "Rest": tuple(range(6, 28))}
    (axes,) = draw(scores.class_shares, shares, groups, "toy").axes
    shown = values_by_row(axes)
    first, *_, last = shown
    assert (first, last) == ("Nucleoplasm", "Cytosol")  # by group and frequency
    assert shown["Nucleoplasm"] == {"training set": 40, "submission": 50}
    assert shown["Cytosol"] == {"training set": 0.5, "submission": 20}  # none: at the left edge
    assert shown["Nucleoli"] == {"training set": 1, "submission": 2}
    assert lines_by_label(axes)["submission"].get_color() == ORANGE
    assert {text.get_text(): text.get_position()[1] for text in axes.texts} == {"Nucleus": 2.5, "Rest": 16.5}
    assert axes.yaxis_inverted() and axes.get_xscale() == "log"
