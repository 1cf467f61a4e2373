"""Figures of scores by class, group and predictor, drawn with matplotlib from the evaluation's tables."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from lib.evaluation.calibration import reliability_curve
from lib.figures.data_and_training import (
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    canvas,
    figure_title,
    label_cells,
    mark_groups,
)
from lib.labels import CLASSES
from lib.location_groups import LocationGroups

RED, GRID = "#c8423c", "#e5e7ea"
LOWEST = -0.5  # lower scores are drawn at this value
SMALLEST = 1e-3  # lower probabilities and frequencies are drawn at this value
SCORES = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "prediction_advantage": "prediction advantage",
}
MARKERS = ((BLUE, "o"), (RED, "D"), (ORANGE, "s"), (GREEN, "^"))
ADVANTAGE = "prediction advantage (0: no better than guessing by frequency, 1: perfect)"
SUPPORT = "in parentheses: samples with the class"
PER_CLASS = "per-class thresholds"


def class_f1(path: Path, scores: pd.DataFrame, title: str, tuned_name: str = PER_CLASS) -> None:
    """Draw each class's F1 at a common threshold and at a tuned one, the most frequent class at the top.

    Parameters
    ----------
    scores : DataFrame
        The per-class table of `lib.evaluation.predictor_scores.evaluate` for one subset: decision (fixed or
        tuned; others are ignored), class, support, f1.
    tuned_name : str
        Of the tuned thresholds in the legend; empty where none are tuned.
    """
    fixed, tuned = (scores[scores["decision"] == name].set_index("class") for name in ("fixed", "tuned"))
    order = fixed["support"].sort_values(kind="stable").index
    fixed, tuned = fixed.loc[order], tuned.loc[order]
    rows = np.arange(len(order))
    with canvas(path, size=(7, 6.5)) as (figure, axes):
        axes.hlines(rows, fixed["f1"], tuned["f1"], color=LIGHT, linewidth=2)
        for table, color, name in (
            (fixed, GREY, "common threshold"),
            *[(tuned, ORANGE, tuned_name)] * bool(tuned_name),
        ):
            label = f"{name}, macro-F1 {table['f1'].mean():.3f}"
            axes.plot(table["f1"], rows, "o", color=color, markersize=5, label=label)
        axes.set_yticks(rows, _with_support(fixed["support"]))
        axes.set_xlim(-0.02, 1.02)
        axes.margins(y=0.02)
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel(f"F1 ({SUPPORT})")
        figure.legend(frameon=False, loc="outside lower right", ncols=2)
        axes.set_title(title)


def class_scores(path: Path, scores: pd.DataFrame, groups: LocationGroups, title: str) -> None:
    """Draw precision, recall, F1 and prediction advantage of each class, by group (Hoogenboom, figure 4).

    Parameters
    ----------
    scores : DataFrame
        One row per class: class, support, and the columns of `lib.evaluation.metrics.scores`.
    """
    table = scores.set_index("class")
    panels = {}
    for group, labels in groups.items():
        own = table.loc[[CLASSES[label] for label in labels if CLASSES[label] in table.index]]
        own.index = _with_support(own["support"])
        panels[group] = own[list(SCORES)].rename(columns=SCORES).where(own["support"] > 0)
    _draw_markers(path, panels, f"score ({SUPPORT})", title)


def group_scores(path: Path, scores: pd.DataFrame, title: str) -> None:
    """Draw precision, recall and F1 of the groups, by stage 1 network (Hoogenboom, figure 5).

    Parameters
    ----------
    scores : DataFrame
        One row per network and group: network, group, support, precision, recall, f1, as
        `lib.hierarchy.evaluation` computes it.
    """
    scores = scores.assign(name=_with_support(scores.set_index("group")["support"]))
    panels = {
        SCORES[column]: scores.pivot(index="name", columns="network", values=column).loc[
            scores["name"].drop_duplicates(), scores["network"].unique()
        ]
        for column in ("precision", "recall", "f1")
    }
    _draw_markers(path, panels, "score (in parentheses: samples with a label of the group)", title)


def within_groups(path: Path, scores: pd.DataFrame, title: str) -> None:
    """Draw each class's prediction advantage within its group, by predictor (Hoogenboom, figure 6).

    Parameters
    ----------
    scores : DataFrame
        One row per group, class and predictor: group, samples (of the group), class, predictor, support,
        prediction_advantage, as `lib.hierarchy.evaluation` computes it.
    """
    panels = {}
    for (group, samples), own in scores.groupby(["group", "samples"], sort=False):
        panels[f"{group}: {samples:,} samples"] = _advantage_by_predictor(own)
    _draw_markers(path, panels, ADVANTAGE, title)


def class_advantages(path: Path, scores: pd.DataFrame, groups: LocationGroups, title: str) -> None:
    """Draw each class's prediction advantage, by predictor (Hoogenboom, figure 7).

    Parameters
    ----------
    scores : DataFrame
        One row per predictor and class: predictor, class, support, prediction_advantage.
    """
    panels = {}
    for group, labels in groups.items():
        own = scores[scores["class"].isin([CLASSES[label] for label in labels])]
        if len(own):
            panels[group] = _advantage_by_predictor(own)
    _draw_markers(path, panels, ADVANTAGE, title)


def predictors(
    path: Path, table: pd.DataFrame, subset: str, fixed: float, title: str, tuned_name: str = PER_CLASS
) -> None:
    """Draw the macro-F1 of every predictor, at a common threshold and as submitted, the best at the top.

    Parameters
    ----------
    table : DataFrame
        One row per predictor, subset and decision: predictor, subset, decision, macro_f1, low, high,
        guessing_macro_f1, as `lib.evaluation.predictor_scores.side_by_side` returns it.
    subset : str
        The subset to draw.
    fixed : float
        The common threshold.
    tuned_name : str
        As in `class_f1`.
    """
    as_submitted = f"as submitted: {tuned_name or 'at least one label'}"
    chosen = table[table["subset"] == subset]
    scores = chosen.pivot(index="predictor", columns="decision", values="macro_f1")
    scores = scores.sort_values("submitted", kind="stable")
    interval = chosen[chosen["decision"] == "submitted"].set_index("predictor").loc[scores.index]
    guess, rows = chosen["guessing_macro_f1"].iloc[0], np.arange(len(scores))
    with canvas(path, size=(7, 1.5 + 0.3 * len(scores))) as (figure, axes):
        axes.hlines(rows, scores["fixed"], scores["submitted"], color=LIGHT, linewidth=2)
        axes.hlines(
            rows - 0.22, interval["low"], interval["high"], color=ORANGE, linewidth=1, label="95 % CI"
        )
        axes.plot(scores["fixed"], rows, "o", color=GREY, label=f"threshold {fixed:g} for all classes")
        axes.plot(scores["submitted"], rows, "o", color=ORANGE, label=as_submitted)
        for row, score in enumerate(scores["submitted"]):
            axes.annotate(f"{score:.3f}", (score, row), (7, 0), textcoords="offset points", va="center")
        axes.axvline(guess, color=GREY, linestyle=":")
        axes.annotate("guessing", (guess, rows[-1] + 0.45), (3, 0), textcoords="offset points", fontsize=7.5)
        axes.set_yticks(rows, scores.index)
        axes.set_ylim(-0.6, len(scores) - 0.2)
        axes.set_xlim(0, interval["high"].max() * 1.12)
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel("macro-F1")
        figure.legend(frameon=False, loc="outside lower right", ncols=3)
        axes.set_title(title)


def reliability(
    path: Path, truth_NC: np.ndarray, probabilities: dict[str, np.ndarray], classes: list[int], title: str
) -> None:
    """Draw the reliability curves of each class: observed over predicted frequency, on log scales.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
    probabilities : dict of ndarray of shape (N, C), float, in [0, 1]
        By name: raw and calibrated.
    classes : list of int
        Class numbers, one panel each.
    """
    columns = min(7, max(len(classes), 3))
    rows = -(-len(classes) // columns)
    size = (1.75 * columns + 1.6, 1.75 * rows + 1)
    with canvas(path, rows, columns, size=size, sharex=True, sharey=True, squeeze=False) as (figure, axes):
        for axis in axes.flat[len(classes) :]:
            axis.set_axis_off()
        for axis, label in zip(axes.flat, classes, strict=False):
            own = {name: probabilities_NC[:, label] for name, probabilities_NC in probabilities.items()}
            _reliability_panel(axis, truth_NC[:, label], own)
            axis.set_title(
                f"{CLASSES[label]} ({truth_NC[:, label].sum():,})", fontsize=6.3, fontweight="normal"
            )
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, frameon=False, loc="outside right upper")
        figure.supxlabel(
            f"mean predicted probability of a bin ({SUPPORT});\n"
            f"values below {SMALLEST:g} are drawn at {SMALLEST:g}",
            fontsize=9,
        )
        figure.supylabel("observed frequency", fontsize=9)
        figure_title(figure, title)


def _reliability_panel(axis: Axes, truth_N: np.ndarray, probabilities: dict[str, np.ndarray]) -> None:
    axis.plot([SMALLEST, 1], [SMALLEST, 1], color=LIGHT, linewidth=1, label="perfectly calibrated")
    for (name, probability_N), color in zip(probabilities.items(), (GREY, ORANGE), strict=True):
        points = reliability_curve(truth_N, probability_N).clip(lower=SMALLEST)
        axis.plot(points["predicted"], points["observed"], "o", color=color, markersize=3.5, label=name)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(SMALLEST * 0.8, 1.25)
    axis.set_ylim(SMALLEST * 0.8, 1.25)
    axis.minorticks_off()  # they take more than half of the drawing time


def confusions(
    path: Path, share_CC: np.ndarray, groups: LocationGroups, classes: list[int], title: str
) -> None:
    """Draw the confusion matrix as a heat map: rows are true classes, columns predicted ones, by group.

    Parameters
    ----------
    share_CC : ndarray of shape (C, C), float, in [0, 1]
        As `lib.evaluation.confusion.matrix` returns it.
    classes : list of int
        Class numbers to draw.
    """
    blocks = [[label for label in labels if label in classes] for labels in groups.values()]
    order = [label for block in blocks for label in block]
    values = share_CC[np.ix_(order, order)]
    names = [CLASSES[label] for label in order]
    is_labelled = (values >= 0.1) | (np.eye(len(order), dtype=bool) & np.isfinite(values))
    texts = np.full(values.shape, "", dtype=object)
    texts[is_labelled] = [f"{100 * value:.0f}" for value in values[is_labelled]]
    side = 2.6 + 0.25 * len(order)
    with canvas(path, size=(side + 1.6, side)) as (figure, axes):
        picture = axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
        label_cells(axes, texts, values > 0.55, fontsize=6)
        for place in range(len(order)):
            outline = Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, color=ORANGE, linewidth=0.8)
            axes.add_patch(outline)
        for edge in np.cumsum([len(block) for block in blocks])[:-1] - 0.5:
            axes.axhline(edge, color=GREY, linewidth=1)
            axes.axvline(edge, color=GREY, linewidth=1)
        axes.set_yticks(range(len(order)), names)
        axes.set_xticks(range(len(order)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0, labelsize=7.5)
        axes.spines[:].set_visible(False)
        axes.set_ylabel("true class")
        axes.set_xlabel("predicted class (cells of 10 % and more are labelled)")
        figure.colorbar(
            picture, ax=axes, shrink=0.7, format=PercentFormatter(1),
            label="outlined: share of the class's samples that are found (recall);\n"
            "others: share of the true class's samples without the predicted\n"
            "class for which that class is wrongly predicted",
        )  # fmt: skip
        figure_title(figure, title)


def class_shares(path: Path, shares: pd.DataFrame, groups: LocationGroups, title: str) -> None:
    """Draw the percentage of samples with each class, in training and as submitted, on a log scale.

    Parameters
    ----------
    shares : DataFrame
        One row per class (index: all 28 names), one column per source, in percent, as
        `lib.evaluation.submission.class_shares` returns it.
    """
    by_share = shares.iloc[:, 0].sort_values(ascending=False, kind="stable").index
    names = [{CLASSES[label] for label in labels} for labels in groups.values()]
    table = pd.concat([shares.loc[[name for name in by_share if name in own]] for own in names])
    rows = np.arange(len(table))
    with canvas(path, size=(7.5, 6.5)) as (figure, axes):
        shown = table.clip(lower=table[table > 0].min(axis=None) / 2)
        axes.hlines(rows, shown.min(axis=1), shown.max(axis=1), color=LIGHT, linewidth=2)
        for column, color, marker in zip(table, (GREY, ORANGE), ("o", "D"), strict=True):
            axes.plot(shown[column], rows, marker, color=color, markersize=5, label=column)
        mark_groups(axes, {group: len(labels) for group, labels in groups.items()}, LIGHT, linewidth=1)
        axes.set_yticks(rows, table.index)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel("% of samples, log scale (at the left edge: none)")
        figure.legend(frameon=False, loc="outside lower right", ncols=2)
        axes.set_title(title)


def _with_support(support: pd.Series) -> list[str]:
    return [f"{name}  ({count:,})" for name, count in support.items()]


def _advantage_by_predictor(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the prediction advantage: one row per class, one column per predictor; nan without samples."""
    scores = scores.assign(
        name=_with_support(scores.set_index("class")["support"]),
        shown=scores["prediction_advantage"].where(scores["support"] > 0),
    )
    table = scores.pivot(index="name", columns="predictor", values="shown")
    return table.loc[scores["name"].drop_duplicates(), scores["predictor"].unique()]


def _draw_markers(path: Path, panels: dict[str, pd.DataFrame], label: str, title: str) -> None:
    """Draw panels below one another: one line per row of a table, one marker per column, first row on top.

    Values below `LOWEST` are drawn at that value.
    """
    panels = {name: table for name, table in panels.items() if len(table)}
    heights = [len(table) + 0.8 for table in panels.values()]
    lowest = max(min(np.nanmin(table.to_numpy(), initial=0) for table in panels.values()), LOWEST)
    options = {"height_ratios": heights, "sharex": True, "squeeze": False}
    with canvas(path, len(panels), 1, size=(7.5, 1.3 + 0.24 * sum(heights)), **options) as (figure, axes):
        for axis, (name, table) in zip(axes[:, 0], panels.items(), strict=True):
            _markers_panel(axis, table.clip(lower=lowest))
            axis.set_title(name, fontsize=9)
            if lowest < 0:
                axis.axvline(0, color=GREY, linewidth=1)
        axes[-1, 0].set_xlim(lowest - 0.03, 1.03)
        clipped = any((table < lowest).any(axis=None) for table in panels.values())
        axes[-1, 0].set_xlabel(label + f"\nvalues below {lowest:g} are drawn at {lowest:g}" * clipped)
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, frameon=False, loc="outside lower right", ncols=len(names))
        figure_title(figure, title)


def _markers_panel(axis: Axes, table: pd.DataFrame) -> None:
    rows = np.arange(len(table))
    axis.hlines(rows, table.min(axis=1), table.max(axis=1), color=LIGHT, linewidth=2)
    for place, (column, (color, marker)) in enumerate(zip(table, MARKERS[: table.shape[1]], strict=True)):
        height = rows + (place - (table.shape[1] - 1) / 2) * 0.14  # so that equal values stay apart
        axis.plot(table[column], height, marker, color=color, markersize=4.5, label=column)
    axis.set_yticks(rows, table.index)
    axis.set_ylim(len(table) - 0.4, -0.6)
    axis.grid(axis="x", color=GRID)
