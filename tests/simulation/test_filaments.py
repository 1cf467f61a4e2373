import numpy as np
import pytest

from lib.simulation.cells import CELL_LINES, grow_cells, radius_at
from lib.simulation.filaments import walk

STEPS, STEP = 12, 5.0


@pytest.fixture(scope="module")
def grown():
    """Cells, cell numbers, and the paths of filaments that start at the edges of the nuclei."""
    cells = grow_cells(CELL_LINES["U-2 OS"], 512, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    cell = np.repeat(np.arange(cells.count), 20)
    angle = rng.uniform(0, 2 * np.pi, len(cell))
    start = cells.at(cell, angle, np.full(len(cell), 0.1))
    heading = angle + rng.normal(0, 1, len(cell))
    paths = walk(cells, cell, start, heading, steps=STEPS, wander=0.15, rng=rng, step=STEP)
    assert np.array_equal(paths[:, 0], start)
    return cells, cell, paths


def test_steps_have_one_length_until_the_filament_ends(grown):
    _, _, paths = grown
    assert paths.shape[1:] == (STEPS + 1, 2)
    lengths = np.linalg.norm(np.diff(paths, axis=1), axis=2)
    moves = lengths > 0
    assert lengths[moves] == pytest.approx(STEP)
    assert (moves[:, :-1] >= moves[:, 1:]).all()  # once ended, it does not continue
    assert (moves.sum(axis=1) >= 1).mean() > 0.95 and len(set(moves.sum(axis=1))) > 3


def test_filaments_end_at_the_edge_of_their_cell(grown):
    cells, cell, paths = grown
    offset = paths - cells.centre_n2[cell][:, None]
    radius, angle = np.linalg.norm(offset, axis=2), np.arctan2(offset[..., 1], offset[..., 0])
    edge = radius_at(cells.outline_nT, np.repeat(cell, STEPS + 1), angle.ravel()).reshape(radius.shape)
    beyond = radius - edge
    # radially, since the outline is not a circle; the points beyond it are ends, repeated
    assert beyond.max() < 2 * STEP and (beyond < 0).mean() > 0.8


def test_most_filaments_that_head_for_the_nucleus_avoid_it(grown):
    cells, cell, _ = grown
    rng = np.random.default_rng(3)
    angle = rng.uniform(0, 2 * np.pi, len(cell))
    start = cells.at(cell, angle, np.full(len(cell), 0.3))
    heading = angle + np.pi + rng.normal(0, 0.3, len(cell))
    paths = walk(cells, cell, start, heading, steps=STEPS, wander=0.1, rng=rng, step=STEP)
    offset = paths - cells.centre_n2[cell][:, None]
    radius, angle = np.linalg.norm(offset, axis=2), np.arctan2(offset[..., 1], offset[..., 0])
    nucleus = radius_at(cells.nucleus_nT, np.repeat(cell, STEPS + 1), angle.ravel()).reshape(radius.shape)
    crosses = (radius < 0.6 * nucleus).any(axis=1)
    assert 0.02 < crosses.mean() < 0.3


def test_without_wander_far_from_everything_filaments_are_straight():
    cells = grow_cells(CELL_LINES["REH"], 512, np.random.default_rng(0))
    cell, heading = np.zeros(1, int), cells.axis_n[:1]  # along the axis, so that nothing turns it
    start = cells.at(cell, heading, np.zeros(1))
    paths = walk(cells, cell, start, heading, steps=6, wander=0, rng=np.random.default_rng(2), step=0.5)
    steps = np.diff(paths[0], axis=0)
    steps = steps[np.linalg.norm(steps, axis=1) > 0]
    expected = 0.5 * np.array([np.cos(heading[0]), np.sin(heading[0])])
    assert len(steps) >= 2 and steps == pytest.approx(np.tile(expected, (len(steps), 1)))
