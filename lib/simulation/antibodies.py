"""The antibodies of a simulated data set: their label sets, cameras, and fields of view in train and test."""

import csv
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.labels import parse_target, target_matrix

FIELD_COUNT_PROBABILITIES = (0.22, 0.28, 0.12, 0.20, 0.06, 0.12)  # of antibodies with 1 to 6 fields
SAME_SCENE_PROBABILITY = 0.15  # that a field shows the same cells as the previous one of its antibody
MINIMA_APPLY_FROM = 500  # samples; in smaller data sets, classes may be missing
MINIMUM_TRAIN, MINIMUM_TEST = 5, 1  # samples of every class
MINIMUM_ANTIBODIES = 3  # of every class in train: one for each subset
COMMON_SETS = 8  # most frequent label sets, which give way to missing classes
PUBLIC_FRACTION = 0.29
LARGE_TRAIN, LARGE_TEST = 0.218, 0.512  # of the competition's samples: originals larger than 2048 px
ID_SUFFIX = "51d0ce115000"  # last group of every id: distinguishes simulated samples from Kaggle's


class PlannedSample(NamedTuple):
    """One field of view to simulate."""

    number: int
    id: str
    split: str  # "train" or "test"
    antibody: int
    labels: tuple[int, ...]  # class numbers 0-27, ascending
    scene: int  # fields of an antibody with the same scene show the same cells
    line: int  # which of the antibody's cell lines, 0 to 2
    camera: str  # a key of `lib.simulation.camera.CAMERAS`


class _Fields(NamedTuple):
    """Fields of antibodies, in the order of the antibodies."""

    antibody_N: np.ndarray  # numbers from 0
    is_train_N: np.ndarray


@cache
def label_sets() -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Read the label sets of Kaggle's train.csv and their frequencies.

    Returns
    -------
    list of tuple of int, ndarray of shape (sets,)
        Class numbers of each set; frequencies that sum to 1.
    """
    rows = _label_set_rows()
    counts = np.array([float(row["count"]) for row in rows])
    return [parse_target(row["target"]) for row in rows], counts / counts.sum()


@cache
def camera_frequencies() -> dict[str, np.ndarray]:
    """Return the frequencies of the label sets among Kaggle's small and among its large training images.

    Returns
    -------
    dict of ndarray of shape (sets,)
        By camera, in the order of `label_sets`; each sums to 1.
    """
    large = np.array([float(row["large"]) for row in _label_set_rows()])
    small = np.array([float(row["count"]) for row in _label_set_rows()]) - large
    return {"small": small / small.sum(), "large": large / large.sum()}


@cache
def _label_set_rows() -> list[dict[str, str]]:
    with (Path(__file__).parent / "label_sets.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def plan_samples(
    train_samples: int, test_samples: int, seed: int, unseen: float = 0.5
) -> list[PlannedSample]:
    """Draw antibodies with their camera and label set, and assign their fields to train and test.

    All fields of an antibody have one label set and one camera: of the training samples 22 %, of the test
    samples 51 % have the large one. Among the test samples whose antibody is also in train it is 22 %; the
    antibodies that are only in test make up the difference.

    Label sets are drawn with the frequencies of Kaggle's images of the same camera. With 500 samples or more,
    every class then receives at least 5 samples of 3 antibodies in train and 1 sample in test, as far as
    possible: antibodies with one of the most common label sets receive a label set that contains the missing
    class.

    Parameters
    ----------
    train_samples, test_samples : int
        Number of samples in each split.
    seed : int
    unseen : float
        Fraction of the test set's antibodies that have no field in train, as far as possible.

    Returns
    -------
    list of PlannedSample
        In the order of their numbers; fields of an antibody are consecutive.
    """
    blocks = _draw_blocks(train_samples, test_samples, seed, unseen)
    counts = [fields.antibody_N.max(initial=-1) + 1 for _, fields in blocks]
    offsets = np.cumsum([0, *counts])
    antibody_N = np.concatenate(
        [fields.antibody_N + k for (_, fields), k in zip(blocks, offsets, strict=False)]
    )
    is_train_N = np.concatenate([fields.is_train_N for _, fields in blocks])
    camera_A = np.repeat([camera for camera, _ in blocks], counts)
    rng = np.random.default_rng([seed, 0])
    set_A = np.concatenate(
        [_draw_sets(camera, count, rng) for (camera, _), count in zip(blocks, counts, strict=True)]
    )
    total = train_samples + test_samples
    if total >= MINIMA_APPLY_FROM:
        _ensure_minima(set_A, camera_A, antibody_N, is_train_N, rng)
    first_A = np.flatnonzero(np.diff(antibody_N, prepend=-1))
    field_N = np.arange(total) - first_A[antibody_N]  # number of the field within its antibody
    same_scene_N = (rng.uniform(size=total) < SAME_SCENE_PROBABILITY) & (field_N % 2 == 1)
    scene_N = field_N - same_scene_N
    sets, _ = label_sets()
    return [
        PlannedSample(
            k, sample_id(seed, k), "train" if is_train_N[k] else "test", int(antibody_N[k]),
            sets[set_A[antibody_N[k]]], int(scene_N[k]), int(scene_N[k] // 2), str(camera_A[antibody_N[k]]),
        )
        for k in range(total)
    ]  # fmt: skip


def _draw_blocks(train: int, test: int, seed: int, unseen: float) -> list[tuple[str, _Fields]]:
    """Draw the fields of each camera's antibodies: first of those in train, then of those only in test.

    The number of samples of the latter follows by bisection from the fraction of the antibodies.
    """

    def blocks(test_only: int) -> list[tuple[str, _Fields]]:
        sizes = _block_sizes(train, test, test_only)
        return [
            (camera, _draw_fields(*size, np.random.default_rng([seed, 6, k])))
            for k, (camera, size) in enumerate(sizes)
        ]

    low, high = 0, test
    while low < high:
        middle = (low + high) // 2
        if _unseen_fraction(blocks(middle)) < unseen:
            low = middle + 1
        else:
            high = middle
    return blocks(low)


def _block_sizes(train: int, test: int, test_only: int) -> list[tuple[str, tuple[int, int]]]:
    """Return the camera, and the number of train and of test samples, of each block of antibodies.

    Parameters
    ----------
    test_only : int
        Number of test samples whose antibodies are not in train.
    """
    large_train, large_test = round(LARGE_TRAIN * train), round(LARGE_TEST * test)
    shared = test - test_only
    large_shared = min(max(round(LARGE_TRAIN * shared), large_test - test_only), large_test)
    large_only = large_test - large_shared
    return [
        ("small", (train - large_train, shared - large_shared)),
        ("large", (large_train, large_shared)),
        ("small", (0, test_only - large_only)),
        ("large", (0, large_only)),
    ]


def _draw_fields(train: int, test: int, rng: np.random.Generator) -> _Fields:
    """Draw antibodies with 1 to 6 fields, each with at least one field in train if there are enough."""
    total = train + test
    counts = 1 + rng.choice(len(FIELD_COUNT_PROBABILITIES), size=total, p=FIELD_COUNT_PROBABILITIES)
    antibody_N = np.repeat(np.arange(total), counts)[:total]
    priority_N = rng.uniform(size=total)
    order = np.lexsort((priority_N, antibody_N))
    priority_N[order[np.flatnonzero(np.diff(antibody_N, prepend=-1))]] -= 1  # one field of each antibody
    is_train_N = np.zeros(total, bool)
    is_train_N[np.argsort(priority_N)[:train]] = True
    return _Fields(antibody_N, is_train_N)


def _unseen_fraction(blocks: list[tuple[str, _Fields]]) -> float:
    """Return the fraction of the test set's antibodies that have no field in train."""
    tested = seen = 0
    for _, fields in blocks:
        in_test = np.unique(fields.antibody_N[~fields.is_train_N])
        tested += len(in_test)
        seen += np.isin(in_test, fields.antibody_N[fields.is_train_N]).sum()
    return 1 - seen / tested if tested else 1.0


def _draw_sets(camera: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the label sets of a camera's antibodies: numbers in the order of `label_sets`.

    The sample is systematic, over the sets in the order of their rarest class, so that each class has as
    many antibodies as expected.
    """
    sets, frequencies = label_sets()
    rarity = np.argsort(np.argsort(frequencies @ target_matrix(sets)))
    order = np.argsort([rarity[list(labels)].min() for labels in sets], kind="stable")
    edges = np.cumsum(camera_frequencies()[camera][order])
    points = (np.arange(count) + rng.uniform()) / max(count, 1)
    return rng.permutation(order[np.minimum(np.searchsorted(edges, points), len(sets) - 1)])


def _ensure_minima(
    set_A: np.ndarray, camera_A: np.ndarray, antibody_N: np.ndarray, is_train_N: np.ndarray,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Replace, in place, common label sets of antibodies by sets that contain a missing class.

    The camera of each replacement brings the class closer to its share of large images in Kaggle's train.csv.
    """
    sets, frequencies = label_sets()
    contains_SC = target_matrix(sets)
    train_A = np.bincount(antibody_N[is_train_N], minlength=len(set_A))
    test_A = np.bincount(antibody_N[~is_train_N], minlength=len(set_A))
    replaceable_A = np.isin(set_A, np.argsort(-frequencies, kind="stable")[:COMMON_SETS])
    order = rng.permutation(len(set_A))
    for label in np.argsort(frequencies @ contains_SC, kind="stable"):
        by_camera = {camera: f * contains_SC[:, label] for camera, f in camera_frequencies().items()}
        large = by_camera["large"].sum() * LARGE_TRAIN
        large /= large + by_camera["small"].sum() * (1 - LARGE_TRAIN)
        while True:
            has_A = contains_SC[set_A, label] > 0
            fields_A = _lacking(has_A, train_A, test_A)
            if fields_A is None:
                break
            is_large_A = camera_A == "large"
            wants_large = (has_A & is_large_A).sum() + 0.5 <= large * (has_A.sum() + 1)
            possible_A = np.where(is_large_A, large > 0, large < 1)
            candidate_A = replaceable_A & (fields_A > 0) & possible_A
            if not candidate_A.any():
                break
            preferred_A = candidate_A & (is_large_A == wants_large)
            chosen = order[(preferred_A if preferred_A.any() else candidate_A)[order]][0]
            probability_S = by_camera[str(camera_A[chosen])]
            set_A[chosen] = rng.choice(len(sets), p=probability_S / probability_S.sum())
            replaceable_A[chosen] = False


def _lacking(has_A: np.ndarray, train_A: np.ndarray, test_A: np.ndarray) -> np.ndarray | None:
    """Return the fields per antibody of the split that needs more samples of a class; None if none does."""
    antibodies = (has_A & (train_A > 0)).sum()
    if train_A[has_A].sum() < min(MINIMUM_TRAIN, train_A.sum()):
        return train_A
    if antibodies < min(MINIMUM_ANTIBODIES, (train_A > 0).sum()):
        return train_A * ~has_A
    if test_A[has_A].sum() < min(MINIMUM_TEST, test_A.sum()):
        return test_A
    return None


def is_public(sample: PlannedSample, seed: int) -> bool:
    """Return whether a test sample counts for the public score, as about 29 % do."""
    return np.random.default_rng([seed, 2, sample.number]).uniform() < PUBLIC_FRACTION


def sample_id(seed: int, number: int) -> str:
    """Return the id of a sample: a UUID in Kaggle's format that reveals nothing about the sample.

    >>> sample_id(0, 0) == sample_id(0, 0) != sample_id(0, 1)
    True
    """
    digits = hashlib.blake2b(f"simulated {seed} {number}".encode(), digest_size=8).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-11e8-b{digits[12:15]}-{ID_SUFFIX}"
