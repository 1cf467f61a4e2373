"""One image file is read unchanged, or rejected with the reason."""

import contextlib

import cv2
import numpy as np
import pytest

from lib.data import image_files


@pytest.fixture
def plane_HW():
    return np.random.default_rng(0).integers(0, 256, (12, 20), dtype=np.uint8)


def write(path, image):
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_a_lossless_file_is_read_unchanged(tmp_path, plane_HW, suffix):
    read_HW = image_files.read_plane(write(tmp_path / f"a{suffix}", plane_HW))
    assert read_HW.dtype == np.uint8 and np.array_equal(read_HW, plane_HW)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_a_jpeg_is_read(tmp_path, suffix):
    flat_HW = np.full((12, 20), 77, np.uint8)
    assert np.array_equal(image_files.read_plane(write(tmp_path / f"a{suffix}", flat_HW)), flat_HW)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_the_strongest_colour_of_a_coloured_tiff_is_its_stain(tmp_path, plane_HW, channel):
    image_HWC = np.zeros((*plane_HW.shape, 3), np.uint8)
    image_HWC[..., channel] = plane_HW
    read_HW = image_files.read_plane(write(tmp_path / "a.tif", image_HWC))
    assert np.array_equal(read_HW, plane_HW) and read_HW.flags.c_contiguous
    with_alpha_HWC = np.dstack([image_HWC, np.full(plane_HW.shape, 255, np.uint8)])
    assert np.array_equal(image_files.read_plane(write(tmp_path / "b.tif", with_alpha_HWC)), plane_HW)


def test_a_png_is_preferred_and_expected(tmp_path, plane_HW):
    path = tmp_path / "a.b_green.png"
    assert image_files.find(path) == path, "the PNG is what is missing"
    jpeg = write(tmp_path / "a.b_green.jpg", plane_HW)
    assert image_files.find(path) == jpeg
    tiff = write(tmp_path / "a.b_green.tif", plane_HW)
    assert image_files.find(path) == tiff
    write(path, plane_HW)
    assert image_files.find(path) == path


def remove(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def truncate_in_header(path):
    path.write_bytes(path.read_bytes()[:10])


def damage_inside(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def text(path):
    path.write_text("no picture")


def jpeg(path):
    path.write_bytes(cv2.imencode(".jpg", np.zeros((20, 20), np.uint8))[1].tobytes())


def deep(path):
    write(path, np.zeros((20, 20), np.uint16))


def bilevel(path):
    cv2.imwrite(str(path), np.zeros((20, 20), np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])


def colour(path):
    write(path, np.zeros((20, 20, 3), np.uint8))


def alpha(path):
    write(path, np.zeros((20, 20, 4), np.uint8))


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove, ["missing"]),
        (empty, ["empty"]),
        (truncate, ["truncated", "bytes"]),
        (truncate_in_header, ["truncated", "10 bytes"]),
        (damage_inside, ["damaged"]),
        (text, ["not a PNG"]),
        (jpeg, ["not a PNG"]),
        (deep, ["16 bits", "expected 8"]),
        (bilevel, ["1 bits", "expected 8"]),
        (colour, ["RGB", "expected grayscale"]),
        (alpha, ["RGBA", "expected grayscale"]),
        (folder, ["cannot be read", "directory"]),
    ],
)
def test_a_bad_png_is_explained(tmp_path, plane_HW, spoil, words):
    path = write(tmp_path / "a.png", plane_HW)
    spoil(path)
    with pytest.raises(ValueError) as error:
        image_files.read_plane(path)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(remove, ["missing"]), (empty, ["empty"]), (text, ["damaged"]), (deep, ["16 bits", "expected 8"])],
)
def test_a_bad_tiff_is_explained(tmp_path, plane_HW, spoil, words):
    path = write(tmp_path / "a.tif", plane_HW)
    spoil(path)
    with pytest.raises(ValueError) as error:
        image_files.read_plane(path)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_no_damaged_byte_changes_an_image_unnoticed(tmp_path):
    """A PNG with any one byte damaged is rejected, or still gives the same pixels."""
    plane_HW = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)
    path = write(tmp_path / "a.png", plane_HW)
    data = path.read_bytes()
    rejected = 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        rejected += 1
        with contextlib.suppress(ValueError):
            assert np.array_equal(image_files.read_plane(path), plane_HW), f"byte {place}"
            rejected -= 1
    assert rejected > 0.8 * len(data)
