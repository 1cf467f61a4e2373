"""Ensembles: means of several predictors' probabilities or ranks, with equal or learnt weights."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from lib import files
from lib.console import info
from lib.data.run_data import RunData
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import METHODS, PredictionTable, Predictor
from lib.run import Run
from lib.steps import Manifest, Step

NAME = "ensemble"  # of the predictor
FOLDS = 5  # of the validation samples, to estimate how well learnt weights generalise
LEARNT_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the learnt weights; the rest are equal weights
ITERATIONS = 100  # of the expectation maximisation
SMALLEST = 1e-6  # likelihood of a label, so that logarithms stay finite


def choose_members(members: str, known: list[str]) -> list[str]:
    """Return the predictors that the setting ``ensemble.members`` names; empty for no ensemble.

    Parameters
    ----------
    members : str
        none, all, or names separated by commas.
    known : list of str
        The run's predictors.

    Raises
    ------
    UserError
        If a name is unknown, or fewer than two are named.
    """
    known = [name for name in known if name != NAME]
    if members == "none":
        return []
    chosen = known if members == "all" else list(dict.fromkeys(members.split(",")))
    for name in chosen:
        if name not in known:
            raise UserError(
                f"ensemble.members={members}: unknown predictor {name}; there are {' '.join(known)}"
            )
    if len(chosen) < 2 and members != "all":
        raise UserError(f"ensemble.members={members}: expected at least two of {' '.join(known)}")
    return chosen if len(chosen) > 1 else []


def update(run: Run, data: RunData, known: list[str], force: bool) -> list[str]:
    """Build the ensemble that a run's settings name, unless it is up to date.

    Parameters
    ----------
    known : list of str
        The run's predictors.
    force : bool
        Build it also where its members differ from the existing one's.

    Returns
    -------
    list of str
        All predictors of the run, sorted.
    """
    settings, folder = run.config.ensemble, run.folder / "predictions"
    members = choose_members(settings.members, known)
    if not members:
        # one of earlier settings; that of a merged run may be a mean over runs, which stays
        if run.force and NAME in known and Predictor.read(run.predictor(NAME)).members:
            shutil.rmtree(run.predictor(NAME))
            known = [name for name in known if name != NAME]
        return known
    ids = {subset: data.ids(subset) for subset in data.predicted_subsets}

    def build(_step: Step) -> None:
        weights = make(folder, members, settings.method, ids, data.truth_NC("validation"))
        info("weights in the ensemble: " + ", ".join(f"{name} {w:.2f}" for name, w in weights.items()))

    run.once(work=build, **_step(run, data, members, settings.method), rebuild=force)
    return sorted({*known, NAME})


def require_current(run: Run, data: RunData) -> None:
    """Raise a `UserError` unless a run's ensemble is that of its members' predictions.

    Its settings may have been given to stage 04 alone; those of this command must be the same.
    """
    ensemble = Predictor.read(run.predictor(NAME))
    if not ensemble.members:  # of a merged run, it may be a mean over runs
        return
    step = run.step(**_step(run, data, ensemble.members, ensemble.method))
    if step.manifest.exists() and not any(one.startswith("ensemble.") for one in run.options.set):
        step.settings = Manifest.read(step.manifest, step.script).settings
    step.require()


def _step(run: Run, data: RunData, members: Iterable[str], method: str) -> dict[str, Any]:
    """Return what describes the step that builds the ensemble, as `Run.step` takes it."""
    subsets = data.predicted_subsets
    paths = [predictions.table_paths(run.predictor(name), subsets) for name in members]
    tables = [path for member_paths in paths for path in member_paths.values()]
    if method == "weighted":
        tables += [run.index, run.split]  # the labels that the weights are learnt from
    outputs = ("predictor.json", *(f"{subset}.npz" for subset in subsets if subset != "train"))
    return {
        "name": f"04_threshold {NAME} predictions",
        "settings": ["ensemble"],
        "inputs": files.fingerprints(*tables),
        "outputs": [run.predictor(NAME) / name for name in outputs],
        "verify": lambda: [predictions.load(table) for table in tables if table.suffix == ".npz"],
    }


def make(
    folder: Path, members: list[str], method: str, ids: dict[str, list[str]], truth_NC: np.ndarray
) -> dict[str, float]:
    """Write the ensemble's prediction tables, for each subset that all members have predicted.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>/predictions``.
    members : list of str
        The predictors to combine.
    method : str
        One of `METHODS`.
    ids : dict of list of str
        Sample ids by labelled subset, and of ``test``.
    truth_NC : ndarray of shape (N, C), bool
        Labels of the validation samples, in the order of ``ids["validation"]``.

    Returns
    -------
    dict of float
        Weights by member; they sum to one.
    """
    if method not in METHODS:
        raise ValueError(f"unknown ensemble method {method!r}; expected one of {' '.join(METHODS)}")
    weight_M = np.full(len(members), 1 / len(members))
    if method == "weighted":
        tables = [predictions.load(folder / name / "validation.npz") for name in members]
        usable = np.all([table.known_C for table in tables], axis=0) & truth_NC.any(axis=0)
        probabilities_MNC = np.stack([table.select(ids["validation"], "validation") for table in tables])
        if usable.any():
            weight_M, _ = learn_weights(probabilities_MNC[:, :, usable], truth_NC[:, usable])
    paths = [predictions.table_paths(folder / name, list(ids)) for name in members]
    for subset, subset_ids in ids.items():
        if all(subset in member_paths for member_paths in paths):
            tables = [predictions.load(member_paths[subset]) for member_paths in paths]
            ranks = method == "rank_mean"
            combined = combine(tables, subset_ids, f"the {subset} subset", weight_M, ranks)
            predictions.save(folder / NAME / f"{subset}.npz", combined)
        else:
            (folder / NAME / f"{subset}.npz").unlink(missing_ok=True)  # of other members
    weights = dict(zip(members, weight_M.tolist(), strict=True))
    Predictor("ensemble", members=weights, method=method).write(folder / NAME)
    return weights


def combine(
    tables: list[PredictionTable], ids: list[str], what: str, weight_M: np.ndarray, ranks: bool
) -> PredictionTable:
    """Return the weighted mean of several predictors' predictions for the same samples, matched by id.

    A class that some predictors do not know is the mean of the others; one that none knows is 0.

    Parameters
    ----------
    tables : list of PredictionTable
        Of the M predictors.
    ids : list of str
        The samples; `what` names them in the error message if a table lacks one.
    weight_M : ndarray of shape (M,), float
    ranks : bool
        Average ranks instead of probabilities: class by class, divided by N, so that the highest is 1.

    Raises
    ------
    UserError
        If a table lacks one of the ids.
    """
    values_MNC = np.stack([table.select(ids, what) for table in tables])
    if ranks:
        values_MNC = rankdata(values_MNC, axis=1) / len(ids)
    weight_MC = weight_M[:, None] * np.stack([table.known_C for table in tables])
    total_C = weight_MC.sum(axis=0)
    weight_MC = np.divide(weight_MC, total_C, out=np.zeros_like(weight_MC), where=total_C > 0)
    combined_NC = np.einsum("mnc,mc->nc", values_MNC, weight_MC).astype(np.float32)
    return PredictionTable(ids, combined_NC.clip(0, 1), total_C > 0)


def learn_weights(probabilities_MNC: np.ndarray, truth_NC: np.ndarray) -> tuple[np.ndarray, float]:
    """Learn the predictors' weights by stacking (Wolpert 1992, Breiman 1996), shrunk towards equal weights.

    The weights are positive, sum to one and maximise the likelihood of the labels under the weighted mean,
    with all classes contributing equally. How far they are shrunk is chosen by cross-validation: the share
    of the learnt weights that maximises the likelihood of left-out labels.

    Parameters
    ----------
    probabilities_MNC : ndarray of shape (M, N, C), float, in [0, 1]
        Predictions of the M predictors, for classes that they all know.
    truth_NC : ndarray of shape (N, C), bool

    Returns
    -------
    weight_M : ndarray of shape (M,), float64
    learnt_share : float
        0: equal weights; 1: the learnt weights without shrinkage.
    """
    members = len(probabilities_MNC)
    likelihood_MNC = np.where(truth_NC, probabilities_MNC, 1 - probabilities_MNC).clip(SMALLEST)
    frequency_C = truth_NC.mean(axis=0).clip(1 / len(truth_NC), 1 - 1 / len(truth_NC))
    # the inverse entropy of its labels, so that a rare class contributes as much as a frequent one
    importance_C = 1 / -(frequency_C * np.log(frequency_C) + (1 - frequency_C) * np.log(1 - frequency_C))
    equal_M = np.full(members, 1 / members)
    fold_N = np.random.default_rng(0).permutation(len(truth_NC)) % FOLDS
    log_likelihood_S = np.zeros(len(LEARNT_SHARES))
    for fold in range(FOLDS):
        learnt_M = _maximise_likelihood(likelihood_MNC[:, fold_N != fold], importance_C)
        for number, share in enumerate(LEARNT_SHARES):
            weight_M = share * learnt_M + (1 - share) * equal_M
            mixture_NC = np.einsum("mnc,m->nc", likelihood_MNC[:, fold_N == fold], weight_M)
            log_likelihood_S[number] += (np.log(mixture_NC) * importance_C).sum()
    share = LEARNT_SHARES[int(log_likelihood_S.argmax())]
    return share * _maximise_likelihood(likelihood_MNC, importance_C) + (1 - share) * equal_M, share


def _maximise_likelihood(likelihood_MNC: np.ndarray, importance_C: np.ndarray) -> np.ndarray:
    """Return the mixture weights that maximise the likelihood of the labels, by expectation maximisation."""
    weight_M = np.full(len(likelihood_MNC), 1 / len(likelihood_MNC))
    for _ in range(ITERATIONS):
        mixture_NC = np.einsum("mnc,m->nc", likelihood_MNC, weight_M)
        weight_M = weight_M * np.einsum("mnc,nc->m", likelihood_MNC, importance_C / mixture_NC)
        weight_M /= weight_M.sum()
    return weight_M
