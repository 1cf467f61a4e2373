"""One image file is found in any spelling, and read as it is shown, or rejected with the reason."""

import contextlib
import io
import os
import socket
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.data import image_files
from tests.conftest import REAL, needs_real


@pytest.fixture
def plane_HW():
    return np.random.default_rng(0).integers(0, 256, (12, 20), dtype=np.uint8)


@pytest.fixture
def cells_HW():
    """Blurred spots, as large as those of cells."""
    return spots(1)


def spots(seed):
    noise_HW = np.random.default_rng(seed).integers(0, 256, (96, 96), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise_HW, (0, 0), 5), None, 0, 255, cv2.NORM_MINMAX)


def write(path, image, *options):
    assert cv2.imwrite(str(path), image, options)
    return path


def rejected(path, *words, **options):
    with pytest.raises(ValueError) as error:
        image_files.read_plane(path, **options)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_a_lossless_file_is_read_unchanged(tmp_path, plane_HW, suffix):
    read_HW = image_files.read_plane(write(tmp_path / f"a{suffix}", plane_HW))
    assert read_HW.dtype == np.uint8 and np.array_equal(read_HW, plane_HW)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_a_jpeg_is_read(tmp_path, suffix):
    flat_HW = np.full((12, 20), 77, np.uint8)
    assert np.array_equal(image_files.read_plane(write(tmp_path / f"a{suffix}", flat_HW)), flat_HW)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("color", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0.5, 1)])
def test_the_strongest_colour_of_a_coloured_file_is_its_stain(tmp_path, cells_HW, suffix, color):
    image_HWC = (cells_HW[..., None] * np.array(color)).astype(np.uint8)
    read_HW = image_files.read_plane(write(tmp_path / f"a{suffix}", image_HWC, cv2.IMWRITE_JPEG_QUALITY, 80))
    assert read_HW.flags.c_contiguous and read_HW.shape == cells_HW.shape
    difference_HW = np.abs(read_HW.astype(int) - cells_HW)
    assert difference_HW.max() == 0 if suffix != ".jpg" else difference_HW.mean() < 4


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("weights", [(1, 1, 0), (0.3, 0, 1), (1, 1, 1)])
def test_a_composite_of_several_stains_is_rejected(tmp_path, suffix, weights):
    image_HWC = (np.dstack([spots(1), spots(2), spots(3)]) * np.array(weights)).astype(np.uint8)
    rejected(write(tmp_path / f"a{suffix}", image_HWC), "composite", "grayscale", "each stain")


def test_a_colour_map_a_coloured_background_and_a_scale_bar_are_rejected(tmp_path, cells_HW):
    rejected(write(tmp_path / "a.png", cv2.applyColorMap(cells_HW, cv2.COLORMAP_HOT)), "colour map")
    background_HWC = np.dstack([cells_HW // 4, cells_HW // 4, np.full_like(cells_HW, 100)])
    rejected(write(tmp_path / "b.png", background_HWC), "several colours")
    two_ways_HWC = np.dstack([cells_HW, 255 - cells_HW, 0 * cells_HW])
    rejected(write(tmp_path / "c.png", two_ways_HWC), "several colours")
    bar_HWC = np.dstack([0 * cells_HW, cells_HW // 4, 0 * cells_HW])
    bar_HWC[80:86, 50:90] = 255
    rejected(write(tmp_path / "d.png", bar_HWC), "several colours")


@needs_real
def test_real_stains_pass_in_any_colour_and_real_composites_do_not(tmp_path):
    field_HWC = np.dstack([cv2.imread(str(path), 0) for path in sorted((REAL / "field").glob("*.png"))])
    rejected(write(tmp_path / "a.jpg", field_HWC), "composite")
    stains = [field_HWC[..., k] for k in range(3)]
    stains += [cv2.imread(str(path), 0) for path in sorted((REAL / "kaggle_mini" / "test").iterdir())[:12]]
    for stain_HW in stains:
        yellow_HWC = np.dstack([0 * stain_HW, stain_HW, stain_HW])
        write(tmp_path / "a.jpg", yellow_HWC, cv2.IMWRITE_JPEG_QUALITY, 50)
        assert np.abs(image_files.read_plane(tmp_path / "a.jpg").astype(int) - stain_HW).mean() < 12


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparent_pixels_are_those_of_a_black_background(tmp_path, plane_HW, suffix):
    alpha_HW = np.full(plane_HW.shape, 255, np.uint8)
    layers = [plane_HW, plane_HW, plane_HW, alpha_HW]
    path = tmp_path / f"a{suffix}"
    assert np.array_equal(image_files.read_plane(write(path, np.dstack(layers))), plane_HW)
    alpha_HW[:4], alpha_HW[4:8] = 0, 51
    expected_HW = plane_HW.copy()
    expected_HW[:4], expected_HW[4:8] = 0, np.round(plane_HW[4:8] / 5)
    assert np.array_equal(image_files.read_plane(write(path, np.dstack(layers))), expected_HW)
    alpha_HW[:] = 0
    rejected(write(path, np.dstack(layers)), "transparent")


def test_the_brightest_value_of_several_pages_is_an_option(tmp_path, plane_HW):
    path = tmp_path / "a.tif"
    pages = [plane_HW, plane_HW[::-1].copy(), plane_HW[:, ::-1].copy()]
    assert cv2.imwritemulti(str(path), pages)
    rejected(path, "3 pages", "expected 1", "data.projection=max")
    assert np.array_equal(image_files.read_plane(path, "max"), np.max(pages, axis=0))
    assert cv2.imwritemulti(str(path), [plane_HW, plane_HW[:4]])
    rejected(path, "page 2", "different sizes", projection="max")


def test_an_image_is_found_in_any_spelling(tmp_path, plane_HW):
    path = tmp_path / "a.B_green.png"
    assert image_files.find(path) == path, "the PNG is what is missing"
    order = ["a.B_Green.JPG", "a.B_green.jpg", "a.B_GREEN.tif", "a.B_green.tif", "a.B_Green.PNG", path.name]
    for name in order:  # each is preferred to those before
        (tmp_path / name).touch()
        (tmp_path / f"._{name}").touch()
        assert image_files.find(path).name == name
    assert image_files.find(tmp_path / "A.B_green.png").name == "A.B_green.png", "ids differ by case"
    assert image_files.find(tmp_path / "nowhere" / "a_green.png").name == "a_green.png"
    long = tmp_path / f"{'x' * 300}_green.png"
    assert image_files.find(long) == long


def test_a_folder_is_listed_once(tmp_path, monkeypatch):
    names = [f"{sample}_green.TIF" for sample in "abc"]
    for name in names:
        (tmp_path / name).touch()
    listed, scan = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or scan(folder))

    def find():
        return [image_files.find(tmp_path / f"{sample}_green.png").name for sample in "abc"]

    assert find() == names and len(listed) == 3, "a folder that just changed may change again"
    os.utime(tmp_path, (time.time() - 60,) * 2)
    assert find() == find() == names and len(listed) == 4
    (tmp_path / "b_green.TIF").unlink()
    assert find() == ["a_green.TIF", "b_green.png", "c_green.TIF"]


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


def deep(path):
    write(path, np.zeros((20, 20), np.uint16))


def folder(path):
    path.unlink()
    path.mkdir()


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def broken_link(path):
    path.unlink()
    path.symlink_to("nowhere.png")


def circular_link(path):
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove, ["missing"]),
        (empty, ["empty"]),
        (truncate, ["truncated", "bytes"]),
        (truncate_in_header, ["truncated", "10 bytes"]),
        (damage_inside, ["damaged"]),
        (text, ["not a PNG, TIFF or JPEG", "no pictu"]),
        (deep, ["16 bits", "expected 8", "convert it"]),
        (folder, ["cannot be read", "directory"]),
        (fifo, ["cannot be read", "not a regular file"]),
        (broken_link, ["link to a missing file"]),
        (circular_link, ["cannot be read", "links"]),
    ],
)
def test_a_bad_file_is_explained(tmp_path, plane_HW, spoil, words, capfd):
    path = write(tmp_path / "a.png", plane_HW)
    spoil(path)
    rejected(path, *words)
    assert capfd.readouterr() == ("", "")


def test_names_permissions_and_sizes_are_explained(tmp_path, plane_HW, monkeypatch):
    rejected(tmp_path / f"{'x' * 300}.png", "cannot be read", "name too long")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as endpoint:
        monkeypatch.chdir(tmp_path)  # the names of sockets are short
        endpoint.bind("a.png")
        rejected(tmp_path / "a.png", "not a regular file")
    path = write(tmp_path / "b.png", plane_HW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_files, "MAX_BYTES", 10)
        rejected(path, "bytes, expected at most 10")

    def deny(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(path), "read_bytes", deny)
    rejected(path, "cannot be read: Permission denied")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_the_content_counts_not_the_suffix(tmp_path, plane_HW, suffix):
    path = write(tmp_path / "a.png", plane_HW).rename(tmp_path / f"b{suffix}")
    assert np.array_equal(image_files.read_plane(path), plane_HW)


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_tags_of_any_type_are_read_or_rejected(tmp_path, plane_HW, compression):
    file = io.BytesIO()
    Image.fromarray(plane_HW).save(file, "TIFF", compression=compression)
    data, path = file.getvalue(), tmp_path / "a.tif"
    directory = int.from_bytes(data[4:8], "little")
    for entry in range(int.from_bytes(data[directory : directory + 2], "little")):
        number = int.from_bytes(data[(place := directory + 4 + 12 * entry) :][:2], "little")
        for kind in {*(number ^ 1 << bit for bit in range(6)), *range(14)}:
            path.write_bytes(data[:place] + kind.to_bytes(2, "little") + data[place + 2 :])
            with contextlib.suppress(ValueError):
                image_files.read_plane(path)


def test_a_damaged_depth_of_a_png_with_a_transparent_grey_is_rejected(tmp_path, plane_HW):
    path = tmp_path / "a.png"
    Image.fromarray(plane_HW).save(path, transparency=3)
    data = path.read_bytes()
    for depth in (0, 9, 255):
        path.write_bytes(data[:24] + bytes([depth]) + data[25:])
        rejected(path, "damaged" if not depth else "bits")


def test_errors_of_the_system_are_no_damage(tmp_path, plane_HW, monkeypatch):
    def fail(*_arguments):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(image_files.image_formats, "decode", fail)
    with pytest.raises(OSError, match="open files"):
        image_files.read_plane(write(tmp_path / "a.png", plane_HW))
