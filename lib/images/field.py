"""A simulated field as images: masks, distances, and the three stains that every sample shares.

The rules of the stains: microtubules grow from the organizing centre beside the nucleus and bend along
the edge of the cell; the endoplasmic reticulum is a mesh, densest around the nucleus and continuous
with its envelope; the DNA stain is grainy and spares the nucleoli (Alberts et al., Molecular Biology
of the Cell; the reference markers are those of Thul et al. 2017, Science 356 eaal3321).
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from lib.images.cells import (
    ANAPHASE,
    CELL_LINES,
    DAUGHTER,
    INTERPHASE,
    METAPHASE,
    THETA,
    CellLine,
    Cells,
    grow_cells,
    radius_at,
)
from lib.images.drawing import Canvas

STEP = 6.0  # units between two points of a filament


@dataclass
class Field:
    """One field of cells on a canvas; images are (H, W) float32 unless said otherwise.

    Parameters
    ----------
    canvas : Canvas
    line : CellLine
    cells : Cells
    seed : numpy.random.SeedSequence
        Of all that is drawn at random in this field.
    visibility : float
        1 is realistic; see `lib.images.simulate.write_dataset`.
    """

    canvas: Canvas
    line: CellLine
    cells: Cells
    rng: np.random.Generator

    @cached_property
    def label_HW(self) -> np.ndarray:
        """Cell number + 1 of each pixel, 0 outside; uint8."""
        return self.canvas.polygons(
            self._rings(self.cells.outline_nT), 1 + np.arange(self.cells.count), False
        )

    @cached_property
    def cell_HW(self) -> np.ndarray:
        """Share of each pixel that is covered by cells, 0-1."""
        rings = self._rings(self.cells.outline_nT)
        return self.canvas.polygons(rings, np.full(len(rings), 255)).astype(np.float32) / 255

    @cached_property
    def nucleus_HW(self) -> np.ndarray:
        """Share of each pixel that is covered by nuclei, 0-1; dividing cells have none."""
        whole = np.isin(self.cells.phase_n, (INTERPHASE, DAUGHTER))
        rings = [r for r, k in zip(self._rings(self.cells.nucleus_nT), whole, strict=True) if k]
        return self.canvas.polygons(rings, np.full(len(rings), 255)).astype(np.float32) / 255

    @cached_property
    def nucleoli_HW(self) -> np.ndarray:
        """Nucleoli, 0-1, with uneven rims."""
        rings = []
        for x, y, radius in np.concatenate(self.cells.nucleoli):
            wave = self.rng.normal(0, 0.12, (2, 1)) * np.cos(
                np.array([[2], [3]]) * THETA[::4] + self.rng.uniform(0, 7, (2, 1))
            )
            reach = radius * (1 + wave.sum(axis=0))
            rings.append(np.stack([x + reach * np.cos(THETA[::4]), y + reach * np.sin(THETA[::4])], axis=1))
        image_HW = self.canvas.polygons(rings, np.full(len(rings), 255)).astype(np.float32) / 255
        return self.canvas.blur(image_HW, 0.5) * self.nucleus_HW

    @cached_property
    def edge_HW(self) -> np.ndarray:
        """Distance to the edge of the cell in units; 0 outside."""
        inside_HW = np.uint8(self.label_HW > 0)
        borders = [
            np.round(ring * self.canvas.scale - 0.5).astype(np.int32)
            for ring in self._rings(self.cells.outline_nT)
        ]
        cv2.polylines(inside_HW, borders, True, 0, 1)
        return cv2.distanceTransform(inside_HW, cv2.DIST_L2, 3) / np.float32(self.canvas.scale)

    @cached_property
    def rim_HW(self) -> np.ndarray:
        """Distance to the rim of the nearest nucleus in units: positive outside, negative inside."""
        inside_HW = np.uint8(self.nucleus_HW > 0.5)
        outward_HW = cv2.distanceTransform(1 - inside_HW, cv2.DIST_L2, 3)
        inward_HW = cv2.distanceTransform(inside_HW, cv2.DIST_L2, 3)
        return (outward_HW - inward_HW) / np.float32(self.canvas.scale)

    @cached_property
    def depth_HW(self) -> np.ndarray:
        """Place between nucleus (0) and edge of the cell (1)."""
        out_HW = np.maximum(self.rim_HW, 0)
        return out_HW / (out_HW + self.edge_HW + 0.5)

    @cached_property
    def thickness_HW(self) -> np.ndarray:
        """Height of the cell that the microscope looks through, 0-1: thick at the nucleus, thin edges."""
        low_HW = np.float32(1) - np.float32(0.65) * self.depth_HW
        return self.cell_HW * low_HW

    @cached_property
    def microtubules(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Paths of the microtubules, (points, 2) in units from the centre outwards, and their cells."""
        cells, rng = self.cells, self.rng
        area_n = (cells.outline_nT**2).mean(axis=1) * np.pi
        count_n = np.clip(area_n / 55, 20, 160).astype(int)
        count_n[(cells.phase_n == METAPHASE) | (cells.phase_n == ANAPHASE)] = 0
        cell = np.repeat(np.arange(cells.count), count_n)
        start = cells.centrosome_n2[cell] + rng.normal(0, 1.5, (len(cell), 2))
        angle = rng.uniform(0, 2 * np.pi, len(cell))
        free = rng.uniform(size=len(cell)) < 0.55  # not anchored at the centre
        around = rng.uniform(0, 2 * np.pi, free.sum())
        start[free] = cells.at(cell[free], around, rng.uniform(0.02, 0.5, free.sum()))
        angle[free] = around + rng.normal(0, 0.9, free.sum())
        return walk(cells, cell, start, angle, steps=22, wander=0.22, rng=rng), cell

    @cached_property
    def red_HW(self) -> np.ndarray:
        """Microtubules, about 0-1."""
        paths, cell = self.microtubules
        own = self.rng.uniform(0.45, 1.0, self.cells.count)
        lines_HW = self.canvas.strokes(paths, 0.9, own[cell] * self.rng.uniform(0.4, 1.0, len(cell)))
        lines_HW += self.spindles_HW * 1.5 + self.bridges_HW
        lines_HW *= 1 - np.float32(0.6) * self.nucleus_HW
        haze_HW = self.canvas.blur(lines_HW, 5.0)
        return self.canvas.blur(lines_HW, 0.55) * 0.8 + haze_HW * 0.5

    @cached_property
    def spindles_HW(self) -> np.ndarray:
        """Spindles of the dividing cells: fibres from two poles to the chromosomes."""
        paths = []
        for k, along, reach in self.dividing:
            across = np.array([-along[1], along[0]])
            for side in np.linspace(-0.75, 0.75, 15) + self.rng.normal(0, 0.05, 15):
                t = np.linspace(-1, 1, 9)[:, None]
                paths.append(
                    self.cells.centre_n2[k] + reach * (0.72 * t * along + side * 0.55 * (1 - t**2) * across)
                )
        return self.canvas.blur(self.canvas.strokes(paths, 1.2, np.full(len(paths), 0.8)), 0.6)

    @cached_property
    def bridges_HW(self) -> np.ndarray:
        """Microtubule bundles between two daughter cells."""
        paths = []
        for first, second in self.sisters:
            a, b = self.cells.centre_n2[first], self.cells.centre_n2[second]
            for _ in range(5):
                bend = self.rng.normal(0, 0.6, 2)
                paths.append(np.stack([a + (b - a) * t + bend for t in (0.32, 0.5, 0.68)]))
        return self.canvas.blur(self.canvas.strokes(paths, 1.0, np.full(len(paths), 0.7)), 0.5)

    @property
    def dividing(self) -> list[tuple[int, np.ndarray, float]]:
        """Number, direction from pole to pole and radius of the cells in metaphase or anaphase."""
        numbers = np.flatnonzero(np.isin(self.cells.phase_n, (METAPHASE, ANAPHASE)))
        axes = self.cells.axis_n[numbers]
        along = np.stack([np.cos(axes), np.sin(axes)], axis=1)
        return list(zip(numbers, along, self.cells.outline_nT[numbers].mean(axis=1), strict=True))

    @property
    def sisters(self) -> list[tuple[int, int]]:
        """Pairs of daughter cells."""
        return [(k, int(s)) for k, s in enumerate(self.cells.sister_n) if s > k]

    @cached_property
    def chromosomes_HW(self) -> np.ndarray:
        """Condensed chromosomes of dividing cells, 0-1."""
        rings, turn = [], np.arange(0, 2 * np.pi, 0.35)
        for k, along, reach in self.dividing:
            across = np.array([-along[1], along[0]])
            shifts = (0.0,) if self.cells.phase_n[k] == METAPHASE else (-0.36, 0.36)
            for shift in shifts:
                edge = 1 + self.rng.normal(0, 0.16, len(turn))
                plate = (
                    reach
                    * edge[:, None]
                    * (0.17 * np.cos(turn)[:, None] * along + 0.62 * np.sin(turn)[:, None] * across)
                )
                rings.append(self.cells.centre_n2[k] + shift * reach * along + plate)
        return self.canvas.polygons(rings, np.full(len(rings), 255)).astype(np.float32) / 255

    @cached_property
    def blue_HW(self) -> np.ndarray:
        """DNA, about 0-1."""
        canvas, rng = self.canvas, self.rng
        grain_HW = 0.16 * canvas.noise(rng, 2.2) + 0.14 * canvas.noise(rng, 5.0)
        rim_HW = np.exp(-np.square(self.rim_HW + 1.5) / 4)
        chromatin_HW = 0.62 + grain_HW + 0.12 * rim_HW
        chromatin_HW *= 1 - 0.6 * self.nucleoli_HW
        if self.line.chromocentres:
            chromatin_HW = 0.6 * chromatin_HW + 0.5 * np.clip(canvas.noise(rng, 5.0) - 1.2, 0, 1.2)
        own = np.append(0, rng.lognormal(-0.06, 0.22, self.cells.count)).astype(np.float32)
        image_HW = self.nucleus_HW * np.maximum(chromatin_HW, 0.05) * self.per_cell(own)
        return canvas.blur(image_HW + 1.3 * self.chromosomes_HW, 0.7)

    @cached_property
    def yellow_HW(self) -> np.ndarray:
        """Endoplasmic reticulum, about 0-1."""
        own = np.append(0, self.rng.lognormal(-0.1, 0.35, self.cells.count)).astype(np.float32)
        return self.mesh(self.rng, 2.4) * self.per_cell(own)

    def mesh(self, rng: np.random.Generator, falloff: float) -> np.ndarray:
        """Draw an endoplasmic reticulum: a mesh fading from the nucleus to the edge of the cell."""
        canvas = self.canvas
        ridges_HW = 1 - np.abs(canvas.noise(rng, 4.0))
        density_HW = np.exp(-np.float32(falloff) * self.depth_HW) * self.cell_HW * (1 - 0.8 * self.nucleus_HW)
        texture_HW = 0.55 + 0.35 * ridges_HW + 0.25 * canvas.noise(rng, 1.6)
        envelope_HW = 0.25 * np.exp(-np.square(self.rim_HW) / 3)
        return np.maximum(density_HW * (texture_HW + envelope_HW), 0)

    def per_cell(self, values: np.ndarray) -> np.ndarray:
        """Spread one value per cell over its pixels; the first value is for the ground outside."""
        table = np.zeros(256, np.float32)
        table[: len(values)] = values
        return cv2.LUT(self.label_HW, table)

    def _rings(self, table_nT: np.ndarray) -> list[np.ndarray]:
        rays = np.stack([np.cos(THETA), np.sin(THETA)], axis=1)
        return list(self.cells.centre_n2[:, None] + table_nT[..., None] * rays)


def walk(
    cells: Cells, cell: np.ndarray, start: np.ndarray, angle: np.ndarray, *, steps: int, wander: float,
    rng: np.random.Generator, step: float = STEP,
) -> list[np.ndarray]:  # fmt: skip
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
    list of ndarray of shape (points, 2)
        One path a filament, up to where it left its cell.
    """
    points = np.empty((len(cell), steps + 1, 2))
    points[:, 0] = start
    length = np.full(len(cell), steps + 1)
    over = rng.uniform(size=len(cell)) < 0.2  # passes above or below the nucleus
    stops = rng.integers(steps // 3, steps + 1, len(cell))
    for k in range(1, steps + 1):
        away = points[:, k - 1] - cells.centre_n2[cell]
        radius, outward = np.hypot(away[:, 0], away[:, 1]), np.arctan2(away[:, 1], away[:, 0])
        to_edge = radius / radius_at(cells.outline_nT, cell, outward)
        to_rim = radius / radius_at(cells.nucleus_nT, cell, outward)
        off = np.mod(angle - outward + np.pi, 2 * np.pi) - np.pi
        sharp = np.where(np.abs(off) < np.pi / 2, np.clip(to_edge - 0.75, 0, 0.25) * 3.2, 0)
        sharp -= np.where((np.abs(off) > np.pi / 2) & ~over, np.clip(1.25 - to_rim, 0, 0.4) * 2.5, 0)
        angle = angle + np.sign(off) * sharp + rng.normal(0, wander, len(cell))
        points[:, k] = points[:, k - 1] + step * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        ended = ((to_edge > 1.0) | (k > stops)) & (length > k)
        length[ended] = k
    return [path[:n] for path, n in zip(points, length, strict=True)]


def make_field(
    line_name: str, size: int, zoom: float, seed: list[int], *, mitotic: int, pairs: int, shift: np.ndarray
) -> Field:
    """Grow the cells of a field; the images are drawn when they are asked for."""
    rng = np.random.default_rng(seed)
    line = CELL_LINES[line_name]
    canvas = Canvas(size, 512 / zoom)
    cells = grow_cells(line, canvas.extent, rng, mitotic=mitotic, pairs=pairs)
    return Field(canvas, line, cells, rng)
