"""Cached rows are the resized images, and only what is missing or changed is built again."""

import dataclasses
import pickle
import shutil
from collections import namedtuple

import cv2
import numpy as np
import pytest

from lib.data import cache, kaggle
from lib.errors import UserError
from tests.conftest import write_kaggle, write_sample

IDS = [f"a{row:02d}" for row in range(20)]


def build(raw, folder, sizes=(16,), shard_rows=8, workers=1, ids=IDS, **options):
    return cache.build(raw, folder, "train", ids, sizes, shard_rows, workers, **options)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.npy"))}


def test_rows_are_the_resized_images(raw, tmp_path):
    assert build(raw, tmp_path / "cache", sizes=(16, 20)) == []
    small, same = (cache.ShardedArray(tmp_path / "cache" / f"train_{size}") for size in (16, 20))
    assert len(small) == 20 and small[0].shape == (16, 16, 4) and small[0].dtype == np.uint8
    for row in (0, 7, 8, 19):
        image_HWK = kaggle.read_image(raw, "train", IDS[row])
        assert np.array_equal(same[row], image_HWK)
        assert np.array_equal(small[row], cv2.resize(image_HWK, (16, 16), interpolation=cv2.INTER_AREA))
    with pytest.raises(IndexError):
        small[20]


def test_several_processes_give_the_same_bytes(raw, tmp_path):
    build(raw, tmp_path / "one")
    build(raw, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 3  # 8 + 8 + 4 rows


def test_only_missing_shards_are_built(raw, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    build(raw, folder)
    whole = contents(folder)
    array_folder = folder / "train_16"
    (array_folder / "00001.json").unlink()  # killed between shard and json
    (array_folder / ".00002.npy.part").write_bytes(b"half")
    (array_folder / "00002.npy").unlink()
    (array_folder / "00002.json").unlink()
    read = []
    original = kaggle.read_image
    monkeypatch.setattr(kaggle, "read_image", lambda *a: read.append(a[2]) or original(*a))
    build(raw, folder)
    assert sorted(read) == IDS[8:]
    assert contents(folder) == whole
    assert sorted(p.name for p in array_folder.iterdir() if p.name.startswith(".")) == []
    read.clear()
    build(raw, folder)
    assert read == []
    build(raw, folder, sizes=(16, 20))
    assert sorted(read) == IDS, "a new size reads all, and leaves the other alone"


def test_changed_images_change_only_their_shard(raw, tmp_path):
    folder = tmp_path / "cache"
    build(raw, folder)
    before = {p.name: p.stat().st_mtime_ns for p in (folder / "train_16").glob("*.npy")}
    fingerprint = cache.ShardedArray(folder / "train_16").fingerprint()
    write_sample(raw, "train", "a09", seed=777)
    build(raw, folder)
    after = {p.name: p.stat().st_mtime_ns for p in (folder / "train_16").glob("*.npy")}
    assert [name for name in before if before[name] != after[name]] == ["00001.npy"]
    assert cache.ShardedArray(folder / "train_16").fingerprint() != fingerprint


def test_all_bad_images_are_found_in_one_pass_and_fixed_ones_forgotten(raw, tmp_path):
    folder = tmp_path / "cache"
    (raw / "train" / "a02_red.png").unlink()
    (raw / "train" / "a15_blue.png").write_bytes(b"")
    (raw / "train" / "a15_green.png").write_bytes(b"x")
    bad = build(raw, folder)
    assert [(image.file, image.reason) for image in bad] == [
        ("a02_red.png", "is missing"),
        ("a15_green.png", "is not a PNG, TIFF or JPEG file: it begins with b'x'"),
        ("a15_blue.png", "is empty"),
    ]
    assert build(raw, folder) == bad, "known without decoding them again"
    array = cache.ShardedArray(folder / "train_16")
    assert not array[2].any() and not array[15].any() and array[3].any()
    write_sample(raw, "train", "a02", seed=2)
    assert [image.id for image in build(raw, folder)] == ["a15", "a15"]
    assert cache.ShardedArray(folder / "train_16")[2].any()


def test_pages_are_projected_on_request(raw, tmp_path):
    (raw / "train" / "a02_red.png").unlink()
    pages = [np.full((20, 20), level, np.uint8) for level in (3, 90, 7)]
    cv2.imwritemulti(str(raw / "train" / "a02_red.tif"), pages)
    folder = tmp_path / "cache"
    (bad,) = build(raw, folder)
    assert bad.file == "a02_red.tif" and "3 pages" in bad.reason
    with pytest.raises(UserError, match=r"data\.projection"):
        build(raw, folder, projection="max")
    assert build(raw, folder, projection="max", force=True) == []
    assert (cache.ShardedArray(folder / "train_16")[2][..., 0] == 90).all()


def test_statistics_are_those_of_all_pixels(raw, tmp_path):
    build(raw, tmp_path, sizes=(20,))
    array = cache.ShardedArray(tmp_path / "train_20")
    rows = np.array([1, 5, 18])
    pixels = np.concatenate([array[row].reshape(-1, 4) for row in rows]).astype(float)
    statistics = array.channel_statistics(rows)
    np.testing.assert_allclose(statistics["mean"], pixels.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(statistics["std"], pixels.std(axis=0), atol=1e-3)


def test_other_settings_sources_and_ids_are_not_mixed(raw, tmp_path):
    folder = tmp_path / "cache"
    build(raw, folder)
    before = contents(folder)
    shutil.copytree(raw, tmp_path / "copy")
    for source, changes, difference in (
        (raw, dict(shard_rows=4), "data.shard_rows=8, not 4"),
        (raw, dict(ids=IDS[1:]), "rows=20, not 19"),
        (raw, dict(ids=IDS[::-1]), "different list of ids"),
        (tmp_path / "copy", {}, f"source={raw}, not {tmp_path / 'copy'}"),
    ):
        with pytest.raises(UserError) as error:
            build(source, folder, **changes)
        message = str(error.value)
        assert str(folder / "train_16") in message and difference in message
        assert "--force" in message and "--work FOLDER" in message
    assert contents(folder) == before
    build(raw, folder, shard_rows=4, force=True)
    assert len(contents(folder)) == 5


@pytest.mark.parametrize(
    ("free", "fits"), [(4 * 20 * 64 * 64, "data.sizes=64 training.size=64"), (100, None)]
)
def test_a_full_disk_is_reported_before_the_first_shard(raw, tmp_path, monkeypatch, free, fits):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage(0, 0, free))
    with pytest.raises(UserError) as error:
        build(raw, tmp_path / "cache", sizes=(256,))
    message = str(error.value)
    assert all(
        word in message for word in (str(tmp_path / "cache"), "data.sizes=256", "5.2 MB", "--work FOLDER")
    )
    assert cache.format_bytes(free) in message and (fits or "") in message
    assert ("training.size" in message) == bool(fits)
    assert contents(tmp_path / "cache") == {}


def test_an_array_that_is_missing_or_incomplete_names_the_script(raw, tmp_path):
    with pytest.raises(UserError, match=r"array.json is missing: run `python 00_prepare.py` first"):
        cache.ShardedArray(tmp_path / "train_16")
    build(raw, tmp_path)
    (tmp_path / "train_16" / "00001.json").unlink()
    with pytest.raises(UserError, match=r"train_16 is incomplete: run `python 00_prepare.py` again"):
        cache.ShardedArray(tmp_path / "train_16")


def test_an_array_travels_to_other_processes_without_its_rows(raw, tmp_path):
    build(raw, tmp_path)
    array = cache.ShardedArray(tmp_path / "train_16")
    empty = len(pickle.dumps(array))
    row_HWK = np.array(array[9])
    assert len(pickle.dumps(array)) == empty
    copy = pickle.loads(pickle.dumps(array))
    assert np.array_equal(copy[9], row_HWK) and not copy[9].flags.writeable
    assert copy.fingerprint() == array.fingerprint()


def test_shards_are_listed_with_rows_and_fingerprints(raw, tmp_path):
    build(raw, tmp_path)
    shards = cache.ShardedArray(tmp_path / "train_16").shards()
    assert [rows for rows, _ in shards] == [range(8), range(8, 16), range(16, 20)]
    assert len({fingerprint for _, fingerprint in shards}) == 3


def test_images_need_not_be_square_or_512(tmp_path):
    raw = write_kaggle(tmp_path / "raw", train=1, test=0)
    for channel in range(4):
        plane = np.full((30, 50), 60 * channel, np.uint8)
        cv2.imwrite(str(raw / "train" / f"a00_{('red', 'green', 'blue', 'yellow')[channel]}.png"), plane)
    assert build(raw, tmp_path / "cache", ids=["a00"]) == []
    assert np.array_equal(cache.ShardedArray(tmp_path / "cache" / "train_16")[0][3, 4], [0, 60, 120, 180])


def test_shards_are_frozen(raw):
    shard = cache.Shard(raw, "train", tuple(IDS), 0, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        shard.number = 1
    assert len(shard) == 20
