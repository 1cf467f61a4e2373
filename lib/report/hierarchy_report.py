"""A hierarchy's evaluation: tables and figures of stage 1, of stage 2 and of both together."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib import files
from lib.console import info
from lib.evaluation import predictions, predictor_scores
from lib.evaluation.predictions import Predictor
from lib.figures import scores as figures
from lib.hierarchy import evaluation
from lib.hierarchy.combination import Combination, HierarchyPredictions
from lib.run import Run


@dataclass(frozen=True)
class HierarchyReport:
    """Evaluates a hierarchy of a run against a network of all classes (Hoogenboom 2019, figures 5 to 7).

    Attributes
    ----------
    run : Run
    hierarchy : HierarchyPredictions
    baseline : str
        The predictor that it is compared with.
    """

    run: Run
    hierarchy: HierarchyPredictions
    baseline: str

    @property
    def subset(self) -> str:
        """The subset that tables and figures report."""
        return self.hierarchy.data.evaluated_subset

    @property
    def subtitle(self) -> str:
        """Names subset and data in titles."""
        return f"{self.subset}, {self.run.data_name}"

    @property
    def stage_1_tables(self) -> list[Path]:
        """The predictions of the stage 1 networks for the reported subset; they may be missing."""
        networks = [self.run.network(name) for name in self.hierarchy.stage_1]
        return [predictions.table_path(network, self.subset, 1) for network in networks]

    @property
    def _combined(self) -> list[Combination]:
        return [one for one in self.hierarchy.combinations([1]) if one.routing == "hard"]

    def _prediction_table(self, predictor: str) -> Path:
        return self.run.predictor(predictor) / f"{self.subset}.npz"

    def _csv(self, name: str) -> Path:
        return self.run.evaluation(f"{name}{self.hierarchy.suffix}")

    def _figure(self, name: str) -> Path:
        return self.run.figure(f"{name}{self.hierarchy.suffix}")

    @property
    def _names(self) -> list[str]:
        """The predictors whose classes are compared."""
        return [self.baseline, *(one.name for one in self._combined)]

    @property
    def _is_predicted(self) -> bool:
        """Whether the networks, their combinations and the baseline have predicted the subset."""
        predictors = map(self._prediction_table, self._names)
        tables = (*self.stage_1_tables, *self.hierarchy.tables(self.subset), *predictors)
        return all(path.exists() for path in tables)

    @property
    def _has_stage_2(self) -> bool:
        """Whether some group has networks, with or without the output "other"."""
        return bool(self.hierarchy.stage_2(other=False))

    @property
    def _vetoes(self) -> list[dict[str, float]]:
        """Thresholds of "other" by group; none where validation has no sample of a group with a network."""
        folders = [self.run.predictor(one.name) for one in self._combined if one.veto]
        return [veto for folder in folders if (veto := Predictor.read(folder).veto)]

    @property
    def outputs(self) -> list[Path]:
        """The files that `evaluate` writes."""
        if not self._is_predicted:
            return []
        paths = [self._csv("groups"), self._figure("groups"), self._figure("advantages")]
        if self._has_stage_2:
            paths += [self._csv("within_groups"), self._figure("within_groups")]
            paths += [self._csv("other")] * bool(self._vetoes)
        return paths

    def evaluate(self) -> None:
        """Write the tables and figures.

        Nothing is done before the networks, their combinations and the baseline have predicted the subset;
        stage 2 is left out where no group has a network.
        """
        if not self._is_predicted:
            return
        fixed = self.run.config.threshold.fixed
        at_fixed = f"threshold {fixed:g} for all classes: {self.subtitle}"
        self._evaluate_groups()
        self._compare_classes(at_fixed)
        if self._has_stage_2:
            self._evaluate_within_groups(fixed, at_fixed)
            self._evaluate_other(fixed)

    def _evaluate_groups(self) -> None:
        table = evaluation.evaluate_groups(self.hierarchy, self.subset)
        files.write_csv(self._csv("groups"), table)
        title = f"{self.hierarchy.name}, stage 1: {self.subtitle}"
        figures.group_scores(self._figure("groups"), table, title)

    def _compare_classes(self, at_fixed: str) -> None:
        data = self.hierarchy.data
        table = pd.concat(
            predictor_scores.read_classes(self.run.folder, name, self.subset, data.classes, "fixed")
            .reset_index()
            .assign(predictor=name)
            for name in self._names
        )
        title = f"{self.hierarchy.name} and {self.baseline}, {at_fixed}"
        figures.class_advantages(self._figure("advantages"), table, data.groups, title)

    def _evaluate_within_groups(self, fixed: float, at_fixed: str) -> None:
        predicted = predictions.load(self._prediction_table(self.baseline))
        table = evaluation.evaluate_within_groups(
            self.hierarchy, self.subset, self.baseline, predicted, fixed
        )
        files.write_csv(self._csv("within_groups"), table)
        title = f"{self.hierarchy.name}, stage 2, {at_fixed}"
        figures.within_groups(self._figure("within_groups"), table, title)

    def _evaluate_other(self, fixed: float) -> None:
        for veto in self._vetoes:
            table = evaluation.evaluate_other(self.hierarchy, self.subset, veto, fixed)
            files.write_csv(self._csv("other"), table)
            info(evaluation.describe_other(table, self.subtitle))
