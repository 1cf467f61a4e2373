"""Predictions of a hierarchy's networks, combined into predictors: Hoogenboom 2019, section 2.1.

Does not load torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import distributed, files, location_groups
from lib.config import Hierarchy
from lib.console import info
from lib.data.run_data import RunData
from lib.evaluation import predictions
from lib.evaluation.calibration import Calibration
from lib.evaluation.predictions import ROUTING, SUFFIXES, PredictionTable, Predictor, table_path
from lib.hierarchy import routing
from lib.run import Run
from lib.steps import Step

STAGE_1 = {
    "multi_label": ("stage_1",),
    "single_label": ("stage_1_single",),
    "both": ("stage_1", "stage_1_single"),
}
STAGE_1_TITLES = {"stage_1": "multi-label", "stage_1_single": "single-label"}
# by the setting hierarchy.other: whether stage 2 networks have an output for samples outside the group
OTHER = {"without": (False,), "with": (True,), "both": (False, True)}


class Combination(NamedTuple):
    """One way to combine the networks into a predictor."""

    routing: str  # of ROUTING
    other: bool
    views: int

    @property
    def name(self) -> str:
        """Name of the predictor."""
        return f"hierarchy_{self.routing}" + "_other" * self.other + SUFFIXES[self.views]


def stage_2_name(group: str, other: bool) -> str:
    """Return the name of a group's stage 2 network."""
    return f"stage_2_{location_groups.short(group)}" + "_other" * other


def trainable_classes(data: RunData, group: str) -> list[int]:
    """Return the classes of a group that its stage 2 network predicts; empty if it has no network.

    It has none if, in a fold, the group has fewer than two training samples or all have the same labels.
    """
    labels = [label for label in data.groups[group] if label in data.classes]
    truth_NL = data.index.truth_NC[:, labels]
    for fold in data.folds:
        within_NL = truth_NL[fold.train][truth_NL[fold.train].any(axis=1)]
        if len(within_NL) < 2 or (within_NL == within_NL[0]).all():
            return []
    return labels


@dataclass(frozen=True)
class HierarchyPredictions:
    """The predictions of a run's stage 1 and stage 2 networks.

    Attributes
    ----------
    networks : Path
        Folder with their prediction tables: ``outputs/<run>/networks``.
    settings : Hierarchy
    data : RunData
    """

    networks: Path
    settings: Hierarchy
    data: RunData

    @property
    def stage_1(self) -> tuple[str, ...]:
        """The stage 1 networks; the first one routes."""
        return STAGE_1[self.settings.stage_1]

    @property
    def others(self) -> tuple[bool, ...]:
        """The variants of stage 2 networks: without and with an output for other samples."""
        return OTHER[self.settings.other]

    def stage_2(self, other: bool) -> dict[str, str]:
        """Return the stage 2 networks of a variant by group, for the groups that have one."""
        return {
            group: stage_2_name(group, other)
            for group in self.data.groups
            if trainable_classes(self.data, group)
        }

    def combinations(self, views: list[int]) -> list[Combination]:
        """Return the predictors that the networks are combined into."""
        return [
            Combination(rule, other, number) for other in self.others for number in views for rule in ROUTING
        ]

    def describe(self, combination: Combination) -> Predictor:
        """Return the ``predictor.json`` of a combination."""
        return Predictor(
            "hierarchy",
            views=combination.views,
            routing=combination.routing,
            stage_1=self.stage_1[0],
            stage_2=self.stage_2(combination.other),
        )

    def tables(self, subset: str, views: int = 1) -> list[Path]:
        """Return the files that `combine` reads for a subset."""
        networks = [
            self.stage_1[0],
            *(name for other in self.others for name in self.stage_2(other).values()),
        ]
        return [table_path(self.networks / network, subset, views) for network in networks]

    def routing_table(self, subset: str) -> Path:
        """Return the predictions of the stage 1 network that routes; created by stage 03."""
        return files.require(table_path(self.networks / self.stage_1[0], subset, 1), "03_train_hier.py")

    def allowed_NC(self, subset: str) -> np.ndarray:
        """Return the classes whose groups stage 1 accepts, for each sample, bool."""
        _, decision_NG = self.group_predictions(self.stage_1[0], subset)
        return routing.spread(decision_NG, self.data.groups)

    def truth_NG(self, subset: str) -> np.ndarray:
        """Return the groups that the samples of a labelled subset have a label of."""
        return location_groups.membership(self.data.truth_NC(subset), self.data.groups)

    def group_predictions(self, network: str, subset: str, views: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return a stage 1 network's probabilities_NG, and its decision_NG.

        A multi-label network decides at 0.5, a single-label network for the most probable combination.
        """
        count, single = len(self.data.groups), network == "stage_1_single"
        columns = len(location_groups.combinations(count)) if single else count
        table = predictions.load(table_path(self.networks / network, subset, views), columns)
        values = table.select(self.data.ids(subset), f"the {subset} subset")
        return location_groups.from_combinations(values, count) if single else (values, values >= 0.5)

    def within_NC(self, networks: dict[str, str], subset: str, views: int = 1) -> np.ndarray:
        """Return each class's probability given that its group is right, from stage 2 networks by group.

        For a group without a network it is the share of its training samples that have the class.
        """
        ids, training_NC = self.data.ids(subset), self.data.training_NC
        result_NC = np.zeros((len(ids), training_NC.shape[1]), np.float32)
        for group, labels in self.data.groups.items():
            columns = list(labels)
            if group in networks:
                path = table_path(self.networks / networks[group], subset, views)
                table = predictions.load(path)
                result_NC[:, columns] = table.select(ids, f"the {subset} subset")[:, columns]
                continue
            within_N = training_NC[:, columns].any(axis=1)
            if within_N.any():
                result_NC[:, columns] = training_NC[within_N][:, columns].mean(axis=0)
        return result_NC

    def calibration(self, views: int = 1) -> Calibration:
        """Return the calibration on validation of the probabilities of the stage 1 network that routes."""
        probabilities_NG, _ = self.group_predictions(self.stage_1[0], "validation", views)
        return Calibration(probabilities_NG, self.truth_NG("validation"))

    def combine(
        self, predictor: Predictor, subset: str, calibrate: Callable[[np.ndarray], np.ndarray]
    ) -> PredictionTable:
        """Return the predictions of a predictor of the kind hierarchy.

        ``hard`` routes as published: at thresholds of 0.5 it is Hoogenboom's. ``soft`` weights by the
        calibrated probabilities of stage 1.

        Parameters
        ----------
        calibrate : callable
            As `calibration` returns it.
        """
        views, data = predictor.views, self.data
        probabilities_NG, decision_NG = self.group_predictions(predictor.stage_1, subset, views)
        within_NC = self.within_NC(predictor.stage_2, subset, views)
        if predictor.routing == "hard":
            probabilities_NC = routing.hard(decision_NG, within_NC, data.groups)
        elif predictor.routing == "soft":
            probabilities_NC = routing.soft(calibrate(probabilities_NG), within_NC, data.groups)
        else:
            raise ValueError(f"routing {predictor.routing!r}: expected one of {' '.join(ROUTING)}")
        known_C = np.isin(np.arange(within_NC.shape[1]), data.classes)
        return PredictionTable(data.ids(subset), probabilities_NC, known_C)


def write_predictors(run: Run, data: RunData, script: str) -> None:
    """Combine the networks' predictions into predictors, unless that is complete.

    Parameters
    ----------
    script : str
        The calling script, which the step is named after.
    """
    hierarchy = HierarchyPredictions(run.folder / "networks", run.config.hierarchy, data)
    training = run.for_hierarchy_network("stage_1").config.training
    views = [1, 8] if training.tta else [1]
    combinations = hierarchy.combinations(views)
    tables = [
        path
        for subset in data.predicted_subsets
        for number in views
        for path in hierarchy.tables(subset, number)
    ]

    def combine(_step: Step) -> None:
        for number in views if distributed.is_primary() else ():
            calibrate = hierarchy.calibration(number)
            for combination in (one for one in combinations if one.views == number):
                folder, predictor = run.predictor(combination.name), hierarchy.describe(combination)
                predictor = replace(predictor, **training.augmented_views) if number > 1 else predictor
                for subset in data.predicted_subsets:
                    table = hierarchy.combine(predictor, subset, calibrate)
                    predictions.save(folder / f"{subset}.npz", table)
                predictor.write(folder)

    def verify() -> None:
        for subset in data.predicted_subsets:
            for number in views:
                hierarchy.group_predictions(hierarchy.stage_1[0], subset, number)
                for other in hierarchy.others:
                    hierarchy.within_NC(hierarchy.stage_2(other), subset, number)

    done = run.once(
        f"{script} hierarchy",
        combine,
        inputs=files.fingerprints(run.index, run.split, *tables),
        outputs=[
            run.predictor(combination.name) / name
            for combination in combinations
            for name in ("predictor.json", *(f"{subset}.npz" for subset in data.predicted_subsets))
        ],
        verify=verify,
    )
    names = ", ".join(combination.name for combination in combinations)
    info(f"predictions in {run.folder / 'predictions'}: {names}" if done else f"{names} are up to date")
