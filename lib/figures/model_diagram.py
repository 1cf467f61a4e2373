"""A diagram of a network of all classes and of a hierarchy of networks: Hoogenboom 2019, figure 3."""

from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from lib.figures.data_and_training import BLUE, DARK, GREEN, GREY, LIGHT, ORANGE, canvas
from lib.labels import CHANNELS

WIDTH, LINE = 10.2, 0.135  # of the diagram, and of a line of text, in inches
COLUMNS = (0.75, 2.75, 4.7, 6.65, 8.95)  # centres: image, first network, group, second network, classes
BOX, FITTING = 1.4, 23  # width of a box without its rounded edge, and the letters that fit in it at full size
IMAGE = f"image\n{' '.join(CHANNELS)}"
UNION = "labels: all classes of at least 0.5 in the accepted groups"


class Branch(NamedTuple):
    """A group of the hierarchy, and what predicts its classes."""

    group: str
    network: str
    classes: list[str]
    other: bool  # whether there is a variant with the output "other"


def both_models(
    path: Path,
    baseline: tuple[str, str, int],
    hierarchy: tuple[str, str],
    branches: list[Branch],
    title: str,
) -> None:
    """Draw both models from left to right, from the image to the labels, one above the other.

    Parameters
    ----------
    baseline : tuple of (str, str, int)
        Name, architecture and number of classes of the network of all classes.
    hierarchy : tuple of (str, str)
        Name, and architecture of the network for the groups.
    """
    name, architecture, classes = baseline
    hierarchy_name, stage_1 = hierarchy
    heights = [LINE * max(len(branch.classes) + branch.other, 4) + 0.25 for branch in branches]
    total = sum(heights) + 1.75
    with canvas(path, size=(WIDTH, total + 0.35)) as (_, axes):
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(0, total)
        axes.set_axis_off()
        axes.set_title(title)
        top = total - 0.65
        axes.text(0.05, total - 0.15, f"{name}: one network", va="center", fontweight="bold", color=DARK)
        _box(axes, COLUMNS[0], top, IMAGE, GREY)
        _box(axes, COLUMNS[1], top, f"{architecture}\n{classes} outputs, sigmoid", BLUE)
        _box(axes, COLUMNS[2], top, "labels: classes\nof at least 0.5", GREY)
        _arrow(axes, (COLUMNS[0], top), (COLUMNS[1], top))
        _arrow(axes, (COLUMNS[1], top), (COLUMNS[2], top))
        place = total - 1.55
        header = {"va": "center", "color": DARK}
        text = f"{hierarchy_name}: a network for the groups, and one for each group"
        axes.text(0.05, place + 0.15, text, fontweight="bold", **header)
        axes.text(WIDTH - 0.05, place + 0.15, UNION, fontsize=8, ha="right", **header)
        middle = place - sum(heights) / 2
        _box(axes, COLUMNS[0], middle, IMAGE, GREY)
        _box(axes, COLUMNS[1], middle, f"stage 1:\n{stage_1}\n{len(branches)} outputs, sigmoid", BLUE)
        _arrow(axes, (COLUMNS[0], middle), (COLUMNS[1], middle))
        for branch, height in zip(branches, heights, strict=True):
            _draw_branch(axes, branch, place - height / 2, middle)
            place -= height


def _draw_branch(axes: Axes, branch: Branch, height: float, from_height: float) -> None:
    outputs = f"{len(branch.classes)} outputs" + ' (+ "other")' * branch.other
    _box(axes, COLUMNS[2], height, f"{branch.group}:\nat least 0.5", ORANGE)
    _box(axes, COLUMNS[3], height, f"stage 2:\n{branch.network}\n{outputs}", GREEN)
    names = "\n".join([*branch.classes, *['"other" (variant)'] * branch.other])
    axes.text(COLUMNS[4] - 0.75, height, names, va="center", fontsize=7.5, linespacing=1.25, color=DARK)
    _arrow(axes, (COLUMNS[1], from_height), (COLUMNS[2], height))
    _arrow(axes, (COLUMNS[2], height), (COLUMNS[3], height))
    _arrow(axes, (COLUMNS[3], height), (COLUMNS[4] - 0.8, height), shrink=0)


def _box(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    """Draw a text in a box centred at a point, smaller where its lines are long."""
    box = FancyBboxPatch(
        (x - BOX / 2, y - 0.24), BOX, 0.48, boxstyle="round,pad=0.04", facecolor="white", edgecolor=color
    )
    axes.add_patch(box)
    fontsize = 7.5 * min(FITTING / max(map(len, text.split("\n"))), 1)
    axes.text(x, y, text, ha="center", va="center", fontsize=fontsize, color=DARK)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], shrink: float = 0.75) -> None:
    """Draw an arrow from the right edge of a box to the left edge of another one."""
    axes.annotate(
        "", (end[0] - shrink, end[1]), (start[0] + 0.75, start[1]),
        arrowprops={"arrowstyle": "->", "color": LIGHT if start[1] != end[1] else GREY, "linewidth": 1.2},
    )  # fmt: skip
