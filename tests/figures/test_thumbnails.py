import cv2
import numpy as np
import pytest

from lib.figures.thumbnails import GAP, SIDE, heated, tile


def decoded(picture):
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]  # A, R, G, B


def field(size):
    """A dark field with a square of protein in the middle, and a nucleus in the upper left."""
    image_HWK = np.zeros((size, size, 4), np.uint8)
    image_HWK[size // 4 : -size // 4, size // 4 : -size // 4, 1] = 255
    image_HWK[: size // 4, : size // 4, 2] = 255
    return image_HWK


@pytest.mark.parametrize("size", [40, 512])
def test_a_tile_shows_the_channels_merged_the_protein_and_the_heat(size):
    heat_HW = np.zeros((size, size), np.float32)
    heat_HW[: size // 4, -size // 4 :] = 1  # the upper right
    picture = decoded(tile(field(size), heat_HW))
    assert picture.shape == (SIDE, 3 * SIDE + 2 * GAP, 4)
    corner, middle, far = SIDE // 8, SIDE // 2, SIDE - SIDE // 8
    merged, alone, heat = (
        picture[:, k * (SIDE + GAP) : k * (SIDE + GAP) + SIDE].astype(int) for k in range(3)
    )
    assert merged[middle, middle] == pytest.approx([255, 0, 255, 0], abs=25)  # green
    assert merged[corner, corner] == pytest.approx([255, 0, 0, 255], abs=25)  # blue
    assert alone[corner, corner] == pytest.approx([255, 0, 0, 0], abs=25)  # no nucleus
    assert heat[corner, far, 1] > 150 and heat[far, far, 1] < 25  # warm where the network looked
    assert heat[middle, middle] == pytest.approx([255, 153, 153, 153], abs=25)  # the protein, grey and dimmed
    assert (picture[:, SIDE + 1 : SIDE + GAP - 1, 0] == 0).all(), "the gap lets the page show through"


def test_without_a_network_there_are_two_panels():
    assert decoded(tile(field(64))).shape == (SIDE, 2 * SIDE + GAP, 4)


def test_no_heat_changes_nothing_but_the_brightness():
    plane_HW = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown_HW3 = heated(plane_HW, np.zeros((16, 16)))
    assert (shown_HW3 == (0.6 * plane_HW).astype(np.uint8)[..., None]).all()
