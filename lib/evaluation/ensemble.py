"""Several predictors made one: means of probabilities or ranks, even or with weights that are learnt."""

from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from lib import files
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import PredictionTable

NAME = "ensemble"  # of the predictor
PARTS = 5  # that validation is dealt to, to see how far weights can be trusted
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # from even weights to learnt ones
ROUNDS = 100  # of expectation maximisation
SMALLEST = 1e-6  # probability


def choose_members(members: str, known: list[str]) -> list[str]:
    """Return the predictors that the setting ``ensemble.members`` names.

    Parameters
    ----------
    members : str
        none, all, or names separated by commas.
    known : list of str
        The run's predictors.

    Raises
    ------
    UserError
        If a name is not known, or there are fewer than two.
    """
    known = [name for name in known if name != NAME]
    if members == "none":
        return []
    chosen = known if members == "all" else list(dict.fromkeys(members.split(",")))
    for name in chosen:
        if name not in known:
            raise UserError(
                f"ensemble.members={members}: {name} is no predictor; there are {' '.join(known)}"
            )
    if len(chosen) < 2 and members != "all":
        raise UserError(f"ensemble.members={members}: expected at least two of {' '.join(known)}")
    return chosen if len(chosen) > 1 else []


def make(
    folder: Path, members: list[str], method: str, ids: dict[str, list[str]], truth_NC: np.ndarray
) -> dict[str, float]:
    """Write the ensemble's prediction tables.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>/predictions``.
    method : str
        The setting ``ensemble.method``.
    ids : dict of list of str
        By subset, and of ``test``.
    truth_NC : ndarray of shape (N, C), bool
        Of validation, in the order of its ids.

    Returns
    -------
    dict of float
        Weights by member.
    """
    weight_M = np.full(len(members), 1 / len(members))
    if method == "weighted":
        tables = [predictions.load(folder / name / "validation.npz") for name in members]
        usable = np.all([table.known_C for table in tables], axis=0) & truth_NC.any(axis=0)
        said_MNC = np.stack([table.rows_of(ids["validation"], "validation") for table in tables])
        if usable.any():
            weight_M, _ = learn_weights(said_MNC[:, :, usable], truth_NC[:, usable])
    paths = [predictions.tables(folder / name, list(ids)) for name in members]
    for subset, wanted in ids.items():
        if all(subset in own for own in paths):
            tables = [predictions.load(own[subset]) for own in paths]
            joined = combine(tables, wanted, f"the {subset} subset", weight_M, method == "rank_mean")
            predictions.save(folder / NAME / f"{subset}.npz", joined)
    return dict(zip(members, weight_M.tolist(), strict=True))


def read_weights(run: Path) -> dict[str, float]:
    """Return the weights by member that stage 04 joined a run's ensemble with; empty without one.

    Parameters
    ----------
    run : Path
        ``outputs/<run>``.
    """
    manifest = run / "manifests" / "04_threshold_join.json"
    known = (run / "predictions" / NAME).is_dir() and manifest.exists()
    return files.read_json(manifest).get("weights", {}) if known else {}


def combine(
    tables: list[PredictionTable], ids: list[str], of: str, weight_M: np.ndarray, ranks: bool
) -> PredictionTable:
    """Join what several predictors say of the same samples, matched by id.

    Where a predictor does not know a class, the others' say is all; a class that none knows is 0.

    Parameters
    ----------
    ids : list of str
        The samples; `of` names them in the refusal where a table lacks one.
    weight_M : ndarray of shape (M,)
        Of the M predictors.
    ranks : bool
        Join ranks, class by class, the highest probability 1, in place of probabilities.
    """
    values_MNC = np.stack([table.rows_of(ids, of) for table in tables])
    if ranks:
        values_MNC = rankdata(values_MNC, axis=1) / len(ids)
    weight_MC = weight_M[:, None] * np.stack([table.known_C for table in tables])
    total_C = weight_MC.sum(axis=0)
    weight_MC = np.divide(weight_MC, total_C, out=np.zeros_like(weight_MC), where=total_C > 0)
    joined_NC = np.einsum("mnc,mc->nc", values_MNC, weight_MC).astype(np.float32)
    return PredictionTable(ids, joined_NC.clip(0, 1), total_C > 0)


def learn_weights(probabilities_MNC: np.ndarray, truth_NC: np.ndarray) -> tuple[np.ndarray, float]:
    """Learn how much each predictor should count, as far as that can be trusted.

    Stacking with weights that are positive and sum to one (Wolpert 1992, Breiman 1996): those under which
    the labels are most likely, every class counting alike. They are drawn towards even weights as far as
    makes labels most likely that were left out, over `PARTS` parts of the samples.

    Parameters
    ----------
    probabilities_MNC : ndarray of shape (M, N, C)
        Of the M predictors, for classes that they all know.
    truth_NC : ndarray of shape (N, C), bool

    Returns
    -------
    weight_M : ndarray of shape (M,)
    trust : float
        0: even weights; 1: as learnt.
    """
    members = len(probabilities_MNC)
    # how likely each answer is under each predictor
    likely_MNC = np.where(truth_NC, probabilities_MNC, 1 - probabilities_MNC).clip(SMALLEST)
    share_C = truth_NC.mean(axis=0).clip(1 / len(truth_NC), 1 - 1 / len(truth_NC))
    worth_C = 1 / -(share_C * np.log(share_C) + (1 - share_C) * np.log(1 - share_C))
    even_M = np.full(members, 1 / members)
    part_N = np.random.default_rng(0).permutation(len(truth_NC)) % PARTS
    gain_T = np.zeros(len(TRUSTS))
    for part in range(PARTS):
        learnt_M = _most_likely(likely_MNC[:, part_N != part], worth_C)
        for number, trust in enumerate(TRUSTS):
            weight_M = trust * learnt_M + (1 - trust) * even_M
            mixed_NC = np.einsum("mnc,m->nc", likely_MNC[:, part_N == part], weight_M)
            gain_T[number] += (np.log(mixed_NC) * worth_C).sum()
    trust = TRUSTS[int(gain_T.argmax())]
    return trust * _most_likely(likely_MNC, worth_C) + (1 - trust) * even_M, trust


def _most_likely(likely_MNC: np.ndarray, worth_C: np.ndarray) -> np.ndarray:
    """Return the weights of a mixture that make the answers most likely, by expectation maximisation."""
    weight_M = np.full(len(likely_MNC), 1 / len(likely_MNC))
    for _ in range(ROUNDS):
        mixed_NC = np.einsum("mnc,m->nc", likely_MNC, weight_M)
        weight_M = weight_M * np.einsum("mnc,nc->m", likely_MNC, worth_C / mixed_NC)
        weight_M /= weight_M.sum()
    return weight_M
