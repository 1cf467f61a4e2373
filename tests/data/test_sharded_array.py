"""An array is verified when it is opened, and read as it was then."""

import pickle

import numpy as np
import pytest

from lib.data import cache, shards
from lib.data.sharded_array import ShardedArray
from lib.errors import UserError

IDS = [f"a{row:02d}" for row in range(20)]


def build(raw, folder, sizes=(16,)):
    return cache.build(raw, folder, "train", IDS, sizes, 8, workers=1)


def test_statistics_are_those_of_all_pixels(raw, tmp_path):
    build(raw, tmp_path, sizes=(20,))
    array = ShardedArray(tmp_path / "train_20")
    rows = np.array([1, 5, 18])
    pixels = np.concatenate([array[row].reshape(-1, 4) for row in rows]).astype(float)
    statistics = array.channel_statistics(rows)
    np.testing.assert_allclose(statistics["mean"], pixels.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(statistics["std"], pixels.std(axis=0), atol=1e-3)


def test_an_array_that_is_missing_or_incomplete_names_the_script(raw, tmp_path):
    with pytest.raises(UserError, match=r"array.json is missing: run `python 00_prepare.py` first"):
        ShardedArray(tmp_path / "train_16")
    build(raw, tmp_path)
    (tmp_path / "train_16" / "00001.json").unlink()
    with pytest.raises(
        UserError, match=r"train_16 is incomplete, 00001.json is missing: run `python 00_prep"
    ):
        ShardedArray(tmp_path / "train_16")


def test_an_array_travels_to_other_processes_without_its_rows(raw, tmp_path):
    build(raw, tmp_path)
    array = ShardedArray(tmp_path / "train_16")
    empty = len(pickle.dumps(array))
    row_HWK = np.array(array[9])
    assert len(pickle.dumps(array)) == empty
    copy = pickle.loads(pickle.dumps(array))
    assert np.array_equal(copy[9], row_HWK) and not copy[9].flags.writeable
    assert copy.fingerprint() == array.fingerprint()


def test_shards_are_listed_with_rows_and_fingerprints(raw, tmp_path):
    build(raw, tmp_path)
    shards = ShardedArray(tmp_path / "train_16").shards()
    assert [rows for rows, _ in shards] == [range(8), range(8, 16), range(16, 20)]
    assert len({fingerprint for _, fingerprint in shards}) == 3


def test_an_array_must_be_of_the_samples_of_the_index(raw, tmp_path):
    build(raw, tmp_path)
    assert len(ShardedArray(tmp_path / "train_16", IDS)) == 20
    for ids in (IDS[1:], IDS[::-1], [*IDS, "b00"]):
        with pytest.raises(
            UserError, match=r"train_16 has other samples than index.csv: run `python 00_prep"
        ):
            ShardedArray(tmp_path / "train_16", ids)


def test_checksums_are_only_computed_of_files_that_changed(raw, tmp_path, monkeypatch):
    build(raw, tmp_path)
    folder, read, original = tmp_path / "train_16", [], shards.array_checksum
    monkeypatch.setattr(
        shards, "array_checksum", lambda path, *a: read.append(path.name) or original(path, *a)
    )
    monkeypatch.setattr(shards, "SETTLED", 0.0)
    names = ["00000.npy", "00001.npy", "00002.npy"]
    ShardedArray(folder)
    assert read == names, "they were just written"
    ShardedArray(folder)
    assert read == names
    (folder / "00001.npy").touch()
    ShardedArray(folder)
    assert read == [*names, "00001.npy"]
    (folder / "verified.json").unlink()
    ShardedArray(folder)
    assert read == [*names, "00001.npy", *names]


def test_a_file_that_changes_after_that_is_not_read(raw, tmp_path):
    build(raw, tmp_path)
    array = ShardedArray(tmp_path / "train_16")
    path = tmp_path / "train_16" / "00002.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert array[0].shape == (16, 16, 4)
    with pytest.raises(
        UserError, match=r"00002.npy was changed after it had been verified: run `python 00_p"
    ):
        array[19]


def test_an_open_array_does_not_hinder_the_process_that_reads_it(raw, tmp_path):
    build(raw, tmp_path)
    array = ShardedArray(tmp_path / "train_16")
    cache.build(raw, tmp_path, "train", IDS, (16,), 8, workers=1, force=True)
    assert len(array) == 20
