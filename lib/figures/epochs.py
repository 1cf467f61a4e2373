"""Figures over the epochs of training: macro-F1 with its highest value, and the learning rate of steps."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.figures.data_and_training import BLUE, DARK, GREY, ORANGE, canvas, figure_title

COLUMNS = 2  # of panels
LINE = 90  # characters in a title


class Panel(NamedTuple):
    """The training of a network: its title and history, and the highest value of a paper's figure.

    The history has a row per epoch: epoch, and train_macro_f1 and validation_macro_f1 at a threshold of 0.5.
    """

    title: str
    history: pd.DataFrame
    paper_epoch: int | None = None
    paper_score: float | None = None


def macro_f1_over_epochs(path: Path, panels: Sequence[Panel], title: str) -> None:
    """Draw the macro-F1 of training and validation over the epochs: Liu et al. 2018, figure 6.

    The highest value on validation is marked, and beside it the paper's, where it gives one.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = (4.6 * columns, 2.6 * rows + 0.7)
    with canvas(path, rows, columns, size=size, squeeze=False, sharey=True) as (figure, grid):
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw_panel(axes, panel)
        for axes in grid[:, 0]:
            axes.set_ylabel("macro-F1 at threshold 0.5")
        grid[0, 0].set_ylim(bottom=0)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, ncols=len(labels), loc="outside lower center")
        figure_title(figure, title)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    history = panel.history
    for subset, color, label in (("train", BLUE, "training"), ("validation", ORANGE, "validation")):
        axes.plot(
            history["epoch"], history[f"{subset}_macro_f1"], color=color, marker="o", markersize=3,
            label=label,
        )  # fmt: skip
    best = history.loc[history["validation_macro_f1"].idxmax()]
    axes.plot(
        best["epoch"], best["validation_macro_f1"], "o", color="none", markeredgecolor=DARK, markersize=9,
        label="highest on validation",
    )  # fmt: skip
    text = f"highest: {best['validation_macro_f1']:.4f}, epoch {best['epoch']:g}"
    if panel.paper_score is not None:
        axes.axhline(
            panel.paper_score, color=GREY, linestyle=":", label="highest of the paper, Kaggle's images"
        )
        text += f" (paper: {panel.paper_score:.4f}, epoch {panel.paper_epoch})"
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(f"epoch; {text}", fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)


def learning_rate_schedules(path: Path, curves: dict[str, pd.DataFrame], title: str) -> None:
    """Draw the learning rate of every step: Liu et al. 2018, figure 4, for the cyclical schedule.

    Parameters
    ----------
    curves : dict of DataFrame
        By panel title: epoch (since the start, with fractions) and learning_rate.
    """
    longest = max(curve["epoch"].iloc[-1] for curve in curves.values())
    lines = sum(len(textwrap.wrap(name, LINE)) for name in curves)
    size = (7.5, 1.3 * len(curves) + 0.2 * lines + 0.9)
    with canvas(path, len(curves), 1, size=size, squeeze=False, sharex=True) as (figure, grid):
        for axes, (name, curve) in zip(grid.flat, curves.items(), strict=True):
            axes.plot(curve["epoch"], curve["learning_rate"], color=BLUE, linewidth=1.5)
            axes.set_title(textwrap.fill(name, LINE), fontsize=9)
            axes.set_ylim(bottom=0)
            axes.set_ylabel("learning rate")
        grid[-1, 0].set_xlim(0, np.ceil(longest))
        grid[-1, 0].set_xlabel("epochs since the start")
        figure_title(figure, title)
