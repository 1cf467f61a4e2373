"""Random augmentation of training images; the only module that imports albumentations.

What happens to a sample is drawn from (seed, epoch, row) alone. By default, albumentations 2 draws the same
augmentations in every worker process and, with new workers, in every epoch.
"""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # do not look for a newer version online

import albumentations as A
import cv2
import numpy as np

from lib.sections import Training

KINDS = {
    "none": [],
    "flips": [A.D4(p=1.0)],  # the eight flips and quarter rotations: cells have no natural orientation
    # and similarities, as stretched or sheared cells do not occur. What comes from outside the image is
    # mirrored: 11 % of the pixels on average, over 28 % in one image of twenty
    "flips_affine": [
        A.D4(p=1.0),
        A.Affine(
            scale=(0.85, 1.15),
            keep_ratio=True,
            translate_percent=(-0.06, 0.06),
            rotate=(-45, 45),
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.8,
        ),
    ],
}
REFERENCES = {"RGBY": (0, 2, 3), "RGB": (0, 2)}  # channels of the reference stains, by network.channels
INTENSITY, CUTMIX = 1, 2  # random streams next to that of the geometry


class Augmentation:
    """Random augmentation of an image that depends only on the settings, epoch and row.

    Parameters
    ----------
    settings : Training
    channels : str
        As the setting ``network.channels``.
    """

    def __init__(self, settings: Training, channels: str = "RGBY") -> None:
        self.settings, self.channels = settings, channels
        steps = [*_input_steps(settings), *KINDS[settings.augmentation]]
        self.transform = A.Compose(steps) if steps else None

    def __call__(self, image_HWK: np.ndarray, epoch: int, row: int) -> np.ndarray:
        """Return an augmented copy of an (H, W, 4) uint8 image; the image itself if there is nothing to do.

        With crops, or where the arrays are not of the side of the network's input, it has that side.
        """
        if self.transform is not None:
            state = np.random.SeedSequence([self.settings.seed, epoch, row]).generate_state(1)
            self.transform.set_random_seed(int(state[0]))
            image_HWK = self.transform(image=np.ascontiguousarray(image_HWK))["image"]
        if not self.settings.intensity and not self.settings.channel_dropout:
            return image_HWK
        random = np.random.default_rng([self.settings.seed, epoch, row, INTENSITY])
        image_HWK = change_intensity(image_HWK, self.settings.intensity, random)
        if random.random() < self.settings.channel_dropout:
            image_HWK[..., random.choice(REFERENCES[self.channels])] = 0
        return image_HWK


def _input_steps(settings: Training) -> list[A.BasicTransform]:
    """Return what makes the network's input of an array's image: a crop or nothing, and resizing."""
    side, resized = settings.size, {"interpolation": cv2.INTER_LINEAR, "area_for_downscale": "image"}
    if settings.crop_sides[-1]:
        crops = settings.crop_sides
        return [A.RandomSizedCrop(min_max_height=crops, size=(side, side), p=1.0, **resized)]
    if settings.array_size not in (0, side):
        return [A.Resize(side, side, p=1.0, interpolation=cv2.INTER_AREA)]
    return []


def change_intensity(image_HWK: np.ndarray, strength: float, random: np.random.Generator) -> np.ndarray:
    """Return a copy of a uint8 image with a random gain and gamma for each channel.

    Both are drawn log-uniformly between 1 / (1 + strength) and 1 + strength; values stay between 0 and 255.
    """
    bound, channels = np.log1p(strength), image_HWK.shape[-1]
    gain_K, gamma_K = np.exp(random.uniform(-bound, bound, (2, channels)))
    table_LK = 255 * (np.arange(256)[:, None] / 255) ** gamma_K * gain_K
    table_LK = table_LK.round().clip(0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image_HWK), table_LK[:, None])


class CutMix:
    """CutMix (Yun et al. 2019): a random rectangle of an image comes from another sample.

    The other sample is drawn from all training rows rather than from the batch, so that the result depends on
    neither the number of processes nor the position in an epoch.

    Parameters
    ----------
    share : float
        Of the images that are mixed.
    seed : int
    rows : ndarray of int
        The training rows.
    weight_N : ndarray of float, or None
        Sampling weight of each of them; without it, all are equal.
    """

    def __init__(self, share: float, seed: int, rows: np.ndarray, weight_N: np.ndarray | None = None) -> None:
        self.share, self.seed, self.rows = share, seed, rows
        self.cumulated_N = np.cumsum(np.ones(len(rows)) if weight_N is None else weight_N)

    def draw(self, side: int, epoch: int, row: int) -> tuple[int, tuple[slice, slice], float] | None:
        """Return the other row, the rectangle, and its share of the image; None for an image left alone.

        Parameters
        ----------
        side : int
            Of the images in pixels.
        """
        random = np.random.default_rng([self.seed, epoch, row, CUTMIX])
        if random.random() >= self.share:
            return None
        other = np.searchsorted(self.cumulated_N, random.random() * self.cumulated_N[-1], side="right")
        # uniformly distributed, its area is then cut at the image's edges
        half, centre = side * np.sqrt(random.random()) / 2, side * random.random(2)
        start, stop = (np.clip(np.rint(centre + shift), 0, side).astype(int) for shift in (-half, half))
        rectangle = (slice(start[0], stop[0]), slice(start[1], stop[1]))
        return int(self.rows[other]), rectangle, float(np.prod(stop - start)) / side**2
