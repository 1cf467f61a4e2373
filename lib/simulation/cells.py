"""The geometry of a simulated field of cells: outlines, nuclei, nucleoli, centrosomes, cell cycle.

No pixels here: everything is in units (see `lib.simulation.canvas`). A cell is star-shaped about the
centre of its nucleus, so that its outline and its nucleus are two tables of radii over the angle.
Neighbours press against each other along the weighted bisectors between their centres.
"""

from dataclasses import dataclass

import numpy as np

ANGLES = 72  # radii around a cell
MARGIN = 45.0  # units around the field in which there are cells too: some are cut by the border
MAXIMUM_CELLS = 180
NEIGHBOURS = 9  # that a cell is pressed by
OVERLAP = 1.04  # of neighbours: cells climb on each other a little
INTERPHASE, METAPHASE, ANAPHASE, DAUGHTER = range(4)
THETA = np.arange(ANGLES) * (2 * np.pi / ANGLES)


@dataclass(frozen=True)
class CellLine:
    """How the cells of one kind look; lengths in units.

    Parameters
    ----------
    nucleus : float
        Mean radius of the nucleus.
    spread : float
        Radius of a free cell over that of its nucleus.
    spacing : float
        Least distance between two nuclei over the nucleus' diameter.
    crowding : tuple of float
        Least and greatest share of the places that are taken.
    clusters : int
        Number of clumps in a field; 0: cells everywhere.
    stretch : float
        Length over width of the cells, along one direction in the field.
    corners : int
        Number of corners that the outline of a free cell runs through.
    jagged : float
        Standard deviation of the logarithm of the corners' distances.
    lobes : float
        Unevenness of the nucleus.
    chromocentres : bool
        Bright dots of DNA, as in mouse cells.
    share : float
        Frequency among the fields.
    """

    nucleus: float
    spread: float
    spacing: float
    crowding: tuple[float, float]
    clusters: int
    stretch: float
    corners: int
    jagged: float
    lobes: float
    chromocentres: bool
    share: float


# Modelled by eye on the lines that the atlas images most (Thul et al. 2017, Science 356 eaal3321).
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
        INTERPHASE, METAPHASE, ANAPHASE or DAUGHTER (one of two cells joined by a bridge).
    axis_n : ndarray
        Direction of the long axis; of a dividing cell, from pole to pole; of a daughter, to its sister.
    sister_n : ndarray of int
        Index of the other daughter, -1 for all other cells.
    centrosome_n2 : ndarray
        x and y of the microtubule organizing centre.
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

    def at(self, cell: np.ndarray, angle: np.ndarray, share: np.ndarray, inner: bool = False) -> np.ndarray:
        """Find points by cell, angle and depth.

        Parameters
        ----------
        cell, angle, share : ndarray of shape (points,)
            Cell number, direction from the centre, and depth: 0 at the rim of the nucleus and 1 at the
            edge of the cell; with `inner`, 0 at the centre and 1 at the rim of the nucleus.

        Returns
        -------
        ndarray of shape (points, 2)
        """
        rim = radius_at(self.nucleus_nT, cell, angle)
        if inner:
            radius = share * rim
        else:
            radius = rim + share * np.maximum(radius_at(self.outline_nT, cell, angle) - rim, 0)
        return self.centre_n2[cell] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def radius_at(table_nT: np.ndarray, cell: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Look up the radius of each cell at each angle, both of shape (points,)."""
    index = np.mod(angle, 2 * np.pi) * (ANGLES / (2 * np.pi))
    low = index.astype(int) % ANGLES
    part = index - np.floor(index)
    return table_nT[cell, low] * (1 - part) + table_nT[cell, (low + 1) % ANGLES] * part


def grow_cells(
    line: CellLine, extent: float, rng: np.random.Generator, *, mitotic: int = 0, pairs: int = 0
) -> Cells:
    """Place and shape the cells of one field.

    Parameters
    ----------
    extent : float
        Side of the field in units.
    mitotic, pairs : int
        Number of cells in metaphase or anaphase, and of pairs of daughters, wanted inside the field.
    """
    direction = rng.uniform(0, np.pi)
    size = line.nucleus * rng.lognormal(0, 0.12)
    centre_n2 = _places(line, size, extent, direction, rng)
    phase_n = np.full(len(centre_n2), INTERPHASE)
    middle = np.abs(centre_n2 / extent - 0.5).max(axis=1)
    order = np.argsort((middle > 0.4) + rng.uniform(size=len(middle)))  # any of those well inside
    phase_n[order[:mitotic]] = rng.choice([METAPHASE, METAPHASE, ANAPHASE], len(order[:mitotic]))
    axis_n = direction + rng.normal(0, 0.35 if line.stretch > 1.3 else 1.5, len(centre_n2))
    sister_n = np.full(len(centre_n2), -1)
    for mother in order[mitotic : mitotic + pairs]:
        half = size * rng.uniform(0.95, 1.25) * np.array([np.cos(axis_n[mother]), np.sin(axis_n[mother])])
        sister_n[mother] = len(centre_n2)
        sister_n = np.append(sister_n, mother)
        centre_n2 = np.vstack([centre_n2, centre_n2[mother] + half])
        centre_n2[mother] -= half
        axis_n = np.append(axis_n, axis_n[mother] + np.pi)
        phase_n[mother] = DAUGHTER
        phase_n = np.append(phase_n, DAUGHTER)
    outline_nT = _outlines(line, size, centre_n2, phase_n, axis_n, direction, rng)
    nucleus_nT = _nuclei(line, size, outline_nT, phase_n, axis_n, rng)
    cell = np.arange(len(centre_n2))
    toward = rng.uniform(0, 2 * np.pi, len(cell))
    beyond = radius_at(nucleus_nT, cell, toward) + rng.uniform(0.5, 4.5, len(cell))
    centrosome_n2 = centre_n2 + beyond[:, None] * np.stack([np.cos(toward), np.sin(toward)], axis=1)
    nucleoli = [_nucleoli(centre_n2[k], nucleus_nT[k], phase_n[k], rng) for k in cell]
    return Cells(centre_n2, outline_nT, nucleus_nT, phase_n, axis_n, sister_n, centrosome_n2, nucleoli)


def _stretch(direction: float, factor: float) -> np.ndarray:
    """Make the matrix that draws the plane out along a direction and keeps areas."""
    turn = np.array([[np.cos(direction), -np.sin(direction)], [np.sin(direction), np.cos(direction)]])
    return turn @ np.diag([factor**0.5, factor**-0.5]) @ turn.T


def _places(
    line: CellLine, size: float, extent: float, direction: float, rng: np.random.Generator
) -> np.ndarray:
    """Throw darts that keep their distance until the wanted share of the places is taken."""
    back = np.linalg.inv(_stretch(direction, line.stretch))
    least = 2 * size * line.spacing
    room = (extent + 2 * MARGIN) ** 2 / (least**2 * 1.35)  # number that darts fill a plane with
    wanted = int(np.clip(room * rng.uniform(*line.crowding), 2, MAXIMUM_CELLS))
    tries = rng.uniform(-MARGIN, extent + MARGIN, (12 * wanted + 40, 2))
    if line.clusters:
        hubs = rng.uniform(0.1, 0.9, (line.clusters, 2)) * extent
        near = np.abs(tries[:, None] - hubs).max(axis=2).min(axis=1)
        tries = tries[near < extent * rng.uniform(0.22, 0.6)]
    flat = tries @ back.T
    taken: list[int] = []
    free = np.ones(len(tries), bool)
    for k in range(len(tries)):
        if free[k]:
            taken.append(k)
            if len(taken) == wanted:
                break
            keep = least * rng.uniform(0.85, 1.3)
            free &= ((flat - flat[k]) ** 2).sum(axis=1) > keep**2
    return tries[taken]


def _outlines(
    line: CellLine, size: float, centre_n2: np.ndarray, phase_n: np.ndarray, axis_n: np.ndarray,
    direction: float, rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Shape free cells, then press neighbours against each other in the unstretched plane."""
    n = len(centre_n2)
    shape_nT = np.stack([_corners(line, rng) for _ in range(n)])
    long_n = rng.lognormal(0, 0.8 * line.jagged, (n, 1))  # cells of their own length and width
    turn_nT = THETA - rng.uniform(0, 7, (n, 1))
    shape_nT /= np.hypot(np.cos(turn_nT) / long_n**0.5, np.sin(turn_nT) * long_n**0.5)
    wanted_n = size * line.spread * rng.lognormal(0, 0.15, n)
    dividing = (phase_n == METAPHASE) | (phase_n == ANAPHASE)
    wanted_n[dividing] = size * 1.25
    shape_nT[dividing] = 1 + 0.03 * (shape_nT[dividing] - 1)
    wanted_n[phase_n == DAUGHTER] = size * 1.25
    free_nT = wanted_n[:, None] * np.clip(shape_nT, 0.45, 2.6)
    stretch = _stretch(direction, line.stretch)
    flat = centre_n2 @ np.linalg.inv(stretch).T
    near_nM = np.argsort(((flat[None] - flat[:, None]) ** 2).sum(axis=2), axis=1)[:, 1 : NEIGHBOURS + 1]
    away_nM2 = flat[near_nM] - flat[:, None]
    distance_nM = np.hypot(away_nM2[..., 0], away_nM2[..., 1]) + 1e-6
    reach_n = 0.5 * wanted_n + 0.5 * wanted_n.mean()
    bisector_nM = OVERLAP * distance_nM * (reach_n[:, None] / (reach_n[:, None] + reach_n[near_nM]))
    cosine_nMT = np.cos(THETA - np.arctan2(away_nM2[..., 1], away_nM2[..., 0])[..., None])
    inverse_nMT = np.maximum(cosine_nMT, 0) / bisector_nM[..., None]
    for _ in range(4):  # a soft least of all distances: power 16
        inverse_nMT *= inverse_nMT
    pressed_nT = (inverse_nMT.sum(axis=1) + (1 / free_nT) ** 16) ** (-1 / 16)
    corner_nT2 = np.stack([np.cos(THETA), np.sin(THETA)], axis=1) * pressed_nT[..., None] @ stretch.T
    outline_nT = _radii(corner_nT2)
    daughter = np.flatnonzero(phase_n == DAUGHTER)
    cleft = np.exp(6 * (np.cos(THETA - axis_n[daughter, None]) - 1))  # the cells draw apart at the bridge
    outline_nT[daughter] = np.maximum(outline_nT[daughter] * (1 - 0.25 * cleft), 4)
    return np.maximum(outline_nT, 6.0)


def _corners(line: CellLine, rng: np.random.Generator) -> np.ndarray:
    """Draw one free outline of mean radius about 1: corners joined by nearly straight sides."""
    count = max(4, line.corners + int(rng.integers(-1, 2)))
    angle = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) * (2 * np.pi / count) + rng.uniform(0, 7)
    nearness = rng.lognormal(0, line.jagged, count)  # a straight side is a sine in 1 / radius
    side = np.interp(THETA, np.mod(angle, 2 * np.pi), nearness, period=2 * np.pi)
    padded = np.concatenate([side[-2:], side, side[:2]])
    return 1 / np.convolve(padded, [0.04, 0.2, 0.52, 0.2, 0.04], "valid")


def _radii(corner_nT2: np.ndarray) -> np.ndarray:
    """Turn outlines around the origin into radii at the angles `THETA`."""
    angle = np.mod(np.arctan2(corner_nT2[..., 1], corner_nT2[..., 0]), 2 * np.pi)
    radius = np.hypot(corner_nT2[..., 0], corner_nT2[..., 1])
    order = np.argsort(angle, axis=1)
    angle, radius = np.take_along_axis(angle, order, 1), np.take_along_axis(radius, order, 1)
    return np.stack([np.interp(THETA, a, r, period=2 * np.pi) for a, r in zip(angle, radius, strict=True)])


def _nuclei(
    line: CellLine, size: float, outline_nT: np.ndarray, phase_n: np.ndarray, axis_n: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Shape the nuclei: ellipses with lobes, well inside their cells."""
    n = len(outline_nT)
    radius_n = size * rng.lognormal(0, 0.13, n)
    radius_n[phase_n == DAUGHTER] *= 0.7
    flat_n = rng.uniform(1.0, 1.5, n) ** 0.5 * line.stretch**0.25
    turn_nT = THETA - axis_n[:, None]
    ellipse_nT = 1 / np.hypot(np.cos(turn_nT) / flat_n[:, None], np.sin(turn_nT) * flat_n[:, None])
    for k in (2, 3, 4, 6):
        lobes_n = rng.normal(0, line.lobes * 1.6 / k, (n, 1)) * rng.lognormal(0, 0.5, (n, 1))
        ellipse_nT += lobes_n * np.cos(k * (THETA - rng.uniform(0, 7, (n, 1))))
    nucleus_nT = radius_n[:, None] * np.maximum(ellipse_nT, 0.5)
    nucleus_nT = (nucleus_nT**-8.0 + (0.85 * outline_nT) ** -8.0) ** (-1 / 8)
    inside = (phase_n == METAPHASE) | (phase_n == ANAPHASE)
    nucleus_nT[inside] = 0.35 * outline_nT[inside]  # no nucleus: where the chromosomes are
    return nucleus_nT


def _nucleoli(centre: np.ndarray, nucleus_T: np.ndarray, phase: int, rng: np.random.Generator) -> np.ndarray:
    count = int(rng.integers(1, 5)) if phase in (INTERPHASE, DAUGHTER) else 0
    angle = (
        rng.uniform(0, 2 * np.pi) + np.arange(count) * 2 * np.pi / max(count, 1) + rng.normal(0, 0.3, count)
    )
    rim = nucleus_T[np.mod(angle * ANGLES / (2 * np.pi), ANGLES).astype(int)]
    depth = rng.uniform(0.15, 0.62, count) * rim
    radius = nucleus_T.mean() * rng.uniform(0.13, 0.24, count)
    return np.stack([centre[0] + depth * np.cos(angle), centre[1] + depth * np.sin(angle), radius], axis=1)
