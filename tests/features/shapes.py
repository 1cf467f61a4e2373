"""Images of known content: ellipses in one channel, and smooth random structure in all four."""

import cv2
import numpy as np

from lib.features.biological import SEGMENT_AREA
from lib.features.segmentation import Segments, segment

SIZE = 512
ROW_HW, COLUMN_HW = np.mgrid[:SIZE, :SIZE].astype(float)


def ellipse(row, column, a, b, angle=0.0):
    """A filled ellipse with semi-axes a and b, True inside."""
    y, x = ROW_HW - row, COLUMN_HW - column
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (u / a) ** 2 + (v / b) ** 2 <= 1


NUCLEUS = ellipse(250, 260, 40, 40)


def channel(*masks, level=200):
    """One channel, (SIZE, SIZE) uint8: `level` inside any of the masks, 0 outside."""
    return (np.any(masks, axis=0) * level).astype(np.uint8) if masks else np.zeros((SIZE, SIZE), np.uint8)


def image(red=None, green=None, blue=None, yellow=None):
    """An image of four channels, empty unless given."""
    return np.stack([channel() if c is None else c for c in (red, green, blue, yellow)], axis=-1)


def noise(seed, size=SIZE):
    """Four channels of smooth structure with photon noise: structures of every size, nowhere equal."""
    random = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(random.normal(size=(size, size)), (0, 0), size / 60) for _ in range(4)]
    channels = [random.poisson(np.maximum(f / f.std(), 0) * 40) for f in fields]
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def segmented(channel_HW, fill_holes=False) -> Segments:
    """The segments of a channel within the paper's limits of area."""
    return segment(channel_HW, *SEGMENT_AREA, fill_holes)
