"""Segmentation as Liu, Zhang, Zhou 2018 describe it in section 4.1.1, and as their published code does it.

The text: connected components of the denoised and blurred image, contours around them, ellipses fitted to the
contours. Where it is silent (threshold, limits of the area, what the centre is), the code decides, also how
the image is smoothed: the text names denoising before the blur, and neither strengths nor kernels.

The code does something else, and its segments are often not those of the text:

- It doubles the grey levels of the smoothed image modulo 256 before the threshold: the brightest turn dark.
- A watershed moves the border of the bright regions outwards, to the steepest edge in a rim around them.
- It traces the borders of the **background**. Its segments are therefore the bright regions that do not touch
  the edge of the image, and also the pieces of background that bright regions enclose or cut off.
- Its nuclei for feature 1 are found otherwise than those for features 9 and 10: by a watershed against only
  the darkest centres of the background. "Outside" is the first of these basins; the others do not count.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from lib.features.segmentation import Segments

RIM, WIDE_RIM = 0.1, 0.9  # of the background's largest depth: where the watershed may move a border


def smoothed(channel_HW: np.ndarray, side: int, search: int) -> np.ndarray:
    """Stretch a channel to 0 to 255, then blur it and denoise it by non-local means, both twice.

    Parameters
    ----------
    channel_HW : ndarray of shape (H, W), uint8
        As recorded.
    side, search : int
        Sides of the windows of non-local means, 7 and 21 pixels in an image of 512.
    """
    smooth_HW = cv2.normalize(channel_HW, None, 0, 255, cv2.NORM_MINMAX)
    for blur, strength in ((3, 8), (5, 6)):
        smooth_HW = cv2.GaussianBlur(smooth_HW, (blur, blur), 0)
        smooth_HW = cv2.fastNlMeansDenoising(smooth_HW, None, strength, side, search)
    return smooth_HW


def components(channel_HW: np.ndarray, smallest: float, largest: float) -> Segments:
    """Find the connected components above Otsu's threshold (the text).

    Touching structures are one component. Holes belong to a component: only outer contours are measured.

    Parameters
    ----------
    channel_HW : ndarray of shape (H, W), uint8
        As `smoothed` returns it.
    smallest, largest : float
        Limits of the area in pixels, both excluded.
    """
    bright_HW = cv2.threshold(channel_HW, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    outlines, hierarchy = cv2.findContours(bright_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = [outlines[number] for number in range(len(outlines)) if hierarchy[0, number, 3] < 0]
    return _measure(outer, channel_HW.shape, smallest, largest)


def background_borders(channel_HW: np.ndarray, smallest: float, largest: float) -> Segments:
    """Trace the borders of the background (the published code); parameters as in `components`."""
    background_HW = (_basins(channel_HW << 1, RIM) > 1).astype(np.uint8)  # the shift drops the highest bit
    outlines, _ = cv2.findContours(background_HW, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    return _measure(outlines, channel_HW.shape, smallest, largest)


def inside_and_outside(blue_HW: np.ndarray, side: int, search: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what counts as nuclei and as their surroundings in feature 1 (the published code).

    Parameters
    ----------
    blue_HW : ndarray of shape (H, W), uint8
        As recorded.
    side, search : int
        As in `smoothed`.

    Returns
    -------
    tuple of two ndarray of shape (H, W), bool
        Both are empty in an image without a bright or without a dark region.
    """
    basins_HW = _basins(cv2.fastNlMeansDenoising(blue_HW, None, 6, side, search), WIDE_RIM)
    defined = (basins_HW == 1).any() and (basins_HW == 2).any()
    return (np.abs(basins_HW) == 1) & defined, (basins_HW == 2) & defined


def _basins(channel_HW: np.ndarray, rim: float) -> np.ndarray:
    """Flood an image from its bright regions (1) and the depths of the background (2 and up); -1: between."""
    dark_HW = cv2.threshold(channel_HW, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)[1]
    depth_HW = cv2.distanceTransform(dark_HW, cv2.DIST_L2, cv2.DIST_MASK_5)
    deep_HW = depth_HW > np.float32(rim * depth_HW.max())
    markers_HW = cv2.connectedComponents(deep_HW.astype(np.uint8))[1] + 1
    markers_HW[(dark_HW > 0) & ~deep_HW] = 0
    return cv2.watershed(cv2.cvtColor(channel_HW, cv2.COLOR_GRAY2BGR), markers_HW)


def _measure(
    outlines: Sequence[np.ndarray], shape: tuple[int, int], smallest: float, largest: float
) -> Segments:
    """Measure the outlines within the limits of area; a centre is the bounding box's, as in the code."""
    area_S = np.array([cv2.contourArea(outline) for outline in outlines])
    kept = np.flatnonzero((area_S > smallest) & (area_S < largest))
    outlines, area_S = [outlines[number] for number in kept], area_S[kept]
    labels_HW = np.zeros(shape, np.int32)
    for number in np.argsort(-area_S, kind="stable"):  # what lies inside another segment is drawn on top
        cv2.drawContours(labels_HW, outlines, number, int(number) + 1, cv2.FILLED)
    boxes_S4 = np.array([cv2.boundingRect(outline) for outline in outlines]).reshape(-1, 4)
    return Segments(
        labels_HW,
        area_S,
        np.array([cv2.arcLength(outline, True) for outline in outlines]),
        (boxes_S4[:, :2] + (boxes_S4[:, 2:] - 1) / 2)[:, ::-1],
        np.array([_ellipse(outline) for outline in outlines]).reshape(-1, 5),
    )


def _ellipse(outline: np.ndarray) -> tuple[float, ...]:
    """Fit an ellipse by least squares, or a rectangle where the points do not define an ellipse."""
    center, axes, angle = cv2.fitEllipse(outline) if len(outline) >= 5 else cv2.minAreaRect(outline)
    if not np.isfinite(axes).all() or min(axes) <= 0:
        center, axes, angle = cv2.minAreaRect(outline)
    is_upright = axes[1] > axes[0]  # OpenCV's angle is that of the first axis
    return center[1], center[0], max(axes), min(axes), (angle + 90 * is_upright) % 180
