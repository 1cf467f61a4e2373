"""Which labelled samples train, validate and evaluate: iterative stratification of label sets, by group.

Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data", as implemented in the package
iterative-stratification.
"""

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import IterativeStratification

from lib.data.sample_index import SUBSETS, SampleIndex
from lib.errors import UserError
from lib.labels import CLASSES
from lib.sections import Split
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

    Raises
    ------
    UserError
        If no sample is left, since each carries a rare class.
    """
    minimum = settings.rare_class_minimum
    classes = frequent_classes(index.truth_NC, minimum)
    usable = np.array([sample not in bad for sample in index.train_ids])
    rows = np.flatnonzero(usable & without_rare(index.truth_NC, classes))
    if not len(rows):
        share_C = index.truth_NC.mean(axis=0)
        raise UserError(
            f"split.rare_class_minimum={minimum} leaves no sample, as each has a class of a lower share; the "
            f"highest is {share_C.max():.3g} ({CLASSES[share_C.argmax()]}): choose a minimum below that"
        )
    return classes, rows


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


def make_split(
    ids: list[str], truth_NC: np.ndarray, settings: Split, group_N: np.ndarray | None = None
) -> pd.DataFrame:
    """Assign the samples to subsets, and to folds if there are several, so that each class keeps its share.

    With folds, the holdout is split off first. The network of fold k is trained on the ``train`` samples of
    all other folds and validated on those of fold k, so no sample is of the subset ``validation``.

    With ``split.by=group``, all samples of a group are in one subset and fold, and shares are counted in
    groups. A class's first group goes to train, its second to validation and its third to the holdout. If
    some groups have several samples, the subset ``siblings`` is drawn from train: samples that are neither
    trained on nor used for tuning, but have a member of their group in train.

    Parameters
    ----------
    ids : list of str, length N
    truth_NC : ndarray of shape (N, C), bool
    settings : Split
    group_N : ndarray of shape (N,), int, or None
        Group of every sample. Default: every sample is its own.

    Returns
    -------
    DataFrame
        Columns ``id``, ``subset`` (train, validation, holdout, siblings; with folds no validation) and
        ``fold`` (0 to folds - 1; -1 outside train, and for a single split), rows in the order of `ids`.

    Raises
    ------
    UserError
        If there are too few samples for each subset and fold to have one.
    """
    if group_N is None or settings.by == "sample":
        group_N = np.arange(len(ids))
    numbers_G, group_N = np.unique(group_N, return_inverse=True)
    truth_GC = np.zeros((len(numbers_G), truth_NC.shape[1]), bool)
    np.logical_or.at(truth_GC, group_N, truth_NC)
    shares = {"train": 1 - settings.holdout, "validation": 0.0, "holdout": settings.holdout}
    if settings.folds == 1:
        shares |= {"train": 1 - settings.validation - settings.holdout, "validation": settings.validation}
    assign = {"stratified": _stratify, "random": _draw}[settings.method]
    subset_G = assign(truth_GC, shares, settings.seed)
    if len(numbers_G) < len(ids):
        subset_G = _give_each_a_group(truth_GC, subset_G, [name for name in shares if shares[name]])
    subset_N, fold_N = subset_G[group_N], np.full(len(ids), -1)
    if len(numbers_G) < len(ids) and settings.siblings:
        subset_N[_siblings(truth_NC, group_N, subset_N == "train", settings)] = "siblings"
    if settings.folds > 1:
        fold_G, train_G = np.full(len(numbers_G), -1), np.flatnonzero(subset_G == "train")
        fold_shares = {str(fold): 1 / settings.folds for fold in range(settings.folds)}
        fold_G[train_G] = assign(truth_GC[train_G], fold_shares, settings.seed + 1).astype(int)
        fold_N = np.where(subset_N == "train", fold_G[group_N], -1)
    empty = [f"the {name} subset" for name, share in shares.items() if share and name not in subset_N]
    if settings.folds > 1:
        empty += [f"fold {fold}" for fold in range(settings.folds) if fold not in fold_N]
    if empty:
        several = "s" * (len(numbers_G) != 1)
        groups = "" if len(numbers_G) == len(ids) else f" in {len(numbers_G)} group{several}"
        raise UserError(
            f"{len(ids)} samples{groups} are too few for this split: {empty[0]} would be empty; "
            f"add samples, or change split.validation, split.holdout or split.folds"
        )
    return pd.DataFrame({"id": ids, "subset": subset_N, "fold": fold_N})


def _give_each_a_group(truth_GC: np.ndarray, subset_G: np.ndarray, names: list[str]) -> np.ndarray:
    """Move groups so that a class with one group has it in the first subset, one with two in the second too.

    Parameters
    ----------
    truth_GC : ndarray of shape (G, C), bool
        Union of the labels of each group.
    subset_G : ndarray of shape (G,), object
        Subset of each group.
    names : list of str
        The subsets, most important first.

    Returns
    -------
    ndarray of shape (G,), object
        Rarest classes first; a group is moved only if no class before thereby loses its place.
    """
    subset_G = subset_G.copy()
    groups_C = truth_GC.sum(axis=0)

    def required(subset: str) -> np.ndarray:
        """Return the classes that must have a group in a subset, bool."""
        return groups_C > names.index(subset)

    rarest_first = np.argsort(groups_C, kind="stable")
    for position, label in enumerate(rarest_first):
        for subset in [name for name in names if required(name)[label]]:
            members = np.flatnonzero(truth_GC[:, label])
            if (subset_G[members] == subset).any():
                continue
            # groups with few labels first: moving them disturbs the other classes least
            for group in sorted(members, key=lambda group: (truth_GC[group].sum(), group)):
                source = subset_G[group]
                left_C = truth_GC[(subset_G == source)].sum(axis=0) - truth_GC[group]
                loses_C = truth_GC[group] & required(source) & (left_C == 0)
                loses_C[label] &= names.index(source) < names.index(subset)
                if not loses_C[rarest_first[: position + 1]].any():  # the others have their turn later
                    subset_G[group] = subset
                    break
    return subset_G


def _siblings(
    truth_NC: np.ndarray, group_N: np.ndarray, is_train_N: np.ndarray, settings: Split
) -> np.ndarray:
    """Return rows of train, at most one of each group of several, with each class's share of them."""
    random = _generator(settings.seed + 2)
    rows = random.permutation(np.flatnonzero(is_train_N & (np.bincount(group_N)[group_N] > 1)))
    _, first = np.unique(group_N[rows], return_index=True)
    candidates = np.sort(rows[first])
    share = min(settings.siblings * len(truth_NC) / max(len(candidates), 1), 1.0)
    chosen = _stratify(truth_NC[candidates], {"siblings": share, "train": 1 - share}, settings.seed + 3)
    return candidates[chosen == "siblings"]


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


def _stratify(truth_NC: np.ndarray, shares: dict[str, float], seed: int) -> np.ndarray:
    """Return the name that each sample or group is assigned, an object array of shape (N,).

    Parameters
    ----------
    shares : dict of float
        Share of samples by name; names with share 0 are not assigned.
    """
    names = [name for name, share in shares.items() if share > 0]
    random = _generator(seed)
    ratios = np.array([shares[name] for name in names])
    # the result depends on the order of the rows: shuffled, so that the file's order does not matter
    order = random.permutation(len(truth_NC))
    numbers = np.empty(len(truth_NC), dtype=int)
    numbers[order] = IterativeStratification(truth_NC[order], ratios / ratios.sum(), random)
    return np.array(names, dtype=object)[numbers]


def _draw(truth_NC: np.ndarray, shares: dict[str, float], seed: int) -> np.ndarray:
    """Return the name that each is assigned at random; parameters as in `_stratify`."""
    names = np.array(list(shares), dtype=object)
    ends = np.rint(np.cumsum(list(shares.values())) * len(truth_NC)).astype(int)
    order = _generator(seed).permutation(len(truth_NC))
    subset_N = np.empty(len(truth_NC), dtype=object)
    for name, start, end in zip(names, [0, *ends[:-1]], ends, strict=True):
        subset_N[order[start:end]] = name
    return subset_N


def _generator(seed: int) -> np.random.RandomState:
    """Return the kind of generator that iterative-stratification expects; the seed may exceed the largest."""
    return np.random.RandomState(seed % (MAX_SEED + 1))
