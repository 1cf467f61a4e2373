import cv2
import numpy as np
import pytest

from lib.figures.thumbnails import GAP, SIDE, overlaid, tile


def decoded(picture):
    """Return the (H, W, 4) pixels of an encoded picture: opacity, R, G, B."""
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]


def field(size):
    """A dark field with a square of protein in the middle, and a nucleus in the upper left."""
    image_HWK = np.zeros((size, size, 4), np.uint8)
    image_HWK[size // 4 : -size // 4, size // 4 : -size // 4, 1] = 255
    image_HWK[: size // 4, : size // 4, 2] = 255
    return image_HWK


@pytest.mark.parametrize("size", [40, 512])
def test_a_tile_shows_the_channels_merged_the_protein_and_the_heatmap(size):
    heatmap_HW = np.zeros((size, size), np.float32)
    heatmap_HW[: size // 4, -size // 4 :] = 1  # the upper right
    picture = decoded(tile(field(size), heatmap_HW))
    assert picture.shape == (SIDE, 3 * SIDE + 2 * GAP, 4)
    corner, middle, far = SIDE // 8, SIDE // 2, SIDE - SIDE // 8
    merged, alone, heatmap = (
        picture[:, k * (SIDE + GAP) : k * (SIDE + GAP) + SIDE].astype(int) for k in range(3)
    )
    assert merged[middle, middle] == pytest.approx([255, 0, 255, 0], abs=25)  # green
    assert merged[corner, corner] == pytest.approx([255, 0, 0, 255], abs=25)  # blue
    assert alone[corner, corner] == pytest.approx([255, 0, 0, 0], abs=25)  # no nucleus
    assert heatmap[corner, far, 1] > 150 and heatmap[far, far, 1] < 25  # bright only in the upper right
    assert heatmap[middle, middle] == pytest.approx([255, 153, 153, 153], abs=25)  # the protein, dim grey
    assert (picture[:, SIDE + 1 : SIDE + GAP - 1, 0] == 0).all(), "the gap is transparent"


def test_without_a_heatmap_there_are_two_panels():
    assert decoded(tile(field(64))).shape == (SIDE, 2 * SIDE + GAP, 4)
    assert decoded(tile(field(64), side=32)).shape == (32, 2 * 32 + GAP, 4)


def test_a_heatmap_of_zeros_only_dims_the_protein():
    plane_HW = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown_HW3 = overlaid(plane_HW, np.zeros((16, 16)))
    assert (shown_HW3 == (0.6 * plane_HW).astype(np.uint8)[..., None]).all()


def test_the_heatmap_is_mixed_with_the_protein_by_its_value():
    plane_HW, heatmap_HW = np.full((1, 3), 200, np.uint8), np.array([[0.0, 0.5, 1.0]])
    low, half, full = overlaid(plane_HW, heatmap_HW)[0].astype(int)
    assert low.tolist() == [120, 120, 120]
    # OpenCV's inferno at 127 and 255 is about (187, 54, 85) and (252, 255, 164)
    assert half == pytest.approx(0.55 * 120 + 0.45 * np.array([187, 54, 85]), abs=3)
    assert full == pytest.approx(0.1 * 120 + 0.9 * np.array([252, 255, 164]), abs=3)
