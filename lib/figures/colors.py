"""Channels to RGB pictures, in the colours of the Human Protein Atlas: arrays in, arrays out."""

import numpy as np

CHANNEL_COLORS = (  # RGB of each channel shown alone, R G B Y
    (1, 0, 0),
    (0, 1, 0),
    (0.25, 0.45, 1),  # pure blue is hard to see
    (1, 1, 0),
)


def merged(image_HWK: np.ndarray) -> np.ndarray:
    """Merge the channels in the atlas's colours: red, green and blue as named, yellow as red plus green.

    Parameters
    ----------
    image_HWK : ndarray of shape (H, W, 4), uint8, R G B Y

    Returns
    -------
    ndarray of shape (H, W, 3), uint8, RGB
    """
    red, green, blue, yellow = np.moveaxis(image_HWK.astype(np.float32), -1, 0)
    rgb = np.stack([red + 0.5 * yellow, green + 0.5 * yellow, blue], axis=-1)
    return rgb.clip(0, 255).astype(np.uint8)


def brightened(image_HWK: np.ndarray) -> np.ndarray:
    """Stretch each channel so that its brightest 0.5 % saturate, at most eightfold; same shape, uint8."""
    top_K = np.percentile(image_HWK.reshape(-1, image_HWK.shape[-1]), 99.5, axis=0)
    return (image_HWK * (255 / top_K.clip(min=32))).clip(0, 255).astype(np.uint8)


def in_color(image_HWK: np.ndarray, channel: int) -> np.ndarray:
    """Return one channel alone in its colour: (H, W, 3) uint8 RGB."""
    return (image_HWK[..., channel, None] * np.array(CHANNEL_COLORS[channel])).astype(np.uint8)
