"""Duplicates are found whatever their sets, blocks and processes, and only what changed is done again."""

import itertools

import cv2
import numpy as np
import pytest

from lib.data import cache, duplicate_pairs, duplicates, perceptual_hash
from tests.conftest import CHANNELS
from tests.data.test_perceptual_hash import scene

TRAIN, TEST = [f"{row:03d}" for row in range(12)], ["NA", "1e5", "t2", "t3"]


def write(folder, subset, sample, image_HWK):
    (folder / subset).mkdir(parents=True, exist_ok=True)
    for channel, name in enumerate(CHANNELS):
        cv2.imwrite(str(folder / subset / f"{sample}_{name}.png"), image_HWK[..., channel])


@pytest.fixture
def raw(tmp_path):
    """Return images of different scenes, but for: 000 = 005, t2 = 003 shifted, NA = 1e5 = 007 with noise.

    008 and 009 are of one grey level, 010 and 011 have only red, the same.
    """
    large_HWK, rng = scene(3, 170), np.random.default_rng(0)
    noise = rng.normal(0, 5, (2, 160, 160, 4))
    images = {sample: scene(seed) for seed, sample in enumerate(TRAIN + TEST)}
    images["005"], images["003"], images["t2"] = images["000"], large_HWK[:160, :160], large_HWK[4:164, 9:169]
    for sample, own in zip(("NA", "1e5"), noise, strict=True):
        images[sample] = np.clip(images["007"] + own, 0, 255).astype(np.uint8)
    images["008"], images["009"] = np.zeros_like(images["000"]), np.full_like(images["000"], 70)
    images["010"] = images["011"] = images["010"] * np.uint8([1, 0, 0, 0])
    for sample, image_HWK in images.items():
        write(tmp_path / "raw", "train" if sample in TRAIN else "test", sample, image_HWK)
    return tmp_path / "raw"


PAIRS = [
    ("000", "005", "train-train"),
    ("003", "t2", "train-test"),
    ("007", "NA", "train-test"),
    ("007", "1e5", "train-test"),
    ("NA", "1e5", "test-test"),
]


def find(raw, folder, workers=1, shard_rows=5, **options):
    ids = {"train": TRAIN, "test": TEST}
    for subset, own in ids.items():
        cache.build(raw, folder, subset, own, (80,), shard_rows, 1)
    arrays = {subset: cache.ShardedArray(folder / f"{subset}_80") for subset in ids}
    return duplicates.find(arrays, ids, folder, workers, **options)


def pairs_of(table):
    return list(table[["a", "b", "kind"]].itertuples(index=False, name=None))


def test_pairs_within_and_between_sets_are_found_and_no_others(raw, tmp_path, capsys):
    table = find(raw, tmp_path / "cache")
    assert pairs_of(table) == PAIRS
    assert tuple(table) == duplicate_pairs.COLUMNS
    exact = table.iloc[0]
    assert (
        exact[list(duplicate_pairs.DISTANCE_COLUMNS)].tolist() == [0, 0, 0] and exact["correlation"] > 0.999
    )
    assert table.iloc[1][list(duplicate_pairs.DISTANCE_COLUMNS)].sum() > 0
    assert (table["correlation"] >= duplicates.MIN_CORRELATION).all()
    assert "5 pairs of duplicates (1 train-train, 3 train-test, 1 test-test)" in capsys.readouterr().out
    assert duplicate_pairs.read(tmp_path / "cache" / "duplicates.csv").equals(table)


def test_bad_images_are_no_duplicates_of_each_other(raw, tmp_path):
    for sample in ("001", "002", "006"):
        (raw / "train" / f"{sample}_green.png").write_bytes(b"not an image")
    assert pairs_of(find(raw, tmp_path / "cache")) == PAIRS


def test_shards_and_processes_do_not_matter(raw, tmp_path):
    find(raw, tmp_path / "one")
    find(raw, tmp_path / "two", workers=2, shard_rows=100)
    for name in ("hashes.npy", "thumbnails.npy", "duplicates.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_rotated_and_mirrored_images_are_found_on_request(raw, tmp_path):
    write(raw, "train", "004", np.rot90(scene(len(TRAIN) + TEST.index("t3")))[:, ::-1])
    assert pairs_of(find(raw, tmp_path / "cache")) == PAIRS
    table = find(raw, tmp_path / "cache", orientations=True)
    assert pairs_of(table) == sorted([*PAIRS, ("004", "t3", "train-test")], key=_by_rows)
    turned = table[table["a"] == "004"].iloc[0]
    assert turned[list(duplicate_pairs.DISTANCE_COLUMNS)].sum() <= 3 and turned["correlation"] > 0.99


def _by_rows(pair):
    return [(TRAIN + TEST).index(sample) for sample in pair[:2]]


# the steps


class Calls:
    """Count the calls of the functions that do the work."""

    def __init__(self, monkeypatch):
        self.names = []
        for name in ("hash_shard", "search_block", "verify_some"):
            monkeypatch.setattr(duplicates, name, self.counted(name, getattr(duplicates, name)))

    def counted(self, name, function):
        def call(task):
            self.names.append(name)
            return function(task)

        return call

    def take(self):
        names, self.names = self.names, []
        return set(names)


def test_only_what_changed_is_done_again(raw, tmp_path, monkeypatch):
    calls, folder = Calls(monkeypatch), tmp_path / "cache"
    everything = {"hash_shard", "search_block", "verify_some"}
    table = find(raw, folder)
    assert calls.take() == everything
    assert find(raw, folder).equals(table) and calls.take() == set()
    find(raw, folder, force=True)
    assert calls.take() == everything
    write(raw, "train", "005", scene(99))
    assert pairs_of(find(raw, folder)) == PAIRS[1:] and calls.take() == everything
    monkeypatch.setattr(duplicates, "MIN_CORRELATION", 0.9999)
    assert find(raw, folder).empty  # those that remain are shifted or have noise
    assert calls.take() == everything - {"hash_shard"}


def test_a_killed_search_is_repeated_with_the_same_hashes(raw, tmp_path, monkeypatch):
    folder = tmp_path / "cache"

    def interrupted(task):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(duplicates, "search_block", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find(raw, folder)
    assert not (folder / "duplicates.csv").exists()
    calls = Calls(monkeypatch)
    assert pairs_of(find(raw, folder)) == PAIRS
    assert calls.take() == {"search_block", "verify_some"}


def test_hashing_that_is_killed_leaves_no_partial_file(raw, tmp_path, monkeypatch):
    def interrupted(task):
        raise KeyboardInterrupt

    monkeypatch.setattr(duplicates, "hash_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find(raw, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if "npy" in path.name]


# the search


def flipped(hashes, rng, bits):
    """Return hashes that differ in `bits` bits of each channel."""
    changed = hashes.copy()
    for channel in range(3):
        for bit in rng.choice(64, bits, replace=False):
            changed[channel] ^= np.uint64(1) << np.uint64(bit)
    return changed


@pytest.fixture
def hashes(tmp_path, monkeypatch):
    """Write 60 random hashes with related ones; return the file and the distances of all pairs, by rows."""
    monkeypatch.setattr(duplicates, "BLOCK", 16)
    monkeypatch.setattr(duplicates, "COLUMN_BLOCK", 7)
    rng = np.random.default_rng(0)
    own = rng.integers(1, 2**64, (60, 3), dtype=np.uint64)
    for source, copy, bits in ((0, 1, 0), (2, 59, 20), (5, 9, 12), (15, 16, 21), (30, 40, 10), (30, 41, 5)):
        own[copy] = flipped(own[source], rng, bits)
    own[50:53] = 0
    np.save(tmp_path / "hashes.npy", own)
    pairs = itertools.combinations(range(60), 2)
    sums = {
        (a, b): sum(
            32 if not (own[a, k] and own[b, k]) else int(own[a, k] ^ own[b, k]).bit_count() for k in range(3)
        )
        for a, b in pairs
    }
    return tmp_path / "hashes.npy", sums


def test_the_search_finds_what_counting_bits_finds(hashes):
    path, sums = hashes
    expected = [[*pair, 0, total] for pair, total in sums.items() if total <= duplicates.MAX_DISTANCE]
    assert len(expected) >= 5  # 15 and 16 are one bit too far apart
    assert duplicates.search(path, 1).tolist() == expected
    assert (15, 16) not in {tuple(pair[:2]) for pair in expected}


def test_all_orientations_contain_the_search_as_they_are(hashes):
    path, _ = hashes
    found = duplicates.search(path, 1, perceptual_hash.ORIENTATIONS)
    assert np.array_equal(found[found[:, 2] == 0], duplicates.search(path, 1))


def test_blocks_count_every_pair_once(hashes):
    path, sums = hashes
    starts = range(0, 60, 16)
    blocks = [duplicates.Block(path, range(start, min(start + 16, 60)), 60, 1) for start in starts]
    assert sum(map(len, blocks)) == len(sums)


def test_many_equal_images_do_not_displace_the_others(hashes, monkeypatch):
    path, _ = hashes
    values = np.load(path)
    values[42:60] = values[42]  # 153 pairs
    np.save(path, values)
    monkeypatch.setattr(duplicates, "CANDIDATES_PER_IMAGE", 1)
    found = {tuple(pair[:2]) for pair in duplicates.search(path, 1).tolist()}
    assert {(42, row) for row in range(43, 60)} | {(0, 1), (30, 41)} <= found and (43, 44) not in found


def test_too_many_candidates_are_limited_to_the_closest(hashes, monkeypatch, capsys):
    path, _ = hashes
    monkeypatch.setattr(duplicates, "CANDIDATES_PER_IMAGE", 2.1 / 60)
    found = duplicates.search(path, 1)
    assert [tuple(pair[:2]) for pair in found.tolist()] == [(0, 1), (30, 41)]
    assert f"instead of {duplicates.MAX_DISTANCE}" in capsys.readouterr().err
