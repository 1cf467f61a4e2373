"""A simulated field of view as images: masks, distances, and the three reference stains of every sample.

Properties of the stains: microtubules grow from the organizing centre beside the nucleus and bend along the
edge of the cell; the endoplasmic reticulum is a mesh, densest around the nucleus and continuous with its
envelope; the DNA stain is grainy and spares the nucleoli (Alberts et al., Molecular Biology of the Cell; the
reference markers are those of Thul et al. 2017, Science 356 eaal3321).
"""

from dataclasses import dataclass, replace
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
    """One field of cells on a canvas; images are (H, W) float32 unless stated otherwise.

    Parameters
    ----------
    canvas : Canvas
    line : CellLine
    cells : Cells
    seed : tuple of int
        Every image has random numbers of its own, so the order of drawing does not matter.
    """

    canvas: Canvas
    line: CellLine
    cells: Cells
    seed: tuple[int, ...]

    @cached_property
    def cell_number_HW(self) -> np.ndarray:
        """Cell number + 1 of each pixel, 0 outside; uint8."""
        outlines = self._corners(self.cells.outline_nT)
        return self.canvas.polygons(outlines, 1 + np.arange(self.cells.count), False)

    @cached_property
    def cell_HW(self) -> np.ndarray:
        """Fraction of each pixel that is covered by cells, 0-1."""
        return self.canvas.coverage(self._corners(self.cells.outline_nT))

    @cached_property
    def nucleus_HW(self) -> np.ndarray:
        """Fraction of each pixel that is covered by nuclei, 0-1; mitotic cells have none."""
        has_nucleus_n = np.isin(self.cells.phase_n, (INTERPHASE, DAUGHTER))
        return self.canvas.coverage(self._corners(self.cells.nucleus_nT)[has_nucleus_n])

    @cached_property
    def nucleoli_HW(self) -> np.ndarray:
        """Nucleoli, 0-1, with uneven edges."""
        rng, angle = self._rng(1), THETA[::4]
        nucleoli_M3 = np.concatenate(self.cells.nucleoli)
        relative_radius = 1 + sum(
            rng.normal(0, 0.12, (len(nucleoli_M3), 1))
            * np.cos(k * angle + rng.uniform(0, 7, (len(nucleoli_M3), 1)))
            for k in (2, 3)
        )
        radius = (nucleoli_M3[:, 2:] * relative_radius)[..., None]
        image_HW = self.canvas.coverage(nucleoli_M3[:, None, :2] + radius * directions(angle))
        return self.canvas.blur(image_HW, 0.5) * self.nucleus_HW

    @cached_property
    def edge_distance_HW(self) -> np.ndarray:
        """Distance to the edge of the cell in units; 0 outside."""
        border_HW = self.canvas.border(self._corners(self.cells.outline_nT))
        inside_HW = np.uint8(self.cell_number_HW > 0) * (1 - border_HW)
        return self.canvas.distance(inside_HW)

    @cached_property
    def nucleus_distance_HW(self) -> np.ndarray:
        """Distance to the edge of the nearest nucleus in units: positive outside, negative inside."""
        inside_HW = np.uint8(self.nucleus_HW > 0.5)
        return self.canvas.distance(1 - inside_HW) - self.canvas.distance(inside_HW)

    @cached_property
    def depth_HW(self) -> np.ndarray:
        """Relative position between the nucleus (0) and the edge of the cell (1)."""
        outside_HW = np.maximum(self.nucleus_distance_HW, 0)
        return outside_HW / (outside_HW + self.edge_distance_HW + 0.5)

    @cached_property
    def thickness_HW(self) -> np.ndarray:
        """Height of the cell along the optical axis, 0-1: thick at the nucleus, thin at the edges."""
        height_HW = np.float32(1) - np.float32(0.6) * self.depth_HW
        return self.cell_HW * height_HW * np.minimum(0.5 + self.edge_distance_HW / 9, 1)

    @cached_property
    def microtubules(self) -> tuple[np.ndarray, np.ndarray]:
        """Paths of the microtubules, (paths, points, 2) in units, and their cell numbers.

        Paths run outwards. A coarse canvas has fewer of them: more could not be resolved.
        """
        cells, rng = self.cells, self._rng(2)
        area_n = (cells.outline_nT**2).mean(axis=1) * np.pi
        count_n = (np.clip(area_n / 65, 15, 220) * self._resolved_fraction).astype(int)
        count_n[(cells.phase_n == METAPHASE) | (cells.phase_n == ANAPHASE)] = 0
        cell = np.repeat(np.arange(cells.count), count_n)
        start = cells.centrosome_n2[cell] + rng.normal(0, 1.5, (len(cell), 2))
        angle = rng.uniform(0, 2 * np.pi, len(cell))
        free = rng.uniform(size=len(cell)) < 0.75  # not anchored at the organizing centre
        free_angle = rng.uniform(0, 2 * np.pi, free.sum())
        start[free] = cells.at(cell[free], free_angle, 0.7 * rng.beta(1, 1.6, free.sum()))
        angle[free] = free_angle + rng.normal(0, 1.0, free.sum())
        return walk(cells, cell, start, angle, steps=17, wander=0.15, rng=rng), cell

    @property
    def _resolved_fraction(self) -> float:
        """Fraction of the microtubules that this canvas can resolve."""
        return float(np.clip(1.4 * self.canvas.scale, 0.4, 1))

    @cached_property
    def red_HW(self) -> np.ndarray:
        """Microtubule stain, about 0-1."""
        paths, cell = self.microtubules
        rng = self._rng(3)
        cell_brightness = rng.uniform(0.45, 1.0, self.cells.count)
        brightness = cell_brightness[cell] * rng.uniform(0.2, 1.0, len(cell)) ** 2
        lines_HW = self.canvas.strokes(paths, 1.1, brightness) / np.float32(self._resolved_fraction)
        lines_HW *= 1 - np.float32(0.65) * self.nucleus_HW
        lines_HW += self.spindles_HW * 0.9 + self.bridges_HW
        haze_HW = self.canvas.blur(lines_HW, 4.0)
        return self.canvas.blur(lines_HW, 0.5) * 0.95 + haze_HW * 0.2

    @cached_property
    def spindles_HW(self) -> np.ndarray:
        """Spindles of the mitotic cells: fibres from two poles to the chromosomes."""
        paths, rng = [np.empty((0, 9, 2))], self._rng(4)
        t = np.linspace(-1, 1, 9)[:, None]
        for k, along, radius in self.mitotic:
            across = np.array([-along[1], along[0]])
            side = (np.linspace(-0.75, 0.75, 15) + rng.normal(0, 0.05, 15))[:, None, None]
            shape = 0.72 * t * along + side * 0.55 * (1 - t**2) * across
            paths.append(self.cells.centre_n2[k] + radius * shape)
        fibres = np.concatenate(paths)
        return self.canvas.blur(self.canvas.strokes(fibres, 1.2, np.full(len(fibres), 0.6)), 0.9)

    @cached_property
    def bridges_HW(self) -> np.ndarray:
        """Microtubule bundles between daughter cells."""
        fibres = np.repeat(self.between_sisters((0.32, 0.68)), 5, axis=0)
        fibres += self._rng(5).normal(0, 0.6, (len(fibres), 1, 2))
        return self.canvas.blur(self.canvas.strokes(fibres, 1.0, np.full(len(fibres), 0.7)), 0.5)

    def between_sisters(self, fractions: tuple[float, float]) -> np.ndarray:
        """Make a straight path per pair of daughters, from one fraction of the way between them to another.

        Returns
        -------
        ndarray of shape (pairs, 2, 2)
            x, y in units.
        """
        first_n = np.flatnonzero(self.cells.sister_n > np.arange(self.cells.count))
        a, b = self.cells.centre_n2[first_n], self.cells.centre_n2[self.cells.sister_n[first_n]]
        return np.stack([a + (b - a) * fraction for fraction in fractions], axis=1)

    @property
    def mitotic(self) -> list[tuple[int, np.ndarray, float]]:
        """Number, direction from pole to pole and radius of the cells in metaphase or anaphase."""
        numbers = np.flatnonzero(np.isin(self.cells.phase_n, (METAPHASE, ANAPHASE)))
        axes = self.cells.axis_n[numbers]
        return list(zip(numbers, directions(axes), self.cells.outline_nT[numbers].mean(axis=1), strict=True))

    @cached_property
    def chromosomes_HW(self) -> np.ndarray:
        """Condensed chromosomes of the mitotic cells, 0-1."""
        angle, rng = np.linspace(0, 2 * np.pi, 18, endpoint=False), self._rng(6)
        outlines = [np.empty((0, 18, 2))]
        for k, along, radius in self.mitotic:
            across = np.array([-along[1], along[0]])
            shifts = (0.0,) if self.cells.phase_n[k] == METAPHASE else (-0.36, 0.36)
            for shift in shifts:
                roughness = 1 + rng.normal(0, 0.16, len(angle))
                plate = (
                    radius
                    * roughness[:, None]
                    * (0.17 * np.cos(angle)[:, None] * along + 0.62 * np.sin(angle)[:, None] * across)
                )
                outlines.append((self.cells.centre_n2[k] + shift * radius * along + plate)[None])
        return self.canvas.coverage(np.concatenate(outlines))

    @cached_property
    def blue_HW(self) -> np.ndarray:
        """DNA stain, about 0-1."""
        canvas, rng = self.canvas, self._rng(7)
        grain_HW = 0.13 * canvas.noise(rng, 1.8) + 0.10 * canvas.noise(rng, 4.0)
        edge_HW = np.exp(-np.square(self.nucleus_distance_HW + 1.5) / 4)
        chromatin_HW = 0.62 + grain_HW + 0.12 * edge_HW
        chromatin_HW *= 1 - 0.6 * self.nucleoli_HW
        if self.line.chromocentres:
            chromatin_HW = 0.6 * chromatin_HW + 0.5 * np.clip(canvas.noise(rng, 5.0) - 1.2, 0, 1.2)
        brightness = np.append(0, rng.lognormal(-0.06, 0.22, self.cells.count)).astype(np.float32)
        image_HW = self.nucleus_HW * np.maximum(chromatin_HW, 0.05) * self.per_cell(brightness)
        return canvas.blur(image_HW + 1.3 * self.chromosomes_HW, 0.7)

    @cached_property
    def yellow_HW(self) -> np.ndarray:
        """Stain of the endoplasmic reticulum, about 0-1."""
        rng = self._rng(8)
        brightness = np.append(0, rng.lognormal(-0.1, 0.35, self.cells.count)).astype(np.float32)
        return self.reticulum(rng, 2.4) * self.per_cell(brightness)

    def reticulum(self, rng: np.random.Generator, falloff: float) -> np.ndarray:
        """Draw an endoplasmic reticulum: a mesh that fades from the nucleus to the edge of the cell.

        Parameters
        ----------
        rng : numpy.random.Generator
        falloff : float
            Decrease of the logarithm of the brightness between nucleus and edge.
        """
        canvas = self.canvas
        ridges_HW = 0.8 - np.abs(canvas.noise(rng, 3.4))
        density_HW = np.exp(-np.float32(falloff) * self.depth_HW) * self.cell_HW * (1 - 0.8 * self.nucleus_HW)
        patches_HW = 1 + 0.22 * canvas.noise(rng, 16.0)
        texture_HW = patches_HW * (0.6 + 0.28 * ridges_HW + 0.18 * canvas.noise(rng, 1.6))
        envelope_HW = 0.2 * np.exp(-np.square(self.nucleus_distance_HW) / 3)
        return np.maximum(density_HW * (texture_HW + envelope_HW), 0)

    def per_cell(self, values: np.ndarray) -> np.ndarray:
        """Fill each cell with its value; the first value is for the background outside the cells.

        Parameters
        ----------
        values : ndarray of shape (n + 1,), float32
        """
        table = np.zeros(256, np.float32)
        table[: len(values)] = values
        return cv2.LUT(self.cell_number_HW, table)

    def _rng(self, image: int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, image])

    def _corners(self, radius_nT: np.ndarray) -> np.ndarray:
        """Convert radii around the cells' centres to corners of outlines, (n, T, 2)."""
        return self.cells.centre_n2[:, None] + radius_nT[..., None] * directions(THETA)


def make_field(
    line_name: str, size: int, zoom: float, seed: tuple[int, ...], *, mitotic: int = 0,
    daughter_pairs: int = 0, origin: tuple[float, float] = (0.0, 0.0), density: float = 1.0,
    dot_size: float = 1.0,
) -> Field:  # fmt: skip
    """Grow the cells of a field; its images are drawn on first use.

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
    mitotic, daughter_pairs : int
        Number of mitotic cells and of pairs of daughter cells.
    origin : tuple of float
        Units by which the view is shifted over the same cells.
    density : float
        Of the cells, relative to that of their line.
    dot_size : float
        Of the canvas.
    """
    line = CELL_LINES[line_name]
    line = replace(line, confluence=(density * line.confluence[0], density * line.confluence[1]))
    canvas = Canvas(size, 512 / zoom, origin, dot_size)
    rng = np.random.default_rng(seed)
    cells = grow_cells(line, canvas.extent, rng, mitotic=mitotic, daughter_pairs=daughter_pairs)
    return Field(canvas, line, cells, seed)
