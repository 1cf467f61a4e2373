"""The ten biological features of one sample: Liu, Zhang, Zhou 2018, section 4.1.

Each feature is a pure function of channels, (H, W) uint8, masks, (H, W) bool, and segments, and returns a
float; `TEN` lists them in the paper's order. Where the paper leaves a choice open, the code that its authors
published decides; where that code contradicts the text, the text decides. Nuclei and protein segments are
found in one of three ways, `SEGMENTATIONS`.

Every channel is first scaled so that its brightest pixel is 255, and then denoised. Lengths and areas are in
pixels of a reference image of 512 x 512, the size of Kaggle's images, whatever the size of the array: a
window or a distance of 8 px corresponds to 2 px in an array of 128 x 128. An undefined value (no nucleus, no
segment) is nan.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from lib.features.paper_segmentation import background_borders, components, inside_and_outside, smoothed
from lib.features.segmentation import Segments, segment
from lib.labels import CHANNELS

REFERENCE_SIZE = 512  # side of the image whose pixels are the unit of length
SEGMENT_AREA = (150, 100_000)  # square reference pixels: smaller is noise, larger is background
BACKGROUND = 0.05  # of the mean of green; brighter pixels count as protein
# weights of the ten after scaling to [0, 1] (section 5.2)
WEIGHTS = (2, 4, 1, 1, 2, 1, 1, 0.5, 0.5, 2)


def window(reference_pixels: int, size: int) -> int:
    """Convert the side of a window from reference pixels to pixels of an image of `size` x `size`.

    Returns
    -------
    int
        The nearest odd number, at least 3.
    """
    return max(3, 2 * round((reference_pixels * size / REFERENCE_SIZE - 1) / 2) + 1)


def adaptive_wiener(channel_HW: np.ndarray, side: int, strength: float) -> np.ndarray:
    """Denoise with the adaptive Wiener filter, which smooths flat regions and preserves structure.

    Each pixel is moved towards the mean of its window by the fraction of the window's variance that noise
    with the standard deviation `strength` explains (Lee 1980; scipy.signal.wiener).

    Parameters
    ----------
    channel_HW : ndarray of shape (H, W), uint8
    side : int
        Side of the window in pixels, odd.
    strength : float
        Standard deviation of the noise in grey levels.

    Returns
    -------
    ndarray of shape (H, W), uint8
    """
    float_HW, noise = channel_HW.astype(np.float32), np.float32(strength**2)
    mean_HW = cv2.blur(float_HW, (side, side))
    variance_HW = cv2.blur(float_HW**2, (side, side)) - mean_HW**2
    gain_HW = np.maximum(variance_HW - noise, 0) / np.maximum(variance_HW, noise)
    return np.rint(mean_HW + gain_HW * (float_HW - mean_HW)).clip(0, 255).astype(np.uint8)


def non_local_means(channel_HW: np.ndarray, side: int, strength: float) -> np.ndarray:
    """Denoise with non-local means, searching three windows wide; parameters as in `adaptive_wiener`."""
    return cv2.fastNlMeansDenoising(channel_HW, None, strength, side, 3 * side)


# both with the window and the strength of the paper's code
DENOISERS = {"fast": adaptive_wiener, "paper": non_local_means}
DENOISE_WINDOW, DENOISE_STRENGTH = 7, 8
# ours, and the paper's text and published code (`lib.features.paper_segmentation`)
SEGMENTATIONS = ("watershed", "paper", "paper_code")


@dataclass(frozen=True)
class PreparedSample:
    """One sample, denoised and segmented once for all features.

    Parameters
    ----------
    image_HWK : ndarray of shape (H, W, 4), uint8, R G B Y
        As recorded.
    denoise : str
        A key of `DENOISERS`.
    segmentation : str
        One of `SEGMENTATIONS`; the paper's denoise by themselves.
    """

    image_HWK: np.ndarray
    denoise: str = "fast"
    segmentation: str = "watershed"

    @property
    def scale(self) -> float:
        """Pixels of the image per reference pixel."""
        return len(self.image_HWK) / REFERENCE_SIZE

    @cached_property
    def denoised(self) -> dict[str, np.ndarray]:
        """Channels by colour, (H, W) uint8, scaled to a maximum of 255 and denoised."""
        side = window(DENOISE_WINDOW, len(self.image_HWK))
        return {
            name: DENOISERS[self.denoise](_stretch(channel_HW), side, DENOISE_STRENGTH)
            for name, channel_HW in zip(CHANNELS, cv2.split(self.image_HWK), strict=True)
        }

    @cached_property
    def nuclei(self) -> Segments:
        """The segments of blue with their holes filled: nucleoli contain little DNA."""
        return self._segment("blue", fill_holes=True)

    @cached_property
    def segments(self) -> Segments:
        """The segments of green."""
        return self._segment("green", fill_holes=False)

    @cached_property
    def nuclear_and_other(self) -> tuple[np.ndarray, np.ndarray]:
        """The pixels inside and outside nuclei for feature 1, both (H, W) bool."""
        if self.segmentation == "paper_code":
            return inside_and_outside(self._recorded("blue"), *self._windows)
        inside_HW = self.nuclei.labels_HW > 0
        return inside_HW, ~inside_HW

    def _segment(self, color: str, fill_holes: bool) -> Segments:
        limits = tuple(area * self.scale**2 for area in SEGMENT_AREA)
        if self.segmentation != "watershed":
            find = {"paper": components, "paper_code": background_borders}[self.segmentation]
            return find(smoothed(self._recorded(color), *self._windows), *limits)
        side = window(5, len(self.image_HWK))
        blurred_HW = cv2.GaussianBlur(self.denoised[color], (side, side), 0)
        return segment(blurred_HW, *limits, fill_holes)

    def _recorded(self, color: str) -> np.ndarray:
        return np.ascontiguousarray(self.image_HWK[..., CHANNELS.index(color)])

    @property
    def _windows(self) -> tuple[int, int]:
        """Sides of the windows of non-local means: the patch, and where it is searched for."""
        side = window(DENOISE_WINDOW, len(self.image_HWK))
        return side, 3 * side


def nuclear_ratio(green_HW: np.ndarray, nuclei_HW: np.ndarray, other_HW: np.ndarray | None = None) -> float:
    """Feature 1: protein inside the nuclei over protein outside.

    The sum of denoised green over the pixels of the nuclei, divided by its sum over the others: `other_HW`,
    by default all. Dimensionless, 0 or more: far above 1 for a nuclear protein, near 0 for a protein excluded
    from nuclei. inf if all of the protein is inside; nan without a nucleus or without protein.
    """
    other_HW = ~nuclei_HW if other_HW is None else other_HW
    inside, outside = (green_HW[mask_HW].sum(dtype=np.float64) for mask_HW in (nuclei_HW, other_HW))
    if not nuclei_HW.any() or inside + outside == 0:
        return np.nan
    return inside / outside if outside > 0 else np.inf


def structural_similarity(first_HW: np.ndarray, second_HW: np.ndarray, side: int = 7) -> float:
    """Features 2 to 4: local similarity of two channels in brightness, contrast and pattern.

    The mean of the structural similarity index over all windows of `side` x `side` pixels that lie within the
    image (Wang, Bovik, Sheikh, Simoncelli 2004, equation 13, with K1 = 0.01, K2 = 0.03, L = 255, equal
    weights and sample covariances, as in scikit-image). Dimensionless, in [-1, 1]; 1 for equal images. High
    if the protein has the same structure as the other channel: microtubules, endoplasmic reticulum or
    nucleus. Always defined: two empty channels are equal.
    """
    first, second = first_HW.astype(np.float32), second_HW.astype(np.float32)
    inset, unbiased = side // 2, np.float32(side**2 / (side**2 - 1))

    def mean(image_HW: np.ndarray) -> np.ndarray:
        return cv2.blur(image_HW, (side, side))[inset:-inset, inset:-inset]

    mean_a, mean_b = mean(first), mean(second)
    squares, product = mean_a**2 + mean_b**2, mean_a * mean_b
    variances = unbiased * (mean(first**2 + second**2) - squares)
    covariance = unbiased * (mean(first * second) - product)
    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    index_HW = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return float(index_HW.mean(dtype=np.float64))


def protein_over_er(green_HW: np.ndarray, yellow_HW: np.ndarray) -> float:
    """Feature 5: total intensity of the protein over that of the endoplasmic reticulum.

    The sum of green over the sum of yellow, as recorded. Dimensionless, 0 or more: how abundant the protein
    is, to the extent that exposures are comparable. nan where yellow is empty.
    """
    total = yellow_HW.sum(dtype=np.float64)
    return green_HW.sum(dtype=np.float64) / total if total > 0 else np.nan


def protein_area(green_HW: np.ndarray, scale: float) -> float:
    """Feature 6: area where denoised green exceeds a twentieth of its mean.

    In square reference pixels, 0 to 262,144: large for a protein found throughout the cells, small for one
    confined to a few places. nan where green is empty.
    """
    mean = green_HW.mean()
    return np.count_nonzero(green_HW > BACKGROUND * mean) / scale**2 if mean > 0 else np.nan


def compactness(segments: Segments) -> float:
    """Feature 7: mean of perimeter² / (4 pi area) over the protein segments.

    Dimensionless: 1 for a disc, larger for elongated, ragged or ring-shaped segments (by Crofton's formula, a
    small disc can be a few hundredths below 1). Near 1 for spots, far above it for filaments and meshes. nan
    without a segment.
    """
    return _mean(segments.perimeter_S**2 / (4 * np.pi * segments.area_S))


def eccentricity(segments: Segments, inverse: bool = False) -> float:
    """Feature 8: mean of minor over major axis of the ellipses fitted to the protein segments.

    Dimensionless, in (0, 1]: 1 is round, near 0 is thread-like. This follows the paper's code; its text
    prints major over minor axis, 1 or more, which `inverse` selects. nan without a segment.
    """
    return _mean(1 / segments.axis_ratio_S if inverse else segments.axis_ratio_S)


def segment_over_nucleus_area(segments: Segments, nuclei: Segments) -> float:
    """Feature 9: mean area of the protein segments over mean area of the nuclei.

    Dimensionless, above 0: about 1 if the protein fills the nuclei, far below 1 for spots. nan without a
    segment or without a nucleus.
    """
    return _mean(segments.area_S) / _mean(nuclei.area_S)


def nucleus_distance(segments: Segments, nuclei: Segments, scale: float) -> float:
    """Feature 10: mean distance from a protein segment to the nearest nucleus, centre to centre.

    In reference pixels, 0 or more: small for segments in and on nuclei, large towards the edges of the cells.
    nan without a segment or without a nucleus.
    """
    if not len(segments.area_S) or not len(nuclei.area_S):
        return np.nan
    offset_SN2 = segments.centre_S2[:, None] - nuclei.centre_S2[None]
    return float(np.sqrt((offset_SN2**2).sum(axis=2)).min(axis=1).mean()) / scale


TEN: dict[str, Callable[[PreparedSample], float]] = {
    "nuclear_ratio": lambda s: nuclear_ratio(s.denoised["green"], *s.nuclear_and_other),
    "ssim_microtubules": lambda s: _similarity(s, "red"),
    "ssim_er": lambda s: _similarity(s, "yellow"),
    "ssim_nucleus": lambda s: _similarity(s, "blue"),
    "protein_over_er": lambda s: protein_over_er(s.image_HWK[..., 1], s.image_HWK[..., 3]),
    "protein_area": lambda s: protein_area(s.denoised["green"], s.scale),
    "compactness": lambda s: compactness(s.segments),
    "eccentricity": lambda s: eccentricity(s.segments, inverse=s.segmentation == "paper"),
    "segment_over_nucleus_area": lambda s: segment_over_nucleus_area(s.segments, s.nuclei),
    "nucleus_distance": lambda s: nucleus_distance(s.segments, s.nuclei, s.scale),
}


def measure(
    image_HWK: np.ndarray,
    denoise: str,
    functions: dict[str, Callable[[PreparedSample], float]],
    segmentation: str = "watershed",
) -> np.ndarray:
    """Measure the features of one sample.

    Parameters
    ----------
    image_HWK : ndarray of shape (H, W, 4), uint8, R G B Y
    denoise : str
        A key of `DENOISERS`.
    functions : dict of callable
        Features by name, such as `TEN`.
    segmentation : str
        One of `SEGMENTATIONS`.

    Returns
    -------
    ndarray of shape (F,), float64
        In the order of `functions`.
    """
    sample = PreparedSample(image_HWK, denoise, segmentation)
    return np.array([function(sample) for function in functions.values()])


def _stretch(channel_HW: np.ndarray) -> np.ndarray:
    brightest = int(channel_HW.max())
    return cv2.convertScaleAbs(channel_HW, alpha=255 / brightest) if brightest else channel_HW.copy()


def _similarity(sample: PreparedSample, color: str) -> float:
    side = window(7, len(sample.image_HWK))
    return structural_similarity(sample.denoised["green"], sample.denoised[color], side)


def _mean(values_S: np.ndarray) -> float:
    return float(values_S.mean()) if len(values_S) else np.nan
