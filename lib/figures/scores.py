"""Figures of scores: each class, group and predictor, drawn with matplotlib from tables of the evaluation."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from lib.evaluation.reliability import curve
from lib.figures.data_and_training import BLUE, GREEN, GREY, ORANGE, canvas
from lib.labels import CLASSES
from lib.location_groups import Grouping

RED, LIGHT = "#c8423c", "#c9ccd1"
LOWEST = -0.5  # of a score that is drawn in its place
SCORES = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "prediction_advantage": "prediction advantage",
}
MARKS = ((BLUE, "o"), (RED, "D"), (ORANGE, "s"), (GREEN, "^"))
ADVANTAGE = "prediction advantage: 0 is guessing by frequency, 1 is perfect"


def class_f1(path: Path, scores: pd.DataFrame, title: str) -> None:
    """Draw each class's F1 at one threshold for all and at its own, most frequent class on top.

    Parameters
    ----------
    scores : DataFrame
        The per-class table of `lib.evaluation.predictor_scores.evaluate`, of one subset.
    """
    fixed, tuned = (scores[scores["decision"] == name].set_index("class") for name in ("fixed", "tuned"))
    order = fixed["support"].sort_values(kind="stable").index
    fixed, tuned = fixed.loc[order], tuned.loc[order]
    rows = np.arange(len(order))
    with canvas(path, size=(7, 6.5)) as (_, axes):
        axes.hlines(rows, fixed["f1"], tuned["f1"], color=LIGHT, linewidth=2)
        for scores, color, name in ((fixed, GREY, "one threshold"), (tuned, ORANGE, "its own")):
            label = f"{name}, mean {scores['f1'].mean():.3f}"
            axes.plot(scores["f1"], rows, "o", color=color, markersize=5, label=label)
        axes.set_yticks(rows, [f"{name}  ({support:,})" for name, support in fixed["support"].items()])
        axes.set_xlim(-0.02, 1.02)
        axes.margins(y=0.02)
        axes.grid(axis="x", color="#e5e7ea")
        axes.set_xlabel("F1 (in brackets: samples with the class)")
        axes.legend(frameon=False, loc="lower right")
        axes.set_title(title)


def class_scores(path: Path, scores: pd.DataFrame, groups: Grouping, title: str) -> None:
    """Draw precision, recall, F1 and prediction advantage of each class, by group (Hoogenboom, figure 4).

    Parameters
    ----------
    scores : DataFrame
        A row a class: class, support, and the columns of `lib.evaluation.metrics.scores`.
    """
    table = scores.set_index("class")
    panels = {}
    for group, labels in groups.items():
        own = table.loc[[CLASSES[label] for label in labels if CLASSES[label] in table.index]]
        own.index = _counted(own["support"])
        panels[group] = own[list(SCORES)].rename(columns=SCORES).where(own["support"] > 0)
    _dots(path, panels, "score (in brackets: samples with the class)", title)


def group_scores(path: Path, scores: pd.DataFrame, title: str) -> None:
    """Draw precision, recall and F1 of the groups, by stage 1 network (Hoogenboom, figure 5).

    Parameters
    ----------
    scores : DataFrame
        As `lib.hierarchy.evaluation.Parts.judge_groups` returns it.
    """
    scores = scores.assign(name=_counted(scores.set_index("group")["support"]))
    panels = {
        SCORES[column]: scores.pivot(index="name", columns="network", values=column).loc[
            scores["name"].drop_duplicates(), scores["network"].unique()
        ]
        for column in ("precision", "recall", "f1")
    }
    _dots(path, panels, "score (in brackets: samples with a label of the group)", title)


def within_groups(path: Path, scores: pd.DataFrame, title: str) -> None:
    """Draw each class's prediction advantage within its group, by predictor (Hoogenboom, figure 6).

    Parameters
    ----------
    scores : DataFrame
        As `lib.hierarchy.evaluation.Parts.judge_within` returns it.
    """
    panels = {}
    for (group, samples), own in scores.groupby(["group", "samples"], sort=False):
        own = own.assign(name=_counted(own.set_index("class")["support"]))
        panels[f"{group}: {samples:,} samples"] = _by_predictor(own)
    _dots(path, panels, ADVANTAGE, title)


def class_advantages(path: Path, scores: pd.DataFrame, groups: Grouping, title: str) -> None:
    """Draw each class's prediction advantage, by predictor (Hoogenboom, figure 7).

    Parameters
    ----------
    scores : DataFrame
        A row for each predictor and class: predictor, class, support, prediction_advantage.
    """
    panels = {}
    for group, labels in groups.items():
        own = scores[scores["class"].isin([CLASSES[label] for label in labels])]
        if len(own):
            own = own.assign(name=_counted(own.set_index("class")["support"]))
            panels[group] = _by_predictor(own)
    _dots(path, panels, ADVANTAGE, title)


def predictors(path: Path, table: pd.DataFrame, subset: str, fixed: float, title: str) -> None:
    """Draw the macro-F1 of every predictor, at one threshold and as submitted, best on top.

    Parameters
    ----------
    table : DataFrame
        As `lib.evaluation.predictor_scores.side_by_side` returns it.
    """
    chosen = table[table["subset"] == subset]
    scores = chosen.pivot(index="predictor", columns="decision", values="macro_f1")
    scores = scores.sort_values("submitted", kind="stable")
    rows = np.arange(len(scores))
    with canvas(path, size=(7, 1.5 + 0.3 * len(scores))) as (figure, axes):
        axes.hlines(rows, scores["fixed"], scores["submitted"], color=LIGHT, linewidth=2)
        bounds = chosen[chosen["decision"] == "submitted"].set_index("predictor").loc[scores.index]
        axes.hlines(rows - 0.22, bounds["low"], bounds["high"], color=ORANGE, linewidth=1)
        axes.plot(scores["fixed"], rows, "o", color=GREY, label=f"{fixed:g} for all classes")
        axes.plot(scores["submitted"], rows, "o", color=ORANGE, label="each class's own threshold")
        for row, score in enumerate(scores["submitted"]):
            axes.annotate(f"{score:.3f}", (score, row), (7, 0), textcoords="offset points", va="center")
        guess = chosen["guessing_macro_f1"].iloc[0]
        axes.axvline(guess, color=GREY, linestyle=":")
        axes.annotate("guessing", (guess, rows[-1] + 0.45), (3, 0), textcoords="offset points", fontsize=7.5)
        axes.set_yticks(rows, scores.index)
        axes.set_ylim(-0.6, len(scores) - 0.2)
        axes.set_xlim(0, bounds["high"].max() * 1.12)
        axes.grid(axis="x", color="#e5e7ea")
        axes.set_xlabel("macro-F1 (thin line: 95 % certain)")
        figure.legend(frameon=False, loc="outside lower right", ncols=2)
        axes.set_title(title)


def reliability(
    path: Path, truth_NC: np.ndarray, said: dict[str, np.ndarray], classes: list[int], title: str
) -> None:
    """Draw for each class how frequent it is over what its probabilities say, on log scales.

    Parameters
    ----------
    said : dict of ndarray of shape (N, C)
        Probabilities by name: as given, and calibrated.
    """
    columns, least = 7, 1e-3
    rows = -(-len(classes) // columns)
    size = (1.75 * columns, 1.75 * rows + 1)
    with canvas(path, rows, columns, size=size, sharex=True, sharey=True, squeeze=False) as (figure, axes):
        for axis in axes.flat[len(classes) :]:
            axis.set_axis_off()
        for axis, label in zip(axes.flat, classes, strict=False):
            axis.plot([least, 1], [least, 1], color=LIGHT, linewidth=1)
            for (name, probabilities_NC), color in zip(said.items(), (GREY, ORANGE), strict=True):
                points = curve(truth_NC[:, label], probabilities_NC[:, label]).clip(lower=least)
                axis.plot(points["said"], points["found"], "o", color=color, markersize=3.5, label=name)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlim(least * 0.8, 1.25)
            axis.set_ylim(least * 0.8, 1.25)
            axis.minorticks_off()  # they take more than half of the time that drawing takes
            axis.set_title(
                f"{CLASSES[label]} ({truth_NC[:, label].sum():,})", fontsize=6.3, fontweight="normal"
            )
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, frameon=False, loc="outside lower right", ncols=2)
        figure.supxlabel("probability that is said", fontsize=9)
        figure.supylabel("share that carries the class (at the lower edge: none)", fontsize=9)
        figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, ha="left")


def confusions(path: Path, share_CC: np.ndarray, groups: Grouping, classes: list[int], title: str) -> None:
    """Draw how often samples of each class are given each other class, by group, as a heat map.

    Parameters
    ----------
    share_CC : ndarray of shape (C, C)
        As `lib.evaluation.confusion.matrix` returns it.
    classes : list of int
        Those that are drawn.
    """
    blocks = [[label for label in labels if label in classes] for labels in groups.values()]
    order = [label for block in blocks for label in block]
    values = share_CC[np.ix_(order, order)]
    names = [CLASSES[label] for label in order]
    side = 2.6 + 0.25 * len(order)
    with canvas(path, size=(side + 0.8, side)) as (figure, axes):
        picture = axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(values):
            if value >= 0.1 or (row == column and np.isfinite(value)):
                color = "white" if value > 0.55 else "#333"
                axes.text(
                    column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=6, color=color
                )
        for place in range(len(order)):
            axes.add_patch(
                Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, color=ORANGE, linewidth=0.8)
            )
        for edge in np.cumsum([len(block) for block in blocks])[:-1] - 0.5:
            axes.axhline(edge, color=GREY, linewidth=1)
            axes.axvline(edge, color=GREY, linewidth=1)
        axes.set_yticks(range(len(order)), names)
        axes.set_xticks(range(len(order)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0, labelsize=7.5)
        axes.spines[:].set_visible(False)
        axes.set_ylabel("samples that have ...")
        axes.set_xlabel("... are given, of a hundred (outlined: rightly; all else: wrongly)")
        figure.colorbar(picture, ax=axes, shrink=0.5, format=PercentFormatter(1))
        figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, ha="left")


def class_shares(path: Path, shares: pd.DataFrame, groups: Grouping, title: str) -> None:
    """Draw how many of a hundred samples have each class, in training and as submitted, on a log scale.

    Parameters
    ----------
    shares : DataFrame
        A row a class (index: all 28 names), a column a source, in percent.
    """
    by_share = shares.iloc[:, 0].sort_values(ascending=False, kind="stable").index
    names = [{CLASSES[label] for label in labels} for labels in groups.values()]
    table = pd.concat([shares.loc[[name for name in by_share if name in own]] for own in names])
    rows = np.arange(len(table))
    with canvas(path, size=(7.5, 6.5)) as (figure, axes):
        least = table[table > 0].min(axis=None) / 2
        shown = table.clip(lower=least)
        axes.hlines(rows, shown.min(axis=1), shown.max(axis=1), color=LIGHT, linewidth=2)
        for column, color, mark in zip(table, (GREY, ORANGE), ("o", "D"), strict=True):
            axes.plot(shown[column], rows, mark, color=color, markersize=5, label=column)
        axes.set_yticks(rows, table.index)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(axis="x", color="#e5e7ea")
        axes.set_xlabel("of 100 samples, log scale (at the left edge: none)")
        figure.legend(frameon=False, loc="outside lower right", ncols=2)
        axes.set_title(title)


def _counted(support: pd.Series) -> list[str]:
    return [f"{name}  ({count:,})" for name, count in support.items()]


def _by_predictor(scores: pd.DataFrame) -> pd.DataFrame:
    shown = scores.assign(shown=scores["prediction_advantage"].where(scores["support"] > 0))
    table = shown.pivot(index="name", columns="predictor", values="shown")
    return table.loc[scores["name"].drop_duplicates(), scores["predictor"].unique()]


def _dots(path: Path, panels: dict[str, pd.DataFrame], label: str, title: str) -> None:
    """Draw panels one above another: a line a row, a mark a column, first row on top.

    Values below `LOWEST` are drawn at the edge.
    """
    panels = {name: table for name, table in panels.items() if len(table)}
    heights = [len(table) + 0.8 for table in panels.values()]
    lowest = max(min(np.nanmin(table.to_numpy(), initial=0) for table in panels.values()), LOWEST)
    with canvas(
        path, len(panels), 1, size=(7.5, 1.3 + 0.24 * sum(heights)), height_ratios=heights, sharex=True,
        squeeze=False,
    ) as (figure, axes):  # fmt: skip
        for axis, (name, table) in zip(axes[:, 0], panels.items(), strict=True):
            rows = np.arange(len(table))
            shown = table.clip(lower=lowest)
            axis.hlines(rows, shown.min(axis=1), shown.max(axis=1), color=LIGHT, linewidth=2)
            for place, (column, (color, mark)) in enumerate(zip(table, MARKS, strict=False)):
                height = rows + (place - (table.shape[1] - 1) / 2) * 0.14  # equal values stay apart
                axis.plot(shown[column], height, mark, color=color, markersize=4.5, label=column)
            axis.set_yticks(rows, table.index)
            axis.set_ylim(len(table) - 0.4, -0.6)
            axis.grid(axis="x", color="#e5e7ea")
            axis.set_title(name, fontsize=9)
            if lowest < 0:
                axis.axvline(0, color=GREY, linewidth=1)
        axes[-1, 0].set_xlim(lowest - 0.03, 1.03)
        below = any((table < lowest).any(axis=None) for table in panels.values())
        axes[-1, 0].set_xlabel(label + f"\nbelow {lowest:g}: drawn at the edge" * below)
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, frameon=False, loc="outside lower right", ncols=len(names))
        figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, ha="left")
