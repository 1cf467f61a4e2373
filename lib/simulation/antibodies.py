"""The antibodies of a simulated data set: their label sets, and their fields of view in train and test."""

import csv
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.labels import CLASSES, parse_target, target_matrix
from lib.simulation.cells import CELL_LINES

FIELD_COUNT_PROBABILITIES = (0.22, 0.28, 0.12, 0.20, 0.06, 0.12)  # of antibodies with 1 to 6 fields
SAME_SCENE_PROBABILITY = 0.15  # that a field shows the same cells as the previous one of its antibody
MINIMA_APPLY_FROM = 500  # samples; in smaller data sets, classes may be missing
MINIMUM_TRAIN, MINIMUM_TEST = 5, 1  # samples of every class
PUBLIC_FRACTION = 0.29
DIVIDING_PROBABILITY = 0.12  # that a cell divides in a field whose labels do not require it
SHEET_FORMING_LINES = ("A-431", "MCF7", "HEK 293")  # the only ones with cell junctions
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


class Antibody(NamedTuple):
    """Properties that all fields of one antibody share."""

    lines: tuple[str, str, str]  # keys of `CELL_LINES`
    weights: np.ndarray  # (labels,): brightness of each label's pattern
    styles: np.ndarray  # (labels, 4): parameters of each label's pattern, 0-1
    positive_fraction: float  # of the cells that show the pattern
    brightness_std: float  # of the logarithm of brightness among the cells
    brightness: float  # of the green channel, in standard deviations from the median
    background: float  # unspecific staining relative to the pattern's brightness


@cache
def label_sets() -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Read the label sets of Kaggle's train.csv and their frequencies.

    Returns
    -------
    list of tuple of int, ndarray of shape (sets,)
        Class numbers of each set; frequencies that sum to 1.
    """
    with (Path(__file__).parent / "label_sets.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    counts = np.array([float(row["count"]) for row in rows])
    return [parse_target(row["target"]) for row in rows], counts / counts.sum()


def plan_samples(train_samples: int, test_samples: int, seed: int) -> list[PlannedSample]:
    """Draw antibodies with their label sets, and assign their fields to train and test.

    Label sets are drawn with Kaggle's frequencies. With 500 samples or more, every class then receives at
    least 5 samples in train and 1 in test, as far as possible: antibodies with one of the most common label
    sets receive a label set that contains the missing class, drawn with Kaggle's frequencies.

    Returns
    -------
    list of PlannedSample
        In the order of their numbers.
    """
    rng = np.random.default_rng([seed, 0])
    total = train_samples + test_samples
    field_counts = 1 + rng.choice(6, size=total, p=FIELD_COUNT_PROBABILITIES)
    antibody_N = np.repeat(np.arange(total), field_counts)[:total]
    first_N = np.flatnonzero(np.diff(antibody_N, prepend=-1))
    field_N = np.arange(total) - first_N[antibody_N]  # number of the field within its antibody
    same_scene_N = (rng.uniform(size=total) < SAME_SCENE_PROBABILITY) & (field_N % 2 == 1)
    scene_N = field_N - same_scene_N
    is_train_N = np.zeros(total, bool)
    is_train_N[rng.permutation(total)[:train_samples]] = True
    sets, frequencies = label_sets()
    set_A = rng.choice(len(sets), size=len(first_N), p=frequencies)
    if total >= MINIMA_APPLY_FROM:
        _ensure_minima(set_A, antibody_N, is_train_N, rng)
    return [
        PlannedSample(
            k, sample_id(seed, k), "train" if is_train_N[k] else "test", int(antibody_N[k]),
            sets[set_A[antibody_N[k]]], int(scene_N[k]), int(scene_N[k] // 2),
        )
        for k in range(total)
    ]  # fmt: skip


def _ensure_minima(
    set_A: np.ndarray, antibody_N: np.ndarray, is_train_N: np.ndarray, rng: np.random.Generator
) -> None:
    """Replace, in place, common label sets of antibodies by sets that contain a missing class."""
    sets, frequencies = label_sets()
    contains_SC = target_matrix(sets)
    train_A = np.bincount(antibody_N[is_train_N], minlength=len(set_A))
    test_A = np.bincount(antibody_N[~is_train_N], minlength=len(set_A))
    is_common_A = np.isin(set_A, np.argsort(-frequencies, kind="stable")[:8])
    replaceable = [a for a in rng.permutation(len(set_A)) if is_common_A[a]]
    # taken from the end: antibodies with fields in both train and test first
    replaceable.sort(key=lambda a: min(train_A[a], 1) + min(test_A[a], 1))
    for label in np.argsort(frequencies @ contains_SC, kind="stable"):
        with_label = np.where(contains_SC[:, label], frequencies, 0)
        while replaceable:
            has_A = contains_SC[set_A, label]
            too_few_train = train_A[has_A].sum() < min(MINIMUM_TRAIN, train_A.sum())
            too_few_test = test_A[has_A].sum() < min(MINIMUM_TEST, test_A.sum())
            if not (too_few_train or too_few_test):
                break
            set_A[replaceable.pop()] = rng.choice(len(sets), p=with_label / with_label.sum())


def describe_antibody(labels: tuple[int, ...], seed: int, antibody: int) -> Antibody:
    """Draw the properties of one antibody, which are the same in all of its fields."""
    rng = np.random.default_rng([seed, 1, antibody])
    names = list(CELL_LINES)
    frequencies = np.array([line.frequency for line in CELL_LINES.values()])
    if CLASSES.index("Cell junctions") in labels:
        frequencies = frequencies * [name in SHEET_FORMING_LINES for name in names]
    lines = rng.choice(names, 3, p=frequencies / frequencies.sum())
    weights = rng.permutation(np.append(1.0, rng.uniform(0.35, 1.0, len(labels) - 1)))
    return Antibody(
        lines=tuple(str(name) for name in lines),
        weights=weights,
        styles=rng.uniform(size=(len(labels), 4)),
        positive_fraction=1.0 if rng.uniform() < 0.6 else rng.uniform(0.25, 0.9),
        brightness_std=rng.uniform(0.15, 0.7),
        brightness=rng.normal(),
        background=rng.lognormal(-2.6, 0.8),
    )


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
