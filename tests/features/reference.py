"""A second, slow implementation of the ten features with numpy, scipy and scikit-image.

Written from the definitions, it shares no code with `lib.features.biological`; `test_biological.py` compares
the two.
"""

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops
from skimage.metrics import structural_similarity

NAMES = (
    "nuclear_ratio", "ssim_microtubules", "ssim_er", "ssim_nucleus", "protein_over_er", "protein_area",
    "compactness", "eccentricity", "segment_over_nucleus_area", "nucleus_distance",
)  # fmt: skip


def denoised(plane: np.ndarray) -> np.ndarray:
    """The plane, scaled to 255, after a Wiener filter of 7 x 7 pixels for noise with a std of 8."""
    top = plane.max()
    image = np.rint(plane * (255 / top)) if top else plane.astype(float)
    mean = ndimage.uniform_filter(image, 7, mode="mirror")
    variance = ndimage.uniform_filter(image**2, 7, mode="mirror") - mean**2
    flat = variance < 64
    gain = np.where(flat, 0, 1 - 64 / np.where(flat, 1, variance))
    return np.rint(mean + gain * (image - mean)).clip(0, 255).astype(np.uint8)


def segmented(plane: np.ndarray, filled: bool) -> list:
    """Bright structures of more than 150 and fewer than 100,000 pixels, as scikit-image's regions."""
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    blurred = ndimage.convolve1d(
        ndimage.convolve1d(plane.astype(float), kernel, 0, mode="mirror"), kernel, 1, mode="mirror"
    )
    blurred = np.floor(blurred + 0.5).astype(np.uint8)
    if blurred.min() == blurred.max():
        return []
    bright = blurred > threshold_otsu(blurred)
    components = label(ndimage.binary_fill_holes(bright) if filled else bright, connectivity=2)
    sizes = np.bincount(components.ravel())
    components[sizes[components] <= 150] = 0
    distance = ndimage.distance_transform_edt(components > 0)
    numbers = np.unique(components[components > 0])
    deepest = (
        dict(zip(numbers, ndimage.maximum(distance, components, numbers), strict=True))
        if len(numbers)
        else {}
    )
    cores = np.array(
        [
            [c > 0 and d > deepest[c] / 2 for c, d in zip(*rows, strict=True)]
            for rows in zip(components, distance, strict=True)
        ]
    )
    return [
        region
        for region in regionprops(flooded(label(cores, connectivity=2), components > 0))
        if 150 < region.area < 100_000
    ]


def flooded(cores: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """Grow cores over the bright pixels, one step to eight neighbours at a time; the larger number wins."""
    owner = {(int(y), int(x)): int(cores[y, x]) for y, x in np.argwhere(cores)}
    free = {(int(y), int(x)) for y, x in np.argwhere(bright & (cores == 0))}
    front = dict(owner)
    while front:
        claims: dict[tuple[int, int], int] = {}
        for (y, x), number in front.items():
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    place = (y + dy, x + dx)
                    if place in free:
                        claims[place] = max(claims.get(place, 0), number)
        free -= claims.keys()
        owner |= claims
        front = claims
    result = np.zeros(cores.shape, int)
    for place, number in owner.items():
        result[place] = number
    return result


def reference(image: np.ndarray) -> dict[str, float]:
    """Return the ten features of a (512, 512, 4) uint8 image, R G B Y."""
    red, green, blue, yellow = (denoised(image[..., channel]) for channel in range(4))
    segments, nuclei = segmented(green, filled=False), segmented(blue, filled=True)
    inside = np.zeros(green.shape, bool)
    for nucleus in nuclei:
        inside[tuple(nucleus.coords.T)] = True
    within, beyond = float(green[inside].sum()), float(green[~inside].sum())
    values = dict.fromkeys(NAMES, np.nan)
    if nuclei and within + beyond:
        values["nuclear_ratio"] = within / beyond if beyond else np.inf
    values["ssim_microtubules"] = structural_similarity(green, red)
    values["ssim_er"] = structural_similarity(green, yellow)
    values["ssim_nucleus"] = structural_similarity(green, blue)
    if image[..., 3].any():
        values["protein_over_er"] = image[..., 1].sum() / image[..., 3].sum()
    if green.any():
        values["protein_area"] = (green > 0.05 * green.mean()).sum()
    if segments:
        values["compactness"] = np.mean([s.perimeter_crofton**2 / (4 * np.pi * s.area) for s in segments])
        values["eccentricity"] = np.mean([axis_ratio(s) for s in segments])
    if segments and nuclei:
        areas = [np.mean([region.area for region in regions]) for regions in (segments, nuclei)]
        values["segment_over_nucleus_area"] = areas[0] / areas[1]
        nearest = [min(np.hypot(*np.subtract(s.centroid, n.centroid)) for n in nuclei) for s in segments]
        values["nucleus_distance"] = np.mean(nearest)
    return values


def axis_ratio(region: object) -> float:
    """Minor over major axis by second moments; a pixel is a square with a second moment of 1/12."""
    large, small = region.inertia_tensor_eigvals
    return np.sqrt((small + 1 / 12) / (large + 1 / 12))
