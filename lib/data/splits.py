"""Which labelled samples train, validate and evaluate: iterative stratification of label sets.

Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data", as implemented in the package
iterative-stratification.
"""

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import IterativeStratification

from lib.config import Split
from lib.data.sample_index import SUBSETS, SampleIndex
from lib.errors import UserError
from lib.labels import CLASSES
from lib.settings import MAX_SEED


def frequent_classes(truth_NC: np.ndarray, minimum_share: float) -> np.ndarray:
    """Return the classes that at least a minimum share of the samples carry.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
    minimum_share : float
        In [0, 1]; 0 keeps all classes, also those without a sample.

    Returns
    -------
    ndarray of int
        Class numbers, ascending.
    """
    return np.flatnonzero(truth_NC.mean(axis=0) >= minimum_share)


def without_rare(truth_NC: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return which samples carry only the given classes (Hoogenboom 2019, section 2.2).

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
    classes : ndarray of int
        Class numbers.

    Returns
    -------
    ndarray of shape (N,), bool
    """
    rare = np.setdiff1d(np.arange(truth_NC.shape[1]), classes)
    return ~truth_NC[:, rare].any(axis=1)


def select_samples(index: SampleIndex, bad: set[str], settings: Split) -> tuple[np.ndarray, np.ndarray]:
    """Select the classes and labelled samples of a run.

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


def diverse_rows(truth_NC: np.ndarray, count: int) -> list[int]:
    """Pick rows with different classes: each adds a class that is not shown yet, if there is one left.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool

    Returns
    -------
    list of int, length min(N, count)
    """
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
    """Assign the samples to subsets, and to folds if there are several, so that each class keeps its share.

    With folds, the holdout is split off first. The network of fold k is trained on the ``train`` samples of
    all other folds and validated on those of fold k, so no sample is of the subset ``validation``.

    Parameters
    ----------
    ids : list of str, length N
    truth_NC : ndarray of shape (N, C), bool
    settings : Split

    Returns
    -------
    DataFrame
        Columns ``id``, ``subset`` (train, validation, holdout; with folds train, holdout) and ``fold``
        (0 to folds - 1; -1 in the holdout, and for a single split), rows in the order of `ids`.

    Raises
    ------
    UserError
        If there are too few samples for each subset and fold to have one.
    """
    fold_N = np.full(len(ids), -1)
    if settings.folds == 1:
        train = 1 - settings.validation - settings.holdout
        shares = {"train": train, "validation": settings.validation, "holdout": settings.holdout}
        subset_N = _assign(truth_NC, shares, settings.seed)
    else:
        shares = {"train": 1 - settings.holdout, "holdout": settings.holdout}
        subset_N = _assign(truth_NC, shares, settings.seed)
        train_rows = np.flatnonzero(subset_N == "train")
        fold_shares = {str(fold): 1 / settings.folds for fold in range(settings.folds)}
        seed = (settings.seed + 1) % (MAX_SEED + 1)
        fold_N[train_rows] = _assign(truth_NC[train_rows], fold_shares, seed).astype(int)
    empty = [f"the {name} subset" for name, share in shares.items() if share and name not in subset_N]
    if settings.folds > 1:
        empty += [f"fold {fold}" for fold in range(settings.folds) if fold not in fold_N]
    if empty:
        raise UserError(
            f"{len(ids)} samples are too few for this split: {empty[0]} would be empty; "
            f"add samples, or change split.validation, split.holdout or split.folds"
        )
    return pd.DataFrame({"id": ids, "subset": subset_N, "fold": fold_N})


def describe(split: pd.DataFrame) -> str:
    """Return the number of samples in every subset, for the console; takes what `make_split` returns."""
    counts = split["subset"].value_counts().reindex(SUBSETS).dropna().astype(int)
    return "split: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())


def count_classes(truth_NC: np.ndarray, split: pd.DataFrame) -> pd.DataFrame:
    """Count the samples of every class in every subset that has samples.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
        In the order of `split`, as `make_split` returns it.

    Returns
    -------
    DataFrame of int
        One row per class (index: names), one column per subset.
    """
    subset_N = split["subset"].to_numpy()
    counts = {name: truth_NC[subset_N == name].sum(axis=0) for name in SUBSETS if name in subset_N}
    return pd.DataFrame(counts, index=pd.Index(CLASSES, name="class"))


def _assign(truth_NC: np.ndarray, shares: dict[str, float], seed: int) -> np.ndarray:
    """Return the name that each sample is assigned, an object array of shape (N,).

    Parameters
    ----------
    shares : dict of float
        Share of samples by name; names with share 0 are not assigned.
    """
    names = [name for name, share in shares.items() if share > 0]
    random = np.random.RandomState(seed)  # the generator that iterative-stratification expects
    ratios = np.array([shares[name] for name in names])
    # the result depends on the order of the rows: shuffled, so that the file's order does not matter
    order = random.permutation(len(truth_NC))
    numbers = np.empty(len(truth_NC), dtype=int)
    numbers[order] = IterativeStratification(truth_NC[order], ratios / ratios.sum(), random)
    return np.array(names, dtype=object)[numbers]
