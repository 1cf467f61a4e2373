"""Random augmentation of training images; the only module that imports albumentations.

Each sample's augmentation is drawn from (seed, epoch, row) alone. By default, albumentations 2 draws the same
augmentations in every worker process and, with new workers, in every epoch.
"""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # do not look for a newer version online

import albumentations as A
import cv2
import numpy as np

KINDS = {
    "none": [],
    "flips": [A.D4(p=1.0)],  # the eight flips and quarter rotations: cells have no natural orientation
    "flips_affine": [
        A.D4(p=1.0),
        A.Affine(
            scale=(0.85, 1.15),
            translate_percent=(-0.06, 0.06),
            rotate=(-45, 45),
            shear=(-5, 5),
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.8,
        ),
    ],
}


class Augmentation:
    """Random augmentation of an image that depends only on seed, epoch and row.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    seed : int
    """

    def __init__(self, kind: str, seed: int) -> None:
        self.seed = seed
        self.transform = A.Compose(KINDS[kind]) if KINDS[kind] else None

    def __call__(self, image_HWK: np.ndarray, epoch: int, row: int) -> np.ndarray:
        """Return an augmented copy of an (H, W, 4) uint8 image; the image itself for kind none."""
        if self.transform is None:
            return image_HWK
        state = np.random.SeedSequence([self.seed, epoch, row]).generate_state(1)
        self.transform.set_random_seed(int(state[0]))
        return self.transform(image=np.ascontiguousarray(image_HWK))["image"]
