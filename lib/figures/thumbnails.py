"""Thumbnails of a sample for a web page: channels merged, the protein alone, a network's attributions."""

import cv2
import numpy as np

from lib.figures.colors import brightened, in_color, merged

SIDE = 160  # of a panel, in pixels
GAP = 4  # between panels, in pixels; transparent, so that it fits any page
QUALITY = 78  # of WebP, 1 to 100
GREY_LEVEL = 0.6  # factor of the grey protein channel beneath the heatmap
MAX_OPACITY = 0.9  # of the heatmap, where it is 1


def tile(image_HWK: np.ndarray, heatmap_HW: np.ndarray | None = None, side: int = SIDE) -> bytes:
    """Return a WebP picture with the panels side by side, brightened for display.

    Parameters
    ----------
    image_HWK : ndarray of shape (H, W, 4), uint8, R G B Y
    heatmap_HW : ndarray of shape (H, W), float, in [0, 1], or None
        A network's attributions; without it there are two panels instead of three.
    side : int
        Of a panel, in pixels.
    """
    bright_HWK = brightened(_resized(image_HWK, side))
    panels = [merged(bright_HWK), in_color(bright_HWK, 1)]
    if heatmap_HW is not None:
        panels.append(overlaid(bright_HWK[..., 1], _resized(heatmap_HW, side).clip(0, 1)))
    gap = np.zeros((side, GAP, 4), np.uint8)
    row = [block for panel in panels for block in (gap, cv2.cvtColor(panel, cv2.COLOR_RGB2BGRA))][1:]
    return cv2.imencode(".webp", np.concatenate(row, axis=1), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[
        1
    ].tobytes()


def overlaid(plane_HW: np.ndarray, heatmap_HW: np.ndarray) -> np.ndarray:
    """Overlay a heatmap on a channel shown in grey; its colour gets more opaque with its value.

    Parameters
    ----------
    plane_HW : ndarray of shape (H, W), uint8
    heatmap_HW : ndarray of shape (H, W), float, in [0, 1]

    Returns
    -------
    ndarray of shape (H, W, 3), uint8, RGB
    """
    color_HW3 = cv2.applyColorMap((heatmap_HW * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity_HW1 = MAX_OPACITY * heatmap_HW[..., None]
    return ((1 - opacity_HW1) * GREY_LEVEL * plane_HW[..., None] + opacity_HW1 * color_HW3).astype(np.uint8)


def _resized(values: np.ndarray, side: int) -> np.ndarray:
    shrinks = max(values.shape[:2]) > side
    return cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
