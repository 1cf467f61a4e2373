"""Who is imaged in a simulated set: antibodies, their label sets, and their fields in train and test."""

import csv
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.labels import CLASSES, parse_target, target_matrix
from lib.simulation.cells import CELL_LINES

FIELDS_SHARE = (0.22, 0.28, 0.12, 0.20, 0.06, 0.12)  # of antibodies with 1 to 6 fields
SAME_SHARE = 0.15  # of fields that show the same cells as another field of their antibody
FLOOR_FROM, FLOOR_TRAIN, FLOOR_TEST = 500, 5, 1
PUBLIC_SHARE = 0.29
DIVIDING_SHARE = 0.12  # of fields in which a cell divides by chance
NODE = "51d0ce115000"  # end of every identifier: tells simulated samples from Kaggle's


class Sample(NamedTuple):
    """One field to draw."""

    number: int
    id: str
    split: str  # "train" or "test"
    antibody: int
    labels: tuple[int, ...]
    scene: int  # fields of an antibody with the same scene show the same cells
    line: int  # which of the antibody's cell lines, 0 to 2


class Antibody(NamedTuple):
    """What all fields of one antibody have in common."""

    lines: tuple[str, str, str]
    weights: np.ndarray  # (labels,)
    styles: np.ndarray  # (labels, 4), 0-1
    active: float  # share of the cells that show the pattern
    spread: float  # of the brightness of the cells
    brightness: float  # logarithm, standard normal
    background: float  # unspecific staining over the pattern's own brightness


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


def plan_samples(train_samples: int, test_samples: int, seed: int) -> list[Sample]:
    """Share antibodies and their fields out over train and test.

    Label sets are drawn for antibodies with Kaggle's frequencies. From 500 samples on, every class is
    then given at least 5 samples in train and 1 in test, as far as there is room: antibodies of the most
    common label sets are given a set, drawn with Kaggle's frequencies, that holds the missing class.
    """
    rng = np.random.default_rng([seed, 0])
    total = train_samples + test_samples
    fields = 1 + rng.choice(6, size=total, p=FIELDS_SHARE)
    antibody_N = np.repeat(np.arange(total), fields)[:total]
    first_N = np.flatnonzero(np.diff(antibody_N, prepend=-1))
    view_N = np.arange(total) - first_N[antibody_N]
    same_N = (rng.uniform(size=total) < SAME_SHARE) & (view_N % 2 == 1)
    scene_N = view_N - same_N
    train_N = np.zeros(total, bool)
    train_N[rng.permutation(total)[:train_samples]] = True
    sets, shares = label_sets()
    chosen_A = rng.choice(len(sets), size=len(first_N), p=shares)
    if total >= FLOOR_FROM:
        _raise_rare(chosen_A, antibody_N, train_N, rng)
    return [
        Sample(
            k, identifier(seed, k), "train" if train_N[k] else "test", int(antibody_N[k]),
            sets[chosen_A[antibody_N[k]]], int(scene_N[k]), int(scene_N[k] // 2),
        )
        for k in range(total)
    ]  # fmt: skip


def _raise_rare(
    chosen_A: np.ndarray, antibody_N: np.ndarray, train_N: np.ndarray, rng: np.random.Generator
) -> None:
    """Give label sets of the missing classes to antibodies of the most common sets, in place."""
    sets, shares = label_sets()
    holds_SC = target_matrix(sets)
    train_A = np.bincount(antibody_N[train_N], minlength=len(chosen_A))
    test_A = np.bincount(antibody_N[~train_N], minlength=len(chosen_A))
    common = np.isin(chosen_A, np.argsort(-shares, kind="stable")[:8])
    donors = [a for a in rng.permutation(len(chosen_A)) if common[a]]
    donors.sort(key=lambda a: min(train_A[a], 1) + min(test_A[a], 1))  # last: those in both parts
    for label in np.argsort(shares @ holds_SC, kind="stable"):
        with_label = np.where(holds_SC[:, label], shares, 0)
        while donors:
            has_A = holds_SC[chosen_A, label]
            short_train = train_A[has_A].sum() < min(FLOOR_TRAIN, train_A.sum())
            short_test = test_A[has_A].sum() < min(FLOOR_TEST, test_A.sum())
            if not (short_train or short_test):
                break
            chosen_A[donors.pop()] = rng.choice(len(sets), p=with_label / with_label.sum())


def describe_antibody(labels: tuple[int, ...], seed: int, antibody: int) -> Antibody:
    """Draw what is particular to one antibody; the same in all of its fields."""
    rng = np.random.default_rng([seed, 1, antibody])
    names = list(CELL_LINES)
    shares = np.array([line.share for line in CELL_LINES.values()])
    if CLASSES.index("Cell junctions") in labels:  # only shown by cells that grow in sheets
        shares = shares * [name in ("A-431", "MCF7", "HEK 293") for name in names]
    lines = rng.choice(names, 3, p=shares / shares.sum())
    weights = rng.permutation(np.append(1.0, rng.uniform(0.35, 1.0, len(labels) - 1)))
    return Antibody(
        lines=tuple(str(name) for name in lines),
        weights=weights,
        styles=rng.uniform(size=(len(labels), 4)),
        active=1.0 if rng.uniform() < 0.6 else rng.uniform(0.25, 0.9),
        spread=rng.uniform(0.15, 0.7),
        brightness=rng.normal(),
        background=rng.lognormal(-2.6, 0.8),
    )


def public_part(sample: Sample, seed: int) -> bool:
    """Say whether a test sample counts for the public score, as about 29 in 100 do."""
    return np.random.default_rng([seed, 2, sample.number]).uniform() < PUBLIC_SHARE


def identifier(seed: int, number: int) -> str:
    """Make the identifier of a sample: a UUID of Kaggle's form that gives nothing away.

    >>> identifier(0, 0) == identifier(0, 0) != identifier(0, 1)
    True
    """
    digits = hashlib.blake2b(f"simulated {seed} {number}".encode(), digest_size=8).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-11e8-b{digits[12:15]}-{NODE}"
