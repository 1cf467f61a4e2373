import contextlib

import cv2
import numpy as np
import pytest

from lib.data import kaggle
from lib.errors import UserError
from tests.conftest import REAL, needs_real, write_sample


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"train.csv is missing: put Kaggle's files in .*raw, or name their folder with --data"),
        ("", r"train.csv is empty: expected the columns Id,Target"),
        ("Id,Target\n", r"train.csv has no rows"),
        ("Id,Label\na,1\n", r"train.csv has the columns Id,Label; expected the columns Id,Target"),
        ("Id,Target\na,1\nb,2\na,3\n", r"train.csv, line 4: Id a stands already in line 2"),
        ("Id,Target\na,1\n../b,2\n", r"train.csv, line 3: Id '../b' cannot be part of a file name"),
        ("Id,Target\na/b,1\n", r"line 2: Id 'a/b' cannot be part of a file name"),
        ("Id,Target\n,1\n", r"train.csv, line 2: Id is empty"),
        ("Id,Target\na,1\n\n ,2\n", r"train.csv, line 4: Id is empty"),
        ("Id,Target\na,\n", r"train.csv, line 2: Target has no label"),
        ("Id,Target\na,1 x\n", r"train.csv, line 2: Target label 'x' is no class number; expected 0-27"),
        ("Id,Target\na,1\nb,28\n", r"train.csv, line 3: Target label 28 is out of range; expected 0-27"),
        ("Id,Target\na,-3\n", r"train.csv, line 2: Target label '-3' is no class number"),
        ("Id,Target\na,1\nb,1,2\n", r"train.csv, line 3: 3 fields, the first line has 2"),
        ("Id,Target\na,1,2\nb,1,2\n", r"train.csv, line 2: 3 fields, the first line has 2"),
        (b"Id,Target\n\xff\xfe,1\n", r"train.csv cannot be read as a table"),
    ],
)
def test_bad_tables_are_one_line(raw, text, message):
    path = raw / "train.csv"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as refusal:
        kaggle.read_labels(raw)
    assert "\n" not in str(refusal.value)


def test_a_byte_order_mark_and_blank_lines_do_no_harm(raw):
    (raw / "train.csv").write_bytes(b"\xef\xbb\xbfId,Target\r\na,1\r\n\r\nb,2 0\r\n")
    assert kaggle.read_labels(raw) == (["a", "b"], [(1,), (0, 2)])


def test_labels_and_test_ids_keep_the_files_order(raw):
    ids, targets = kaggle.read_labels(raw)
    assert ids[:2] == ["a00", "a01"] and targets[:2] == [(0, 25), (1,)]
    assert kaggle.read_submission_ids(raw) == [f"t{row:02d}" for row in range(5)]
    (raw / "sample_submission.csv").unlink()
    with pytest.raises(UserError, match=r"sample_submission.csv is missing"):
        kaggle.read_submission_ids(raw)


def spoil_missing(path):
    path.unlink()


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_truncated(path):
    path.write_bytes(path.read_bytes()[:-20])


def spoil_short(path):
    path.write_bytes(path.read_bytes()[:10])


def spoil_inside(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def spoil_text(path):
    path.write_text("no picture")


def spoil_jpeg(path):
    path.write_bytes(cv2.imencode(".jpg", np.zeros((20, 20), np.uint8))[1].tobytes())


def spoil_deep(path):
    cv2.imwrite(str(path), np.zeros((20, 20), np.uint16))


def spoil_color(path):
    cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))


def spoil_alpha(path):
    cv2.imwrite(str(path), np.zeros((20, 20, 4), np.uint8))


def spoil_size(path):
    cv2.imwrite(str(path), np.zeros((10, 20), np.uint8))


def spoil_folder(path):
    path.unlink()
    path.mkdir()


SPOILS = {
    spoil_missing: "is missing",
    spoil_empty: "is empty",
    spoil_truncated: "is truncated (",
    spoil_short: "is truncated (10 bytes)",
    spoil_inside: "is damaged: it cannot be decoded",
    spoil_text: "is no PNG file",
    spoil_jpeg: "is no PNG file",
    spoil_deep: "has 16 bits a pixel, expected 8",
    spoil_color: "is RGB, expected grayscale",
    spoil_alpha: "is RGBA, expected grayscale",
    spoil_size: "is 20x10, expected the sample's 20x20",
    spoil_folder: "cannot be read: Is a directory",
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_bad_images_say_what_is_wrong(raw, spoil):
    spoil(raw / "train" / "a03_blue.png")
    with pytest.raises(kaggle.BadImageError) as refusal:
        kaggle.read_image(raw, "train", "a03")
    (bad,) = refusal.value.args[0]
    assert (bad.subset, bad.id, bad.file) == ("train", "a03", "a03_blue.png")
    assert bad.reason.startswith(SPOILS[spoil])


def test_every_bad_channel_of_a_sample_is_named(raw):
    (raw / "train" / "a03_red.png").unlink()
    spoil_color(raw / "train" / "a03_yellow.png")
    with pytest.raises(kaggle.BadImageError) as refusal:
        kaggle.read_image(raw, "train", "a03")
    assert [bad.file for bad in refusal.value.args[0]] == ["a03_red.png", "a03_yellow.png"]


def test_no_damaged_byte_changes_an_image_unseen(tmp_path):
    """A file with any one byte damaged is refused, or still gives the same pixels."""
    write_sample(tmp_path, "train", "a", seed=1, size=8)
    whole_HWK = kaggle.read_image(tmp_path, "train", "a")
    path = tmp_path / "train" / "a_green.png"
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        with contextlib.suppress(kaggle.BadImageError):
            assert np.array_equal(kaggle.read_image(tmp_path, "train", "a"), whole_HWK), f"byte {place}"


def test_channels_come_in_the_order_red_green_blue_yellow(tmp_path):
    write_sample(tmp_path, "train", "a", seed=5, size=6)
    image_HWK = kaggle.read_image(tmp_path, "train", "a")
    assert np.array_equal(image_HWK, np.random.default_rng(5).integers(0, 256, (6, 6, 4), dtype=np.uint8))


@needs_real
def test_real_images_are_read():
    ids, targets = kaggle.read_labels(REAL / "kaggle_mini")
    assert (len(ids), targets[0]) == (36, (2, 25))
    image_HWK = kaggle.read_image(REAL / "kaggle_mini", "train", ids[0])
    assert image_HWK.shape == (512, 512, 4) and image_HWK.dtype == np.uint8 and image_HWK.std() > 1
