"""Patterns of proteins in membranes, organelles and the cytosol: labels 6-10 and 20-27.

Source: the Cell Atlas dictionary at proteinatlas.org (endoplasmic reticulum, Golgi apparatus, vesicles,
plasma membrane, mitochondria, aggresome, cytosol, rods and rings) and Thul et al. 2017, Science 356
eaal3321. For the form of a pattern, see `lib.simulation.nucleus`.
"""

import cv2
import numpy as np

from lib.simulation.canvas import directions, segments
from lib.simulation.cells import INTERPHASE
from lib.simulation.field import Field
from lib.simulation.filaments import walk


def scatter(
    field: Field, rng: np.random.Generator, per_cell: float, crowding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw random points in the cytoplasm, more of them in larger cells.

    Parameters
    ----------
    per_cell : float
        Mean number in a cell of mean radius 50 units.
    crowding : float
        0 spreads the points evenly, 1 concentrates them around the nucleus, below 0 at the edge.

    Returns
    -------
    tuple of ndarray of shape (points,) and (points, 2)
        Cell numbers, and positions x, y in units.
    """
    cells = field.cells
    area_n = np.clip((cells.outline_nT**2).mean(axis=1) / 50**2, 0.15, 3)
    cell = np.repeat(
        np.arange(cells.count), rng.poisson(per_cell * area_n * rng.lognormal(0, 0.3, cells.count))
    )
    depth = 0.97 * rng.beta(1.2, 0.95 + 2.2 * crowding, len(cell))
    return cell, cells.at(cell, rng.uniform(0, 2 * np.pi, len(cell)), depth)


def _vesicles(
    field: Field, rng: np.random.Generator, per_cell: float, crowding: float, radius: tuple[float, float]
) -> np.ndarray:
    _, points = scatter(field, rng, per_cell, crowding)
    radii = rng.uniform(*radius, len(points))
    return field.canvas.dots(points, radii, rng.uniform(0.35, 1.1, len(points)))


def endoplasmic_reticulum(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the mesh of the endoplasmic reticulum, densest at the nucleus, similar to the yellow stain."""
    return 0.35 * field.reticulum(rng, 1.6 + 1.6 * style[0]) + 0.65 * field.yellow_HW


def golgi(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw a ribbon of curved stacks, or its fragments, on the side of the nucleus with the centrosome."""
    cells = field.cells
    cell = np.repeat(np.flatnonzero(cells.phase_n == INTERPHASE), 14 + int(16 * style[0]))
    away = cells.centrosome_n2[cell] - cells.centre_n2[cell]
    angle = np.arctan2(away[:, 1], away[:, 0]) + rng.normal(0, 0.3 + 0.45 * style[1], len(cell))
    start = cells.at(cell, angle, rng.beta(1.3, 5, len(cell)) + 0.02)
    heading = angle + rng.choice([-np.pi / 2, np.pi / 2], len(cell)) + rng.normal(0, 0.6, len(cell))
    paths = walk(cells, cell, start, heading, steps=5, wander=0.7, rng=rng, step=1.2 + 1.4 * style[2])
    ribbon_HW = field.canvas.strokes(paths, 1.3 + 0.7 * style[3], rng.uniform(0.15, 0.6, len(cell)))
    return field.canvas.blur(ribbon_HW, 0.7) * field.cell_HW + 0.08 * field.thickness_HW


def peroxisomes(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw many small spots of one size throughout the cytoplasm."""
    return _vesicles(field, rng, 45 + 50 * style[0], 0.15, (0.75, 1.0)) + 0.1 * style[1] * field.thickness_HW


def endosomes(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw spots of mixed sizes, some of them far from the nucleus."""
    large_HW = _vesicles(field, rng, 8 + 14 * style[0], 0.5, (1.2, 1.9))
    small_HW = _vesicles(field, rng, 14 + 22 * style[1], 0.2, (0.7, 1.1))
    return large_HW + small_HW + 0.12 * style[2] * field.thickness_HW


def lysosomes(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw larger spots around the nucleus, on the side of the organizing centre."""
    cells = field.cells
    cell = np.repeat(np.arange(cells.count), rng.poisson(14 + 18 * style[0], cells.count))
    away = cells.centrosome_n2[cell] - cells.centre_n2[cell]
    angle = np.arctan2(away[:, 1], away[:, 0]) + rng.normal(0, 0.9 + style[1], len(cell))
    points = cells.at(cell, angle, rng.beta(1.2, 2.6, len(cell)))
    radii = rng.uniform(1.0, 1.9 + 0.6 * style[2], len(cell))
    return (
        field.canvas.dots(points, radii, rng.uniform(0.35, 1.1, len(cell)))
        + 0.1 * style[3] * field.thickness_HW
    )


def lipid_droplets(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw clusters of droplets with a stained coat: rings if large, spots if small."""
    cells = field.cells
    hub_cell, hubs = scatter(field, rng, 2.5 + 4 * style[0], 0.4)
    count = rng.integers(2, 9, len(hub_cell))
    points = np.repeat(hubs, count, axis=0) + rng.normal(0, 5.0, (count.sum(), 2))
    content = rng.lognormal(0, 0.6, cells.count)[np.repeat(hub_cell, count)]  # cells differ in lipid content
    radii = rng.uniform(0.9, 1.4 + 0.8 * style[1], len(points))
    coat_HW = field.canvas.dots(points, radii * 1.25, 0.75 * np.minimum(content, 1.6))
    core_HW = field.canvas.dots(points, radii * 0.75, 0.7 * np.minimum(content, 1.6))
    return (
        np.maximum(1.5 * (coat_HW - core_HW), 0) * field.cell_HW
        + (0.05 + 0.1 * style[2]) * field.thickness_HW
    )


def plasma_membrane(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the edge of the cells in patches, with ruffles, over the membrane above and below the cell."""
    patches_HW = np.clip(0.75 + 0.5 * field.canvas.noise(rng, 9.0), 0.15, 1.6)
    line_HW = np.exp(-field.edge_distance_HW / (1.0 + 1.6 * style[0])) * (field.cell_number_HW > 0)
    cell, points = scatter(field, rng, 60 * style[1], -0.35)
    angle = rng.uniform(0, np.pi, len(cell))
    ruffles = segments(points, directions(angle) * rng.uniform(0.8, 2.2, (len(cell), 1)))
    ruffles_HW = field.canvas.strokes(ruffles, 1.1, rng.uniform(0.2, 0.9, len(cell)))
    sheet_HW = (0.05 + 0.12 * style[2]) * field.cell_HW
    return field.canvas.blur(line_HW * patches_HW, 0.5) + 0.6 * ruffles_HW * field.cell_HW + sheet_HW


def cell_junctions(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the edge only where two cells touch, as a continuous line or as a row of short patches."""
    number_HW = field.cell_number_HW
    width = max(3, round(5 * field.canvas.scale) | 1)
    kernel = np.ones((width, width), np.uint8)
    near_higher_HW = cv2.dilate(number_HW, kernel) != number_HW
    near_lower_HW = cv2.erode(np.where(number_HW == 0, 255, number_HW).astype(np.uint8), kernel) != number_HW
    touching_HW = ((near_higher_HW | near_lower_HW) & (number_HW > 0)).astype(np.float32)
    near_background_HW = cv2.dilate((number_HW == 0).astype(np.uint8), kernel)
    line_HW = touching_HW * (1 - near_background_HW) * np.exp(-field.edge_distance_HW / 1.1)
    patches_HW = np.clip(0.8 + (0.2 + 0.6 * style[0]) * field.canvas.noise(rng, 3.5), 0, 1.6)
    return field.canvas.blur(line_HW * patches_HW, 0.6) * 1.2 + (0.03 + 0.1 * style[1]) * field.thickness_HW


def mitochondria(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw short, thick, curved rods in the cytoplasm, denser near the nucleus."""
    cell, start = scatter(field, rng, 50 + 45 * style[0], 0.35 + 0.5 * style[1])
    away = start - field.cells.centre_n2[cell]
    heading = np.arctan2(away[:, 1], away[:, 0]) + rng.normal(0, 1.0, len(cell))
    steps = 2 + int(5 * style[2])
    paths = walk(field.cells, cell, start, heading, steps=steps, wander=0.55, rng=rng, step=2.6)
    rods_HW = field.canvas.strokes(paths, 1.5 + 0.6 * style[3], rng.uniform(0.35, 0.9, len(cell)))
    outside_HW = field.cell_HW * (1 - 0.85 * field.nucleus_HW)
    return field.canvas.blur(rods_HW, 0.6) * outside_HW + 0.04 * field.thickness_HW


def aggresome(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw one large clump beside the nucleus, at the organizing centre, in many of the cells."""
    positive = np.flatnonzero(rng.uniform(size=field.cells.count) < 0.5 + 0.5 * style[0])
    away = field.cells.centrosome_n2[positive] - field.cells.centre_n2[positive]
    middle = field.cells.centrosome_n2[positive] + 2.5 * away / np.linalg.norm(away, axis=1, keepdims=True)
    clump = np.repeat(np.arange(len(positive)), 9)
    points = middle[clump] + rng.normal(0, 1.6 + 0.8 * style[1], (len(clump), 2))
    radii = rng.uniform(1.8, 3.4, len(clump))
    lumps_HW = field.canvas.dots(points, radii, rng.uniform(0.15, 0.5, len(clump)))
    return np.minimum(lumps_HW, 1.3) * field.cell_HW + (0.06 + 0.15 * style[2]) * field.thickness_HW


def cytosol(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Fill the cell outside its nucleus with a fine grain, brighter where the cell is thicker."""
    grain_HW = 0.75 + (0.05 + 0.18 * style[0]) * field.canvas.noise(rng, 1.4 + 1.6 * style[1])
    return field.thickness_HW * np.maximum(grain_HW, 0) * (1 - (0.45 + 0.45 * style[2]) * field.nucleus_HW)


def cytoplasmic_bodies(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw a few distinct round bodies in the cytoplasm, often over a cytosol."""
    bodies_HW = _vesicles(field, rng, 3 + 13 * style[0] ** 2, 0.3, (1.0, 1.4 + 0.8 * style[1]))
    return bodies_HW + (0.06 + 0.22 * style[2]) * field.thickness_HW * (1 - 0.5 * field.nucleus_HW)


def rods_and_rings(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw about one to two rods or small rings per cell."""
    cell, points = scatter(field, rng, 0.9 + 1.2 * style[0], 0.3)
    is_ring = (rng.uniform(size=len(cell)) < 0.2 + 0.5 * style[1])[:, None, None]
    around = directions(rng.uniform(0, np.pi, (len(cell), 1)) + np.linspace(0, 2 * np.pi, 13))
    rings = rng.uniform(2.2, 4.5, (len(cell), 1, 1)) * around * rng.uniform(0.7, 1, (len(cell), 1, 2))
    rods = rng.uniform(3.5, 8.5, (len(cell), 1, 1)) * around[:, :1] * np.linspace(-1, 1, 13)[:, None]
    paths = points[:, None] + np.where(is_ring, rings, rods)
    shapes_HW = field.canvas.strokes(paths, 1.6, np.ones(len(paths)))
    return 1.2 * field.canvas.blur(shapes_HW, 0.6) + (0.05 + 0.15 * style[2]) * field.thickness_HW
