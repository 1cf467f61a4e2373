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

from lib.simulation.canvas import Canvas, directions
from lib.simulation.cells import (
    ANAPHASE,
    CELL_LINES,
    DAUGHTER,
    INTERPHASE,
    METAPHASE,
    THETA,
    CellLine,
    Cells,
    grow_cells,
)
from lib.simulation.filaments import walk


@dataclass
class Field:
    """One field of cells on a canvas; images are (H, W) float32 unless said otherwise.

    Parameters
    ----------
    canvas : Canvas
    line : CellLine
    cells : Cells
    seed : tuple of int
        Of the random numbers; every image has its own, so that the order of drawing does not matter.
    """

    canvas: Canvas
    line: CellLine
    cells: Cells
    seed: tuple[int, ...]

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
        whole_n = np.isin(self.cells.phase_n, (INTERPHASE, DAUGHTER))
        rings = self._rings(self.cells.nucleus_nT)[whole_n]
        return self.canvas.polygons(rings, np.full(len(rings), 255)).astype(np.float32) / 255

    @cached_property
    def nucleoli_HW(self) -> np.ndarray:
        """Nucleoli, 0-1, with uneven rims."""
        rng, turn = self._rng(1), THETA[::4]
        nucleoli_M3 = np.concatenate(self.cells.nucleoli)
        reach = 1 + sum(
            rng.normal(0, 0.12, (len(nucleoli_M3), 1))
            * np.cos(k * turn + rng.uniform(0, 7, (len(nucleoli_M3), 1)))
            for k in (2, 3)
        )
        rings = nucleoli_M3[:, None, :2] + (nucleoli_M3[:, 2:] * reach)[..., None] * directions(turn)
        image_HW = self.canvas.polygons(rings, np.full(len(rings), 255)).astype(np.float32) / 255
        return self.canvas.blur(image_HW, 0.5) * self.nucleus_HW

    @cached_property
    def edge_HW(self) -> np.ndarray:
        """Distance to the edge of the cell in units; 0 outside."""
        border_HW = self.canvas.border(self._rings(self.cells.outline_nT))
        inside_HW = np.uint8(self.label_HW > 0) * (1 - border_HW)
        return self.canvas.distance(inside_HW)

    @cached_property
    def rim_HW(self) -> np.ndarray:
        """Distance to the rim of the nearest nucleus in units: positive outside, negative inside."""
        inside_HW = np.uint8(self.nucleus_HW > 0.5)
        return self.canvas.distance(1 - inside_HW) - self.canvas.distance(inside_HW)

    @cached_property
    def depth_HW(self) -> np.ndarray:
        """Place between nucleus (0) and edge of the cell (1)."""
        out_HW = np.maximum(self.rim_HW, 0)
        return out_HW / (out_HW + self.edge_HW + 0.5)

    @cached_property
    def thickness_HW(self) -> np.ndarray:
        """Height of the cell that the microscope looks through, 0-1: thick at the nucleus, thin edges."""
        low_HW = np.float32(1) - np.float32(0.6) * self.depth_HW
        return self.cell_HW * low_HW * np.minimum(0.5 + self.edge_HW / 9, 1)

    @cached_property
    def microtubules(self) -> tuple[np.ndarray, np.ndarray]:
        """Paths of the microtubules, (paths, points, 2) in units from inside outwards, and their cells.

        On a coarse canvas only some: more could not be told apart.
        """
        cells, rng = self.cells, self._rng(2)
        area_n = (cells.outline_nT**2).mean(axis=1) * np.pi
        count_n = (np.clip(area_n / 65, 15, 220) * self._kept).astype(int)
        count_n[(cells.phase_n == METAPHASE) | (cells.phase_n == ANAPHASE)] = 0
        cell = np.repeat(np.arange(cells.count), count_n)
        start = cells.centrosome_n2[cell] + rng.normal(0, 1.5, (len(cell), 2))
        angle = rng.uniform(0, 2 * np.pi, len(cell))
        free = rng.uniform(size=len(cell)) < 0.75  # not anchored at the centre
        around = rng.uniform(0, 2 * np.pi, free.sum())
        start[free] = cells.at(cell[free], around, 0.7 * rng.beta(1, 1.6, free.sum()))
        angle[free] = around + rng.normal(0, 1.0, free.sum())
        return walk(cells, cell, start, angle, steps=17, wander=0.15, rng=rng), cell

    @property
    def _kept(self) -> float:
        """Share of the microtubules that this canvas can show."""
        return float(np.clip(1.4 * self.canvas.scale, 0.4, 1))

    @cached_property
    def red_HW(self) -> np.ndarray:
        """Microtubules, about 0-1."""
        paths, cell = self.microtubules
        rng = self._rng(3)
        own = rng.uniform(0.45, 1.0, self.cells.count)
        brightness = own[cell] * rng.uniform(0.2, 1.0, len(cell)) ** 2
        lines_HW = self.canvas.strokes(paths, 1.1, brightness) / np.float32(self._kept)
        lines_HW *= 1 - np.float32(0.65) * self.nucleus_HW
        lines_HW += self.spindles_HW * 0.9 + self.bridges_HW
        haze_HW = self.canvas.blur(lines_HW, 4.0)
        return self.canvas.blur(lines_HW, 0.5) * 0.95 + haze_HW * 0.2

    @cached_property
    def spindles_HW(self) -> np.ndarray:
        """Spindles of the dividing cells: fibres from two poles to the chromosomes."""
        paths, rng = [np.empty((0, 9, 2))], self._rng(4)
        t = np.linspace(-1, 1, 9)[:, None]
        for k, along, reach in self.dividing:
            across = np.array([-along[1], along[0]])
            side = (np.linspace(-0.75, 0.75, 15) + rng.normal(0, 0.05, 15))[:, None, None]
            paths.append(
                self.cells.centre_n2[k] + reach * (0.72 * t * along + side * 0.55 * (1 - t**2) * across)
            )
        fibres = np.concatenate(paths)
        return self.canvas.blur(self.canvas.strokes(fibres, 1.2, np.full(len(fibres), 0.6)), 0.9)

    @cached_property
    def bridges_HW(self) -> np.ndarray:
        """Microtubule bundles between two daughter cells."""
        fibres = np.repeat(self.between((0.32, 0.68)), 5, axis=0)
        fibres += self._rng(5).normal(0, 0.6, (len(fibres), 1, 2))
        return self.canvas.blur(self.canvas.strokes(fibres, 1.0, np.full(len(fibres), 0.7)), 0.5)

    def between(self, marks: tuple[float, float]) -> np.ndarray:
        """Make a path between each two sisters, (pairs, 2, 2), from one share of the way to another."""
        first_n = np.flatnonzero(self.cells.sister_n > np.arange(self.cells.count))
        a, b = self.cells.centre_n2[first_n], self.cells.centre_n2[self.cells.sister_n[first_n]]
        return np.stack([a + (b - a) * mark for mark in marks], axis=1)

    @property
    def dividing(self) -> list[tuple[int, np.ndarray, float]]:
        """Number, direction from pole to pole and radius of the cells in metaphase or anaphase."""
        numbers = np.flatnonzero(np.isin(self.cells.phase_n, (METAPHASE, ANAPHASE)))
        axes = self.cells.axis_n[numbers]
        return list(zip(numbers, directions(axes), self.cells.outline_nT[numbers].mean(axis=1), strict=True))

    @cached_property
    def chromosomes_HW(self) -> np.ndarray:
        """Condensed chromosomes of dividing cells, 0-1."""
        turn, rng = np.linspace(0, 2 * np.pi, 18, endpoint=False), self._rng(6)
        rings = [np.empty((0, 18, 2))]
        for k, along, reach in self.dividing:
            across = np.array([-along[1], along[0]])
            shifts = (0.0,) if self.cells.phase_n[k] == METAPHASE else (-0.36, 0.36)
            for shift in shifts:
                edge = 1 + rng.normal(0, 0.16, len(turn))
                plate = (
                    reach
                    * edge[:, None]
                    * (0.17 * np.cos(turn)[:, None] * along + 0.62 * np.sin(turn)[:, None] * across)
                )
                rings.append((self.cells.centre_n2[k] + shift * reach * along + plate)[None])
        rings = np.concatenate(rings)
        return self.canvas.polygons(rings, np.full(len(rings), 255)).astype(np.float32) / 255

    @cached_property
    def blue_HW(self) -> np.ndarray:
        """DNA, about 0-1."""
        canvas, rng = self.canvas, self._rng(7)
        grain_HW = 0.13 * canvas.noise(rng, 1.8) + 0.10 * canvas.noise(rng, 4.0)
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
        rng = self._rng(8)
        own = np.append(0, rng.lognormal(-0.1, 0.35, self.cells.count)).astype(np.float32)
        return self.mesh(rng, 2.4) * self.per_cell(own)

    def mesh(self, rng: np.random.Generator, falloff: float) -> np.ndarray:
        """Draw an endoplasmic reticulum: a mesh fading from the nucleus to the edge of the cell."""
        canvas = self.canvas
        ridges_HW = 0.8 - np.abs(canvas.noise(rng, 3.4))
        density_HW = np.exp(-np.float32(falloff) * self.depth_HW) * self.cell_HW * (1 - 0.8 * self.nucleus_HW)
        patches_HW = 1 + 0.22 * canvas.noise(rng, 16.0)
        texture_HW = patches_HW * (0.6 + 0.28 * ridges_HW + 0.18 * canvas.noise(rng, 1.6))
        envelope_HW = 0.2 * np.exp(-np.square(self.rim_HW) / 3)
        return np.maximum(density_HW * (texture_HW + envelope_HW), 0)

    def per_cell(self, values: np.ndarray) -> np.ndarray:
        """Spread one value per cell over its pixels; the first value is for the ground outside."""
        table = np.zeros(256, np.float32)
        table[: len(values)] = values
        return cv2.LUT(self.label_HW, table)

    def _rng(self, image: int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, image])

    def _rings(self, table_nT: np.ndarray) -> np.ndarray:
        """Corners of outlines around the cells' centres, (n, T, 2)."""
        return self.cells.centre_n2[:, None] + table_nT[..., None] * directions(THETA)


def make_field(
    line_name: str, size: int, zoom: float, seed: tuple[int, ...], *, mitotic: int = 0, pairs: int = 0,
    origin: tuple[float, float] = (0.0, 0.0),
) -> Field:  # fmt: skip
    """Grow the cells of a field; its images are drawn when they are asked for.

    Parameters
    ----------
    line_name : str
        A key of `lib.simulation.cells.CELL_LINES`.
    size : int
        Side of the images in pixels.
    zoom : float
        Magnification; 1 shows 512 units.
    seed : tuple of int
        Of the random numbers.
    mitotic, pairs : int
        Number of dividing cells and of pairs of daughters.
    origin : tuple of float
        Units that the view is moved over the same cells.
    """
    line = CELL_LINES[line_name]
    canvas = Canvas(size, 512 / zoom, origin)
    cells = grow_cells(line, canvas.extent, np.random.default_rng(seed), mitotic=mitotic, pairs=pairs)
    return Field(canvas, line, cells, seed)
