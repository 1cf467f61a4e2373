"""Where proteins of membranes, organelles and cytosol show: the rules of labels 6-10 and 20-27.

Source: the Cell Atlas dictionary at proteinatlas.org (endoplasmic reticulum, Golgi apparatus, vesicles,
plasma membrane, mitochondria, aggresome, cytosol, rods and rings) and Thul et al. 2017, Science 356
eaal3321. For the form of a rule see `lib.simulation.nucleus`.
"""

import cv2
import numpy as np

from lib.simulation.canvas import directions, segments
from lib.simulation.cells import INTERPHASE
from lib.simulation.field import Field
from lib.simulation.filaments import walk


def scatter(
    field: Field, rng: np.random.Generator, per_cell: float, near: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scatter points over the cytoplasm, more of them in larger cells.

    Parameters
    ----------
    per_cell : float
        Mean number in a cell of mean radius 50 units.
    near : float
        0 spreads them evenly, 1 crowds them around the nucleus.

    Returns
    -------
    tuple of ndarray of shape (points,) and (points, 2)
        Their cells and places in units.
    """
    cells = field.cells
    area_n = np.clip((cells.outline_nT**2).mean(axis=1) / 50**2, 0.15, 3)
    cell = np.repeat(
        np.arange(cells.count), rng.poisson(per_cell * area_n * rng.lognormal(0, 0.3, cells.count))
    )
    depth = 0.97 * rng.beta(1.2, 0.95 + 2.2 * near, len(cell))
    return cell, cells.at(cell, rng.uniform(0, 2 * np.pi, len(cell)), depth)


def _vesicles(
    field: Field, rng: np.random.Generator, count: float, near: float, radius: tuple[float, float]
) -> np.ndarray:
    _, points = scatter(field, rng, count, near)
    radii = rng.uniform(*radius, len(points))
    return field.canvas.dots(points, radii, rng.uniform(0.35, 1.1, len(points)))


def endoplasmic_reticulum(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the mesh of the ER, densest at the nucleus: what the yellow stain shows too."""
    return 0.35 * field.mesh(rng, 1.6 + 1.6 * style[0]) + 0.65 * field.yellow_HW


def golgi(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw a ribbon of curved stacks on the centrosome's side of the nucleus, or its fragments."""
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
    """Scatter many small spots of one size evenly through the cytoplasm."""
    return _vesicles(field, rng, 45 + 50 * style[0], 0.15, (0.75, 1.0)) + 0.1 * style[1] * field.thickness_HW


def endosomes(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Scatter spots of mixed size, some of them far out in the cell."""
    few_large = _vesicles(field, rng, 8 + 14 * style[0], 0.5, (1.2, 1.9))
    return (
        few_large
        + _vesicles(field, rng, 14 + 22 * style[1], 0.2, (0.7, 1.1))
        + 0.12 * style[2] * field.thickness_HW
    )


def lysosomes(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Crowd larger spots around the nucleus on the side of the organizing centre."""
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
    """Draw clusters of droplets whose coat is stained: rings when large, spots when small."""
    cells = field.cells
    hub, hubs = scatter(field, rng, 2.5 + 4 * style[0], 0.4)
    count = rng.integers(2, 9, len(hub))
    points = np.repeat(hubs, count, axis=0) + rng.normal(0, 5.0, (count.sum(), 2))
    rich = rng.lognormal(0, 0.6, cells.count)[np.repeat(hub, count)]  # cells differ in fat
    radii = rng.uniform(0.9, 1.4 + 0.8 * style[1], len(points))
    coat_HW = field.canvas.dots(points, radii * 1.25, 0.75 * np.minimum(rich, 1.6))
    core_HW = field.canvas.dots(points, radii * 0.75, 0.7 * np.minimum(rich, 1.6))
    return (
        np.maximum(1.5 * (coat_HW - core_HW), 0) * field.cell_HW
        + (0.05 + 0.1 * style[2]) * field.thickness_HW
    )


def plasma_membrane(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the edge of the cells, in patches, with ruffles, over the membrane above and below."""
    patches_HW = np.clip(0.75 + 0.5 * field.canvas.noise(rng, 9.0), 0.15, 1.6)
    line_HW = np.exp(-field.edge_HW / (1.0 + 1.6 * style[0])) * (field.label_HW > 0)
    cell, points = scatter(field, rng, 60 * style[1], -0.35)
    turn = rng.uniform(0, np.pi, len(cell))
    ruffles = segments(points, directions(turn) * rng.uniform(0.8, 2.2, (len(cell), 1)))
    ruffles_HW = field.canvas.strokes(ruffles, 1.1, rng.uniform(0.2, 0.9, len(cell)))
    sheet_HW = (0.05 + 0.12 * style[2]) * field.cell_HW
    return field.canvas.blur(line_HW * patches_HW, 0.5) + 0.6 * ruffles_HW * field.cell_HW + sheet_HW


def cell_junctions(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the edge only where two cells touch, as a line or a zip of short patches."""
    label_HW = field.label_HW
    reach = max(3, round(5 * field.canvas.scale) | 1)
    kernel = np.ones((reach, reach), np.uint8)
    other_HW = cv2.dilate(label_HW, kernel) != label_HW  # a cell of higher number, or ground beside a cell
    lower_HW = cv2.erode(np.where(label_HW == 0, 255, label_HW).astype(np.uint8), kernel) != label_HW
    touching_HW = ((other_HW | lower_HW) & (label_HW > 0)).astype(np.float32)
    ground_HW = cv2.dilate((label_HW == 0).astype(np.uint8), kernel)
    line_HW = touching_HW * (1 - ground_HW) * np.exp(-field.edge_HW / 1.1)
    zip_HW = np.clip(0.8 + (0.2 + 0.6 * style[0]) * field.canvas.noise(rng, 3.5), 0, 1.6)
    return field.canvas.blur(line_HW * zip_HW, 0.6) * 1.2 + (0.03 + 0.1 * style[1]) * field.thickness_HW


def mitochondria(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw short thick worms through the cytoplasm, denser near the nucleus."""
    cell, start = scatter(field, rng, 50 + 45 * style[0], 0.35 + 0.5 * style[1])
    away = start - field.cells.centre_n2[cell]
    heading = np.arctan2(away[:, 1], away[:, 0]) + rng.normal(0, 1.0, len(cell))
    steps = 2 + int(5 * style[2])
    paths = walk(field.cells, cell, start, heading, steps=steps, wander=0.55, rng=rng, step=2.6)
    worms_HW = field.canvas.strokes(paths, 1.5 + 0.6 * style[3], rng.uniform(0.35, 0.9, len(cell)))
    outside_HW = field.cell_HW * (1 - 0.85 * field.nucleus_HW)
    return field.canvas.blur(worms_HW, 0.6) * outside_HW + 0.04 * field.thickness_HW


def aggresome(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Put one large clump beside the nucleus of many cells, at the organizing centre."""
    has = np.flatnonzero(rng.uniform(size=field.cells.count) < 0.5 + 0.5 * style[0])
    away = field.cells.centrosome_n2[has] - field.cells.centre_n2[has]
    middle = field.cells.centrosome_n2[has] + 2.5 * away / np.linalg.norm(away, axis=1, keepdims=True)
    cell = np.repeat(np.arange(len(has)), 9)
    points = middle[cell] + rng.normal(0, 1.6 + 0.8 * style[1], (len(cell), 2))
    lumps_HW = field.canvas.dots(points, rng.uniform(1.8, 3.4, len(cell)), rng.uniform(0.15, 0.5, len(cell)))
    return np.minimum(lumps_HW, 1.3) * field.cell_HW + (0.06 + 0.15 * style[2]) * field.thickness_HW


def cytosol(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Fill the cell outside its nucleus, thicker parts brighter, finely grained."""
    grain_HW = 0.75 + (0.05 + 0.18 * style[0]) * field.canvas.noise(rng, 1.4 + 1.6 * style[1])
    return field.thickness_HW * np.maximum(grain_HW, 0) * (1 - (0.45 + 0.45 * style[2]) * field.nucleus_HW)


def cytoplasmic_bodies(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Scatter a few distinct round bodies in the cytoplasm, often over a cytosol."""
    bodies_HW = _vesicles(field, rng, 3 + 13 * style[0] ** 2, 0.3, (1.0, 1.4 + 0.8 * style[1]))
    return bodies_HW + (0.06 + 0.22 * style[2]) * field.thickness_HW * (1 - 0.5 * field.nucleus_HW)


def rods_and_rings(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw one to three rods or small rings in a cell."""
    cell, points = scatter(field, rng, 0.9 + 1.2 * style[0], 0.3)
    is_ring = (rng.uniform(size=len(cell)) < 0.2 + 0.5 * style[1])[:, None, None]
    around = directions(rng.uniform(0, np.pi, (len(cell), 1)) + np.linspace(0, 2 * np.pi, 13))
    rings = rng.uniform(2.2, 4.5, (len(cell), 1, 1)) * around * rng.uniform(0.7, 1, (len(cell), 1, 2))
    rods = rng.uniform(3.5, 8.5, (len(cell), 1, 1)) * around[:, :1] * np.linspace(-1, 1, 13)[:, None]
    paths = points[:, None] + np.where(is_ring, rings, rods)
    shapes_HW = field.canvas.strokes(paths, 1.6, np.ones(len(paths)))
    return 1.2 * field.canvas.blur(shapes_HW, 0.6) + (0.05 + 0.15 * style[2]) * field.thickness_HW
