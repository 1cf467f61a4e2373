"""Shards know their files: what they were built from, whether they are whole, and that they are another's."""

import os
import shutil

import cv2
import numpy as np
import pytest

from lib import files
from lib.data import shards
from lib.data.shards import Shard

IDS = tuple(f"a{row:02d}" for row in range(8))


@pytest.fixture
def shard(raw, tmp_path):
    """A shard of 8 samples at 32 px, built and verified."""
    return shards.build(Shard(raw, "train", IDS, 0, {32: files.make_folder(tmp_path / "train_32")}))


def test_checksums_do_not_depend_on_how_data_are_read_and_notice_every_bit(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, 3 * shards.BLOCK + 5, dtype=np.uint8)
    value = shards.add_checksum(data.tobytes())
    (tmp_path / "file").write_bytes(data)
    assert shards.image_checksum(tmp_path / "file") == value
    for position in (0, 4095, 4096, 3 * shards.BLOCK + 4):
        changed = data.copy()
        changed[position] ^= 1
        assert shards.add_checksum(changed.tobytes()) != value
    moved = np.roll(data[: 3 * shards.BLOCK], shards.BLOCK)
    assert shards.add_checksum(moved.tobytes()) != shards.add_checksum(data[: 3 * shards.BLOCK].tobytes())
    assert shards.image_checksum(tmp_path) is None and shards.image_checksum(tmp_path / "none") is None


def test_an_array_file_is_numpys_and_its_checksum_that_of_the_metadata(shard, tmp_path):
    folder = tmp_path / "train_32"
    assert np.load(folder / "00000.npy").shape == (8, 32, 32, 4)
    assert (folder / "00000.npy").stat().st_size == shards.array_bytes(8, 32)
    metadata = shards.read_metadata(folder, 0)
    assert shards.array_checksum(folder / "00000.npy", 8, 32) == metadata["checksum"]
    assert shard.verified[32] == [*shards.file_state(folder / "00000.npy"), metadata["checksum"]]
    assert shard.missing() == [] and shard.doubts() == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "{",
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"mean"', '"means"'),
        lambda text: text.replace("1", "2", 1),
        lambda text: text.replace('"std": [\n  [', '"std": [\n  [\n   NaN,'),
    ],
)
def test_metadata_that_were_changed_count_as_missing(shard, tmp_path, damage):
    path = tmp_path / "train_32" / "00000.json"
    changed = damage(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    assert shards.read_metadata(path.parent, 0) == {}
    assert shard.doubts() == {32: True} and shards.check(shard).missing() == [32]


def test_metadata_of_another_shard_or_array_count_as_missing(shard, tmp_path):
    folder = tmp_path / "train_32"
    shutil.copy(folder / "00000.json", folder / "00001.json")
    shutil.copytree(folder, tmp_path / "test_32")
    assert shards.read_metadata(folder, 0)
    assert shards.read_metadata(folder, 1) == shards.read_metadata(tmp_path / "test_32", 0) == {}


def test_a_file_that_was_changed_at_this_moment_is_not_remembered_as_verified(shard, tmp_path):
    folder = tmp_path / "train_32"
    shards.write_verified(folder, {shard.name: shard.verified[32], "other": None})
    assert shards.read_verified(folder) == {}, "a change in the same tick of the clock would not be noticed"
    old = [*shard.verified[32][:2], 0, 1]
    shards.write_verified(folder, {shard.name: old})
    assert shards.read_verified(folder) == {shard.name: old}
    for text in ("", "[]", "{"):
        (folder / "verified.json").write_text(text)
        assert shards.read_verified(folder) == {}


def test_images_that_were_copied_are_the_same_and_replaced_ones_are_not(shard, raw, tmp_path):
    copied = shutil.copytree(raw, tmp_path / "elsewhere" / "copy")
    moved = Shard(copied, "train", IDS, 0, shard.folders, verified=shard.verified)
    assert moved.doubts() == {32: False}, "the change times differ"
    assert shards.check(moved).missing() == []
    assert moved.doubts() == {}, "which is remembered"
    image = copied / "train" / "a03_green.png"
    good, times = image.read_bytes(), image.stat()
    image.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))  # as cp -p does
    assert shards.check(moved).missing() == [32]
    image.write_bytes(good)
    assert shards.check(moved).missing() == []


def test_rows_are_black_where_an_image_is_bad_until_it_can_be_read(raw, tmp_path, monkeypatch):
    (raw / "train" / "a02_red.png").write_bytes(b"")
    shard = shards.build(Shard(raw, "train", IDS, 0, {16: files.make_folder(tmp_path / "train_16")}))
    rows = np.load(tmp_path / "train_16" / "00000.npy")
    assert not rows[2].any() and rows[3].any()
    assert [image.file for image in shard.bad()] == ["a02_red.png"]
    assert shard.doubts() == {16: False} and shards.check(shard).missing() == []
    # readable without any change to the file, for example as another user
    image_HWK = np.ones((20, 20, 4), np.uint8)
    monkeypatch.setattr(shards.kaggle, "read_image", lambda *_: image_HWK)
    assert shards.check(shard).missing() == [16]


def test_an_image_is_enlarged_or_averaged():
    image_HWK = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    assert shards.resize(image_HWK, 4) is image_HWK
    assert shards.resize(image_HWK, 2)[0, 0].tolist() == [10, 11, 12, 13]
    linear_HWK = cv2.resize(image_HWK, (8, 8), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(shards.resize(image_HWK, 8), linear_HWK), "not each pixel four times"
    ramp_HWK = np.repeat(image_HWK[:, :2], 4, axis=0)  # 16 x 2: averaged down, enlarged across
    assert np.array_equal(shards.resize(ramp_HWK, 4)[:, [0, 3]], image_HWK[:, :2])
    assert shards.resize(ramp_HWK, 4)[0, :, 0].tolist() == [0, 1, 3, 4]


def test_a_shard_waits_for_another_process_and_then_has_nothing_to_do(shard, monkeypatch):
    monkeypatch.setattr(shards, "_write", lambda _: pytest.fail("it was complete"))
    assert shards.build(shard).verified == shard.verified
