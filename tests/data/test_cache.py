"""Cached rows are the resized images, and only what is missing or changed is built again."""

import dataclasses
import os
import shutil
from collections import namedtuple

import cv2
import numpy as np
import pytest

from lib.data import array_locks, cache, kaggle
from lib.data.sample_index import SampleIndex
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
    assert not [path for path in array_folder.iterdir() if path.is_file() and path.name.startswith(".")]
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


def test_another_projection_makes_other_rows_with_another_fingerprint(raw, tmp_path):
    pages = [np.full((20, 20), level, np.uint8) for level in (3, 90)]
    for channel in ("red", "green", "blue", "yellow"):
        (raw / "train" / f"a02_{channel}.png").unlink()
        cv2.imwritemulti(str(raw / "train" / f"a02_{channel}.tif"), pages)
    found = []
    for projection in ("none", "max", "none"):
        build(raw, tmp_path, projection=projection)
        array = cache.ShardedArray(tmp_path / "train_16")
        found.append((array[2].max(), array.fingerprint(), array.shards()[0][1]))
        cache.ShardedArray.unlock(array.folder)
        (array.folder / "array.json").unlink()  # as a kill while the array of another projection is removed
    first, projected, again = found
    assert (first[0], projected[0]) == (0, 90) and again == first
    assert first[1] != projected[1] and first[2] != projected[2]


def test_other_settings_and_ids_are_not_mixed(raw, tmp_path):
    folder = tmp_path / "cache"
    build(raw, folder)
    before = contents(folder)
    for changes, difference in (
        (dict(shard_rows=4), "data.shard_rows=8, not 4"),
        (dict(ids=IDS[1:]), "rows=20, not 19"),
        (dict(ids=IDS[::-1]), "different list of ids"),
    ):
        with pytest.raises(UserError) as error:
            build(raw, folder, **changes)
        message = str(error.value)
        assert str(folder / "train_16") in message and difference in message
        assert "--force" in message and "--work FOLDER" in message
    assert contents(folder) == before
    build(raw, folder, shard_rows=4, replace_others=True)
    assert len(contents(folder)) == 5


def rewrite(path, change):
    path.write_bytes(change(path.read_bytes()))


def flip(data):
    return data[:300] + bytes([data[300] ^ 16]) + data[301:]


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: rewrite(path, lambda data: data[:-1]),
    "too long": lambda path: rewrite(path, lambda data: data + b"x"),
    "a flipped bit": lambda path: rewrite(path, flip),
    "another shape": lambda path: rewrite(
        path, lambda data: data.replace(b"(8, 16, 16, 4)", b"(8, 16, 8, 8) ")
    ),
    "another type": lambda path: rewrite(path, lambda data: data.replace(b"|u1", b"|i1")),
    "no array": lambda path: rewrite(path, lambda data: bytes(len(data))),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_is_rejected_and_built_again(raw, tmp_path, capsys, damage):
    build(raw, tmp_path)
    folder, whole = tmp_path / "train_16", contents(tmp_path)
    damage(folder / "00001.npy")
    with pytest.raises(UserError) as error:
        cache.ShardedArray(folder)
    assert str(folder / "00001.npy") in str(error.value)
    assert "run `python 00_prepare.py` again, with the options of this run" in str(error.value)
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    build(raw, tmp_path)
    assert "building 1 of 3 train shards again" in capsys.readouterr().out
    assert contents(tmp_path) == whole and len(cache.ShardedArray(folder)) == 20
    changed = [path.name for path in folder.glob("*.npy") if path.stat().st_mtime_ns != times.get(path.name)]
    assert changed == ["00001.npy"]


def test_shards_that_were_exchanged_are_built_again(raw, tmp_path):
    build(raw, tmp_path)
    folder, whole = tmp_path / "train_16", contents(tmp_path)
    (folder / "00000.npy").rename(folder / "swap")
    (folder / "00001.npy").rename(folder / "00000.npy")
    (folder / "swap").rename(folder / "00001.npy")
    with pytest.raises(UserError, match=r"00000.npy is damaged"):
        cache.ShardedArray(folder)
    build(raw, tmp_path)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {}}', None])
@pytest.mark.parametrize("name", ["array.json", "00001.json", "verified.json"])
def test_damaged_notes_are_written_again(raw, tmp_path, name, text):
    build(raw, tmp_path)
    path, whole = tmp_path / "train_16" / name, contents(tmp_path)
    path.unlink() if text is None else path.write_text(text)
    if name != "verified.json":
        with pytest.raises(UserError, match=rf"{name}.* (damaged|missing): run `python 00_prepare.py`"):
            cache.ShardedArray(path.parent)
    build(raw, tmp_path)
    assert len(cache.ShardedArray(path.parent)) == 20 and contents(tmp_path) == whole


def test_force_builds_every_shard_from_the_images(raw, tmp_path, monkeypatch):
    build(raw, tmp_path)
    read, original = [], kaggle.read_image
    monkeypatch.setattr(kaggle, "read_image", lambda *a: read.append(a[2]) or original(*a))
    build(raw, tmp_path, force=True)
    assert sorted(read) == IDS


def test_images_that_were_moved_or_touched_keep_their_arrays(raw, tmp_path):
    build(raw, tmp_path / "cache")
    folder = tmp_path / "cache" / "train_16"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    fingerprint = cache.ShardedArray(folder).fingerprint()
    moved = raw.rename(tmp_path / "moved")
    copied = shutil.copytree(moved, tmp_path / "copied", copy_function=shutil.copyfile)  # with other times
    for source in (moved, copied, moved):
        assert build(source, tmp_path / "cache") == []
    shutil.copytree(tmp_path / "cache", tmp_path / "elsewhere")
    build(moved, tmp_path / "elsewhere")
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    assert cache.ShardedArray(folder).fingerprint() == fingerprint


def test_an_image_that_was_replaced_without_a_trace_is_read_again(raw, tmp_path):
    image = raw / "train" / "a09_red.png"
    good = shutil.copy2(image, tmp_path / "good.png")
    data, times = image.read_bytes(), image.stat()
    image.write_bytes(data[:300] + b"x" * 50 + data[350:])
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    (bad,) = build(raw, tmp_path / "cache")
    assert bad.file == "a09_red.png"
    shutil.copy2(good, image)  # cp -p: the same name, size and time
    assert build(raw, tmp_path / "cache") == []
    assert cache.ShardedArray(tmp_path / "cache" / "train_16")[9].any()


def test_what_another_process_reads_is_verified_but_not_replaced(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(array_locks, "PATIENCE", 0.0)
    build(raw, tmp_path)
    folder, whole = tmp_path / "train_16", contents(tmp_path)
    with array_locks.hold(folder, "readers"):  # as another process would
        assert build(raw, tmp_path) == []
        build(raw, tmp_path, sizes=(16, 20))
        write_sample(raw, "train", "a09", seed=777)
        for options in ({}, dict(force=True), dict(ids=IDS[1:], replace_others=True)):
            with pytest.raises(UserError, match=r"train_16 is being read by another process.*--work FOLDER"):
                build(raw, tmp_path, **options)
        assert {key: value for key, value in contents(tmp_path).items() if "_16" in key} == whole
    build(raw, tmp_path)
    assert contents(tmp_path) != whole
    with array_locks.hold(folder, "writers"), pytest.raises(UserError, match=r"train_16 is being written"):
        cache.ShardedArray(folder)


def test_readers_that_completed_the_array_themselves_are_no_obstacle(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(array_locks, "PATIENCE", 0.0)
    build(raw, tmp_path)
    folder, verify = tmp_path / "train_16", cache._verify
    hidden = (folder / "00001.json").rename(tmp_path / "hidden")

    def verify_and_let_the_other_finish(*arguments):
        found = verify(*arguments)
        if hidden.exists():
            hidden.rename(folder / "00001.json")
        return found

    monkeypatch.setattr(cache, "_verify", verify_and_let_the_other_finish)
    with array_locks.hold(folder, "readers"):
        assert build(raw, tmp_path) == []


def test_a_data_set_is_known_by_ids_labels_and_images(raw, tmp_path):
    ids, targets, test_ids = IDS, [(0,)] * 20, [f"t{row:02d}" for row in range(5)]
    known = cache.fingerprint(raw, SampleIndex(ids, targets, test_ids))
    moved = raw.rename(tmp_path / "moved")
    assert cache.fingerprint(moved, SampleIndex(ids, targets, test_ids)) == known
    for other in ((ids[::-1], targets, test_ids), (ids, [(1,)] * 20, test_ids), (ids, targets, test_ids[1:])):
        assert cache.fingerprint(moved, SampleIndex(*other)) != known
    write_sample(moved, "test", "t00", seed=777)
    assert cache.fingerprint(moved, SampleIndex(ids, targets, test_ids)) != known
    assert cache.fingerprint(tmp_path, SampleIndex(ids, targets, [])) != known, "without images"


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
