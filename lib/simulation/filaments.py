"""Filaments that grow inside cells: random walks that avoid the nucleus and stay within the cell."""

import numpy as np

from lib.simulation.canvas import directions
from lib.simulation.cells import Cells, radius_at

ALIGNMENT = 0.05  # turn per step towards the long axis of the cell, radians
STEP = 7.0  # units between two points of a filament


def walk(
    cells: Cells, cell: np.ndarray, start: np.ndarray, angle: np.ndarray, *, steps: int, wander: float,
    rng: np.random.Generator, step: float = STEP,
) -> np.ndarray:  # fmt: skip
    """Grow filaments that bend around the nucleus and along the edge of their cell.

    Parameters
    ----------
    cells : Cells
    cell, angle : ndarray of shape (filaments,)
        Cell number and initial direction.
    start : ndarray of shape (filaments, 2)
        First point in units.
    steps : int
        Largest number of steps.
    wander : float
        Standard deviation of the random change of direction per step, radians.
    rng : numpy.random.Generator
    step : float
        Length of a step in units.

    Returns
    -------
    ndarray of shape (filaments, steps + 1, 2)
        Paths; the last point of a filament that left its cell or ended early is repeated.
    """
    points = np.empty((len(cell), steps + 1, 2))
    points[:, 0] = start
    growing = np.ones(len(cell), bool)
    crosses = rng.uniform(size=len(cell)) < 0.2  # above or below the nucleus
    last_step = rng.integers(steps // 3, steps + 1, len(cell))
    for k in range(1, steps + 1):
        offset = points[:, k - 1] - cells.centre_n2[cell]
        radius, outward = np.hypot(offset[:, 0], offset[:, 1]), np.arctan2(offset[:, 1], offset[:, 0])
        to_edge = radius / radius_at(cells.outline_nT, cell, outward)
        to_nucleus = radius / radius_at(cells.nucleus_nT, cell, outward)
        off = np.mod(angle - outward + np.pi, 2 * np.pi) - np.pi
        bend = np.where(np.abs(off) < np.pi / 2, np.clip(to_edge - 0.75, 0, 0.25) * 2.2, 0)
        bend -= np.where((np.abs(off) > np.pi / 2) & ~crosses, np.clip(1.15 - to_nucleus, 0, 0.4) * 3, 0)
        align = ALIGNMENT * np.sin(2 * (cells.axis_n[cell] - angle))
        angle = angle + np.sign(off) * bend + align + rng.normal(0, wander, len(cell))
        growing &= (to_edge < 1.0) & (k <= last_step)
        points[:, k] = points[:, k - 1] + step * growing[:, None] * directions(angle)
    return points
