"""Evaluation of a hierarchy's stages on their own: Hoogenboom 2019, section 3, figures 5 and 6."""

import numpy as np
import pandas as pd

from lib.evaluation import thresholds
from lib.evaluation.metrics import class_scores, scores
from lib.evaluation.predictions import PredictionTable
from lib.hierarchy.combination import STAGE_1_TITLES, HierarchyPredictions, trainable_classes

OTHER_TITLES = {False: "without other", True: "with other"}


def evaluate_groups(hierarchy: HierarchyPredictions, subset: str) -> pd.DataFrame:
    """Score the stage 1 networks for each group (figure 5).

    Returns
    -------
    DataFrame
        A row for each network and group: network, group, and the columns of `metrics.scores`.
    """
    tables = []
    for network in hierarchy.stage_1:
        _, decision_NG = hierarchy.group_predictions(network, subset)
        table = scores(hierarchy.truth_NG(subset), decision_NG).assign(group=list(hierarchy.data.groups))
        tables.append(table.assign(network=STAGE_1_TITLES[network]))
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


def _columns_first(table: pd.DataFrame, first: list[str]) -> pd.DataFrame:
    return table[first + [column for column in table if column not in first]]
