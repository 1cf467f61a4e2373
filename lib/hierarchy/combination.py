"""Predictions of a hierarchy's networks, combined into predictors: Hoogenboom 2019, section 2.1.

Does not load torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import files, location_groups
from lib.data.run_data import RunData
from lib.evaluation import predictions
from lib.evaluation.calibration import Calibration
from lib.evaluation.predictions import ROUTING, SUFFIXES, PredictionTable, Predictor, table_path
from lib.evaluation.thresholds import best_f1_threshold
from lib.hierarchy import routing
from lib.names import MAIN_HIERARCHY
from lib.run import Run
from lib.sections import Hierarchy

# by the setting hierarchy.stage_1: the kinds of networks for the groups
STAGE_1 = {
    "multi_label": ("stage_1",),
    "single_label": ("stage_1_single",),
    "both": ("stage_1", "stage_1_single"),
}
# by the setting hierarchy.other: whether stage 2 networks have an output for samples outside the group
OTHER = {"without": (False,), "with": (True,), "both": (False, True)}


class Combination(NamedTuple):
    """One way to combine the networks of a hierarchy into a predictor."""

    routing: str  # of ROUTING
    other: bool
    views: int
    veto: bool = False  # whether the output "other" removes the labels of a group
    hierarchy: str = MAIN_HIERARCHY

    @property
    def name(self) -> str:
        """Name of the predictor."""
        ends = "_other" * self.other + "_veto" * self.veto + SUFFIXES[self.views]
        return f"{self.hierarchy}_{self.routing}{ends}"


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
    """The predictions of the stage 1 and stage 2 networks of one of a run's hierarchies.

    Attributes
    ----------
    networks : Path
        Folder with their prediction tables: ``outputs/<run>/networks``.
    settings : Hierarchy
    data : RunData
        With the groups of this hierarchy.
    name : str
        `MAIN_HIERARCHY`, or that of a further one.
    """

    networks: Path
    settings: Hierarchy
    data: RunData
    name: str = MAIN_HIERARCHY

    @classmethod
    def of(
        cls, run: Run, data: RunData, name: str = MAIN_HIERARCHY, networks: Path | None = None
    ) -> "HierarchyPredictions":
        """Return those of a run; `networks` are by default its own."""
        settings = run.config.for_hierarchy(name).hierarchy
        if name != MAIN_HIERARCHY:
            data = replace(data, groups=location_groups.read(settings.grouping))
        return cls(networks or run.folder / "networks", settings, data, name)

    @classmethod
    def all_of(cls, run: Run, data: RunData) -> list["HierarchyPredictions"]:
        """Return those of all hierarchies whose stages the run trains."""
        if run.config.hierarchy.train not in ("stages", "all"):
            return []
        return [cls.of(run, data, name) for name in (MAIN_HIERARCHY, *run.config.hierarchies)]

    @property
    def suffix(self) -> str:
        """Distinguishes its names from those of the main hierarchy: empty for that, else for example _two."""
        return self.name.removeprefix(MAIN_HIERARCHY)

    @property
    def stage_1_kinds(self) -> dict[str, str]:
        """The kinds of the stage 1 networks by name; the first one routes."""
        return {kind + self.suffix: kind for kind in STAGE_1[self.settings.stage_1]}

    @property
    def stage_1(self) -> tuple[str, ...]:
        """The stage 1 networks; the first one routes."""
        return tuple(self.stage_1_kinds)

    @property
    def others(self) -> tuple[bool, ...]:
        """The variants of stage 2 networks: without and with an output for other samples."""
        return OTHER[self.settings.other]

    def stage_2_name(self, group: str, other: bool) -> str:
        """Return the name of a group's stage 2 network."""
        return f"stage_2{self.suffix}_{location_groups.short(group)}" + "_other" * other

    def stage_2(self, other: bool) -> dict[str, str]:
        """Return the stage 2 networks of a variant by group, for the groups that have one."""
        return {
            group: self.stage_2_name(group, other)
            for group in self.data.groups
            if trainable_classes(self.data, group)
        }

    def combinations(self, views: list[int]) -> list[Combination]:
        """Return the predictors that the networks are combined into."""
        return [
            Combination(rule, other, number, veto, self.name)
            for other in self.others
            for number in views
            for rule, veto in (*((rule, False) for rule in ROUTING), *[("hard", True)] * other)
        ]

    def describe(self, combination: Combination) -> Predictor:
        """Return the ``predictor.json`` of a combination."""
        return Predictor(
            "hierarchy",
            views=combination.views,
            routing=combination.routing,
            stage_1=self.stage_1[0],
            stage_2=self.stage_2(combination.other),
            hierarchy=self.name if self.suffix else "",
            veto=self.veto_thresholds(combination.views) if combination.veto else {},
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
        count, single = len(self.data.groups), self.stage_1_kinds[network] == "stage_1_single"
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

    def other_NG(self, networks: dict[str, str], subset: str, views: int = 1) -> np.ndarray:
        """Return the output "other" of stage 2 networks by group; 0 for a group without a network."""
        ids = self.data.ids(subset)
        result_NG = np.zeros((len(ids), len(self.data.groups)))
        for column, group in enumerate(self.data.groups):
            if group in networks:
                path = table_path(self.networks / networks[group], subset, views)
                script = f"03_train_hier.py --network {networks[group]} --force"
                table = predictions.load(path, script=script, other=True)
                result_NG[:, column] = table.other_N[table.rows(ids, f"the {subset} subset")]
        return result_NG

    def veto_thresholds(self, views: int = 1) -> dict[str, float]:
        """Return the probability of "other" above which a group's labels are removed, by group.

        It is chosen on validation, so that the F1 of the group is highest, which is predicted where stage 1
        accepts it and "other" does not remove it. A group without a sample there has none.
        """
        networks, truth_NG = self.stage_2(True), self.truth_NG("validation")
        _, decision_NG = self.group_predictions(self.stage_1[0], "validation", views)
        # a sample that stage 1 does not accept stays so: it ranks below all others
        kept_NG = np.where(decision_NG, 1 - self.other_NG(networks, "validation", views), 0)
        result = {}
        for column, group in enumerate(self.data.groups):
            if group in networks and truth_NG[:, column].any():
                lowest, _ = best_f1_threshold(truth_NG[:, column], kept_NG[:, column])
                result[group] = 1 - lowest
        return result

    def calibration(self, views: int = 1) -> Calibration:
        """Return the calibration on validation of the probabilities of the stage 1 network that routes."""
        probabilities_NG, _ = self.group_predictions(self.stage_1[0], "validation", views)
        return Calibration(probabilities_NG, self.truth_NG("validation"))

    def combine(
        self, predictor: Predictor, subset: str, calibrate: Callable[[np.ndarray], np.ndarray]
    ) -> PredictionTable:
        """Return the predictions of a predictor of the kind hierarchy.

        ``hard`` routes as published: at thresholds of 0.5 it is Hoogenboom's. ``soft`` weights by the
        calibrated probabilities of stage 1. With a veto, groups are removed whose output "other" exceeds its
        threshold.

        Parameters
        ----------
        calibrate : callable
            As `calibration` returns it.
        """
        views, data = predictor.views, self.data
        probabilities_NG, decision_NG = self.group_predictions(predictor.stage_1, subset, views)
        within_NC = self.within_NC(predictor.stage_2, subset, views)
        if predictor.veto:
            other_NG = self.other_NG(predictor.stage_2, subset, views)
            decision_NG = decision_NG & (other_NG <= [predictor.veto.get(group, 1) for group in data.groups])
            probabilities_NG = probabilities_NG * (1 - other_NG)
        if predictor.routing == "hard":
            probabilities_NC = routing.hard(decision_NG, within_NC, data.groups, probabilities_NG)
        elif predictor.routing == "soft":
            probabilities_NC = routing.soft(calibrate(probabilities_NG), within_NC, data.groups)
        else:
            raise ValueError(f"routing {predictor.routing!r}: expected one of {' '.join(ROUTING)}")
        known_C = np.isin(np.arange(within_NC.shape[1]), data.classes)
        return PredictionTable(data.ids(subset), probabilities_NC, known_C)
