"""Which labelled samples train, tune and judge: iterative stratification of label sets.

Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data"; the engine is
iterative-stratification's.
"""

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import IterativeStratification

from lib.config import Split
from lib.data.sample_index import SUBSETS, Index
from lib.errors import UserError
from lib.labels import CLASSES


def frequent_classes(truth_NC: np.ndarray, minimum_share: float) -> np.ndarray:
    """Return the classes that at least `minimum_share` of the samples carry.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
    minimum_share : float
        In [0, 1]; 0 keeps all, also those that no sample carries.

    Returns
    -------
    ndarray of int
        Class numbers, ascending.
    """
    return np.flatnonzero(truth_NC.mean(axis=0) >= minimum_share)


def without_rare(truth_NC: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Mark the samples that carry none but the given classes (Hoogenboom 2019, section 2.2).

    Returns
    -------
    ndarray of shape (N,), bool
    """
    rare = np.setdiff1d(np.arange(truth_NC.shape[1]), classes)
    return ~truth_NC[:, rare].any(axis=1)


def choose(index: Index, bad: set[str], settings: Split) -> tuple[np.ndarray, np.ndarray]:
    """Choose the classes and labelled samples of a run.

    Parameters
    ----------
    bad : set of str
        Ids without usable images.

    Returns
    -------
    classes : ndarray of int
        Class numbers that are not rare, of all 28.
    rows : ndarray of int
        Row numbers in the index, ascending.
    """
    classes = frequent_classes(index.truth_NC, settings.rare_class_minimum)
    usable = np.array([sample not in bad for sample in index.train_ids])
    return classes, np.flatnonzero(usable & without_rare(index.truth_NC, classes))


def varied_rows(truth_NC: np.ndarray, count: int) -> list[int]:
    """Pick rows that show different classes: each adds a class not shown yet, if there is one."""
    shown = np.zeros(truth_NC.shape[1], dtype=bool)
    picked: list[int] = []
    for _ in range(min(count, len(truth_NC))):
        new_N = (truth_NC & ~shown).any(axis=1)
        new_N[picked] = False
        candidates = np.setdiff1d(np.flatnonzero(new_N) if new_N.any() else np.arange(len(truth_NC)), picked)
        picked.append(int(candidates[0]))
        shown |= truth_NC[picked[-1]]
    return picked


def make_split(ids: list[str], truth_NC: np.ndarray, settings: Split) -> pd.DataFrame:
    """Deal the samples to subsets so that each class keeps its share in every one.

    Parameters
    ----------
    ids : list of str, length N
    truth_NC : ndarray of shape (N, C), bool
    settings : Split
        Shares, or number of folds. With folds, the holdout is dealt first and the rest is dealt
        to the folds; fold number ``settings.fold`` is the validation subset.

    Returns
    -------
    DataFrame
        Columns ``id``, ``subset`` (train, validation, holdout) and ``fold`` (0 to folds - 1; -1 in
        the holdout and without folds), rows in the order of `ids`.

    Raises
    ------
    UserError
        If a subset would be empty.
    """
    fold = np.full(len(ids), -1)
    if settings.folds:
        wanted = {"train": 1 - settings.holdout, "holdout": settings.holdout}
        subset = _deal(truth_NC, wanted, settings.seed)
        rest = np.flatnonzero(subset == "train")
        names = [str(number) for number in range(settings.folds)]
        shares = dict.fromkeys(names, 1 / settings.folds)
        fold[rest] = _deal(truth_NC[rest], shares, settings.seed + 1).astype(int)
        subset[fold == settings.fold] = "validation"
    else:
        train = 1 - settings.validation - settings.holdout
        wanted = {"train": train, "validation": settings.validation, "holdout": settings.holdout}
        subset = _deal(truth_NC, wanted, settings.seed)
    for name in SUBSETS:
        if not (subset == name).any() and (name != "holdout" or settings.holdout):
            raise UserError(f"{len(ids)} samples are too few for the split: the {name} subset would be empty")
    return pd.DataFrame({"id": ids, "subset": subset, "fold": fold})


def count_classes(truth_NC: np.ndarray, split: pd.DataFrame) -> pd.DataFrame:
    """Count the samples of every class in every subset: a row a class, a column a subset."""
    counts = {name: truth_NC[(split["subset"] == name).to_numpy()].sum(axis=0) for name in SUBSETS}
    return pd.DataFrame(counts, index=pd.Index(CLASSES, name="class"))


def _deal(truth_NC: np.ndarray, shares: dict[str, float], seed: int) -> np.ndarray:
    """Return the name of the part of every sample, an object array of shape (N,)."""
    names = [name for name, share in shares.items() if share > 0]
    random = np.random.RandomState(seed)  # what iterative-stratification takes
    ratios = np.array([shares[name] for name in names])
    # its result follows the order of the rows: shuffled, so that the file's order has no say
    order = random.permutation(len(truth_NC))
    parts = np.empty(len(truth_NC), dtype=int)
    parts[order] = IterativeStratification(truth_NC[order], ratios / ratios.sum(), random)
    return np.array(names, dtype=object)[parts]
