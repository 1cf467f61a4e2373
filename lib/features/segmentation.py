"""Bright structures of one channel, told apart and measured: nuclei in blue, protein segments in green.

Otsu's threshold finds what is bright; touching structures are parted by a watershed that floods from
their cores. Everything that is measured comes in pixels of the image that was handed in.
"""

from typing import NamedTuple

import cv2
import numpy as np

CORE = 0.5  # of the largest distance to the ground: what lies deeper is a core
SQUARE = np.ones((3, 3), np.uint8)  # a pixel and its eight neighbours
# the four directions of the lattice as (down, right), and the distance between its lines in each
DIRECTIONS = (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 2**-0.5), ((1, -1), 2**-0.5))


class Segments(NamedTuple):
    """Segments of one image, S of them, in the order of their labels.

    Attributes
    ----------
    labels_HW : ndarray of int32
        0 is ground, 1 to S are the segments.
    area_S : ndarray of float64
        Number of pixels.
    perimeter_S : ndarray of float64
        Length of the border in pixels, inner borders of holes included, by Crofton's formula over four
        directions (Legland, Kieu, Devaux 2007, "Computation of Minkowski measures").
    axis_ratio_S : ndarray of float64, in (0, 1]
        Minor over major axis of the ellipse with the segment's second moments; 1 is round.
    centre_S2 : ndarray of float64, shape (S, 2)
        Centre of mass, (row, column).
    """

    labels_HW: np.ndarray
    area_S: np.ndarray
    perimeter_S: np.ndarray
    axis_ratio_S: np.ndarray
    centre_S2: np.ndarray


def segment(plane_HW: np.ndarray, smallest: float, largest: float, filled: bool = False) -> Segments:
    """Find the bright structures of one channel.

    1. Bright is what lies above Otsu's threshold (Otsu 1979); if `filled`, with the holes in it. 2. Of
    each 8-connected part, the cores are the pixels that are more than half as far from the ground as its
    farthest one. 3. The cores flood their part in steps to the eight neighbours, all at the same speed;
    each pixel belongs to the core that comes first, to the later one in raster order if two come at
    once. 4. Kept is what is larger than `smallest` and smaller than `largest`.

    Parameters
    ----------
    plane_HW : ndarray of shape (H, W), uint8
        Denoised.
    smallest, largest : float
        In pixels, both excluded.
    filled : bool
        Whether a dark place that bright ones enclose belongs to them.
    """
    bright_HW = cv2.threshold(plane_HW, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    if filled:
        outlines, _ = cv2.findContours(bright_HW, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(bright_HW, outlines, -1, 1, cv2.FILLED)
    _, parts_HW, boxes, _ = cv2.connectedComponentsWithStats(bright_HW)
    large = boxes[:, cv2.CC_STAT_AREA] > smallest
    large[0] = False
    parts_HW = np.where(large[parts_HW], parts_HW, 0)
    labels_HW = _split(parts_HW)
    kept_S = np.bincount(labels_HW.ravel())
    kept_S = (kept_S > smallest) & (kept_S < largest)
    kept_S[0] = False
    return _measure((np.cumsum(kept_S) * kept_S).astype(np.int32)[labels_HW])


def _split(parts_HW: np.ndarray) -> np.ndarray:
    """Return labels of the cores' shares of the parts, numbered by core in raster order."""
    bright_HW = (parts_HW > 0).astype(np.uint8)
    distance_HW = cv2.distanceTransform(bright_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    squared_HW = np.rint(distance_HW**2)  # whole numbers: the roots' last digit depends on the threads
    deepest = np.zeros(parts_HW.max() + 1, np.float32)
    np.maximum.at(deepest, parts_HW[bright_HW > 0], squared_HW[bright_HW > 0])
    cores_HW = (squared_HW > CORE**2 * deepest[parts_HW]).astype(np.uint8)
    # an algorithm that numbers in raster order; float32 since cv2.dilate takes no int32
    labels_HW = cv2.connectedComponentsWithAlgorithm(cores_HW, 8, cv2.CV_32S, cv2.CCL_SAUF)[1].astype(
        np.float32
    )
    unclaimed_HW = bright_HW & ~cores_HW
    while cv2.countNonZero(unclaimed_HW):
        cv2.copyTo(cv2.dilate(labels_HW, SQUARE), unclaimed_HW, labels_HW)
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
    a_S, b_S = total(down**2) / area_S + 1 / 12, total(right**2) / area_S + 1 / 12
    c_S = total(down * right) / area_S
    middle_S, reach_S = (a_S + b_S) / 2, np.sqrt(((a_S - b_S) / 2) ** 2 + c_S**2)
    return Segments(
        labels_HW,
        area_S,
        _perimeters(labels_HW, count)[1:],
        np.sqrt((middle_S - reach_S) / (middle_S + reach_S)),
        np.stack([row_S, column_S], axis=1),
    )


def _perimeters(labels_HW: np.ndarray, count: int) -> np.ndarray:
    """Return pi/2 times the mean over the directions of border crossings times distance of the lines."""
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
