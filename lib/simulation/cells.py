"""The geometry of a simulated field of cells: outlines, nuclei, nucleoli, centrosomes, cell cycle.

There are no pixels here: all lengths are in units (see `lib.simulation.canvas`). A cell is star-shaped about
the centre of its nucleus, so its outline and its nucleus are two tables of radii over the angle. Neighbours
press against each other along the weighted bisectors between their centres.
"""

from dataclasses import dataclass

import numpy as np

from lib.simulation.canvas import directions

ANGLES = 72  # radii around a cell
MARGIN = 45.0  # units around the field that contain cells too, so that some are cut off by the border
MAXIMUM_CELLS = 180
NEIGHBOURS = 9  # that press against a cell
OVERLAP = 1.04  # of neighbours: cells lie slightly on top of each other
INTERPHASE, METAPHASE, ANAPHASE, DAUGHTER = range(4)
THETA = np.arange(ANGLES) * (2 * np.pi / ANGLES)


@dataclass(frozen=True)
class CellLine:
    """The appearance of a cell line; lengths in units.

    Parameters
    ----------
    nucleus_radius : float
        Mean radius of the nucleus.
    spreading : float
        Radius of an isolated cell over that of its nucleus.
    spacing : float
        Smallest distance between two nuclei over the diameter of a nucleus.
    confluence : tuple of float
        Range of the fraction of the available places that are occupied by cells.
    clusters : int
        Number of clusters in a field; 0: cells everywhere.
    elongation : float
        Length over width of the cells, along one direction in the field.
    corners : int
        Number of corners in the outline of an isolated cell.
    irregularity : float
        Standard deviation of the logarithm of the corners' distances from the centre.
    nucleus_irregularity : float
        Amplitude of the lobes of the nucleus.
    chromocentres : bool
        Whether the DNA has bright dots, as in mouse cells.
    frequency : float
        Among the fields.
    """

    nucleus_radius: float
    spreading: float
    spacing: float
    confluence: tuple[float, float]
    clusters: int
    elongation: float
    corners: int
    irregularity: float
    nucleus_irregularity: float
    chromocentres: bool
    frequency: float


# modelled by eye on the cell lines most used in the atlas (Thul et al. 2017, Science 356 eaal3321)
CELL_LINES = {
    "U-2 OS": CellLine(25, 2.9, 1.50, (0.12, 1.0), 0, 1.20, 6, 0.50, 0.05, False, 0.30),
    "A-431": CellLine(23, 2.3, 1.20, (0.10, 0.9), 2, 1.15, 7, 0.32, 0.08, False, 0.16),
    "U-251 MG": CellLine(24, 2.9, 1.50, (0.10, 0.9), 0, 1.60, 5, 0.60, 0.05, False, 0.14),
    "HeLa": CellLine(22, 2.5, 1.30, (0.10, 0.9), 0, 1.35, 6, 0.48, 0.08, False, 0.08),
    "MCF7": CellLine(19, 2.0, 1.15, (0.12, 0.8), 2, 1.10, 7, 0.32, 0.06, False, 0.08),
    "HEK 293": CellLine(18, 2.1, 1.15, (0.12, 0.9), 3, 1.30, 5, 0.50, 0.07, False, 0.08),
    "BJ": CellLine(22, 3.8, 1.60, (0.18, 1.0), 0, 2.60, 5, 0.50, 0.04, False, 0.05),
    "SH-SY5Y": CellLine(18, 2.4, 1.20, (0.12, 0.8), 3, 1.60, 5, 0.70, 0.06, False, 0.04),
    "NIH 3T3": CellLine(22, 3.0, 1.50, (0.12, 0.9), 0, 1.40, 5, 0.60, 0.04, True, 0.03),
    "REH": CellLine(18, 1.40, 1.25, (0.10, 0.7), 0, 1.00, 12, 0.05, 0.10, False, 0.04),
}


@dataclass(frozen=True)
class Cells:
    """The cells of one field: n cells, T = 72 angles; lengths in units, angles in radians.

    Parameters
    ----------
    centre_n2 : ndarray
        Centres of the nuclei, x and y.
    outline_nT, nucleus_nT : ndarray
        Radii of cell and nucleus at the angles `THETA`.
    phase_n : ndarray of int
        INTERPHASE, METAPHASE, ANAPHASE or DAUGHTER (one of two cells connected by a bridge).
    axis_n : ndarray
        Direction of the long axis; of a mitotic cell, from pole to pole; of a daughter, to its sister.
    sister_n : ndarray of int
        Index of the other daughter, -1 for all other cells.
    centrosome_n2 : ndarray
        x and y of the microtubule-organizing centre.
    nucleoli : list of ndarray of shape (count, 3)
        x, y and radius of the nucleoli of each cell.
    """

    centre_n2: np.ndarray
    outline_nT: np.ndarray
    nucleus_nT: np.ndarray
    phase_n: np.ndarray
    axis_n: np.ndarray
    sister_n: np.ndarray
    centrosome_n2: np.ndarray
    nucleoli: list[np.ndarray]

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.centre_n2)

    def at(self, cell: np.ndarray, angle: np.ndarray, depth: np.ndarray, inner: bool = False) -> np.ndarray:
        """Convert positions relative to cells to positions in the field.

        Parameters
        ----------
        cell, angle, depth : ndarray of shape (points,)
            Cell number, direction from the centre, and depth: 0 at the edge of the nucleus and 1 at the edge
            of the cell; with `inner`, 0 at the centre and 1 at the edge of the nucleus.
        inner : bool
            Whether the points are in the nucleus.

        Returns
        -------
        ndarray of shape (points, 2)
            x, y in units.
        """
        nucleus = radius_at(self.nucleus_nT, cell, angle)
        if inner:
            radius = depth * nucleus
        else:
            radius = nucleus + depth * np.maximum(radius_at(self.outline_nT, cell, angle) - nucleus, 0)
        return self.centre_n2[cell] + radius[:, None] * directions(angle)


def radius_at(table_nT: np.ndarray, cell: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Interpolate the radius of each cell at each angle, both of shape (points,)."""
    index = np.mod(angle, 2 * np.pi) * (ANGLES / (2 * np.pi))
    low = index.astype(int)  # up to ANGLES, where the angle was rounded up
    fraction = index - low
    closed_nT = np.concatenate([table_nT, table_nT[:, :2]], axis=1)
    return closed_nT[cell, low] * (1 - fraction) + closed_nT[cell, low + 1] * fraction


def grow_cells(
    line: CellLine, extent: float, rng: np.random.Generator, *, mitotic: int = 0, daughter_pairs: int = 0
) -> Cells:
    """Place and shape the cells of one field.

    Parameters
    ----------
    line : CellLine
    extent : float
        Side of the field in units.
    rng : numpy.random.Generator
    mitotic, daughter_pairs : int
        Number of cells in metaphase or anaphase, and of pairs of daughter cells; fewer if the field has fewer
        cells.
    """
    direction = rng.uniform(0, np.pi)
    radius = line.nucleus_radius * rng.lognormal(0, 0.12)
    centre_n2 = _place_cells(line, radius, extent, direction, rng)
    phase_n = np.full(len(centre_n2), INTERPHASE)
    off_centre_n = np.abs(centre_n2 / extent - 0.5).max(axis=1)
    order = np.argsort((off_centre_n > 0.4) + rng.uniform(size=len(centre_n2)))  # cells near the border last
    phase_n[order[:mitotic]] = rng.choice([METAPHASE, METAPHASE, ANAPHASE], len(order[:mitotic]))
    axis_n = direction + rng.normal(0, 0.35 if line.elongation > 1.3 else 1.5, len(centre_n2))
    sister_n = np.full(len(centre_n2), -1)
    for mother in order[mitotic : mitotic + daughter_pairs]:
        offset = radius * rng.uniform(0.95, 1.25) * directions(axis_n[mother])
        sister_n[mother] = len(centre_n2)
        sister_n = np.append(sister_n, mother)
        centre_n2 = np.vstack([centre_n2, centre_n2[mother] + offset])
        centre_n2[mother] -= offset
        axis_n = np.append(axis_n, axis_n[mother] + np.pi)
        phase_n[mother] = DAUGHTER
        phase_n = np.append(phase_n, DAUGHTER)
    outline_nT = _shape_outlines(line, radius, centre_n2, phase_n, axis_n, direction, rng)
    nucleus_nT = _shape_nuclei(line, radius, outline_nT, phase_n, axis_n, rng)
    cell = np.arange(len(centre_n2))
    angle = rng.uniform(0, 2 * np.pi, len(cell))
    distance = radius_at(nucleus_nT, cell, angle) + rng.uniform(0.5, 4.5, len(cell))
    centrosome_n2 = centre_n2 + distance[:, None] * directions(angle)
    nucleoli = [_place_nucleoli(centre_n2[k], nucleus_nT[k], phase_n[k], rng) for k in cell]
    return Cells(centre_n2, outline_nT, nucleus_nT, phase_n, axis_n, sister_n, centrosome_n2, nucleoli)


def _elongation_matrix(direction: float, factor: float) -> np.ndarray:
    """Make the area-preserving matrix that stretches the plane along a direction."""
    rotation = np.array([[np.cos(direction), -np.sin(direction)], [np.sin(direction), np.cos(direction)]])
    return rotation @ np.diag([factor**0.5, factor**-0.5]) @ rotation.T


def _place_cells(
    line: CellLine, radius: float, extent: float, direction: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the centres of the cells: random sequential placement with a smallest distance."""
    flatten = np.linalg.inv(_elongation_matrix(direction, line.elongation))
    smallest = 2 * radius * line.spacing
    places = (extent + 2 * MARGIN) ** 2 / (smallest**2 * 1.35)  # that random placement fills
    wanted = int(np.clip(places * rng.uniform(*line.confluence), 2, MAXIMUM_CELLS))
    candidates = rng.uniform(-MARGIN, extent + MARGIN, (12 * wanted + 40, 2))
    if line.clusters:
        hubs = rng.uniform(0.1, 0.9, (line.clusters, 2)) * extent
        to_hub = np.abs(candidates[:, None] - hubs).max(axis=2).min(axis=1)
        candidates = candidates[to_hub < extent * rng.uniform(0.22, 0.6)]
    flat = candidates @ flatten.T
    accepted: list[int] = []
    free = np.ones(len(candidates), bool)
    for k in range(len(candidates)):
        if free[k]:
            accepted.append(k)
            if len(accepted) == wanted:
                break
            distance = smallest * rng.uniform(0.85, 1.3)
            free &= ((flat - flat[k]) ** 2).sum(axis=1) > distance**2
    return candidates[accepted]


def _shape_outlines(
    line: CellLine, radius: float, centre_n2: np.ndarray, phase_n: np.ndarray, axis_n: np.ndarray,
    direction: float, rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Shape isolated cells, then press neighbours against each other in the plane before elongation."""
    wanted_n, free_nT = _isolated_outlines(line, radius, phase_n, rng)
    elongate = _elongation_matrix(direction, line.elongation)
    flat = centre_n2 @ np.linalg.inv(elongate).T
    pressed_nT = _press_together(flat, wanted_n, free_nT)
    corner_nT2 = np.stack([np.cos(THETA), np.sin(THETA)], axis=1) * pressed_nT[..., None] @ elongate.T
    outline_nT = _to_radii(corner_nT2)
    daughter = np.flatnonzero(phase_n == DAUGHTER)
    cleft = np.exp(6 * (np.cos(THETA - axis_n[daughter, None]) - 1))  # the daughters separate at the bridge
    outline_nT[daughter] = np.maximum(outline_nT[daughter] * (1 - 0.25 * cleft), 4)
    return np.maximum(outline_nT, 6.0)


def _isolated_outlines(
    line: CellLine, radius: float, phase_n: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw mean radii, (n,), and outlines, (n, T), of cells without neighbours; dividing cells are round."""
    n = len(phase_n)
    shape_nT = np.stack([_draw_outline(line, rng) for _ in range(n)])
    aspect_n = rng.lognormal(0, 0.8 * line.irregularity, (n, 1))  # every cell has its own length over width
    angle_nT = THETA - rng.uniform(0, 7, (n, 1))
    shape_nT /= np.hypot(np.cos(angle_nT) / aspect_n**0.5, np.sin(angle_nT) * aspect_n**0.5)
    wanted_n = radius * line.spreading * rng.lognormal(0, 0.15, n)
    mitotic = (phase_n == METAPHASE) | (phase_n == ANAPHASE)
    wanted_n[mitotic] = radius * 1.25
    shape_nT[mitotic] = 1 + 0.03 * (shape_nT[mitotic] - 1)
    wanted_n[phase_n == DAUGHTER] = radius * 1.25
    return wanted_n, wanted_n[:, None] * np.clip(shape_nT, 0.45, 2.6)


def _press_together(centre_n2: np.ndarray, wanted_n: np.ndarray, free_nT: np.ndarray) -> np.ndarray:
    """Limit outlines to the weighted bisectors to the M nearest neighbours, with rounded corners."""
    squared_nn = ((centre_n2[None] - centre_n2[:, None]) ** 2).sum(axis=2)
    neighbour_nM = np.argsort(squared_nn, axis=1)[:, 1 : NEIGHBOURS + 1]
    offset_nM2 = centre_n2[neighbour_nM] - centre_n2[:, None]
    distance_nM = np.hypot(offset_nM2[..., 0], offset_nM2[..., 1]) + 1e-6
    weight_n = 0.5 * wanted_n + 0.5 * wanted_n.mean()
    bisector_nM = OVERLAP * distance_nM * (weight_n[:, None] / (weight_n[:, None] + weight_n[neighbour_nM]))
    cosine_nMT = np.cos(THETA - np.arctan2(offset_nM2[..., 1], offset_nM2[..., 0])[..., None])
    inverse_nMT = np.maximum(cosine_nMT, 0) / bisector_nM[..., None]
    for _ in range(4):  # to the power of 16: a soft minimum of all distances
        inverse_nMT *= inverse_nMT
    return (inverse_nMT.sum(axis=1) + (1 / free_nT) ** 16) ** (-1 / 16)


def _draw_outline(line: CellLine, rng: np.random.Generator) -> np.ndarray:
    """Draw the outline of an isolated cell, mean radius about 1: corners joined by nearly straight sides."""
    count = max(4, line.corners + int(rng.integers(-1, 2)))
    angle = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) * (2 * np.pi / count) + rng.uniform(0, 7)
    inverse = rng.lognormal(0, line.irregularity, count)  # a straight side is a sine in 1 / radius
    side = np.interp(THETA, np.mod(angle, 2 * np.pi), inverse, period=2 * np.pi)
    padded = np.concatenate([side[-2:], side, side[:2]])
    return 1 / np.convolve(padded, [0.04, 0.2, 0.52, 0.2, 0.04], "valid")


def _to_radii(corner_nT2: np.ndarray) -> np.ndarray:
    """Convert outlines around the origin to radii at the angles `THETA`."""
    angle = np.mod(np.arctan2(corner_nT2[..., 1], corner_nT2[..., 0]), 2 * np.pi)
    radius = np.hypot(corner_nT2[..., 0], corner_nT2[..., 1])
    order = np.argsort(angle, axis=1)
    angle, radius = np.take_along_axis(angle, order, 1), np.take_along_axis(radius, order, 1)
    return np.stack([np.interp(THETA, a, r, period=2 * np.pi) for a, r in zip(angle, radius, strict=True)])


def _shape_nuclei(
    line: CellLine, radius: float, outline_nT: np.ndarray, phase_n: np.ndarray, axis_n: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Shape the nuclei: ellipses with lobes, well inside their cells."""
    n = len(outline_nT)
    radius_n = radius * rng.lognormal(0, 0.13, n)
    radius_n[phase_n == DAUGHTER] *= 0.7
    aspect_n = rng.uniform(1.0, 1.5, n) ** 0.5 * line.elongation**0.25
    angle_nT = THETA - axis_n[:, None]
    ellipse_nT = 1 / np.hypot(np.cos(angle_nT) / aspect_n[:, None], np.sin(angle_nT) * aspect_n[:, None])
    for k in (2, 3, 4, 6):
        lobes_n = rng.normal(0, line.nucleus_irregularity * 1.6 / k, (n, 1)) * rng.lognormal(0, 0.5, (n, 1))
        ellipse_nT += lobes_n * np.cos(k * (THETA - rng.uniform(0, 7, (n, 1))))
    nucleus_nT = radius_n[:, None] * np.maximum(ellipse_nT, 0.5)
    nucleus_nT = (nucleus_nT**-8.0 + (0.85 * outline_nT) ** -8.0) ** (-1 / 8)
    mitotic = (phase_n == METAPHASE) | (phase_n == ANAPHASE)
    nucleus_nT[mitotic] = 0.35 * outline_nT[mitotic]  # no nucleus: the region of the chromosomes
    return nucleus_nT


def _place_nucleoli(
    centre: np.ndarray, nucleus_T: np.ndarray, phase: int, rng: np.random.Generator
) -> np.ndarray:
    count = int(rng.integers(1, 5)) if phase in (INTERPHASE, DAUGHTER) else 0
    angle = (
        rng.uniform(0, 2 * np.pi) + np.arange(count) * 2 * np.pi / max(count, 1) + rng.normal(0, 0.3, count)
    )
    edge = nucleus_T[np.mod(angle * ANGLES / (2 * np.pi), ANGLES).astype(int)]
    distance = rng.uniform(0.15, 0.62, count) * edge
    radius = nucleus_T.mean() * rng.uniform(0.13, 0.24, count)
    return np.stack(
        [centre[0] + distance * np.cos(angle), centre[1] + distance * np.sin(angle), radius], axis=1
    )
