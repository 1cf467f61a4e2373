"""Twelve samples in four location groups, and the predictions of a hierarchy's networks for them."""

from dataclasses import replace

import numpy as np
import pytest

from lib import location_groups
from lib.data.run_data import Fold, RunData
from lib.data.sample_index import SampleIndex
from lib.evaluation import predictions
from lib.evaluation.predictions import PredictionTable, table_path
from lib.hierarchy.combination import HierarchyPredictions
from lib.labels import target_matrix
from lib.sections import Hierarchy

# a group of two classes, a group of one, a group that no sample has a label of, and the rest
FOUR = {"Pair": (0, 1), "Single": (2,), "Empty": (3, 4), "Rest": tuple(range(5, 28))}
TARGETS = [(0,), (1,), (0, 1), (2,), (2, 0), (5,), (6,), (0, 6), (1,), (0,), (2,), (5,)]
TRAIN, VALIDATION = np.arange(8), np.arange(8, 12)


def run_data(targets=TARGETS, groups=FOUR, classes=tuple(range(28))) -> RunData:
    """Return the data of a run with a single split."""
    index = SampleIndex([f"s{row}" for row in range(len(targets))], list(targets), ["t0", "t1"])
    subsets = {"train": TRAIN, "validation": VALIDATION}
    return RunData(index, subsets, (Fold(None, TRAIN, VALIDATION),), list(classes), groups)


@pytest.fixture
def data() -> RunData:
    return run_data()


@pytest.fixture
def hierarchy(tmp_path, data) -> HierarchyPredictions:
    """Predictions of confident stage 1 networks, and of stage 2 networks that predict 0.8 and 0.3, or 0.6."""
    settings = Hierarchy(train="stages", stage_1="both", other="without")
    for subset in data.predicted_subsets:
        ids = data.ids(subset)
        truth_NC = target_matrix([(0, 6), (2,)]) if subset == "test" else data.truth_NC(subset)
        truth_NG = location_groups.membership(truth_NC, FOUR)
        within_NC = np.zeros((len(ids), 28))
        within_NC[:, 0], within_NC[:, 1], within_NC[:, 5:7] = 0.8, 0.3, 0.6
        for network, values in (
            ("stage_1", np.where(truth_NG, 0.9, 0.1)),
            ("stage_1_single", location_groups.to_combinations(truth_NG).astype(float)),
            ("stage_2_pair", within_NC),
            ("stage_2_rest", within_NC),
        ):
            # matched by id, never by position
            table = PredictionTable(ids[::-1], values[::-1])
            predictions.save(table_path(tmp_path / "networks" / network, subset, 1), table)
    return HierarchyPredictions(tmp_path / "networks", settings, data)


# of the groups: what stage 1 predicts for the samples of validation and test, and the networks' "other"
PROBABILITIES = {
    "validation": [[0.9, 0, 0, 0], [0.8, 0, 0, 0], [0.7, 0, 0, 0], [0.6, 0, 0, 0.9]],
    "test": [[0.9, 0, 0, 0.4], [0.6, 0, 0, 0]],
}
OTHERS = {
    "pair": {"validation": [0.1, 0.3, 0.4, 0.9], "test": [0.36, 0.34]},
    "rest": {"validation": [0.9, 0.9, 0.5, 0.2], "test": [0, 0]},
}


@pytest.fixture
def with_other(hierarchy) -> HierarchyPredictions:
    """The same, where stage 1 sends two samples of validation to Pair wrongly, and networks have "other"."""
    for subset in hierarchy.data.predicted_subsets:
        within = predictions.load(table_path(hierarchy.networks / "stage_2_pair", subset, 1))
        for short, others in OTHERS.items():
            other_N = np.array(others.get(subset, [0] * len(within.ids)), np.float32)[::-1]
            table = replace(within, other_N=other_N)
            predictions.save(table_path(hierarchy.networks / f"stage_2_{short}_other", subset, 1), table)
        if subset in PROBABILITIES:
            table = PredictionTable(within.ids, np.array(PROBABILITIES[subset])[::-1])
            predictions.save(table_path(hierarchy.networks / "stage_1", subset, 1), table)
    settings = Hierarchy(train="stages", other="with")
    return replace(hierarchy, settings=settings)
