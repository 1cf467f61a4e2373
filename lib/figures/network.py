"""The drawing of a network: its layers as boxes, in the order in which an image passes through them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from lib.figures.data_and_training import BLUE, DARK, GREEN, GREY, canvas

# in inches: of a box, from one box to the next, between the branches, around all
WIDTH, HEIGHT, STEP, GAP, MARGIN = 4.1, 0.46, 0.68, 0.7, 0.15
TITLE = 0.4  # its height


class Block(NamedTuple):
    """A box of the drawing: what it does, the shape of its output for one sample, its learnt parameters."""

    operation: str
    shape: str
    parameters: int = 0

    @property
    def text(self) -> str:
        """What is written into the box."""
        learnt = f", {self.parameters:,} parameters" if self.parameters else ""
        return f"{self.operation}\n→ {self.shape}{learnt}"


class Outline(NamedTuple):
    """A network's blocks: of the image, of a second branch (empty if there is none), and where they meet."""

    image: Sequence[Block]
    features: Sequence[Block]
    output: Sequence[Block]


def draw(path: Path, outline: Outline, title: str) -> None:
    """Draw a network from top to bottom: Liu et al. 2018, figure 5."""
    trunk, side = len(outline.image), len(outline.features)
    width = 2 * MARGIN + WIDTH + (GAP + WIDTH if side else 0)
    height = MARGIN + TITLE + (trunk + len(outline.output)) * STEP
    with canvas(path, size=(width, height)) as (figure, axes):
        figure.set_layout_engine("none")
        axes.set(xlim=(0, width), ylim=(height, 0), position=(0, 0, 1, 1))
        axes.set_axis_off()
        axes.text(MARGIN, MARGIN + TITLE / 3, title, fontweight="bold", fontsize=11, va="center")
        first = MARGIN + TITLE
        meeting = first + trunk * STEP
        _draw_column(axes, outline.image, MARGIN, first, BLUE)
        _draw_column(axes, outline.output, MARGIN, meeting, DARK)
        if trunk and outline.output:
            _draw_arrow(axes, (MARGIN + WIDTH / 2, meeting - STEP + HEIGHT), (MARGIN + WIDTH / 2, meeting))
        if side:
            left = MARGIN + WIDTH + GAP
            _draw_column(axes, outline.features, left, meeting - side * STEP, GREEN)
            below, level = (left + WIDTH / 2, meeting - STEP + HEIGHT), meeting + HEIGHT / 2
            axes.plot([below[0], below[0]], [below[1], level], color=GREY, linewidth=1.2)
            _draw_arrow(axes, (below[0], level), (MARGIN + WIDTH, level))


def _draw_column(axes: Axes, blocks: Sequence[Block], left: float, top: float, color: str) -> None:
    for number, block in enumerate(blocks):
        y, middle = top + number * STEP, left + WIDTH / 2
        axes.add_patch(
            FancyBboxPatch(
                (left, y), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.08", facecolor=color,
                edgecolor="none",
            )
        )  # fmt: skip
        axes.text(middle, y + HEIGHT / 2, block.text, color="white", ha="center", va="center", fontsize=9)
        if number:
            _draw_arrow(axes, (middle, y - STEP + HEIGHT), (middle, y))


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    options = {"arrowstyle": "-|>", "mutation_scale": 9, "color": GREY, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, **options))
