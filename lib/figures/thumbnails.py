"""One sample as a small picture for a page: channels merged, the protein alone, where a network looked."""

import cv2
import numpy as np

from lib.figures.colors import brightened, in_color, merged

SIDE = 160  # of a panel, in pixels
GAP = 4  # between panels, in pixels; transparent on any page
QUALITY = 78  # of WebP, 1 to 100
DIMMED = 0.6  # of the protein in grey beneath the heat
STRONGEST = 0.9  # share of the heat's colour where the network looked most


def tile(image_HWK: np.ndarray, heat_HW: np.ndarray | None = None, side: int = SIDE) -> bytes:
    """Return a WebP picture of panels beside each other, brightened for display.

    Parameters
    ----------
    image_HWK : ndarray of shape (H, W, 4), uint8, R G B Y
    heat_HW : ndarray of shape (H, W), float, in [0, 1], or None
        Where a network looked; without it there are two panels.
    side : int
        Of a panel, in pixels.
    """
    bright_HWK = brightened(_square(image_HWK, side))
    panels = [merged(bright_HWK), in_color(bright_HWK, 1)]
    if heat_HW is not None:
        panels.append(heated(bright_HWK[..., 1], _square(heat_HW, side).clip(0, 1)))
    gap = np.zeros((side, GAP, 4), np.uint8)
    row = [part for panel in panels for part in (gap, cv2.cvtColor(panel, cv2.COLOR_RGB2BGRA))][1:]
    return cv2.imencode(".webp", np.concatenate(row, axis=1), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[
        1
    ].tobytes()


def heated(plane_HW: np.ndarray, heat_HW: np.ndarray) -> np.ndarray:
    """Lay heat over a channel in grey: the hotter, the more of the colour, (H, W, 3) uint8 RGB."""
    color = cv2.applyColorMap((heat_HW * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = STRONGEST * heat_HW[..., None]
    return ((1 - share) * DIMMED * plane_HW[..., None] + share * color).astype(np.uint8)


def _square(values: np.ndarray, side: int) -> np.ndarray:
    shrinks = max(values.shape[:2]) > side
    return cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
