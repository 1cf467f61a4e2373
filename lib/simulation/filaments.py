"""Filaments that grow inside cells: random walks that heed the nucleus and the edge of the cell."""

import numpy as np

from lib.simulation.canvas import directions
from lib.simulation.cells import Cells, radius_at

ALONG = 0.05  # how filaments turn along their cell in a step, radians
STEP = 7.0  # units between two points of a filament


def walk(
    cells: Cells, cell: np.ndarray, start: np.ndarray, angle: np.ndarray, *, steps: int, wander: float,
    rng: np.random.Generator, step: float = STEP,
) -> np.ndarray:  # fmt: skip
    """Grow filaments that bend around the nucleus and along the edge of their cell.

    Parameters
    ----------
    cell, angle : ndarray of shape (filaments,)
        Cell number and first direction.
    start : ndarray of shape (filaments, 2)
        First point in units.
    wander : float
        Standard deviation of the change of direction in a step, radians.

    Returns
    -------
    ndarray of shape (filaments, steps + 1, 2)
        Paths; where one left its cell or ended early, its last point is repeated.
    """
    points = np.empty((len(cell), steps + 1, 2))
    points[:, 0] = start
    growing = np.ones(len(cell), bool)
    over = rng.uniform(size=len(cell)) < 0.2  # passes above or below the nucleus
    stops = rng.integers(steps // 3, steps + 1, len(cell))
    for k in range(1, steps + 1):
        away = points[:, k - 1] - cells.centre_n2[cell]
        radius, outward = np.hypot(away[:, 0], away[:, 1]), np.arctan2(away[:, 1], away[:, 0])
        to_edge = radius / radius_at(cells.outline_nT, cell, outward)
        to_rim = radius / radius_at(cells.nucleus_nT, cell, outward)
        off = np.mod(angle - outward + np.pi, 2 * np.pi) - np.pi
        sharp = np.where(np.abs(off) < np.pi / 2, np.clip(to_edge - 0.75, 0, 0.25) * 2.2, 0)
        sharp -= np.where((np.abs(off) > np.pi / 2) & ~over, np.clip(1.15 - to_rim, 0, 0.4) * 3, 0)
        along = ALONG * np.sin(2 * (cells.axis_n[cell] - angle))
        angle = angle + np.sign(off) * sharp + along + rng.normal(0, wander, len(cell))
        growing &= (to_edge < 1.0) & (k <= stops)
        points[:, k] = points[:, k - 1] + step * growing[:, None] * directions(angle)
    return points
