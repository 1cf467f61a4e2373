"""Duplicates: pairs of images of the same cells, found by perceptual hashes and verified on thumbnails.

1. Every image is reduced to a thumbnail and three hashes (`lib.data.perceptual_hash`).
2. Candidates are the pairs whose three distances add up to at most `MAX_DISTANCE`. All distances come from
   one block-wise matrix product of bits written as -1 and 1. A channel without structure (one grey level)
   counts as unrelated.
3. A candidate is a duplicate if its thumbnails correlate by at least `MIN_CORRELATION` in two of the three
   channels; the third may be too faint. An image with fewer than two channels of structure, such as the black
   row of a bad image, therefore never is one.

docs/duplicates_and_groups.md has the measurements that the two thresholds were chosen from.

``data/cache/<dataset>/`` holds ``hashes.npy`` (rows, 3; uint64), ``thumbnails.npy`` (rows, 3, 64, 64; uint8),
both in the order of ``index.csv``, and ``duplicates.csv`` (`lib.data.duplicate_pairs`), each with the
manifest of its step.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, parallel
from lib.console import Progress, info, warn
from lib.data import duplicate_pairs, opencv, perceptual_hash
from lib.data.cache import ShardedArray
from lib.data.duplicate_pairs import COLUMNS
from lib.data.perceptual_hash import BITS, CHANNELS, HASHED_SIZE, ORIENTATIONS, SIZE
from lib.data.sample_index import SampleIndex
from lib.run import Run
from lib.steps import Step

MAX_DISTANCE = 60  # bits of the three hashes together
MIN_CORRELATION = 0.75
BLOCK, COLUMN_BLOCK = 2048, 512  # rows and columns of a block of the matrix product, which is 4 MB
CANDIDATES_PER_TASK = 2000
CANDIDATES_PER_IMAGE = 20  # on average; with more, verification would take longer than everything else


def find_in_dataset(run: Run, index: SampleIndex) -> pd.DataFrame:
    """Find all duplicates among a run's images, by the largest of the cached arrays; see `find`."""
    size = max(run.config.data.sizes)
    arrays = {name: ShardedArray(run.array(name, size), ids) for name, ids in index.ids.items()}
    table = find(arrays, index.ids, run.cache, run.workers, run.force)
    if counted := duplicate_pairs.describe(table):
        info(counted)
    return table


def find(
    arrays: dict[str, ShardedArray],
    ids: dict[str, list[str]],
    folder: Path,
    workers: int,
    force: bool = False,
    orientations: bool = False,
) -> pd.DataFrame:
    """Find all duplicates, unless ``duplicates.csv`` is there for the same images.

    Parameters
    ----------
    arrays : dict of ShardedArray
        The images by set: train, test, and any further; of the largest size.
    ids : dict of list of str
        Ids of their rows, by set.
    folder : Path
        Folder of the dataset's cache.
    workers : int
        Number of processes; the result does not depend on it.
    force : bool
        Hash and search again.
    orientations : bool
        Also find images that are rotated or mirrored; the search takes eight times as long.

    Returns
    -------
    DataFrame
        As `duplicate_pairs.read` does.
    """
    path = folder / "duplicates.csv"
    settings = {
        "MAX_DISTANCE": MAX_DISTANCE,
        "MIN_CORRELATION": MIN_CORRELATION,
        "orientations": ORIENTATIONS if orientations else 1,
    }
    inputs = _images(arrays) | {"list of ids": files.fingerprint(ids)}
    step = Step("list of duplicates", folder / "duplicates.json", settings, inputs, [path])
    with files.waiting_lock(files.make_folder(folder) / ".duplicates.lock"):
        hashes = write_hashes(arrays, folder, workers, force)
        if not step.up_to_date(force, rebuild=True):
            candidates = search(hashes, workers, settings["orientations"])
            correlations = verify(folder / "thumbnails.npy", candidates, workers)
            table = _table(np.load(hashes), candidates, correlations, ids)
            files.write_text(path, table.round(6).to_csv(index=False))
            step.finish()
            count = ", ".join(f"{n:,} {kind}" for kind, n in table["kind"].value_counts(sort=False).items())
            info(f"{len(table):,} pairs of duplicates{f' ({count})' if count else ''} in {path}")
    return duplicate_pairs.read(path)


@dataclass(frozen=True)
class HashedShard:
    """One shard of an array whose images are hashed together; `start` is its first row in ``hashes.npy``."""

    array: ShardedArray
    rows: range
    start: int

    def __len__(self) -> int:
        return len(self.rows)


def write_hashes(arrays: dict[str, ShardedArray], folder: Path, workers: int, force: bool = False) -> Path:
    """Write ``hashes.npy`` and ``thumbnails.npy``, unless they are there for the same images.

    Returns
    -------
    Path
        Of ``hashes.npy``; parameters as in `find`.
    """
    hashes_path, thumbnails_path = folder / "hashes.npy", folder / "thumbnails.npy"
    settings = {"thumbnail": SIZE, "hashed": HASHED_SIZE, "bits": BITS}
    outputs = [hashes_path, thumbnails_path]
    step = Step("table of hashes", folder / "hashes.json", settings, _images(arrays), outputs)
    if step.up_to_date(force, rebuild=True):
        return hashes_path
    shards, total = [], 0
    for array in arrays.values():
        for rows, _ in array.shards():
            shards.append(HashedShard(array, rows, total))
            total += len(rows)
    hashes = np.zeros((total, len(CHANNELS)), np.uint64)
    shape = (total, len(CHANNELS), SIZE, SIZE)
    with files.write_atomic(thumbnails_path) as part, Progress(total, "hashes", "samples") as progress:
        thumbnails = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        for start, some, small in parallel.run(hash_shard, shards, workers, progress):
            hashes[start : start + len(some)] = some
            thumbnails[start : start + len(small)] = small
        thumbnails.flush()
    with files.write_atomic(hashes_path) as part, part.open("wb") as file:
        np.save(file, hashes)
    step.finish()
    return hashes_path


def hash_shard(shard: HashedShard) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the first row in ``hashes.npy``, the hashes and the thumbnails of one shard."""
    array = copy.copy(shard.array)  # a copy maps only this shard, and releases it at the end
    with opencv.single_thread():
        thumbnails = np.stack([perceptual_hash.thumbnail(array[row]) for row in shard.rows])
        hashes = np.stack([perceptual_hash.hash_thumbnail(own_KHW) for own_KHW in thumbnails])
    return shard.start, hashes, thumbnails


@dataclass(frozen=True)
class Block:
    """Some rows of ``hashes.npy``, to be compared with each other and with all rows after them."""

    hashes: Path
    rows: range
    total: int
    orientations: int

    def __len__(self) -> int:  # pairs
        count = len(self.rows)
        return count * (count - 1) // 2 + count * (self.total - self.rows.stop)


def search(hashes: Path, workers: int, orientations: int = 1) -> np.ndarray:
    """Return the candidates.

    Parameters
    ----------
    hashes : Path
        ``hashes.npy``.
    workers : int
    orientations : int
        1: as they are; 8: in all orientations of the second image.

    Returns
    -------
    ndarray of shape (candidates, 4), int32
        Rows of the two images, orientation of the second one, and the sum of the three distances; sorted. Of
        more than `CANDIDATES_PER_IMAGE`, the closest, and of equal hashes only the pairs with the first.
    """
    total = len(np.load(hashes, mmap_mode="r"))
    rows = [range(start, min(start + BLOCK, total)) for start in range(0, total, BLOCK)]
    blocks = [Block(hashes, own, total, orientations) for own in rows]
    with Progress(total * (total - 1) // 2, "pairs compared", "pairs") as progress:
        found = list(parallel.run(search_block, blocks, workers, progress))
    candidates, most = np.concatenate([np.empty((0, 4), np.int32), *found]), int(CANDIDATES_PER_IMAGE * total)
    if len(candidates) > most:
        candidates = _without_implied(candidates)
    distances = candidates[:, 3]
    if len(candidates) > most:
        limit = max(int(np.sort(distances)[most]) - 1, 0)
        warn(
            f"{len(candidates):,} pairs of images have similar hashes, which are too many to compare: only "
            f"those with a distance of at most {limit}, instead of {MAX_DISTANCE}, are examined"
        )
        candidates = candidates[distances <= limit]
    return candidates[np.lexsort(candidates.T[2::-1])]


def _without_implied(candidates: np.ndarray) -> np.ndarray:
    """Return the candidates without pairs of equal hashes that others imply: each with the first of them.

    A few hundred files of one picture would else displace all other candidates.
    """
    is_equal = (candidates[:, 2] == 0) & (candidates[:, 3] == 0)
    equal = candidates[is_equal]
    equal = equal[np.lexsort((equal[:, 0], equal[:, 1]))]
    _, first = np.unique(equal[:, 1], return_index=True)
    return np.concatenate([candidates[~is_equal], equal[first]])


def search_block(block: Block) -> np.ndarray:
    """Return the candidates of a block as `search` does, not sorted; memory use is that of a block."""
    hashes = np.load(block.hashes, mmap_mode="r")
    own = perceptual_hash.signs(hashes[block.rows.start : block.rows.stop])
    products = np.empty((len(own), COLUMN_BLOCK), np.float32)
    bits = own.shape[1]
    found = [np.empty((0, 4), np.int32)]
    for start in range(block.rows.start, block.total, COLUMN_BLOCK):
        others = hashes[start : min(start + COLUMN_BLOCK, block.total)]
        for orientation in range(block.orientations):
            turned = perceptual_hash.signs(others, orientation)
            part = np.dot(own, turned.T, out=products if len(others) == COLUMN_BLOCK else None)
            places = np.flatnonzero(part >= bits - 2 * MAX_DISTANCE)  # equal minus different bits
            if len(places):
                first, second = np.divmod(places, len(others))
                columns = (
                    first + block.rows.start,
                    second + start,
                    np.full(len(places), orientation),
                    (bits - part.ravel()[places]) / 2,
                )
                candidates = np.stack(columns, axis=1).astype(np.int32)
                found.append(candidates[candidates[:, 0] < candidates[:, 1]])
    return np.concatenate(found)


@dataclass(frozen=True)
class Candidates:
    """Some of the candidates, to be verified together; `start` is the first one's place among all."""

    thumbnails: Path
    start: int
    candidates: np.ndarray

    def __len__(self) -> int:
        return len(self.candidates)


def verify(thumbnails: Path, candidates: np.ndarray, workers: int) -> np.ndarray:
    """Return the correlation of each candidate, shape (candidates,), float64; at most 1.

    Parameters
    ----------
    thumbnails : Path
        ``thumbnails.npy``.
    candidates : ndarray of shape (candidates, 4)
        As `search` returns them.
    """
    tasks = [
        Candidates(thumbnails, start, candidates[start : start + CANDIDATES_PER_TASK])
        for start in range(0, len(candidates), CANDIDATES_PER_TASK)
    ]
    correlations = np.zeros(len(candidates))
    with Progress(len(candidates), "candidates verified", "pairs") as progress:
        for start, found in parallel.run(verify_some, tasks, workers, progress):
            correlations[start : start + len(found)] = found
    return correlations


def verify_some(task: Candidates) -> tuple[int, np.ndarray]:
    """Return the start of a task and the correlations of its candidates."""
    thumbnails = np.load(task.thumbnails, mmap_mode="r")
    with opencv.single_thread():
        found = [
            perceptual_hash.correlation(thumbnails[a], perceptual_hash.orient(thumbnails[b], orientation))
            for a, b, orientation, _ in task.candidates
        ]
    return task.start, np.array(found)


def _images(arrays: dict[str, ShardedArray]) -> dict[str, str]:
    """Return what the hashes depend on, as inputs of a step."""
    return {f"{name} images": f"{array.size} px, {array.fingerprint()}" for name, array in arrays.items()}


def _table(
    hashes: np.ndarray, candidates: np.ndarray, correlations: np.ndarray, ids: dict[str, list[str]]
) -> pd.DataFrame:
    """Return the candidates that are duplicates, in their best orientation, as `find` does."""
    order = np.lexsort((-correlations, candidates[:, 1], candidates[:, 0]))
    order = order[correlations[order] >= MIN_CORRELATION]
    a, b, orientation, _ = candidates[order].T
    best = np.append(True, (np.diff(a) != 0) | (np.diff(b) != 0))[: len(order)]
    order, a, b, orientation = order[best], a[best], b[best], orientation[best]
    first, second = perceptual_hash.signs(hashes[a]), np.empty((len(b), hashes.shape[1] * BITS), np.float32)
    for number in np.unique(orientation):
        turned = orientation == number
        second[turned] = perceptual_hash.signs(hashes[b[turned]], number)
    distances = (BITS - (first * second).reshape(len(a), len(CHANNELS), BITS).sum(axis=2)) // 2
    names = np.array([sample for own in ids.values() for sample in own], object)
    sets = np.array([name for name, own in ids.items() for _ in own], object)
    columns = names[a], names[b], *distances.T.astype(int), correlations[order], sets[a] + "-" + sets[b]
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
