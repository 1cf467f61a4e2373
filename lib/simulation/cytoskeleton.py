"""Patterns of proteins in the cytoskeleton: labels 11 to 19.

Source: the Cell Atlas dictionary at proteinatlas.org (intermediate filaments, actin filaments,
microtubules, centrosome) and Thul et al. 2017, Science 356 eaal3321. For the form of a pattern, see
`lib.simulation.nucleus`.
"""

import numpy as np

from lib.simulation.canvas import directions, segments
from lib.simulation.cells import INTERPHASE
from lib.simulation.field import Field
from lib.simulation.filaments import walk


def intermediate_filaments(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw wavy bundles that surround the nucleus and extend into the cell, denser on one side."""
    cells = field.cells
    count = np.where(cells.phase_n == INTERPHASE, 35 + int(50 * style[0]), 4)
    cell = np.repeat(np.arange(cells.count), count)
    dense_side = rng.uniform(0, 2 * np.pi, cells.count)
    angle = dense_side[cell] + rng.normal(0, 0.8 + 1.6 * style[1], len(cell))
    start = cells.at(cell, angle, rng.beta(1.0, 3.0, len(cell)))
    heading = angle + rng.choice([-1.4, 1.4], len(cell)) + rng.normal(0, 0.5, len(cell))
    paths = walk(cells, cell, start, heading, steps=12, wander=0.3, rng=rng, step=5.0)
    width = 1.1 + 0.9 * style[2]
    lines_HW = field.canvas.strokes(paths, width, rng.uniform(0.15, 0.5, len(cell)))
    return (
        field.canvas.blur(lines_HW, 0.7) * (1 - 0.5 * field.nucleus_HW)
        + field.canvas.blur(lines_HW, 6) * 0.25
    )


def actin_filaments(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw straight parallel stress fibres across each cell, and a bright cortex at its edge."""
    cells = field.cells
    count = np.where(cells.phase_n == INTERPHASE, 14 + int(36 * style[0]), 0)
    cell = np.repeat(np.arange(cells.count), count)
    angle = cells.axis_n[cell] + rng.normal(0, 0.10 + 0.1 * style[1], len(cell))
    middle = cells.at(cell, rng.uniform(0, 2 * np.pi, len(cell)), rng.uniform(-0.8, 0.85, len(cell)))
    paths = segments(middle, directions(angle) * rng.uniform(8, 42, (len(cell), 1)))
    fibres_HW = field.canvas.strokes(paths, 0.8 + 0.6 * style[2], rng.uniform(0.15, 0.8, len(paths)))
    inside_HW = field.cell_HW * np.clip(field.edge_distance_HW / 1.5, 0, 1)
    cortex_HW = np.exp(-np.square(field.edge_distance_HW / 1.8)) * field.cell_HW
    return (
        field.canvas.blur(fibres_HW, 0.5) * inside_HW
        + (0.25 + 0.5 * style[3]) * cortex_HW
        + 0.06 * field.cell_HW
    )


def focal_adhesions(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw short dashes near the edge of the cell that point outwards."""
    cells = field.cells
    count = rng.poisson(10 + 25 * style[0], cells.count) * (cells.phase_n == INTERPHASE)
    cell = np.repeat(np.arange(cells.count), count)
    angle = rng.uniform(0, 2 * np.pi, len(cell))
    outer = cells.at(cell, angle, 1 - rng.beta(1, 4.0, len(cell)) * 0.6 - 0.03)
    heading = angle + rng.normal(0, 0.35, len(cell))
    length = rng.uniform(4, 7 + 5 * style[1], (len(cell), 1))
    paths = np.stack([outer, outer - length * directions(heading)], axis=1)
    dashes_HW = field.canvas.strokes(paths, 1.1 + 0.8 * style[2], rng.uniform(0.4, 1, len(cell)))
    return field.canvas.blur(dashes_HW, 0.6) + (0.04 + 0.14 * style[3]) * field.thickness_HW


def microtubules(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the microtubules of the red channel, evenly bright or in patches."""
    patches_HW = 1 + 0.35 * style[0] * field.canvas.noise(rng, 12.0)
    grain_HW = 1 + 0.4 * style[1] * field.canvas.noise(rng, 1.5)
    return np.maximum(field.red_HW * patches_HW * grain_HW, 0) + 0.15 * style[2] * field.thickness_HW


def microtubule_ends(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw comets: short dashes at the outer ends of microtubules."""
    paths, _ = field.microtubules
    paths = paths[rng.uniform(size=len(paths)) < 0.35 + 0.4 * style[0]]
    tip = paths[:, -1]
    # filaments that ended early repeat their tip, so find the last point that differs from it
    moved = np.abs(np.diff(paths, axis=1)).sum(axis=2) > 0
    before = paths[np.arange(len(paths)), np.maximum(moved.sum(axis=1) - 1, 0)]
    ends = np.stack([tip, tip + (0.35 + 0.35 * style[1]) * (before - tip)], axis=1)
    comets_HW = field.canvas.strokes(ends, 1.3, rng.uniform(0.5, 1, len(ends)))
    return (
        field.canvas.blur(comets_HW, 0.5) + 0.1 * field.red_HW + (0.03 + 0.1 * style[2]) * field.thickness_HW
    )


def cytokinetic_bridge(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the bridge between two daughter cells: two bars with a gap, or the midbody between them."""
    bars = ((0.40, 0.48), (0.52, 0.60)) if style[0] < 0.6 else ((0.47, 0.53),)
    paths = np.concatenate([field.between_sisters(bar) for bar in bars])
    bars_HW = field.canvas.strokes(paths, 2.2 + 1.2 * style[1], np.ones(len(paths)))
    return 1.3 * field.canvas.blur(bars_HW, 0.6) + 0.1 * style[2] * field.thickness_HW


def mitotic_spindle(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the spindle of mitotic cells, its fibres or mostly its poles; other cells are weakly diffuse."""
    poles = [
        field.cells.centre_n2[k] + sign * 0.7 * radius * along
        for k, along, radius in field.mitotic
        for sign in (-1, 1)
    ]
    poles_HW = field.canvas.dots(np.reshape(poles, (-1, 2)), np.full(len(poles), 2.4), np.ones(len(poles)))
    diffuse_HW = field.thickness_HW * (0.03 + 0.12 * style[1])
    return (0.3 + 0.9 * style[0]) * field.spindles_HW + (1.1 - 0.8 * style[0]) * poles_HW + diffuse_HW


def organizing_centre(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw a fuzzy cloud of spots around the organizing centre beside the nucleus."""
    cell = np.repeat(np.arange(field.cells.count), 6 + int(14 * style[0]))
    spread = 1.5 + 2.2 * style[1]
    points = field.cells.centrosome_n2[cell] + rng.normal(0, spread, (len(cell), 2))
    spots_HW = field.canvas.dots(points, rng.uniform(0.7, 1.5, len(cell)), rng.uniform(0.1, 0.6, len(cell)))
    return spots_HW * field.cell_HW + (0.03 + 0.15 * style[2]) * field.thickness_HW


def centrosome(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw one or two tiny spots, the centrioles, at the organizing centre."""
    angle = rng.uniform(0, 2 * np.pi, field.cells.count)
    distance = rng.uniform(0.8, 2.6, field.cells.count)
    half = directions(angle) * distance[:, None] / 2
    has_two = rng.uniform(size=field.cells.count) < 0.75
    points = np.concatenate([field.cells.centrosome_n2 + half, (field.cells.centrosome_n2 - half)[has_two]])
    radii = np.full(len(points), 0.9 + 0.5 * style[0])
    dots_HW = field.canvas.dots(points, radii, rng.uniform(0.6, 1.2, len(points)))
    diffuse_HW = field.cell_HW if style[2] < 0.5 else field.nucleus_HW  # the rest of the protein
    return dots_HW + (0.03 + 0.17 * style[1]) * diffuse_HW
