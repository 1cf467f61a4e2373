"""A run's evaluation: thresholds, tables and figures of every predictor, and their comparison."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lib import files
from lib.console import info, warn
from lib.data import duplicate_pairs
from lib.data.run_data import RunData
from lib.errors import UserError
from lib.evaluation import (
    confusion,
    duplicate_decisions,
    ensemble,
    plausibility,
    predictions,
    predictor_scores,
    submission,
    thresholds,
)
from lib.evaluation.calibration import reliability_by_class
from lib.evaluation.duplicate_decisions import SubmittedDecisions
from lib.evaluation.predictions import Predictor
from lib.evaluation.predictor_scores import EvaluatedPredictor
from lib.figures import scores as figures
from lib.hierarchy.combination import HierarchyPredictions
from lib.location_groups import LocationGroups
from lib.report.hierarchy_report import HierarchyReport
from lib.run import Invocation, Run
from lib.sections import Threshold
from lib.steps import Manifest

COMPARISON = f"{predictor_scores.STEP} comparison"  # the step
TABLES = ("classes", "summary", "reliability")  # of every predictor


@dataclass(frozen=True)
class RunReport:
    """Evaluates the predictors of a run and writes the results into its folder.

    Attributes
    ----------
    run : Run
    data : RunData
    frequency_C : ndarray of shape (C,)
        As `thresholds.choose` takes it.
    """

    run: Run
    data: RunData
    frequency_C: np.ndarray

    @classmethod
    def of(cls, run: Run, data: RunData) -> "RunReport":
        """Return the report of a run, with the class frequencies that its settings name.

        Raises
        ------
        UserError
            If its decisions need a network's predictions, and it is a merged run, which has none.
        """
        if run.config.threshold.consistent and Invocation.read(run.folder).merge:
            raise UserError(
                f"threshold.consistent=true needs a hierarchy's stage 1, but the merged run "
                f"{run.folder.name} has predictors alone: --set threshold.consistent=false"
            )
        frequency_C, source = data.training_NC.mean(axis=0), run.config.threshold.frequencies
        if source not in ("training", "estimated"):
            frequency_C = thresholds.read_frequencies(source, frequency_C)
        return cls(run, data, frequency_C)

    @property
    def settings(self) -> Threshold:
        """How decisions are made."""
        return self.run.config.threshold

    @property
    def tuned_name(self) -> str:
        """What figures call the tuned thresholds; empty where none are tuned."""
        names = {"fixed": "", "global": "one threshold, tuned on validation"}
        return names.get(self.settings.method, figures.PER_CLASS)

    @property
    def folder(self) -> Path:
        """``outputs/<run>``."""
        return self.run.folder

    @property
    def groups(self) -> LocationGroups:
        """The location groups, by which figures arrange the classes."""
        return self.data.groups

    @property
    def subset(self) -> str:
        """The subset that tables and figures report."""
        return self.data.evaluated_subset

    @property
    def subtitle(self) -> str:
        """Names subset and data in titles."""
        return f"{self.subset}, {self.run.data_name}"

    @cached_property
    def hierarchy(self) -> HierarchyPredictions:
        """The predictions of the hierarchy's networks."""
        return HierarchyPredictions.of(self.run, self.data)

    @property
    def hierarchies(self) -> list[HierarchyReport]:
        """The evaluations of all hierarchies, against the preset's first network."""
        baseline = next(iter(self.run.config.networks))
        hierarchies = HierarchyPredictions.all_of(self.run, self.data)
        return [HierarchyReport(self.run, hierarchy, baseline) for hierarchy in hierarchies]

    def predictor(self, name: str) -> EvaluatedPredictor:
        """Return one of the run's predictors."""
        allowed_NC = self.hierarchy.allowed_NC if self.settings.consistent else None
        return EvaluatedPredictor(name, self.folder, self.data, self.settings, self.frequency_C, allowed_NC)

    def decision_inputs(self, subsets: list[str]) -> list[Path]:
        """Return the files that decisions depend on besides the predictor's own."""
        external = self.settings.frequencies not in ("training", "estimated")
        paths = [Path(self.settings.frequencies)] if external else []
        if self.settings.consistent:
            paths += [self.hierarchy.routing_table(subset) for subset in subsets]
        return paths

    @property
    def strata(self) -> list[Path]:
        """The table of strata, which scores and thresholds depend on; none where the settings name none."""
        return [Path(self.run.config.split.strata)] if self.run.config.split.strata else []

    def evaluate(self, name: str) -> bool:
        """Choose a predictor's thresholds, score it and draw the scores, unless that is up to date.

        Returns
        -------
        bool
            Whether it was evaluated now.
        """
        one, added = self.predictor(name), self.run.options.add
        return self.run.once(
            work=lambda _step: self._evaluate(one),
            **self._evaluation(one),
            rebuild=bool(added) and name in (ensemble.NAME, added[0]),  # what changes when one is added
        )

    def _evaluation(self, one: EvaluatedPredictor) -> dict[str, Any]:
        """Return what describes the step of a predictor's evaluation, as `Run.step` takes it."""
        run, extra = self.run, self.decision_inputs(self.data.predicted_subsets) + self.strata
        tables = (run.index, run.split, run.sample_groups, run.statistics, *one.tables.values(), *extra)
        return {
            "name": f"{predictor_scores.STEP} {one.name}",
            "settings": ["threshold"],
            "inputs": files.fingerprints(*tables),
            "outputs": [one.thresholds_path, *map(one.evaluation_path, TABLES), *self._figures(one)],
            "verify": lambda: list(map(predictions.load, one.tables.values())),
        }

    def _evaluate(self, one: EvaluatedPredictor) -> None:
        chosen, subset, fixed = one.tune(), self.subset, self.settings.fixed
        labelled = {name: one.labelled(name) for name in self.data.subsets if name in one.tables}
        applied = {name: one.per_sample(name, values) for name, values in chosen.items()}
        per_class, summary = predictor_scores.evaluate(
            labelled, applied, self.settings, self.data.classes, self.data.index.truth_NC.mean(axis=0)
        )
        probabilities = {"raw": one.raw_NC(subset), "calibrated": one.calibrated_NC(subset)}
        reliability = reliability_by_class(self.data.truth_NC(subset), probabilities, self.data.classes)
        files.write_json(one.thresholds_path, thresholds.as_table(chosen))
        for table, content in zip(TABLES, (per_class, summary, reliability), strict=True):
            files.write_csv(one.evaluation_path(table), content)
        reported = per_class[per_class["subset"] == subset]
        title = f"{one.name}: {self.subtitle}"
        f1_figure, scores_figure = self._figures(one)
        figures.class_f1(f1_figure, reported, title, self.tuned_name)
        at_fixed = reported[reported["decision"] == "fixed"]
        title = f"{one.name}, threshold {fixed:g} for all classes: {self.subtitle}"
        figures.class_scores(scores_figure, at_fixed, self.groups, title)

    def _figures(self, one: EvaluatedPredictor) -> list[Path]:
        return [self.run.figure(f"{kind}_{one.name}") for kind in ("f1", "scores")]

    def require_evaluation(self, name: str) -> EvaluatedPredictor:
        """Return a predictor that stage 04 has evaluated and compared with the others.

        Raises
        ------
        UserError
            If it has not, or has chosen the thresholds, or built the ensemble, for other predictions or
            settings.
        """
        run, one = self.run, self.predictor(name)
        files.require(one.thresholds_path, predictor_scores.SCRIPT)
        if name == ensemble.NAME:
            ensemble.require_current(run, self.data)
        run.step(**self._evaluation(one)).require()
        compared = Manifest.read(run.manifest(COMPARISON), predictor_scores.SCRIPT)
        own = files.fingerprints(*map(one.evaluation_path, TABLES))
        if not (compared.finished and own.items() <= compared.inputs.items()):
            raise UserError(
                f"{run.evaluation('predictors')} was made before {name} was evaluated: run `python "
                f"{predictor_scores.SCRIPT}` again first"
            )
        return one

    def compare(self, names: list[str]) -> None:
        """Compare all predictors, and describe the best one further, unless that is up to date."""
        run, figure = self.run, ("predictors", "reliability", "confusions")
        summaries = [self.predictor(name).evaluation_path(table) for name in names for table in TABLES]
        stage_1 = [path for one in self.hierarchies for path in one.stage_1_tables if path.exists()]
        run.once(
            COMPARISON,
            lambda _step: self._compare(names),
            settings=["threshold"],
            inputs=files.fingerprints(
                *summaries, *self.decision_inputs(self.data.predicted_subsets), *self.strata, *stage_1
            ),
            outputs=[
                *map(run.evaluation, ("predictors", "confusions")),
                *map(run.figure, figure),
                *(path for one in self.hierarchies for path in one.outputs),
            ],
            rebuild=True,
        )

    def _compare(self, names: list[str]) -> None:
        run, data, fixed = self.run, self.data, self.settings.fixed
        table = predictor_scores.side_by_side(self.folder, names)
        files.write_csv(run.evaluation("predictors"), table)
        title = f"Predictors: {self.subtitle}"
        figures.predictors(run.figure("predictors"), table, self.subset, fixed, title, self.tuned_name)
        best = self.predictor(predictor_scores.best_predictor(self.folder, names))
        truth_NC, decision_NC = data.truth_NC(self.subset), best.decisions(self.subset)
        self._warn_if_implausible(f"{best.name} on {self.subset}", decision_NC)
        probabilities = {"raw": best.raw_NC(self.subset), "calibrated": best.calibrated_NC(self.subset)}
        title = f"Reliability of {best.name}: {self.subtitle}"
        figures.reliability(run.figure("reliability"), truth_NC, probabilities, data.classes, title)
        pairs = confusion.frequent_confusions(truth_NC, decision_NC, data.classes)
        files.write_csv(run.evaluation("confusions"), pairs)
        share_CC = confusion.matrix(truth_NC, decision_NC)
        title = f"Predictions of {best.name} for the samples of each class: {self.subtitle}"
        figures.confusions(run.figure("confusions"), share_CC, self.groups, data.classes, title)
        for hierarchy in self.hierarchies:
            hierarchy.evaluate()

    def submit(self, name: str) -> np.ndarray:
        """Write Kaggle's file with a predictor's decisions for the test samples, unless it is up to date.

        Returns
        -------
        ndarray of shape (N, C), bool
            The decisions as read back from the file.

        Raises
        ------
        UserError
            As `require_evaluation`.
        """
        run, ids = self.run, self.data.ids("test")
        folder = run.predictor(name)
        table = files.require(folder / "test.npz", predictions.creator(folder))
        one = self.require_evaluation(name)
        # another predictor replaces the submission: the tables it was made from are kept
        manifest = run.manifest("05_submit")
        made_by = Manifest.read(manifest, "05_submit.py").inputs if manifest.exists() else {}
        done = run.once(
            "05_submit",
            lambda _step: self._submit(one),
            settings=["threshold", "submit"],
            inputs=files.fingerprints(
                run.index,
                table,
                one.thresholds_path,
                *self.decision_inputs(["test"]),
                *self._duplicates(),
                *self._bad_images(name),
            ),
            outputs=[run.submission, run.figure("submission")],
            rebuild=one.thresholds_path.name not in made_by,
            verify=lambda: self.submitted(one),
        )
        if not done:
            info(f"{run.submission} is up to date")
        decision_NC = submission.check(run.submission, ids)
        if described := self.submitted(one).describe():
            (warn if run.config.submit.duplicates == "label" else info)(described)
        self._warn_if_implausible(str(run.submission), decision_NC)
        return decision_NC

    def submitted(self, one: EvaluatedPredictor) -> SubmittedDecisions:
        """Return a predictor's decisions for the test samples, as ``submit.duplicates`` sets them."""
        how, tables = self.run.config.submit.duplicates, self._duplicates()
        if not tables:
            return SubmittedDecisions(one.decisions("test"))
        return duplicate_decisions.decide(one, how, duplicate_pairs.read(*tables))

    def _duplicates(self) -> list[Path]:
        """Return the table of duplicates if the submission depends on it; a `UserError` if it is missing."""
        how, path = self.run.config.submit.duplicates, self.run.duplicates
        if how == "network":
            return []
        if not path.exists():
            raise UserError(
                f"submit.duplicates={how} needs {path}, which stage 00 makes from the images: run `python "
                f"00_prepare.py` first (without --labels-only), or set submit.duplicates=network"
            )
        return [path]

    def _bad_images(self, name: str) -> list[Path]:
        """Return the list of unusable images if there is one, and the predictor's scores are of images."""
        external = Predictor.read(self.run.predictor(name)).kind == "external"
        return [self.run.bad_images] if self.run.bad_images.exists() and not external else []

    def _warn_if_implausible(self, source: str, decision_NC: np.ndarray) -> None:
        max_labels = self.settings.max_labels
        found = plausibility.check_decisions(decision_NC, self.data.training_NC, max_labels)
        if found:
            warn(f"{source} is implausible: {'; '.join(found)}; look at the scores and at figures/training_*")

    def _submit(self, one: EvaluatedPredictor) -> None:
        run, data = self.run, self.data
        decision_NC = self.submitted(one).decision_NC
        for path in self._bad_images(one.name):
            submission.fill_unusable(decision_NC, data.index, path)
        decision_NC = submission.write(run.submission, data.ids("test"), decision_NC)
        shares = submission.class_shares(data.training_NC, decision_NC)
        title = f"Labels predicted by {one.name}: {run.data_name}"
        figures.class_shares(run.figure("submission"), shares, data.groups, title)
