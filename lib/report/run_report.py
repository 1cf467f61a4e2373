"""A run's predictors judged: thresholds, tables and figures of each, and all side by side, in its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import files
from lib.config import Threshold
from lib.evaluation import confusion, predictions, predictor_scores, reliability, thresholds
from lib.figures import scores
from lib.hierarchy.evaluation import Parts


class Decided(NamedTuple):
    """A predictor's answers on the samples that evaluation is about, the same samples in the same order.

    ``said`` holds its probabilities_NC by name: as given, and calibrated; ``decision_NC`` what is submitted.
    """

    truth_NC: np.ndarray
    said: dict[str, np.ndarray]
    thresholds_C: np.ndarray
    decision_NC: np.ndarray


@dataclass(frozen=True)
class Judge:
    """What a run's predictors are judged by.

    Attributes
    ----------
    folder : Path
        ``outputs/<run>``.
    parts : Parts
        Its samples, subsets and classes, and its hierarchy.
    settings : Threshold
    frequency_C : ndarray of shape (C,)
        As `thresholds.Known` takes it.
    data : str
        What the data are.
    """

    folder: Path
    parts: Parts
    settings: Threshold
    frequency_C: np.ndarray
    data: str

    @classmethod
    def of(cls, folder: Path, parts: Parts, settings: Threshold, data: str) -> "Judge":
        """Return the one of a run, with the frequencies that its settings name."""
        frequency_C = parts.training_NC.mean(axis=0)
        if settings.frequencies not in ("training", "estimated"):
            frequency_C = thresholds.read_frequencies(settings.frequencies, frequency_C)
        return cls(folder, parts, settings, frequency_C, data)

    @property
    def subset(self) -> str:
        """What tables and figures are about: the holdout, or validation where there is none."""
        return "holdout" if "holdout" in self.parts.subsets else "validation"

    @property
    def on(self) -> str:
        """Names subset and data, for titles."""
        return f"{self.subset}, {self.data}"

    @property
    def extra_inputs(self) -> list[Path]:
        """Files that decisions depend on beside the predictor's own."""
        asked = self.settings.frequencies not in ("training", "estimated")
        files = [Path(self.settings.frequencies)] if asked else []
        if self.settings.consistent:
            files += [self.parts.groups_said(subset) for subset in (*self.parts.subsets, "test")]
        return files

    def tables(self, predictor: str) -> dict[str, Path]:
        """Return a predictor's prediction tables by subset."""
        return predictions.tables(self.folder / "predictions" / predictor, [*self.parts.subsets, "test"])

    def outputs(self, predictor: str) -> list[Path]:
        """Return the files that `judge` writes and others read."""
        names = [f"evaluation/{predictor}_{name}.csv" for name in ("classes", "summary", "reliability")]
        return [self.folder / name for name in (f"thresholds/{predictor}.json", *names)]

    def judge(self, predictor: str) -> None:
        """Choose a predictor's thresholds, score it, and draw how it does."""
        tables, fixed = self.tables(predictor), self.settings.fixed
        chosen, per_class, summary = predictor_scores.judge(
            tables, self.parts, self.settings, self.frequency_C
        )
        truth_NC, said = predictor_scores.with_calibrated(tables, self.parts, self.subset)
        rows = reliability.by_class(truth_NC, said, self.parts.classes)
        thresholds_json, *tables_csv = self.outputs(predictor)
        files.write_json(thresholds_json, thresholds.as_table(chosen))
        for path, table in zip(tables_csv, (per_class, summary, rows), strict=True):
            files.write_csv(path, table)
        figures, judged = self.folder / "figures", per_class[per_class["subset"] == self.subset]
        scores.class_f1(figures / f"f1_{predictor}.png", judged, f"{predictor}: {self.on}")
        at_fixed = judged[judged["decision"] == "fixed"]
        title = f"{predictor}, {fixed:g} for all classes: {self.on}"
        scores.class_scores(figures / f"scores_{predictor}.png", at_fixed, self.parts.groups, title)

    def decided(self, predictor: str) -> Decided:
        """Return what a judged predictor says and decides of `subset`."""
        truth_NC, said = predictor_scores.with_calibrated(self.tables(predictor), self.parts, self.subset)
        thresholds_C = thresholds.load(self.folder / "thresholds" / f"{predictor}.json", self.subset)
        decision_NC = predictor_scores.submitted(
            said["as given"], thresholds_C, self.settings, self.parts, self.subset
        )
        return Decided(truth_NC, said, thresholds_C, decision_NC)

    @property
    def drawn(self) -> list[Path]:
        """The files that `compare` writes."""
        tables = [self.folder / "evaluation" / f"{name}.csv" for name in ("predictors", "confusions")]
        names = ("predictors", "reliability", "confusions")
        return tables + [self.folder / "figures" / f"{name}.png" for name in names]

    def compare(self, predictors: list[str]) -> None:
        """Put judged predictors side by side, and draw them.

        Of the best one also how reliable it is, and what it takes for what.
        """
        table, classes = (
            predictor_scores.side_by_side(self.folder / "evaluation", predictors),
            self.parts.classes,
        )
        files.write_csv(self.folder / "evaluation" / "predictors.csv", table)
        figures, fixed = self.folder / "figures", self.settings.fixed
        scores.predictors(figures / "predictors.png", table, self.subset, fixed, f"Predictors: {self.on}")
        best = predictor_scores.best_predictor(self.folder / "evaluation")
        found = self.decided(best)
        title = f"Reliability of {best}: {self.on}"
        scores.reliability(figures / "reliability.png", found.truth_NC, found.said, classes, title)
        pairs = confusion.that_matter(found.truth_NC, found.decision_NC, classes)
        files.write_csv(self.folder / "evaluation" / "confusions.csv", pairs)
        share_CC = confusion.matrix(found.truth_NC, found.decision_NC)
        title = f"What {best} gives to samples of each class: {self.on}"
        scores.confusions(figures / "confusions.png", share_CC, self.parts.groups, classes, title)

    def judge_hierarchy(self, baseline: str) -> None:
        """Write and draw how stage 1, stage 2 and both together do: Hoogenboom 2019, figures 5, 6 and 7.

        Nothing is done before the networks and the baseline have predicted the subset.

        Parameters
        ----------
        baseline : str
            The predictor that the hierarchy is compared with.
        """
        parts, subset, cut = self.parts, self.subset, self.settings.fixed
        whole = self.folder / "predictions" / baseline / f"{subset}.npz"
        if not parts.networks.is_dir():  # several runs joined
            return
        if not all(path.exists() for path in (*parts.stage_1_tables(subset), *parts.tables(subset), whole)):
            return
        of_groups = parts.judge_groups(subset)
        within = parts.judge_within(subset, baseline, predictions.load(whole), cut)
        names = [baseline, *(f"hierarchy_hard{variant}" for variant in parts.variants)]
        tables = [pd.read_csv(self.folder / "evaluation" / f"{name}_classes.csv") for name in names]
        of_classes = pd.concat(
            table.assign(predictor=name) for name, table in zip(names, tables, strict=True)
        )
        chosen = of_classes[(of_classes["subset"] == subset) & (of_classes["decision"] == "fixed")]
        for name, table in (("groups", of_groups), ("within_groups", within)):
            files.write_csv(self.folder / "evaluation" / f"{name}.csv", table)
        figures, said = self.folder / "figures", f"{cut:g} for all: {self.on}"
        scores.group_scores(figures / "groups.png", of_groups, f"Stage 1, {self.on}")
        scores.within_groups(figures / "within_groups.png", within, f"Stage 2, {said}")
        title = f"Hierarchy and {baseline}, {said}"
        scores.class_advantages(figures / "advantages.png", chosen, parts.groups, title)
