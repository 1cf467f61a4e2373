"""A hierarchy's networks put together to predictors, and judged: Hoogenboom 2019, sections 2.1 and 3."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, location_groups
from lib.config import Config, Hierarchy
from lib.data import sample_index
from lib.data.sample_index import Index
from lib.evaluation import predictions, thresholds
from lib.evaluation.calibration import Calibration
from lib.evaluation.metrics import class_scores, scores
from lib.evaluation.predictions import PredictionTable
from lib.hierarchy import routing
from lib.location_groups import Grouping

# of stage 2 networks: how their names end, and what they are called in tables and figures
VARIANTS = {"": "without other", "_other": "with other"}
STAGE_1 = {"stage_1": "multi-label", "stage_1_single": "single-label"}


def table_path(networks: Path, network: str, subset: str, suffix: str = "") -> Path:
    """Where the predictions of a network that is part of a hierarchy are."""
    return networks / network / f"{subset}{suffix}.npz"


def is_constant(truth_NL: np.ndarray) -> bool:
    """Tell whether nothing can be learnt from labels: fewer than two samples, or all the same."""
    return len(truth_NL) < 2 or bool((truth_NL == truth_NL[0]).all())


@dataclass(frozen=True)
class Parts:
    """What the stage 1 and stage 2 networks of a run say.

    Attributes
    ----------
    networks : Path
        ``outputs/<run>/networks``.
    settings : Hierarchy
    groups : dict
        Class numbers by group, all 28.
    index : Index
    subsets : dict of ndarray of int
        Rows of the labelled samples.
    classes : list of int
        The class numbers that the run keeps.
    """

    networks: Path
    settings: Hierarchy
    groups: Grouping
    index: Index
    subsets: dict[str, np.ndarray]
    classes: list[int]

    @property
    def training_NC(self) -> np.ndarray:
        """Labels of the training samples; of validation in a run that joins others' folds."""
        return self.index.truth_NC[self.subsets.get("train", self.subsets["validation"])]

    @property
    def stage_1(self) -> list[str]:
        """The stage 1 networks; the first routes."""
        wanted = {"both": list(STAGE_1), "multi_label": ["stage_1"], "single_label": ["stage_1_single"]}
        return wanted[self.settings.stage_1]

    @property
    def variants(self) -> list[str]:
        """The kinds of stage 2 networks, of `VARIANTS`."""
        return {"both": ["", "_other"], "without": [""], "with": ["_other"]}[self.settings.other]

    @classmethod
    def of(cls, run: Path, config: Config, index: Index) -> "Parts":
        """Return those of a run's folder; a `UserError` names the stage that makes what is missing."""
        groups = location_groups.read(config.hierarchy.grouping)
        subsets = sample_index.read_subsets(run / "split.csv", index)
        classes = sample_index.read_classes(run / "statistics.json")
        return cls(run / "networks", config.hierarchy, groups, index, subsets, classes)

    def groups_said(self, subset: str) -> Path:
        """Where the predictions of the stage 1 network that routes are; made by stage 03."""
        return files.require(table_path(self.networks, self.stage_1[0], subset), "03_train_hier.py")

    def allowed_NC(self, subset: str) -> np.ndarray:
        """Return which classes' groups stage 1 says yes to, sample by sample, bool."""
        return routing.spread(self.said_of_groups(self.stage_1[0], subset)[1], self.groups)

    def ids(self, subset: str) -> list[str]:
        """Return the ids of a subset, or of ``test``."""
        if subset == "test":
            return self.index.test_ids
        return [self.index.train_ids[row] for row in self.subsets[subset]]

    def truth_NG(self, subset: str) -> np.ndarray:
        """Return which groups the samples of a labelled subset have a label of."""
        return location_groups.membership(self.index.truth_NC[self.subsets[subset]], self.groups)

    def learnt(self, group: str) -> list[int]:
        """Return a group's classes that the run keeps, if it has a stage 2 network; else none."""
        rows, number = self.subsets["train"], list(self.groups).index(group)
        labels = [label for label in self.groups[group] if label in self.classes]
        within = rows[self.truth_NG("train")[:, number]]
        return [] if is_constant(self.index.truth_NC[within][:, labels]) else labels

    def tables(self, subset: str, suffix: str = "") -> list[Path]:
        """Return the files that `predictors` reads for a subset."""
        networks = [self.stage_1[0]] + [
            f"stage_2_{location_groups.short(group)}{variant}"
            for variant in self.variants
            for group in self.groups
            if self.learnt(group)
        ]
        return [table_path(self.networks, network, subset, suffix) for network in networks]

    def stage_1_tables(self, subset: str) -> list[Path]:
        """Return the files that `judge_groups` reads."""
        return [table_path(self.networks, network, subset) for network in self.stage_1]

    def said_of_groups(self, network: str, subset: str, suffix: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Return a stage 1 network's probabilities_NG, and its decision_NG at 0.5.

        A single-label network decides for the most probable combination.
        """
        count = len(self.groups)
        width = count if network == "stage_1" else len(location_groups.combinations(count))
        found = predictions.load(
            table_path(self.networks, network, subset, suffix), width, "03_train_hier.py"
        )
        values = found.rows_of(self.ids(subset), f"the {subset} subset")
        return (
            (values, values >= 0.5)
            if network == "stage_1"
            else location_groups.from_combinations(values, count)
        )

    def said_within(self, variant: str, subset: str, suffix: str = "") -> np.ndarray:
        """Return within_NC, what stage 2 says of every class, given that its group is right.

        A group without a network: the share of its training samples that carry the class.
        """
        ids, rows = self.ids(subset), self.subsets["train"]
        truth_NC, within_NG = self.index.truth_NC[rows], self.truth_NG("train")
        within_NC = np.zeros((len(ids), truth_NC.shape[1]), np.float32)
        for number, (group, labels) in enumerate(self.groups.items()):
            if self.learnt(group):
                path = table_path(
                    self.networks, f"stage_2_{location_groups.short(group)}{variant}", subset, suffix
                )
                found = predictions.load(path, maker="03_train_hier.py")
                within_NC[:, list(labels)] = found.rows_of(ids, f"the {subset} subset")[:, list(labels)]
            elif within_NG[:, number].any():
                within_NC[:, list(labels)] = truth_NC[within_NG[:, number]][:, list(labels)].mean(axis=0)
        return within_NC

    def predictors(self, suffix: str = "") -> dict[str, dict[str, PredictionTable]]:
        """Return the predictors that the networks make together, by name: tables by subset."""
        calibrate = self.calibration(suffix)
        found: dict[str, dict[str, PredictionTable]] = {}
        for subset in (*self.subsets, "test"):
            for name, table in self.together(subset, calibrate, suffix).items():
                found.setdefault(name, {})[subset] = table
        return found

    def calibration(self, suffix: str = "") -> Calibration:
        """Return what makes the probabilities of the stage 1 network that routes true, from validation."""
        said_NG = self.said_of_groups(self.stage_1[0], "validation", suffix)[0]
        return Calibration(said_NG, self.truth_NG("validation"))

    def together(self, subset: str, calibrate: Calibration, suffix: str = "") -> dict[str, PredictionTable]:
        """Return what the predictors that the networks make together say of a subset, by name.

        ``hierarchy_hard`` and ``hierarchy_hard_other`` route as published: with thresholds of 0.5 they are
        Hoogenboom's. ``hierarchy_soft`` and ``hierarchy_soft_other`` weight by stage 1's probabilities,
        which are calibrated on validation.
        """
        known_C = np.isin(np.arange(self.index.truth_NC.shape[1]), self.classes)
        probabilities_NG, decision_NG = self.said_of_groups(self.stage_1[0], subset, suffix)
        found = {}
        for variant in self.variants:
            within_NC = self.said_within(variant, subset, suffix)
            for name, probabilities_NC in (
                ("hard", routing.hard(decision_NG, within_NC, self.groups)),
                ("soft", routing.soft(calibrate(probabilities_NG), within_NC, self.groups)),
            ):
                table = PredictionTable(self.ids(subset), probabilities_NC, known_C)
                found[f"hierarchy_{name}{variant}{suffix}"] = table
        return found

    def judge_groups(self, subset: str) -> pd.DataFrame:
        """Score the stage 1 networks, group by group (Hoogenboom 2019, figure 5).

        Returns
        -------
        DataFrame
            A row for each network and group: network, group, and the columns of `metrics.scores`.
        """
        parts = []
        for network in self.stage_1:
            _, decision_NG = self.said_of_groups(network, subset)
            part = scores(self.truth_NG(subset), decision_NG).assign(group=list(self.groups))
            parts.append(part.assign(network=STAGE_1[network]))
        judged = pd.concat(parts, ignore_index=True)
        return judged[["network", "group", *(c for c in judged if c not in ("network", "group"))]]

    def judge_within(self, subset: str, baseline: str, table: PredictionTable, cut: float) -> pd.DataFrame:
        """Score stage 2 networks and a predictor of all classes on each group's samples (figure 6).

        Parameters
        ----------
        baseline : str
            The predictor's name.
        table : PredictionTable
            What it says of the subset.
        cut : float
            The one threshold of all.

        Returns
        -------
        DataFrame
            A row for each group, class and predictor: group, predictor, samples (of the group), class, and
            the columns of `metrics.class_scores` over the group's samples.
        """
        truth_NC, truth_NG = self.index.truth_NC[self.subsets[subset]], self.truth_NG(subset)
        said = {baseline: table.rows_of(self.ids(subset), f"the {subset} subset")}
        said |= {f"stage 2 {VARIANTS[v]}": self.said_within(v, subset) for v in self.variants}
        parts = []
        for number, group in enumerate(self.groups):
            rows, labels = truth_NG[:, number], self.learnt(group)
            for predictor, probabilities_NC in said.items() if labels else ():
                decision_NC = thresholds.decide(probabilities_NC[rows], np.full(truth_NC.shape[1], cut))
                part = class_scores(truth_NC[rows], decision_NC).iloc[labels].reset_index()
                parts.append(part.assign(group=group, predictor=predictor, samples=rows.sum()))
        judged = pd.concat(parts, ignore_index=True)
        first = ["group", "predictor", "samples", "class"]
        return judged[first + [column for column in judged if column not in first]]
