"""What the microscope makes of a field: exposure, blur, noise, black level, eight bits."""

from typing import NamedTuple

import numpy as np

from lib.simulation.canvas import Canvas

GLOW = 0.004  # median light from out of focus and from the medium, share of full scale
DIM_SKEW = 0.6  # bright images differ less from the median than dim ones, as in the real tables


class Exposure(NamedTuple):
    """How one channel is recorded; chosen so that the statistics are like those of the real images."""

    level: float  # logarithm of the median brightness
    sigma: float  # standard deviation of the logarithm of the brightness
    noise: float  # shot noise over the square root of the light, in a pixel of 1 unit
    black: float  # median share of full scale that the camera subtracts
    glow: float  # share of the image's glow that the channel sees


TRAIN = {
    "red": Exposure(-1.25, 0.70, 0.13, 0.022, 1.0),
    "green": Exposure(-1.52, 0.80, 0.25, 0.015, 1.0),
    "blue": Exposure(-0.68, 1.00, 0.08, 0.030, 0.25),
    "yellow": Exposure(-0.62, 0.75, 0.20, 0.022, 1.0),
}
TEST = {
    "red": Exposure(-1.20, 0.78, 0.13, 0.021, 1.0),
    "green": Exposure(-1.42, 0.85, 0.25, 0.014, 1.0),
    "blue": Exposure(-0.66, 1.10, 0.08, 0.031, 0.25),
    "yellow": Exposure(-0.52, 0.85, 0.20, 0.021, 1.0),
}


class Shot(NamedTuple):
    """What the channels of one image have in common."""

    focus: float  # standard deviation of the blur in units
    glow: float  # light everywhere, share of full scale
    visibility: float  # divides noise and glow; 1 is realistic


def take_shot(rng: np.random.Generator, visibility: float) -> Shot:
    """Draw focus and glow of one image."""
    return Shot(rng.uniform(0.1, 0.8), GLOW * rng.lognormal(0, 1.0) / visibility, visibility)


def record(
    stain_HW: np.ndarray, canvas: Canvas, exposure: Exposure, brightness: float, shot: Shot,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Record one channel.

    Shot noise is drawn by the inverse of Anscombe's transform: normal noise on the square root of the
    light, less of it where there is less than a photon. That gives a variance of ``noise**2 * light``
    and, in faint places, the rare bright pixels of photon counting. A pixel that covers more of the field
    collects more light. The camera subtracts a black level, which leaves many pixels at exactly zero.

    Parameters
    ----------
    stain_HW : ndarray of shape (H, W), float32
        About 1 where it is bright.
    brightness : float
        Standard normal: how bright this image is among its kind.

    Returns
    -------
    ndarray of shape (H, W), uint8
    """
    light_HW = canvas.blur(np.maximum(stain_HW, 0), shot.focus)
    skewed = brightness if brightness < 0 else DIM_SKEW * brightness
    light_HW *= np.float32(np.exp(exposure.level + exposure.sigma * skewed))
    light_HW += np.float32(0.04) * canvas.blur(light_HW, 14.0) + np.float32(shot.glow * exposure.glow)
    noise = exposure.noise * rng.lognormal(0, 0.3) * canvas.scale / shot.visibility
    floor = np.float32(noise**2 / 4)
    spread_HW = floor * light_HW / (light_HW + floor)
    root_HW = np.sqrt(light_HW) + np.sqrt(spread_HW) * rng.standard_normal(light_HW.shape, np.float32)
    black = np.float32(exposure.black * rng.lognormal(0, 0.7))
    return np.clip((root_HW * root_HW - spread_HW - black) * 255, 0, 255).astype(np.uint8)
