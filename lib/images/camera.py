"""What the microscope makes of a field: exposure, blur, noise, black level, eight bits."""

from typing import NamedTuple

import numpy as np

from lib.images.drawing import Canvas


class Exposure(NamedTuple):
    """How one channel is recorded.

    The brightness of an image is ``exp(level + sigma x)`` for a standard normal x.
    """

    level: float
    sigma: float
    noise: float  # standard deviation of the shot noise at full scale, in a pixel of 1 unit
    black: float  # mean share of full scale that the camera subtracts


TRAIN = {
    "red": Exposure(-1.2, 0.6, 0.12, 0.02),
    "green": Exposure(-1.4, 0.9, 0.15, 0.015),
    "blue": Exposure(-1.0, 0.7, 0.06, 0.02),
    "yellow": Exposure(-1.2, 0.6, 0.12, 0.02),
}
TEST = {
    "red": Exposure(-1.15, 0.75, 0.12, 0.02),
    "green": Exposure(-1.25, 0.95, 0.15, 0.015),
    "blue": Exposure(-1.0, 0.85, 0.06, 0.02),
    "yellow": Exposure(-1.15, 0.75, 0.12, 0.02),
}


def record(
    image_HW: np.ndarray, canvas: Canvas, exposure: Exposure, brightness: float, focus: float,
    visibility: float, rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Record one channel.

    Shot noise grows with the square root of the light; a pixel that covers more of the field collects
    more light. The black level is subtracted after that, which leaves many pixels at exactly zero.

    Parameters
    ----------
    image_HW : ndarray of shape (H, W), float32
        The stain, about 1 where it is bright.
    brightness : float
        Standard normal: how bright this image is among its kind.
    focus : float
        Standard deviation of the blur in units.

    Returns
    -------
    ndarray of shape (H, W), uint8
    """
    light_HW = canvas.blur(image_HW, focus) * np.float32(np.exp(exposure.level + exposure.sigma * brightness))
    light_HW += np.float32(0.5 * exposure.black)
    noise = exposure.noise * canvas.scale / visibility
    light_HW += noise * np.sqrt(light_HW * 0.35) * rng.standard_normal(light_HW.shape, np.float32)
    black = exposure.black * rng.lognormal(0, 0.5)
    return np.clip((light_HW - np.float32(black)) * 255, 0, 255).astype(np.uint8)
