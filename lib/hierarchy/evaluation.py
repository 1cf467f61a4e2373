"""Evaluation of a hierarchy's stages on their own (Hoogenboom 2019, figures 5 and 6), and of "other"."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.evaluation import thresholds
from lib.evaluation.metrics import class_scores, scores
from lib.evaluation.predictions import PredictionTable
from lib.hierarchy.combination import HierarchyPredictions, trainable_classes
from lib.stage_files import COUNT, SHARE

STAGE_1_TITLES = {"stage_1": "multi-label", "stage_1_single": "single-label"}  # by kind of network
OTHER_TITLES = {False: "without other", True: "with other"}


def evaluate_groups(hierarchy: HierarchyPredictions, subset: str) -> pd.DataFrame:
    """Score the stage 1 networks for each group (figure 5).

    Returns
    -------
    DataFrame
        A row for each network and group: network, group, and the columns of `metrics.scores`.
    """
    tables = []
    for network, kind in hierarchy.stage_1_kinds.items():
        _, decision_NG = hierarchy.group_predictions(network, subset)
        table = scores(hierarchy.truth_NG(subset), decision_NG).assign(group=list(hierarchy.data.groups))
        tables.append(table.assign(network=STAGE_1_TITLES[kind]))
    return _columns_first(pd.concat(tables, ignore_index=True), ["network", "group"])


def evaluate_within_groups(
    hierarchy: HierarchyPredictions, subset: str, baseline: str, table: PredictionTable, threshold: float
) -> pd.DataFrame:
    """Score the stage 2 networks and a predictor of all classes on the samples of each group (figure 6).

    Parameters
    ----------
    baseline : str
        Name of the predictor of all classes.
    table : PredictionTable
        Its predictions of the subset.
    threshold : float
        For all classes.

    Returns
    -------
    DataFrame
        A row for each group, class and predictor: group, predictor, samples (of the group), class, and the
        columns of `metrics.class_scores` over the group's samples.
    """
    data = hierarchy.data
    truth_NC, truth_NG = data.truth_NC(subset), hierarchy.truth_NG(subset)
    probabilities = {baseline: table.select(data.ids(subset), f"the {subset} subset")}
    probabilities |= {
        f"stage 2 {OTHER_TITLES[other]}": hierarchy.within_NC(hierarchy.stage_2(other), subset)
        for other in hierarchy.others
    }
    threshold_C, tables = np.full(truth_NC.shape[1], threshold), []
    for number, group in enumerate(data.groups):
        rows, labels = truth_NG[:, number], trainable_classes(data, group)
        for predictor, probabilities_NC in probabilities.items() if labels else ():
            decision_NC = thresholds.decide(probabilities_NC[rows], threshold_C)
            own = class_scores(truth_NC[rows], decision_NC).iloc[labels].reset_index()
            tables.append(own.assign(group=group, predictor=predictor, samples=rows.sum()))
    return _columns_first(pd.concat(tables, ignore_index=True), ["group", "predictor", "samples", "class"])


def evaluate_other(
    hierarchy: HierarchyPredictions, subset: str, veto: dict[str, float], fixed: float
) -> pd.DataFrame:
    """Score the output "other" of stage 2 networks: how often it is right that a sample is not of the group.

    Parameters
    ----------
    veto : dict of float
        Threshold of each group, as `HierarchyPredictions.veto_thresholds` returns it; groups without one have
        no rows.
    fixed : float
        The threshold that the tuned one is compared with.

    Returns
    -------
    DataFrame
        For each group, two times two rows: over all samples of the subset, and over those that stage 1 sends
        to the group, which "other" is to correct; at the fixed threshold, and at the group's. network, group,
        samples (all or accepted), decision (fixed or tuned), threshold, count (of samples), accuracy, and the
        columns of `metrics.scores` of "other": support counts the samples without a label of the group.
    """
    networks = hierarchy.stage_2(True)
    other_NG, is_other_NG = hierarchy.other_NG(networks, subset), ~hierarchy.truth_NG(subset)
    _, decision_NG = hierarchy.group_predictions(hierarchy.stage_1[0], subset)
    rows = []
    for column, group in enumerate(hierarchy.data.groups):
        accepted_N = decision_NG[:, column]
        for samples, chosen_N in (("all", np.ones_like(accepted_N)), ("accepted", accepted_N)):
            truth_N, other_N = is_other_NG[chosen_N, column], other_NG[chosen_N, column]
            decisions = {"fixed": fixed, "tuned": veto[group]} if group in veto else {}
            for decision, threshold in decisions.items():
                decided_N = other_N > threshold
                (own,) = scores(truth_N[:, None], decided_N[:, None]).to_dict("records")
                right = float((truth_N == decided_N).mean()) if len(truth_N) else np.nan
                about = {"network": networks[group], "group": group, "samples": samples, "decision": decision}
                about |= {"threshold": threshold, "count": len(truth_N), "accuracy": right}
                rows.append(about | own)
    return pd.DataFrame(rows)


def other_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a table of `evaluate_other` for display: the samples that stage 1 sends to a group."""
    return [
        {
            "network": row.network,
            "threshold": f"{row.threshold:.3f} ({row.decision})",
            "samples": f"{row.count_:,.0f}",
            "removed": f"{row.predicted:,.0f}",
            "rightly": f"{row.precision:.1%}" if row.predicted else "-",
            "wrong groups found": f"{row.recall:.1%}" if row.support else "-",
        }
        for row in table.rename(columns={"count": "count_"}).itertuples()
        if row.samples == "accepted"
    ]


def describe_other(table: pd.DataFrame, data: str) -> str:
    """Return a table of `evaluate_other` as lines for the console; `data` names the samples."""
    rows = pd.DataFrame(other_rows(table)).to_string(index=False).splitlines()
    title = f'how often "other" is right about samples that stage 1 sends to a group: {data}'
    return "\n".join([title, *(f"  {row}" for row in rows)])


def read_other(path: Path, script: str) -> pd.DataFrame:
    """Read a table of `evaluate_other`, which a script wrote; a `UserError` if it is damaged."""
    numbers = dict.fromkeys(("threshold", "accuracy", "precision", "recall"), SHARE)
    numbers |= dict.fromkeys(("count", "support", "predicted"), COUNT)
    return files.read_results(path, script, ("network", "group", "samples", "decision"), numbers)


def _columns_first(table: pd.DataFrame, first: list[str]) -> pd.DataFrame:
    return table[first + [column for column in table if column not in first]]
