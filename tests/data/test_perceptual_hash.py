"""Hashes and thumbnails agree for images of the same cells, in any orientation, and for no others."""

import cv2
import numpy as np
import pytest

from lib.data import perceptual_hash

UNRELATED = perceptual_hash.BITS // 2  # bits by which unrelated channels differ on average


def scene(seed: int, size: int = 160) -> np.ndarray:
    """Return an image of blobs, different ones in each channel; shape (size, size, 4), uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(size=(size // 10, size // 10, 4)).astype(np.float32) ** 3
    return np.uint8(200 * np.clip(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1))


def hashed(*images_HWK: np.ndarray) -> np.ndarray:
    own = [perceptual_hash.hash_thumbnail(perceptual_hash.thumbnail(image_HWK)) for image_HWK in images_HWK]
    return np.stack(own)


def distances(first_HWK: np.ndarray, second_HWK: np.ndarray) -> np.ndarray:
    first, second = perceptual_hash.signs(hashed(first_HWK, second_HWK)).reshape(2, 3, -1)
    return (perceptual_hash.BITS - (first * second).sum(axis=1)) / 2


def correlation(first_HWK: np.ndarray, second_HWK: np.ndarray) -> float:
    return perceptual_hash.correlation(*map(perceptual_hash.thumbnail, (first_HWK, second_HWK)))


def test_a_thumbnail_is_stretched_and_needs_no_more_than_three_channels():
    image_HWK = scene(0) // 40  # five grey levels
    image_HWK[..., 1] = 9
    small_KHW = perceptual_hash.thumbnail(image_HWK)
    assert small_KHW.shape == (3, 64, 64) and small_KHW.dtype == np.uint8
    assert small_KHW.min(axis=(1, 2)).tolist() == [0, 0, 0]
    assert small_KHW.max(axis=(1, 2)).tolist() == [255, 0, 255]
    assert np.array_equal(perceptual_hash.thumbnail(image_HWK[..., :3]), small_KHW)
    assert perceptual_hash.thumbnail(image_HWK[:16, :30]).shape == (3, 64, 64)


def test_one_bright_pixel_in_a_large_black_image_is_structure():
    image_HWK = np.zeros((1024, 1024, 4), np.uint8)
    image_HWK[700, 300, 0] = 1
    assert (hashed(image_HWK)[0] > 0).tolist() == [True, False, False]


def test_hashes_change_little_with_exposure_noise_and_shift_and_much_with_content():
    large_HWK, rng = scene(1, 170), np.random.default_rng(0)
    image_HWK = large_HWK[5:165, 5:165]
    noisy_HWK = np.clip(image_HWK + rng.normal(0, 8, image_HWK.shape), 0, 255).astype(np.uint8)
    for other_HWK in (image_HWK // 12, noisy_HWK, large_HWK[2:162, 7:167]):
        assert (distances(image_HWK, other_HWK) <= 12).all()
    unrelated = np.array([distances(scene(seed), scene(seed + 1)) for seed in range(10, 40)])
    assert abs(unrelated.mean() - UNRELATED) < 1.5 and unrelated.min() > 12


def test_a_channel_without_structure_is_like_an_unrelated_one():
    image_HWK, black_HWK = scene(2), np.zeros((50, 50, 4), np.uint8)
    without_green_HWK = image_HWK * np.uint8([1, 0, 1, 1])
    assert hashed(black_HWK, black_HWK + 200).tolist() == [[0] * 3] * 2
    assert distances(black_HWK, black_HWK + 200).tolist() == [UNRELATED] * 3
    assert distances(without_green_HWK, without_green_HWK).tolist() == [0, UNRELATED, 0]


@pytest.mark.parametrize("orientation", range(perceptual_hash.ORIENTATIONS))
def test_turning_an_image_only_exchanges_and_inverts_bits(orientation):
    image_HWK = scene(3) * np.uint8([1, 1, 0, 1])
    thumbnail_KHW = perceptual_hash.thumbnail(image_HWK)
    turned_KHW = perceptual_hash.orient(thumbnail_KHW, orientation)
    expected = perceptual_hash.signs(perceptual_hash.hash_thumbnail(turned_KHW)[None])
    found = perceptual_hash.signs(hashed(image_HWK), orientation)
    assert (expected != found).sum() <= 1 and not found[0, 128:].any()  # a frequency may be close to 0
    assert bool(orientation) == (not np.array_equal(turned_KHW, thumbnail_KHW))


def test_the_orientations_are_those_of_a_square():
    image_KHW = np.arange(9).reshape(1, 3, 3)
    turned = {perceptual_hash.orient(image_KHW, orientation).tobytes() for orientation in range(8)}
    expected = {np.rot90(own, k).tobytes() for own in (image_KHW[0], image_KHW[0].T) for k in range(4)}
    assert turned == expected


def test_thumbnails_correlate_after_a_shift_and_not_if_the_cells_differ():
    large_HWK = scene(4, 180)
    image_HWK, shifted_HWK = large_HWK[10:170, 10:170], large_HWK[0:160, 19:179]
    assert correlation(image_HWK, image_HWK) > 0.999
    assert correlation(image_HWK, shifted_HWK) > 0.9
    assert max(correlation(scene(seed), scene(seed + 1)) for seed in range(50, 60)) < 0.6
    far_HWK = scene(4, 300)
    assert correlation(far_HWK[:160, :160], far_HWK[40:200, 40:200]) < 0.6


def test_one_channel_may_disagree_but_not_two():
    image_HWK, other_HWK = scene(6), scene(7)
    for faint in range(3):
        second_HWK = image_HWK.copy()
        second_HWK[..., faint] = other_HWK[..., faint]
        assert correlation(image_HWK, second_HWK) > 0.95
        another = (faint + 1) % 3
        second_HWK[..., another] = other_HWK[..., another]
        assert correlation(image_HWK, second_HWK) < 0.6


def test_images_with_less_than_two_channels_of_structure_do_not_correlate():
    black_HWK, red_HWK = np.zeros((80, 80, 4), np.uint8), scene(8) * np.uint8([1, 0, 0, 0])
    corner_HWK = black_HWK.copy()
    corner_HWK[0, 0] = 255  # outside the part that is compared
    for image_HWK in (black_HWK, red_HWK, corner_HWK):
        assert correlation(image_HWK, image_HWK) == 0
    assert correlation(scene(8), black_HWK) == 0
