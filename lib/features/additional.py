"""Ten features beyond the paper's, as Liu, Zhang, Zhou 2018 suggest in section 6.3.1.

The conventions are those of `lib.features.biological`: channels (H, W) uint8, scaled and denoised, masks
(H, W) bool, lengths in pixels of a 512 x 512 reference image, nan where a value is undefined.
"""

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

from lib.features.biological import TEN, PreparedSample
from lib.features.segmentation import Segments

RADII = (2, 4, 8, 16)  # of the granularity spectrum, reference pixels
RIM_WIDTH = 4  # on either side of a nucleus's edge, reference pixels
NUCLEOLUS = 0.75  # of the mean of blue in a nucleus; darker pixels are nucleoli


def granularity(green_HW: np.ndarray, radius: float, previous: float) -> float:
    """Fraction of the protein in structures with a radius between `previous` and `radius`.

    The sum of denoised green after opening with a disc of radius `previous`, minus the sum after opening with
    one of radius `radius`, over the sum without opening (the granularity spectrum, or pattern spectrum, of
    Serra 1982). Dimensionless, about 0 to 1; large at a small radius for a protein in small spots. nan where
    green is empty, or where the two radii are the same number of pixels of this array.

    Parameters
    ----------
    green_HW : ndarray of shape (H, W), uint8
    radius, previous : float
        In pixels of the array; `previous` below half a pixel means no opening.
    """
    total = green_HW.sum(dtype=np.float64)
    if total == 0 or round(radius) == round(previous):
        return np.nan
    return (_opened_sum(green_HW, previous) - _opened_sum(green_HW, radius)) / total


def nucleolar_share(green_HW: np.ndarray, blue_HW: np.ndarray, nuclei: Segments, rim: int) -> float:
    """Fraction of the nuclear protein that is in nucleoli, the holes in the DNA stain.

    Only the interior of the nuclei counts, without a rim of `rim` pixels; nucleoli are the pixels where
    denoised blue is below three quarters of its mean in the interior of the same nucleus. Dimensionless, 0 to
    1; far above the nucleoli's fraction of the area for a nucleolar protein. nan without a nucleolus or
    without protein.
    """
    inside_HW = _eroded(nuclei.labels_HW > 0, rim)
    labels = nuclei.labels_HW[inside_HW]
    blue, green = blue_HW[inside_HW].astype(np.float64), green_HW[inside_HW].astype(np.float64)
    mean_S = np.bincount(labels, blue) / np.maximum(np.bincount(labels), 1)
    in_nucleolus = blue < NUCLEOLUS * mean_S[labels] if len(labels) else np.zeros(0, bool)
    return green[in_nucleolus].sum() / green.sum() if in_nucleolus.any() and green.sum() > 0 else np.nan


def nuclear_rim_share(green_HW: np.ndarray, nuclei_HW: np.ndarray, rim: int) -> float:
    """Fraction of the protein within `rim` pixels of a nucleus's edge, inside or outside.

    Dimensionless, 0 to 1; large for a protein of the nuclear membrane. nan without a nucleus or without
    protein.
    """
    total = green_HW.sum(dtype=np.float64)
    if not nuclei_HW.any() or total == 0:
        return np.nan
    rim_HW = ~_eroded(~nuclei_HW, rim) & ~_eroded(nuclei_HW, rim)
    return green_HW[rim_HW].sum(dtype=np.float64) / total


def correlation(first_HW: np.ndarray, second_HW: np.ndarray) -> float:
    """Pearson correlation of two channels over all pixels: high where they are found in the same places.

    In [-1, 1]; unlike structural similarity, it does not depend on the brightness of the channels. nan if one
    of them is constant.
    """
    first, second = first_HW.ravel().astype(np.float64), second_HW.ravel().astype(np.float64)
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > 0 else np.nan


def segments_per_nucleus(segments: Segments, nuclei: Segments) -> float:
    """Number of protein segments over number of nuclei: 1 to 2 for centrosomes, many for vesicles.

    Dimensionless, 0 or more; nan without a nucleus.
    """
    count = len(nuclei.area_S)
    return len(segments.area_S) / count if count else np.nan


def _opened_sum(channel_HW: np.ndarray, radius: float) -> float:
    return cv2.morphologyEx(channel_HW, cv2.MORPH_OPEN, _disc(radius)).sum(dtype=np.float64)


def _eroded(mask_HW: np.ndarray, radius: float) -> np.ndarray:
    return cv2.erode(mask_HW.astype(np.uint8), _disc(radius)) > 0


def _disc(radius: float) -> np.ndarray:
    side = 2 * round(radius) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _rim_pixels(sample: PreparedSample) -> int:
    return max(1, round(RIM_WIDTH * sample.scale))


def _granularity(radius: int, previous: int) -> Callable[[PreparedSample], float]:
    return lambda s: granularity(s.denoised["green"], radius * s.scale, previous * s.scale)


def _nucleolar_share(sample: PreparedSample) -> float:
    green_HW, blue_HW = sample.denoised["green"], sample.denoised["blue"]
    return nucleolar_share(green_HW, blue_HW, sample.nuclei, _rim_pixels(sample))


def _nuclear_rim_share(sample: PreparedSample) -> float:
    return nuclear_rim_share(sample.denoised["green"], sample.nuclei.labels_HW > 0, _rim_pixels(sample))


def _correlation(color: str) -> Callable[[PreparedSample], float]:
    return lambda s: correlation(s.denoised["green"], s.denoised[color])


ADDITIONAL: dict[str, Callable[[PreparedSample], float]] = {
    **{f"granularity_{radius}": _granularity(radius, previous) for previous, radius in pairwise((0, *RADII))},
    "nucleolar_share": _nucleolar_share,
    "nuclear_rim_share": _nuclear_rim_share,
    "correlation_microtubules": _correlation("red"),
    "correlation_er": _correlation("yellow"),
    "correlation_nucleus": _correlation("blue"),
    "segments_per_nucleus": lambda s: segments_per_nucleus(s.segments, s.nuclei),
}
COLUMNS = {"ten": TEN, "all": TEN | ADDITIONAL}
