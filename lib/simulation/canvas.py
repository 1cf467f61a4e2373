"""Drawing primitives for simulated cells: noise, polygons, strokes and dots on a square canvas.

All lengths are in units of 1/512 of the side of a field at zoom 1, about 0.3 micrometres in the Human Protein
Atlas. The number of pixels only determines the sampling: where a structure is finer than a pixel, its
brightness is spread over that pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates
BRIGHTNESS_LEVELS = 4  # strokes are drawn in groups of equal brightness
MAX_SHIFT = 16.0  # units by which a canvas may be shifted over its field
FILL_EXCESS = 0.7  # pixels by which OpenCV fills a polygon beyond its corners
STROKE_LAYERS = 4  # strokes of one layer hide each other, those of different layers add up
NOISE_GAIN = 3.54  # restores a standard deviation of 1 after a Gaussian blur of one grid cell: 2 sqrt(pi)


@dataclass(frozen=True)
class Canvas:
    """A square image under construction.

    Parameters
    ----------
    size : int
        Side in pixels.
    extent : float
        Side in units.
    origin : tuple of float
        Units by which the canvas is shifted right and down over the field, each within `MAX_SHIFT`.
    dot_size : float
        Factor on the radii of all dots.
    """

    size: int
    extent: float
    origin: tuple[float, float] = (0.0, 0.0)
    dot_size: float = 1.0

    @property
    def scale(self) -> float:
        """Pixels per unit."""
        return self.size / self.extent

    def noise(self, rng: np.random.Generator, grain: float) -> np.ndarray:
        """Draw a smooth random texture of mean 0.

        Parameters
        ----------
        rng : numpy.random.Generator
            Advanced by one number, whatever the size of the canvas.
        grain : float
            Size of the texture's grains in units.

        Returns
        -------
        ndarray of shape (H, W), float32
            Standard deviation about 1, less if a pixel covers several grains.
        """
        own_rng = np.random.default_rng(rng.integers(2**63))
        cells = int(np.ceil((self.extent + 2 * MAX_SHIFT) / grain * 2)) + 2
        if cells >= 2 * self.size:  # finer than a pixel: the average of many independent grains
            return own_rng.standard_normal((self.size, self.size), np.float32) * (2 * self.size / cells)
        grid = cv2.GaussianBlur(own_rng.standard_normal((cells, cells), np.float32), (0, 0), 1.0)
        pitch = self.extent / self.size / (grain / 2)
        left, top = ((MAX_SHIFT + offset) / (grain / 2) for offset in self.origin)
        to_grid = np.float32([[pitch, 0, left], [0, pitch, top]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(grid, to_grid, (self.size, self.size), flags=flags) * NOISE_GAIN

    def blur(self, image_HW: np.ndarray, radius: float) -> np.ndarray:
        """Blur with a Gaussian of standard deviation `radius` units; wide blurs use a coarser grid."""
        sigma = radius * self.scale
        if sigma < 0.25:
            return image_HW
        if sigma <= 4:
            return cv2.GaussianBlur(image_HW, (0, 0), sigma)
        factor = sigma / 3
        small = max(8, round(self.size / factor))
        coarse = cv2.resize(image_HW, (small, small), interpolation=cv2.INTER_AREA)
        coarse = cv2.GaussianBlur(coarse, (0, 0), sigma * small / self.size)
        return cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_LINEAR)

    def distance(self, mask_HW: np.ndarray) -> np.ndarray:
        """Compute the distance to the nearest pixel where the mask is 0.

        Parameters
        ----------
        mask_HW : ndarray of shape (H, W), uint8

        Returns
        -------
        ndarray of shape (H, W), float32
            In units; at most the side of the canvas, also if the mask is 0 nowhere.
        """
        pixels_HW = cv2.distanceTransform(mask_HW, cv2.DIST_L2, 3)
        return np.minimum(pixels_HW, self.size) / np.float32(self.scale)

    def polygons(self, outlines: np.ndarray, values: np.ndarray, smooth: bool = True) -> np.ndarray:
        """Fill polygons, later ones over earlier ones.

        Parameters
        ----------
        outlines : ndarray of shape (polygons, points, 2)
            Corners x, y in units.
        values : ndarray of shape (polygons,), int
            Value of each polygon, 1 to 255.
        smooth : bool
            Whether edges are anti-aliased; not for maps of numbers.

        Returns
        -------
        ndarray of shape (H, W), uint8
        """
        image_HW = np.zeros((self.size, self.size), np.uint8)
        line = cv2.LINE_AA if smooth else cv2.LINE_8
        outward = outlines - outlines.mean(axis=1, keepdims=True)
        outward /= np.maximum(np.linalg.norm(outward, axis=2, keepdims=True), 1e-9)
        shrunk = outlines - outward * (FILL_EXCESS / self.scale)
        for outline, value in zip(self._fixed_point(shrunk), values, strict=True):
            cv2.fillPoly(image_HW, [outline], int(value), line, SUBPIXEL_BITS)
        return image_HW

    def coverage(self, outlines: np.ndarray) -> np.ndarray:
        """Fill polygons with 1; (H, W) float32, the fraction of each pixel that they cover."""
        return self.polygons(outlines, np.full(len(outlines), 255)).astype(np.float32) / 255

    def strokes(self, paths: np.ndarray, width: float, brightness: np.ndarray) -> np.ndarray:
        """Draw lines that add up where they cross.

        Parameters
        ----------
        paths : ndarray of shape (paths, points, 2)
            x, y in units.
        width : float
            In units.
        brightness : ndarray of shape (paths,)
            Of each line, 0-1.

        Returns
        -------
        ndarray of shape (H, W), float32
            1 along a line of brightness 1.
        """
        total_HW = np.zeros((self.size, self.size), np.float32)
        if len(paths) == 0:
            return total_HW
        pixels = width * self.scale
        thickness = max(1, round(pixels))
        points = self._fixed_point(paths)
        levels = np.ceil(np.clip(brightness, 0.01, 1) * BRIGHTNESS_LEVELS).astype(int)
        for layer in range(STROKE_LAYERS):
            layer_HW = np.zeros((self.size, self.size), np.uint8)
            for level in range(1, BRIGHTNESS_LEVELS + 1):
                lines = list(points[layer::STROKE_LAYERS][levels[layer::STROKE_LAYERS] == level])
                if lines:
                    value = level * 255 // BRIGHTNESS_LEVELS
                    cv2.polylines(layer_HW, lines, False, value, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
            cv2.accumulate(layer_HW, total_HW)
        return total_HW * np.float32(min(pixels / thickness, 1.0) / 255)

    def dots(self, points: np.ndarray, radii: np.ndarray, brightness: np.ndarray) -> np.ndarray:
        """Draw round dots with soft edges; overlapping dots add up.

        Parameters
        ----------
        points : ndarray of shape (dots, 2)
            Centres x, y in units; those outside the canvas are left out.
        radii : ndarray of shape (dots,)
            Standard deviation of each dot in units, for a `dot_size` of 1.
        brightness : ndarray of shape (dots,)
            Peak of each dot.

        Returns
        -------
        ndarray of shape (H, W), float32
        """
        total_HW = np.zeros((self.size, self.size), np.float32)
        radii = radii * self.dot_size
        for low, high in ((0, 1.1), (1.1, 1.7), (1.7, 2.8), (2.8, np.inf)):
            chosen = (radii > low) & (radii <= high)
            if chosen.any():
                radius = float(radii[chosen].mean())
                sigma = max(radius * self.scale, 0.45)  # a dot is never sharper than a pixel
                peak = 2 * np.pi * (radius * self.scale) ** 2
                total_HW += cv2.GaussianBlur(
                    self._points(points[chosen], brightness[chosen] * peak), (0, 0), sigma
                )
        return total_HW

    def border(self, outlines: np.ndarray) -> np.ndarray:
        """Draw closed lines one pixel wide; (H, W) uint8, 1 on a line."""
        image_HW = np.zeros((self.size, self.size), np.uint8)
        cv2.polylines(image_HW, list(self._fixed_point(outlines)), True, 1, 1, cv2.LINE_8, SUBPIXEL_BITS)
        return image_HW

    def _points(self, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Distribute each weight over the four pixels around its point (bilinear interpolation)."""
        position = (points - self.origin) * self.scale - 0.5
        corner = np.floor(position).astype(int)
        fraction = position - corner
        inside = ((corner >= 0) & (corner < self.size - 1)).all(axis=1)
        corner, fraction, weights = corner[inside], fraction[inside], weights[inside]
        flat_HW = np.zeros(self.size * self.size)
        for dx in (0, 1):
            for dy in (0, 1):
                portion = np.abs(1 - dx - fraction[:, 0]) * np.abs(1 - dy - fraction[:, 1])
                index = (corner[:, 1] + dy) * self.size + corner[:, 0] + dx
                flat_HW += np.bincount(index, weights * portion, self.size * self.size)
        return flat_HW.reshape(self.size, self.size).astype(np.float32)

    def _fixed_point(self, points: np.ndarray) -> np.ndarray:
        position = ((points - self.origin) * self.scale - 0.5) * (1 << SUBPIXEL_BITS)
        return np.round(position).astype(np.int32)


def segments(middle: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Make straight paths, (paths, 2, 2), from their midpoints and half-length vectors, both (paths, 2)."""
    return np.stack([middle - half, middle + half], axis=1)


def directions(angle: np.ndarray) -> np.ndarray:
    """Make unit vectors x, y, (..., 2), from angles in radians."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)
