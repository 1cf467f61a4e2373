"""The ten biological features of one sample: Liu, Zhang, Zhou 2018, section 4.1.

Each feature is a pure function of channels and segments; `TEN` lists them in the paper's order. What
the paper leaves open was settled after the code that its authors published, and where that code does
something else than the text says, the text holds.

Every channel is first scaled so that its brightest pixel is 255, and denoised. Lengths and areas are
in pixels of a 512 x 512 image, Kaggle's, whatever the side of the array measured: a window or a
distance of 8 px there is 2 px in an array of 128. A value that cannot be said (no nucleus, no segment)
is nan.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from lib.features.segmentation import Segments, segment
from lib.labels import CHANNELS

FRAME = 512  # side of the image whose pixels are the unit of length
SEGMENT_AREA = (150, 100_000)  # square pixels of the frame: smaller is noise, larger is ground
BACKGROUND = 0.05  # of the mean of green: what is brighter counts as protein
# weights of the ten after scaling to [0, 1] (section 5.2)
WEIGHTS = (2, 4, 1, 1, 2, 1, 1, 0.5, 0.5, 2)


def window(frame_pixels: int, side: int) -> int:
    """Return the odd number of pixels, at least 3, nearest to a window of the frame in an image of `side`."""
    return max(3, 2 * round((frame_pixels * side / FRAME - 1) / 2) + 1)


def adaptive_wiener(plane_HW: np.ndarray, side: int, strength: float) -> np.ndarray:
    """Denoise with the local Wiener filter: flat places are averaged, places with structure are kept.

    Each pixel is drawn towards the mean of its window by the share of the window's variance that noise
    of deviation `strength` explains (Lee 1980; scipy.signal.wiener).

    Parameters
    ----------
    plane_HW : ndarray of shape (H, W), uint8
    side : int
        Of the window, in pixels, odd.
    strength : float
        Deviation of the noise, in grey levels.
    """
    float_HW, noise = plane_HW.astype(np.float32), np.float32(strength**2)
    mean_HW = cv2.blur(float_HW, (side, side))
    variance_HW = cv2.blur(float_HW**2, (side, side)) - mean_HW**2
    kept_HW = np.maximum(variance_HW - noise, 0) / np.maximum(variance_HW, noise)
    return np.rint(mean_HW + kept_HW * (float_HW - mean_HW)).clip(0, 255).astype(np.uint8)


def non_local_means(plane_HW: np.ndarray, side: int, strength: float) -> np.ndarray:
    """Denoise with non-local means over a neighbourhood three windows wide; arguments as above."""
    return cv2.fastNlMeansDenoising(plane_HW, None, strength, side, 3 * side)


# both with the window and the strength of the paper's code
DENOISERS = {"fast": adaptive_wiener, "paper": non_local_means}
DENOISE_WINDOW, DENOISE_STRENGTH = 7, 8


@dataclass(frozen=True)
class Sample:
    """One sample, prepared once for all its features.

    Attributes
    ----------
    image_HWK : ndarray of shape (H, W, 4), uint8, R G B Y
        As recorded.
    denoise : str
        A key of `DENOISERS`.
    """

    image_HWK: np.ndarray
    denoise: str = "fast"

    @property
    def scale(self) -> float:
        """Pixels of the image in a pixel of the frame."""
        return len(self.image_HWK) / FRAME

    @cached_property
    def clean(self) -> dict[str, np.ndarray]:
        """Each channel scaled to a maximum of 255 and denoised: (H, W) uint8 by name of its colour."""
        side = window(DENOISE_WINDOW, len(self.image_HWK))
        return {
            name: DENOISERS[self.denoise](_stretch(plane_HW), side, DENOISE_STRENGTH)
            for name, plane_HW in zip(CHANNELS, cv2.split(self.image_HWK), strict=True)
        }

    @cached_property
    def nuclei(self) -> Segments:
        """The segments of blue, with their holes: nucleoli have little DNA."""
        return self._segment("blue", filled=True)

    @cached_property
    def segments(self) -> Segments:
        """The segments of green."""
        return self._segment("green", filled=False)

    def _segment(self, color: str, filled: bool) -> Segments:
        side = window(5, len(self.image_HWK))
        blurred_HW = cv2.GaussianBlur(self.clean[color], (side, side), 0)
        smallest, largest = (area * self.scale**2 for area in SEGMENT_AREA)
        return segment(blurred_HW, smallest, largest, filled)


def nuclear_ratio(green_HW: np.ndarray, nuclei_HW: np.ndarray) -> float:
    """Feature 1: protein inside the nuclei over protein outside.

    Sum of denoised green over the pixels of the nuclei, divided by its sum over all others. A ratio
    without unit, 0 or more: far above 1 for a nuclear protein, near 0 for one kept out of nuclei.
    inf if there is protein and all of it is inside; nan without a nucleus or without protein.
    """
    total, inside = green_HW.sum(dtype=np.float64), green_HW[nuclei_HW].sum(dtype=np.float64)
    if not nuclei_HW.any() or total == 0:
        return np.nan
    return inside / (total - inside) if total > inside else np.inf


def structural_similarity(first_HW: np.ndarray, second_HW: np.ndarray, side: int = 7) -> float:
    """Features 2 to 4: how alike two channels are in brightness, contrast and pattern, place by place.

    The mean of the structural similarity index over all windows of `side` x `side` pixels that lie
    within the image (Wang, Bovik, Sheikh, Simoncelli 2004, equation 13, with K1 = 0.01, K2 = 0.03,
    L = 255, equal weights and sample covariances, as scikit-image computes it). Without unit, in
    [-1, 1]; 1 for equal images. High with the channel whose structure the protein shares: microtubules,
    endoplasmic reticulum, nucleus. Always defined: two empty channels are equal.
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
    """Feature 5: all of the protein's stain over all of the endoplasmic reticulum's.

    Sum of green over sum of yellow, as recorded. A ratio of grey levels without unit, 0 or more: how
    abundant the protein is, as far as exposures can be compared. nan where yellow is empty.
    """
    total = yellow_HW.sum(dtype=np.float64)
    return green_HW.sum(dtype=np.float64) / total if total > 0 else np.nan


def protein_area(green_HW: np.ndarray, scale: float) -> float:
    """Feature 6: area that is brighter in denoised green than a twentieth of green's mean.

    In square pixels of the frame, 0 to 262,144: large for a protein all over the cells, small for one
    in few places. nan where green is empty.
    """
    mean = green_HW.mean()
    return np.count_nonzero(green_HW > BACKGROUND * mean) / scale**2 if mean > 0 else np.nan


def compactness(segments: Segments) -> float:
    """Feature 7: mean over the protein segments of perimeter² / (4 pi area).

    Without unit: 1 for a disc, larger for what is long, ragged or a ring (by Crofton's formula a small
    disc can come out a few hundredths below 1). Spots are near 1, filaments and meshes far above. nan
    without a segment.
    """
    return _mean(segments.perimeter_S**2 / (4 * np.pi * segments.area_S))


def eccentricity(segments: Segments) -> float:
    """Feature 8: mean over the protein segments of minor over major axis of the fitted ellipse.

    Without unit, in (0, 1]: 1 is round, near 0 is a thread. So the paper's code has it, while its text
    prints the inverse. The ellipse is that of the same second moments, which is the segment itself where
    that is an ellipse. nan without a segment.
    """
    return _mean(segments.axis_ratio_S)


def segment_over_nucleus_area(segments: Segments, nuclei: Segments) -> float:
    """Feature 9: mean area of a protein segment over mean area of a nucleus.

    Without unit, above 0: about 1 where the protein fills nuclei, far below for spots. nan without a
    segment or a nucleus.
    """
    return _mean(segments.area_S) / _mean(nuclei.area_S)


def nucleus_distance(segments: Segments, nuclei: Segments, scale: float) -> float:
    """Feature 10: mean distance from a protein segment to the nearest nucleus, centre to centre.

    In pixels of the frame, 0 or more: small in and on nuclei, large towards the cells' edges. nan
    without a segment or a nucleus.
    """
    if not len(segments.area_S) or not len(nuclei.area_S):
        return np.nan
    apart_SN2 = segments.centre_S2[:, None] - nuclei.centre_S2[None]
    return float(np.sqrt((apart_SN2**2).sum(axis=2)).min(axis=1).mean()) / scale


TEN: dict[str, Callable[[Sample], float]] = {
    "nuclear_ratio": lambda s: nuclear_ratio(s.clean["green"], s.nuclei.labels_HW > 0),
    "ssim_microtubules": lambda s: _similarity(s, "red"),
    "ssim_er": lambda s: _similarity(s, "yellow"),
    "ssim_nucleus": lambda s: _similarity(s, "blue"),
    "protein_over_er": lambda s: protein_over_er(s.image_HWK[..., 1], s.image_HWK[..., 3]),
    "protein_area": lambda s: protein_area(s.clean["green"], s.scale),
    "compactness": lambda s: compactness(s.segments),
    "eccentricity": lambda s: eccentricity(s.segments),
    "segment_over_nucleus_area": lambda s: segment_over_nucleus_area(s.segments, s.nuclei),
    "nucleus_distance": lambda s: nucleus_distance(s.segments, s.nuclei, s.scale),
}


def measure(
    image_HWK: np.ndarray, denoise: str, functions: dict[str, Callable[[Sample], float]]
) -> np.ndarray:
    """Return the features of one sample, shape (F,), float64, in the order of `functions`."""
    sample = Sample(image_HWK, denoise)
    return np.array([function(sample) for function in functions.values()])


def _stretch(plane_HW: np.ndarray) -> np.ndarray:
    top = int(plane_HW.max())
    return cv2.convertScaleAbs(plane_HW, alpha=255 / top) if top else plane_HW.copy()


def _similarity(sample: Sample, color: str) -> float:
    side = window(7, len(sample.image_HWK))
    return structural_similarity(sample.clean["green"], sample.clean[color], side)


def _mean(values_S: np.ndarray) -> float:
    return float(values_S.mean()) if len(values_S) else np.nan
