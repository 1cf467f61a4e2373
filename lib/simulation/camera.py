"""The cameras of two microscopes: exposure, blur, background light, noise, black level and 8-bit pixels."""

from math import exp
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from lib.labels import CHANNELS
from lib.simulation.canvas import Canvas

# bright images differ less from the median than dim ones, as in the statistics of the real images
BRIGHT_SIDE_FACTOR = 0.6
WELL_SHARE = 0.8  # of the variance of the imaging conditions that the fields of a well share


class Exposure(NamedTuple):
    """How one channel is recorded; the values reproduce the statistics of the real images."""

    level: float  # logarithm of the median brightness
    sigma: float  # standard deviation of the logarithm of the brightness
    noise: float  # shot noise over the square root of the light, in a pixel of 1 unit
    black: float  # median black level that the camera subtracts, fraction of full scale
    background: float  # fraction of the image's background light that reaches the channel


class Camera(NamedTuple):
    """A camera; the two differ as the competition's originals of 2048 and of 3072 pixels do."""

    side: int  # of the original images in pixels
    field_of_view: float  # side of a field relative to the small camera
    density: float  # of the cells, relative to the small camera
    blur: tuple[float, float]  # range of the standard deviation of the point spread function in units
    # median background light, from outside the focal plane and from the medium, fraction of full scale
    background_light: float
    common: float  # correlation of the brightness of the channels of an image
    protein: float  # of the brightness of the protein's channel: share of the conditions, not of the antibody
    train: dict[str, Exposure]  # by channel
    test: dict[str, Exposure]


CAMERAS = {
    "small": Camera(
        side=2048,
        field_of_view=1.0,
        density=1.0,
        blur=(0.1, 0.8),
        background_light=0.004,
        common=0.36,
        protein=0.4,
        train={
            "red": Exposure(-1.02, 0.32, 0.13, 0.022, 1.0),
            "green": Exposure(-1.61, 0.70, 0.22, 0.015, 1.3),
            "blue": Exposure(-0.35, 0.22, 0.07, 0.020, 0.75),
            "yellow": Exposure(-0.23, 0.33, 0.15, 0.026, 1.0),
        },
        test={
            "red": Exposure(-0.79, 0.38, 0.13, 0.017, 1.1),
            "green": Exposure(-1.46, 0.80, 0.22, 0.013, 1.6),
            "blue": Exposure(-0.23, 0.22, 0.07, 0.018, 0.75),
            "yellow": Exposure(-0.02, 0.47, 0.15, 0.018, 1.0),
        },
    ),
    "large": Camera(
        side=3072,
        field_of_view=1.5,
        density=0.5,
        blur=(0.2, 1.0),
        background_light=0.004,
        common=0.6,
        protein=0.7,
        train={
            "red": Exposure(-1.42, 0.76, 0.21, 0.025, 1.0),
            "green": Exposure(-1.46, 0.79, 0.33, 0.020, 1.4),
            "blue": Exposure(-0.98, 0.95, 0.13, 0.025, 0.65),
            "yellow": Exposure(-0.62, 0.75, 0.22, 0.025, 1.1),
        },
        test={
            "red": Exposure(-1.47, 0.75, 0.21, 0.026, 1.3),
            "green": Exposure(-1.32, 0.70, 0.33, 0.016, 1.0),
            "blue": Exposure(-0.95, 0.94, 0.13, 0.026, 0.70),
            "yellow": Exposure(-0.69, 0.75, 0.22, 0.023, 1.0),
        },
    ),
}


class Acquisition(NamedTuple):
    """Imaging conditions of one image."""

    blur: float  # standard deviation of the point spread function in units
    background_light: float  # fraction of full scale
    visibility: float  # divides noise and background light; 1 is realistic
    brightness: dict[str, float]  # by channel, in standard deviations from the median


def draw_acquisition(
    camera: Camera, visibility: float, well_rng: np.random.Generator, rng: np.random.Generator
) -> Acquisition:
    """Draw the imaging conditions of one image.

    Parameters
    ----------
    camera : Camera
    visibility : float
    well_rng : numpy.random.Generator
        Of the well: the conditions of its fields are similar.
    rng : numpy.random.Generator
        Of the image.
    """
    count = 3 + len(CHANNELS)
    mixed = WELL_SHARE**0.5 * well_rng.standard_normal(count)
    mixed += (1 - WELL_SHARE) ** 0.5 * rng.standard_normal(count)
    blur, light, common, *own = mixed.tolist()
    low, high = camera.blur
    return Acquisition(
        blur=low + (high - low) * NormalDist().cdf(blur),
        background_light=camera.background_light * exp(light) / visibility,
        visibility=visibility,
        brightness={
            name: camera.common**0.5 * common + (1 - camera.common) ** 0.5 * value
            for name, value in zip(CHANNELS, own, strict=True)
        },
    )


def record_channel(
    stain_HW: np.ndarray, canvas: Canvas, exposure: Exposure, brightness: float, acquisition: Acquisition,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Record one channel.

    Shot noise is drawn by inverting Anscombe's transform: normal noise on the square root of the light,
    reduced where there is less than one photon. This gives a variance of ``noise**2 * light`` and, in dim
    regions, the occasional bright pixels of photon counting. A pixel that covers more of the field collects
    more light. The camera subtracts a black level, which leaves many pixels at exactly zero.

    Parameters
    ----------
    stain_HW : ndarray of shape (H, W), float32
        About 1 where it is bright.
    canvas : Canvas
        Size of the pixels.
    exposure : Exposure
        Of this channel.
    brightness : float
        Of this image, in standard deviations from the median.
    acquisition : Acquisition
        Of this image.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (H, W), uint8
    """
    light_HW = canvas.blur(np.maximum(stain_HW, 0), acquisition.blur)
    skewed = brightness if brightness < 0 else BRIGHT_SIDE_FACTOR * brightness
    light_HW *= np.float32(np.exp(exposure.level + exposure.sigma * skewed))
    background = np.float32(acquisition.background_light * exposure.background)
    light_HW += np.float32(0.04) * canvas.blur(light_HW, 14.0) + background
    noise = exposure.noise * rng.lognormal(0, 0.3) * canvas.scale / acquisition.visibility
    photon = np.float32(noise**2 / 4)  # light at which the noise is reduced by half
    variance_HW = photon * light_HW / (light_HW + photon)
    root_HW = np.sqrt(light_HW) + np.sqrt(variance_HW) * rng.standard_normal(light_HW.shape, np.float32)
    black = np.float32(exposure.black * rng.lognormal(0, 0.7))
    return np.clip((root_HW * root_HW - variance_HW - black) * 255, 0, 255).astype(np.uint8)
