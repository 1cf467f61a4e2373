"""Channels to pictures, in the colours of the Human Protein Atlas; plain arrays, no file formats."""

import numpy as np

ALONE = (
    (1, 0, 0),
    (0, 1, 0),
    (0.25, 0.45, 1),
    (1, 1, 0),
)  # RGB of a channel by itself; pure blue is hard to see


def merged(image_HWK: np.ndarray) -> np.ndarray:
    """Merge channels in the atlas's colours: red, green and blue as named, yellow as red and green.

    Takes (H, W, 4) uint8 R G B Y; returns (H, W, 3) uint8 RGB.
    """
    red, green, blue, yellow = np.moveaxis(image_HWK.astype(np.float32), -1, 0)
    rgb = np.stack([red + 0.5 * yellow, green + 0.5 * yellow, blue], axis=-1)
    return rgb.clip(0, 255).astype(np.uint8)


def brightened(image_HWK: np.ndarray) -> np.ndarray:
    """Stretch each channel so that its brightest 0.5 % are white, at most eightfold; uint8 as given."""
    top_K = np.percentile(image_HWK.reshape(-1, image_HWK.shape[-1]), 99.5, axis=0)
    return (image_HWK * (255 / top_K.clip(min=32))).clip(0, 255).astype(np.uint8)


def in_color(image_HWK: np.ndarray, channel: int) -> np.ndarray:
    """Return one channel alone in its colour, (H, W, 3) uint8 RGB."""
    return (image_HWK[..., channel, None] * np.array(ALONE[channel])).astype(np.uint8)
