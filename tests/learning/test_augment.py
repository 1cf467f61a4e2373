import warnings

import albumentations as A
import numpy as np
import pytest

from lib.learning import augment
from lib.learning.augment import Augmentation
from tests.learning.tiny import images


def test_flips_are_the_eight_of_the_square():
    image_HWK = np.arange(4 * 4 * 4, dtype=np.uint8).reshape(4, 4, 4)
    eight = {
        np.ascontiguousarray(np.rot90(flipped, quarters)).tobytes()
        for flipped in (image_HWK, image_HWK[::-1])
        for quarters in range(4)
    }
    augmentation = Augmentation("flips", seed=0)
    assert {augmentation(image_HWK, epoch=0, row=row).tobytes() for row in range(200)} == eight


@pytest.mark.parametrize("kind", augment.KINDS)
def test_augmentations_keep_shape_and_type_and_have_valid_arguments(kind):
    image_HWK = images()[0]
    before = image_HWK.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # albumentations only warns about a wrong argument, then ignores it
        changed_HWK = Augmentation(kind, seed=1)(image_HWK, 0, 0)
    assert changed_HWK.shape == image_HWK.shape and changed_HWK.dtype == np.uint8
    assert np.array_equal(image_HWK, before)
    assert (kind == "none") == np.array_equal(changed_HWK, image_HWK)


def test_wrong_arguments_would_be_noticed():
    with pytest.warns(UserWarning, match="not valid"):
        A.Affine(mode=1)


def test_an_augmentation_depends_on_seed_epoch_and_row_alone():
    image_HWK = images()[0]

    def augmented(seed, epoch, row):
        return Augmentation("flips_affine", seed)(image_HWK, epoch, row).tobytes()

    first = augmented(1, 2, 3)
    augmentation = Augmentation("flips_affine", 1)
    for row in range(3):  # whatever was drawn before
        augmentation(image_HWK, 0, row)
    assert augmentation(image_HWK, 2, 3).tobytes() == first
    others = {augmented(4, 2, 3), augmented(1, 4, 3), augmented(1, 2, 4), augmented(1, 3, 2)}
    assert len(others | {first}) == 5


def test_all_channels_are_moved_together():
    image_HWK = np.repeat(images()[0][..., :1], 4, axis=2)
    changed_HWK = Augmentation("flips_affine", seed=0)(image_HWK, 0, 5)
    assert not np.array_equal(changed_HWK, image_HWK)
    assert (changed_HWK == changed_HWK[..., :1]).all()


def test_an_unknown_kind_is_rejected():
    with pytest.raises(KeyError):
        Augmentation("blur", seed=0)
