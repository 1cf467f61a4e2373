"""Segmentation of one channel and measurement of its segments: nuclei in blue, protein segments in green.

Otsu's threshold finds the bright structures; touching structures are separated by a watershed. All
measurements are in pixels of the image that is passed in.
"""

from typing import NamedTuple

import cv2
import numpy as np

CORE_DEPTH = 0.5  # of the largest distance to the background; pixels that lie deeper are a core
NEIGHBOURHOOD = np.ones((3, 3), np.uint8)  # a pixel and its eight neighbours
# the four directions of the pixel lattice as (down, right), and the distance between its lines in each
DIRECTIONS = (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 2**-0.5), ((1, -1), 2**-0.5))


class Segments(NamedTuple):
    """The S segments of one image, in the order of their labels.

    Attributes
    ----------
    labels_HW : ndarray of int32
        0 is background, 1 to S are the segments.
    area_S : ndarray of float64
        Number of pixels.
    perimeter_S : ndarray of float64
        Length of the border in pixels, borders of holes included, by Crofton's formula over four directions
        (Legland, Kieu, Devaux 2007, "Computation of Minkowski measures").
    centre_S2 : ndarray of float64, shape (S, 2)
        Centre of mass, (row, column).
    ellipse_S5 : ndarray of float64, shape (S, 5)
        The ellipse with the same second moments as the segment: row and column of its centre, lengths of the
        major and the minor axis in pixels, and the angle of the major axis in degrees, 0 along a row, 90 down
        a column.
    """

    labels_HW: np.ndarray
    area_S: np.ndarray
    perimeter_S: np.ndarray
    centre_S2: np.ndarray
    ellipse_S5: np.ndarray

    @property
    def axis_ratio_S(self) -> np.ndarray:
        """Minor over major axis of the ellipses, in (0, 1]; 1 is round."""
        return self.ellipse_S5[:, 3] / self.ellipse_S5[:, 2]


def segment(channel_HW: np.ndarray, smallest: float, largest: float, fill_holes: bool = False) -> Segments:
    """Find the bright structures of one channel.

    1. Pixels above Otsu's threshold (Otsu 1979) are foreground; with `fill_holes`, so are the holes in it.
    2. In each 8-connected component, pixels that are more than half as far from the background as the
       component's deepest pixel form its cores.
    3. The cores grow over their component, one step to the eight neighbours at a time and all at the same
       speed. A pixel belongs to the core that reaches it first; if two reach it in the same step, to the
       later one in raster order.
    4. Segments larger than `smallest` and smaller than `largest` are kept.

    Parameters
    ----------
    channel_HW : ndarray of shape (H, W), uint8
        Denoised.
    smallest, largest : float
        Limits of the area in pixels, both excluded.
    fill_holes : bool
        Whether dark regions that are enclosed by bright ones belong to the segment.
    """
    foreground_HW = cv2.threshold(channel_HW, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    if fill_holes:
        outlines, _ = cv2.findContours(foreground_HW, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(foreground_HW, outlines, -1, 1, cv2.FILLED)
    _, components_HW, statistics, _ = cv2.connectedComponentsWithStats(foreground_HW)
    is_large = statistics[:, cv2.CC_STAT_AREA] > smallest
    is_large[0] = False
    components_HW = np.where(is_large[components_HW], components_HW, 0)
    labels_HW = _separate_touching(components_HW)
    area_S = np.bincount(labels_HW.ravel())
    kept_S = (area_S > smallest) & (area_S < largest)
    kept_S[0] = False
    return _measure((np.cumsum(kept_S) * kept_S).astype(np.int32)[labels_HW])


def _separate_touching(components_HW: np.ndarray) -> np.ndarray:
    """Divide the components among their cores; labels are numbered by core in raster order."""
    foreground_HW = (components_HW > 0).astype(np.uint8)
    distance_HW = cv2.distanceTransform(foreground_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # whole numbers: the last digit of the roots depends on the number of threads
    squared_HW = np.rint(distance_HW**2)
    deepest = np.zeros(components_HW.max() + 1, np.float32)
    np.maximum.at(deepest, components_HW[foreground_HW > 0], squared_HW[foreground_HW > 0])
    cores_HW = (squared_HW > CORE_DEPTH**2 * deepest[components_HW]).astype(np.uint8)
    # an algorithm that numbers in raster order; float32 since cv2.dilate does not support int32
    labels_HW = cv2.connectedComponentsWithAlgorithm(cores_HW, 8, cv2.CV_32S, cv2.CCL_SAUF)[1].astype(
        np.float32
    )
    unclaimed_HW = foreground_HW & ~cores_HW
    while cv2.countNonZero(unclaimed_HW):
        cv2.copyTo(cv2.dilate(labels_HW, NEIGHBOURHOOD), unclaimed_HW, labels_HW)
        unclaimed_HW &= labels_HW == 0
    return labels_HW.astype(np.int32)


def _measure(labels_HW: np.ndarray) -> Segments:
    rows, columns = np.nonzero(labels_HW)
    labels = labels_HW[rows, columns]
    count = labels_HW.max() + 1

    def total(weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(labels, weights, count)[1:]

    area_S = total().astype(np.float64)
    row_S, column_S = total(rows) / area_S, total(columns) / area_S
    down, right = rows - row_S[labels - 1], columns - column_S[labels - 1]
    # a pixel is a square: its own second moment is 1/12 along each axis
    vertical_S, horizontal_S = total(down**2) / area_S + 1 / 12, total(right**2) / area_S + 1 / 12
    mixed_S = total(down * right) / area_S
    # eigenvalues of the matrix of second moments: mean - half_gap and mean + half_gap
    mean_S = (vertical_S + horizontal_S) / 2
    half_gap_S = np.sqrt(((vertical_S - horizontal_S) / 2) ** 2 + mixed_S**2)
    # the second moment of an ellipse along an axis of length L is L²/16
    major_S, minor_S = 4 * np.sqrt(mean_S + half_gap_S), 4 * np.sqrt(mean_S - half_gap_S)
    angle_S = np.degrees(np.arctan2(2 * mixed_S, horizontal_S - vertical_S) / 2) % 180
    return Segments(
        labels_HW,
        area_S,
        _perimeters(labels_HW, count)[1:],
        np.stack([row_S, column_S], axis=1),
        np.stack([row_S, column_S, major_S, minor_S, angle_S], axis=1),
    )


def _perimeters(labels_HW: np.ndarray, count: int) -> np.ndarray:
    """Return pi/2 times the mean over directions of border crossings times the distance of the lines."""
    padded = np.pad(labels_HW, 1)
    height, width = padded.shape
    length = np.zeros(count)
    for (down, right), distance in DIRECTIONS:
        here = padded[: height - down, max(-right, 0) : width - max(right, 0)]
        there = padded[down:, max(right, 0) : width + min(right, 0)]
        crossed = here != there
        crossings = np.bincount(here[crossed], minlength=count) + np.bincount(there[crossed], minlength=count)
        length += crossings * distance
    return length * np.pi / 2 / len(DIRECTIONS)
