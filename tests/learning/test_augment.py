import warnings

import albumentations as A
import cv2
import numpy as np
import pytest

from lib.learning import augment
from lib.learning.augment import Augmentation, CutMix, change_intensity
from lib.sections import Training
from tests.learning.tiny import images


def augmentation(kind="none", seed=0, channels="RGBY", **settings):
    return Augmentation(Training(augmentation=kind, seed=seed, size=32, **settings), channels)


def test_flips_are_the_eight_of_the_square():
    image_HWK = np.arange(4 * 4 * 4, dtype=np.uint8).reshape(4, 4, 4)
    eight = {
        np.ascontiguousarray(np.rot90(flipped, quarters)).tobytes()
        for flipped in (image_HWK, image_HWK[::-1])
        for quarters in range(4)
    }
    flips = augmentation("flips")
    assert {flips(image_HWK, epoch=0, row=row).tobytes() for row in range(200)} == eight


OPTIONS = {
    "crop": {"crop": (16, 30)},
    "intensity": {"intensity": 0.3},
    "channel_dropout": {"channel_dropout": 1.0},
}


@pytest.mark.parametrize("name", [*augment.KINDS, *OPTIONS])
def test_augmentations_keep_shape_and_type_and_have_valid_arguments(name):
    kind, options = (name, {}) if name in augment.KINDS else ("none", OPTIONS[name])
    image_HWK = images()[0]
    image_HWK.flags.writeable = False  # as those of an array
    before = image_HWK.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # albumentations only warns about a wrong argument, then ignores it
        changed_HWK = augmentation(kind, seed=1, **options)(image_HWK, 0, 0)
    assert changed_HWK.shape == image_HWK.shape and changed_HWK.dtype == np.uint8
    assert np.array_equal(image_HWK, before)
    assert (name == "none") == np.array_equal(changed_HWK, image_HWK)


def test_wrong_arguments_would_be_noticed():
    with pytest.warns(UserWarning, match="not valid"):
        A.Affine(mode=1)


EVERYTHING = {"crop": (16, 30), "intensity": 0.3, "channel_dropout": 0.5}


def test_an_augmentation_depends_on_seed_epoch_and_row_alone():
    image_HWK = images()[0]

    def augmented(seed, epoch, row):
        return augmentation("flips_affine", seed, **EVERYTHING)(image_HWK, epoch, row).tobytes()

    first = augmented(1, 2, 3)
    same = augmentation("flips_affine", 1, **EVERYTHING)
    for row in range(3):  # whatever was drawn before
        same(image_HWK, 0, row)
    assert same(image_HWK, 2, 3).tobytes() == first
    others = {augmented(4, 2, 3), augmented(1, 4, 3), augmented(1, 2, 4), augmented(1, 3, 2)}
    assert len(others | {first}) == 5


def test_all_channels_are_moved_together():
    image_HWK = np.repeat(images()[0][..., :1], 4, axis=2)
    changed_HWK = augmentation("flips_affine", crop=(16, 30))(image_HWK, 0, 5)
    assert not np.array_equal(changed_HWK, image_HWK)
    assert (changed_HWK == changed_HWK[..., :1]).all()


def ramp(side):
    """An image whose first two channels are the coordinates of its pixels."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([rows, columns, rows, columns], axis=-1).astype(np.uint8)


def test_crops_are_squares_of_random_side_and_position_resized_to_the_input():
    image_HWK, sides, corners = ramp(200), [], []
    crops = augmentation(crop=(50, 150), array_size=200)
    for row in range(300):
        crop_HWK = crops(image_HWK, 0, row).astype(float)
        assert crop_HWK.shape == (32, 32, 4)
        height, width = np.ptp(crop_HWK[..., 0]), np.ptp(crop_HWK[..., 1])
        assert height == pytest.approx(width, abs=2)
        sides.append(height * 32 / 31)
        corners.append(crop_HWK[0, 0, :2] / (200 - sides[-1]))
    assert 47 < min(sides) < 55 and 145 < max(sides) < 153 and np.mean(sides) == pytest.approx(100, abs=5)
    assert np.mean(corners, axis=0) == pytest.approx([0.5, 0.5], abs=0.07)
    assert np.min(corners) < 0.05 and np.max(corners) > 0.95
    shares = augmentation(crop=(0.25, 0.75), array_size=200)
    assert np.array_equal(shares(image_HWK, 0, 3), crops(image_HWK, 0, 3))
    fixed = augmentation(crop=(64,), array_size=200)
    assert {round(np.ptp(fixed(image_HWK, 0, row)[..., 0]) / 2) for row in range(5)} == {31}


def test_without_crops_a_larger_array_is_averaged_to_the_size_of_the_input():
    image_HWK = images(size=64)[0]
    small_HWK = augmentation(array_size=64)(image_HWK, 0, 0)
    blocks = image_HWK.reshape(32, 2, 32, 2, 4).mean(axis=(1, 3))
    assert np.abs(small_HWK - blocks).max() <= 0.5
    assert augmentation(array_size=32)(image_HWK, 0, 0) is image_HWK


# the affine transform, without the flips before it


def affine(border=cv2.BORDER_REFLECT_101):
    (step,) = (step for step in augment.KINDS["flips_affine"] if isinstance(step, A.Affine))
    step = A.Affine(**{**step.get_transform_init_args(), "border_mode": border, "p": step.p})
    return A.Compose([step])


def test_affine_transforms_keep_angles_and_aspect_ratio():
    """Their matrix is a rotation times one scale: both singular values are the same."""
    step = affine().transforms[0]
    scales = []
    for seed in range(200):
        step.set_random_seed(seed)
        params = step.get_params_dependent_on_data({"shape": (64, 64, 4)}, {})
        values = np.linalg.svd(params["matrix"][:2, :2], compute_uv=False)
        assert values[0] == pytest.approx(values[1], rel=1e-6)
        scales.append(values[0])
    assert 0.85 <= min(scales) < 0.87 and 1.13 < max(scales) <= 1.15


def test_mirrored_pixels_are_as_few_as_documented():
    """The share of pixels that come from outside the image, over all training images."""
    transform, whole = affine(cv2.BORDER_CONSTANT), np.full((64, 64, 1), 255, np.uint8)
    share = []
    for seed in range(2000):
        transform.set_random_seed(seed)
        share.append((transform(image=whole)["image"] < 128).mean())
    assert np.mean(share) == pytest.approx(0.11, abs=0.01)
    assert np.quantile(share, 0.95) == pytest.approx(0.27, abs=0.02)


# brightness, stains, and mixed images


def test_intensity_changes_each_channel_by_its_own_gain_and_gamma():
    image_HWK = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 4, axis=2)
    gains, gammas = [], []
    for seed in range(100):
        random = np.random.default_rng(seed)
        changed_HWK = change_intensity(image_HWK, 0.5, random).astype(float)
        assert (np.diff(changed_HWK, axis=0) >= 0).all() and (changed_HWK[0] == 0).all()
        # from two grey levels that are not clipped: value = 255 gain (level / 255) ** gamma
        low, high = changed_HWK[60, 0], changed_HWK[120, 0]
        gamma = np.log(high / low) / np.log(2)
        gammas.append(gamma)
        gains.append(high / 255 / (120 / 255) ** gamma)
    for found in (np.array(gains), np.array(gammas)):
        assert 0.62 < found.min() < 0.72 and 1.42 < found.max() < 1.56
        assert np.median(found) == pytest.approx(1, abs=0.06)
        assert np.abs(np.corrcoef(found.T) - np.eye(4)).max() < 0.35  # channels are independent
    assert np.array_equal(change_intensity(image_HWK, 0.0, np.random.default_rng(0)), image_HWK)


@pytest.mark.parametrize(("channels", "references"), [("RGBY", {0, 2, 3}), ("RGB", {0, 2})])
def test_channel_dropout_leaves_out_one_reference_stain_and_never_green(channels, references):
    image_HWK, dropped = images()[0], []
    some = augmentation(channels=channels, channel_dropout=0.4)
    for row in range(300):
        changed_HWK = some(image_HWK, 0, row)
        empty = [channel for channel in range(4) if not changed_HWK[..., channel].any()]
        others = [channel for channel in range(4) if channel not in empty]
        assert len(empty) <= 1 and np.array_equal(changed_HWK[..., others], image_HWK[..., others])
        dropped += empty
    assert {*dropped} == references and len(dropped) == pytest.approx(120, abs=25)
    assert max(np.bincount(dropped)) < 1.5 * 120 / len(references)


def test_cutmix_draws_rectangles_of_every_area_from_training_rows():
    rows = np.array([3, 5, 8])
    mix, drawn = CutMix(0.75, seed=1, rows=rows, weight_N=np.array([1.0, 1.0, 2.0])), []
    for row in range(2000):
        found = mix.draw(100, 0, row)
        if found is None:
            continue
        other, rectangle, share = found
        inside = np.zeros((100, 100))
        inside[rectangle] = 1
        assert inside.mean() == pytest.approx(share)
        drawn.append((other, share, *(axis.start for axis in rectangle)))
    others, shares, tops, lefts = np.array(drawn).T
    assert len(drawn) == pytest.approx(1500, abs=60)
    assert [np.mean(others == row) for row in rows] == pytest.approx([0.25, 0.25, 0.5], abs=0.04)
    assert shares.min() < 0.01 and shares.max() > 0.9
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.75 and tops.max() > 90
    again = CutMix(0.75, seed=1, rows=rows, weight_N=np.array([1.0, 1.0, 2.0]))
    assert again.draw(100, 0, 7) == mix.draw(100, 0, 7)
    assert any(mix.draw(100, 0, row) != mix.draw(100, 1, row) for row in range(5))
