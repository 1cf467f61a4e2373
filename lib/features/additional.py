"""Ten more features of one sample, beside the paper's: Liu, Zhang, Zhou 2018, section 6.3.1, ask for them.

The conventions are those of `lib.features.biological`: channels scaled and denoised, lengths in pixels of a
512 x 512 image, nan where a value cannot be said.
"""

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

from lib.features.biological import TEN, Sample
from lib.features.segmentation import Segments

RADII = (2, 4, 8, 16)  # pixels of the frame
RIM = 4  # pixels of the frame on either side of a nucleus's edge
NUCLEOLUS = 0.75  # of the mean of blue in a nucleus: what is darker is a nucleolus


def granularity(green_HW: np.ndarray, radius: float, finer: float) -> float:
    """Share of the protein in grains of a radius between two: what an opening removes, and a finer one not.

    The sum of denoised green after opening with a disc of radius `finer`, less that with `radius`, over
    the sum without opening (a granulometry, Serra 1982). Without unit, about 0 to 1; a large share at a
    small radius is a protein in small spots. nan where green is empty, or the disc is smaller than a
    pixel's neighbours in this array.

    Parameters
    ----------
    green_HW : ndarray of shape (H, W), uint8
    radius, finer : float
        In pixels of the array; `finer` below half a pixel means no opening.
    """
    total = green_HW.sum(dtype=np.float64)
    if total == 0 or round(radius) < 1:
        return np.nan
    return (_opened_sum(green_HW, finer) - _opened_sum(green_HW, radius)) / total


def nucleolar_share(green_HW: np.ndarray, blue_HW: np.ndarray, nuclei: Segments, rim: int) -> float:
    """Share of the nuclear protein that lies in nucleoli, which show as holes in the DNA's stain.

    Looked at is the inside of the nuclei, without a rim of `rim` pixels; a nucleolus is where denoised
    blue is below three quarters of its mean there, nucleus by nucleus. Without unit, 0 to 1; far above
    the nucleoli's share of area for a nucleolar protein. nan without a nucleolus or without protein.
    """
    inside_HW = _eroded(nuclei.labels_HW > 0, rim)
    labels = nuclei.labels_HW[inside_HW]
    blue, green = blue_HW[inside_HW].astype(np.float64), green_HW[inside_HW].astype(np.float64)
    mean_S = np.bincount(labels, blue) / np.maximum(np.bincount(labels), 1)
    dark = blue < NUCLEOLUS * mean_S[labels] if len(labels) else np.zeros(0, bool)
    return green[dark].sum() / green.sum() if dark.any() and green.sum() > 0 else np.nan


def nuclear_rim_share(green_HW: np.ndarray, nuclei_HW: np.ndarray, rim: int) -> float:
    """Share of the protein within `rim` pixels of a nucleus's edge, inside or outside.

    Without unit, 0 to 1; large for a protein of the nuclear membrane. nan without a nucleus or without
    protein.
    """
    total = green_HW.sum(dtype=np.float64)
    if not nuclei_HW.any() or total == 0:
        return np.nan
    rim_HW = ~_eroded(~nuclei_HW, rim) & ~_eroded(nuclei_HW, rim)
    return green_HW[rim_HW].sum(dtype=np.float64) / total


def correlation(first_HW: np.ndarray, second_HW: np.ndarray) -> float:
    """Pearson's correlation of two channels over all pixels: high where they lie in the same places.

    In [-1, 1]; unlike structural similarity it does not mind how bright the channels are. nan where one
    of them is constant.
    """
    first, second = first_HW.ravel().astype(np.float64), second_HW.ravel().astype(np.float64)
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > 0 else np.nan


def segments_per_nucleus(segments: Segments, nuclei: Segments) -> float:
    """Number of protein segments over number of nuclei: 1 to 2 for centrosomes, many for vesicles.

    0 or more; nan without a nucleus.
    """
    count = len(nuclei.area_S)
    return len(segments.area_S) / count if count else np.nan


def _opened_sum(plane_HW: np.ndarray, radius: float) -> float:
    return cv2.morphologyEx(plane_HW, cv2.MORPH_OPEN, _disc(radius)).sum(dtype=np.float64)


def _eroded(mask_HW: np.ndarray, radius: float) -> np.ndarray:
    return cv2.erode(mask_HW.astype(np.uint8), _disc(radius)) > 0


def _disc(radius: float) -> np.ndarray:
    side = 2 * round(radius) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _rim(sample: Sample) -> int:
    return max(1, round(RIM * sample.scale))


def _granularity(radius: int, finer: int) -> Callable[[Sample], float]:
    return lambda s: granularity(s.clean["green"], radius * s.scale, finer * s.scale)


def _correlation(color: str) -> Callable[[Sample], float]:
    return lambda s: correlation(s.clean["green"], s.clean[color])


MORE: dict[str, Callable[[Sample], float]] = {
    **{f"granularity_{radius}": _granularity(radius, finer) for finer, radius in pairwise((0, *RADII))},
    "nucleolar_share": lambda s: nucleolar_share(s.clean["green"], s.clean["blue"], s.nuclei, _rim(s)),
    "nuclear_rim_share": lambda s: nuclear_rim_share(s.clean["green"], s.nuclei.labels_HW > 0, _rim(s)),
    "correlation_microtubules": _correlation("red"),
    "correlation_er": _correlation("yellow"),
    "correlation_nucleus": _correlation("blue"),
    "segments_per_nucleus": lambda s: segments_per_nucleus(s.segments, s.nuclei),
}
COLUMNS = {"ten": TEN, "all": TEN | MORE}
