"""Scores of one predictor: for every class, every labelled subset and each way to decide."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.data.run_data import RunData
from lib.errors import UserError
from lib.evaluation import predictions, thresholds
from lib.evaluation.calibration import Calibration
from lib.evaluation.intervals import FREQUENT, enough_positives, macro_f1_interval
from lib.evaluation.metrics import class_scores, guessing_macro_f1, macro_f1
from lib.evaluation.predictions import LabelledPredictions
from lib.labels import CLASSES
from lib.sections import Threshold
from lib.stage_files import COUNT, SHARE

STEP = "04_threshold"  # the first word of the steps that write the tables
SCRIPT = f"{STEP}.py"
DECISIONS = ("fixed", "tuned", "submitted")  # ways to decide that are reported
# columns of numbers and their bounds
SUMMARY_COLUMNS = {
    "samples": COUNT,
    "macro_f1": SHARE,
    "low": SHARE,
    "high": SHARE,
    "macro_f1_present": SHARE,
    "frequent_classes": COUNT,
    "macro_f1_frequent": SHARE,
    "frequent_low": SHARE,
    "frequent_high": SHARE,
    "macro_f1_weighted": SHARE,
    "weighted_low": SHARE,
    "weighted_high": SHARE,
    "macro_precision": SHARE,
    "macro_recall": SHARE,
    "labels_per_sample": COUNT,
    "guessing_macro_f1": SHARE,
}
INTERVALS = ("low", "high", "frequent_low", "frequent_high", "weighted_low", "weighted_high")
MAY_BE_EMPTY = (*INTERVALS, "macro_f1_present", "macro_f1_frequent", "macro_f1_weighted")
CLASS_COLUMNS = {"support": COUNT, "predicted": COUNT, "precision": SHARE, "recall": SHARE, "f1": SHARE}


@dataclass(frozen=True)
class EvaluatedPredictor:
    """A predictor of a run, with its thresholds and decisions.

    Attributes
    ----------
    name : str
    folder : Path
        ``outputs/<run>``.
    data : RunData
    settings : Threshold
    frequency_C : ndarray of shape (C,)
        As `thresholds.choose` takes it.
    allowed_NC : callable or None
        Returns, for a subset, the labels that a hierarchy's stage 1 admits, as `thresholds.final_decisions`
        takes them; None where all are.
    """

    name: str
    folder: Path
    data: RunData
    settings: Threshold
    frequency_C: np.ndarray
    allowed_NC: Callable[[str], np.ndarray] | None = None

    @property
    def tables(self) -> dict[str, Path]:
        """The prediction tables by subset."""
        return predictions.table_paths(self.folder / "predictions" / self.name, self.data.predicted_subsets)

    @property
    def thresholds_path(self) -> Path:
        """The thresholds, by subset."""
        return self.folder / "thresholds" / f"{self.name}.json"

    def evaluation_path(self, table: str) -> Path:
        """One of the tables classes, summary and reliability."""
        return evaluation_path(self.folder, self.name, table)

    def raw_NC(self, subset: str) -> np.ndarray:
        """Return the probabilities of a subset, shape (N, C)."""
        table = predictions.load(self.tables[subset])
        return table.select(self.data.ids(subset), f"the {subset} subset")

    def calibrated_NC(self, subset: str) -> np.ndarray:
        """Return the probabilities of a subset, calibrated on validation, shape (N, C)."""
        return self.calibration(self.raw_NC(subset))

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration fitted to validation."""
        return Calibration(self.raw_NC("validation"), self.data.truth_NC("validation"))

    def labelled(self, subset: str) -> LabelledPredictions:
        """Return the labels and probabilities of a labelled subset."""
        data, allowed_NC = self.data, self.allowed_NC(subset) if self.allowed_NC else None
        group_N, weight_N = data.sample_group_N[data.subsets[subset]], data.weights.get(subset)
        return LabelledPredictions(data.truth_NC(subset), self.raw_NC(subset), allowed_NC, group_N, weight_N)

    def tune(self) -> dict[str, np.ndarray]:
        """Choose the thresholds of every subset.

        Returns
        -------
        dict of ndarray of shape (C,), or of shape (folds, C) for validation in a run with folds
            With folds, the thresholds of each fold's validation samples are chosen on the other folds.
        """
        validation = self.labelled("validation")
        rule = self._choose(validation)
        chosen = {subset: rule(self.raw_NC(subset)) for subset in self.tables}
        if self.data.has_folds:
            fold_N, of_folds = self.data.validation_fold_N, []
            for fold in range(len(self.data.folds)):
                others = validation.rows(fold_N != fold)
                rule = self._choose(others)
                of_folds.append(rule(validation.probabilities_NC[fold_N == fold]))
            chosen["validation"] = np.stack(of_folds)
        return chosen

    def _choose(self, tuning: LabelledPredictions) -> thresholds.Rule:
        if self.settings.weights == "strata":
            if tuning.weight_N is None:
                raise UserError("threshold.weights=strata needs split.strata=FILE: name the table of strata")
            tuning = tuning.in_test_mixture()
        return thresholds.choose(tuning, self.frequency_C, self.settings)

    def thresholds(self, subset: str) -> np.ndarray:
        """Read the thresholds of a subset, shape (C,), or (N, C) where they differ between folds."""
        return self.per_sample(subset, self.class_thresholds(subset))

    def class_thresholds(self, subset: str) -> np.ndarray:
        """Read the thresholds of a subset, shape (C,), or (folds, C) where they differ between folds."""
        folds = len(self.data.folds) if subset == "validation" else 1
        return thresholds.load(self.thresholds_path, subset, folds)

    def per_sample(self, subset: str, chosen: np.ndarray) -> np.ndarray:
        """Expand the thresholds of each fold to shape (N, C); those of shape (C,) are returned unchanged."""
        folded = subset == "validation" and chosen.ndim == 2
        return chosen[self.data.validation_fold_N] if folded else chosen

    def decide(
        self, subset: str, chosen: np.ndarray, probabilities_NC: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return decision_NC of a subset by way to decide (`decide_all`), with thresholds of `tune`.

        Parameters
        ----------
        probabilities_NC : ndarray of shape (N, C) or None
            What is decided on. Default: the predictor's own probabilities.
        """
        allowed_NC = self.allowed_NC(subset) if self.allowed_NC else None
        own_NC = self.raw_NC(subset) if probabilities_NC is None else probabilities_NC
        return decide_all(own_NC, self.per_sample(subset, chosen), self.settings, allowed_NC)

    def decisions(self, subset: str, probabilities_NC: np.ndarray | None = None) -> np.ndarray:
        """Return decision_NC of a subset, as submitted; `decide` describes `probabilities_NC`."""
        return self.decide(subset, self.class_thresholds(subset), probabilities_NC)["submitted"]


def evaluation_path(run: Path, predictor: str, table: str) -> Path:
    """Return the path of one of a predictor's tables classes, summary and reliability."""
    return run / "evaluation" / f"{predictor}_{table}.csv"


def decide_all(
    probabilities_NC: np.ndarray,
    class_thresholds: np.ndarray,
    settings: Threshold,
    allowed_NC: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Decide in every way that is reported.

    Parameters
    ----------
    class_thresholds : ndarray of shape (C,) or (N, C)

    Returns
    -------
    dict of ndarray of shape (N, C), bool
        fixed: one threshold for all classes, the starting point of both papers; tuned: each class's own;
        submitted: `thresholds.final_decisions`, with at least one label.
    """
    fixed_C = np.full(probabilities_NC.shape[1], settings.fixed)
    return {
        "fixed": thresholds.decide(probabilities_NC, fixed_C),
        "tuned": thresholds.decide(probabilities_NC, class_thresholds),
        "submitted": thresholds.final_decisions(
            probabilities_NC, class_thresholds, settings.max_labels, allowed_NC
        ),
    }


def evaluate(
    subsets: dict[str, LabelledPredictions],
    class_thresholds: dict[str, np.ndarray],
    settings: Threshold,
    classes: list[int],
    frequency_C: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score a predictor.

    Parameters
    ----------
    subsets : dict of LabelledPredictions
        By name; must contain validation.
    class_thresholds : dict of ndarray of shape (C,) or (N, C)
        By subset.
    settings : Threshold
        ``fixed`` is the threshold of the decision "fixed".
    classes : list of int
        The classes that the run keeps; macro averages are over these.
    frequency_C : ndarray of shape (C,)
        Class frequencies of all labelled samples.

    Returns
    -------
    per_class : DataFrame
        A row for each (subset, decision, class), with the columns of `metrics.class_scores`.
    summary : DataFrame
        A row for each (subset, decision): samples; macro_f1 over the run's classes; macro_f1_present over
        those that occur in the subset; macro_f1_frequent over those expected to be frequent enough in it
        (`intervals.enough_positives`), whose number is frequent_classes; macro_f1_weighted over all, in the
        test set's mixture of strata (nan if unknown); macro precision and recall; labels per sample; and the
        macro-F1 of guessing with validation's frequencies. low and high, frequent_low ..., weighted_low ...
        are the bounds of 95 % confidence intervals (only of submitted decisions).
    """
    validation_C = subsets["validation"].truth_NC.mean(axis=0)
    per_class, summary = [], []
    for subset, labelled in subsets.items():
        guess = guessing_macro_f1(labelled.truth_NC[:, classes], validation_C[classes])
        decided = decide_all(
            labelled.probabilities_NC, class_thresholds[subset], settings, labelled.allowed_NC
        )
        for decision, decision_NC in decided.items():
            scores = class_scores(labelled.truth_NC, decision_NC).iloc[classes]
            with_interval = decision == "submitted" and subset != "train"
            per_class.append(scores.reset_index().assign(subset=subset, decision=decision))
            summary.append(
                {
                    "subset": subset,
                    "decision": decision,
                    "samples": len(decision_NC),
                    "macro_f1": scores["f1"].mean(),
                    **_score_further(labelled, decision_NC, classes, frequency_C, with_interval),
                    "macro_f1_present": scores.loc[scores["support"] > 0, "f1"].mean(),
                    "macro_precision": scores["precision"].mean(),
                    "macro_recall": scores["recall"].mean(),
                    "labels_per_sample": decision_NC.sum(axis=1).mean(),
                    "guessing_macro_f1": guess,
                }
            )
    table = pd.concat(per_class, ignore_index=True)
    first = ["subset", "decision", "class"]
    return table[first + [column for column in table if column not in first]], pd.DataFrame(summary)


def _score_further(
    labelled: LabelledPredictions,
    decision_NC: np.ndarray,
    classes: list[int],
    frequency_C: np.ndarray,
    with_interval: bool,
) -> dict[str, float]:
    """Return the scores over frequent classes and in the test set's mixture, and all intervals."""
    truth_NC, group_N, weight_N = labelled.truth_NC, labelled.group_N, labelled.weight_N
    group_N = np.arange(len(truth_NC)) if group_N is None else group_N
    is_frequent_C = enough_positives(frequency_C, group_N)
    frequent = [label for label in classes if is_frequent_C[label]]
    chosen = {"": (classes, {}), "frequent_": (frequent, {"pseudo_observations": FREQUENT})}
    if weight_N is not None:
        chosen["weighted_"] = (classes, {"weight_N": weight_N})
    scores = {name: np.nan for name in (*INTERVALS, "macro_f1_frequent", "macro_f1_weighted")}
    scores["frequent_classes"] = len(frequent)
    for name, (columns, options) in chosen.items():
        pair = truth_NC[:, columns], decision_NC[:, columns]
        if name and columns:
            scores[f"macro_f1_{name.rstrip('_')}"] = macro_f1(*pair, options.get("weight_N"))
        if with_interval and columns:
            bounds = macro_f1_interval(*pair, group_N, **options)
            scores[f"{name}low"], scores[f"{name}high"] = bounds
    return scores


def side_by_side(run: Path, predictors: list[str]) -> pd.DataFrame:
    """Return the summaries of several predictors in one table, with a column predictor.

    Parameters
    ----------
    run : Path
        ``outputs/<run>``.
    """
    tables = [
        read_summary(evaluation_path(run, name, "summary")).assign(predictor=name) for name in predictors
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[["predictor", *(column for column in table if column != "predictor")]]


def read_summary(path: Path) -> pd.DataFrame:
    """Read the table ``summary`` of `evaluate`, or one of `side_by_side`, which stage 04 wrote."""
    several = path.stem == "predictors"
    keys = ["predictor"] * several + ["subset", "decision"]
    table = files.read_results(path, SCRIPT, keys, SUMMARY_COLUMNS)
    with files.reading(path, SCRIPT):
        for name, own in table.groupby("predictor") if several else [("it", table)]:
            found = pd.crosstab(own["subset"], own["decision"])
            if (
                "validation" not in found.index
                or sorted(found) != sorted(DECISIONS)
                or not found.all(axis=None)
            ):
                raise ValueError(f"{name} lacks a subset or decision")
        required = [column for column in SUMMARY_COLUMNS if column not in MAY_BE_EMPTY]
        if table[required].isna().any(axis=None):
            raise ValueError("it lacks a score")
    return table


def read_classes(
    run: Path, predictor: str, subset: str, classes: list[int], decision: str = "submitted"
) -> pd.DataFrame:
    """Read the scores of a run's classes by a predictor, for one subset and way to decide.

    Parameters
    ----------
    run : Path
        ``outputs/<run>``.
    classes : list of int
        The class numbers that the run keeps.

    Returns
    -------
    DataFrame
        A row per class (index: names), with the columns of `metrics.class_scores`.
    """
    path = evaluation_path(run, predictor, "classes")
    table = files.read_results(path, SCRIPT, ("subset", "decision", "class"), CLASS_COLUMNS)
    with files.reading(path, SCRIPT):
        chosen = table[(table["subset"] == subset) & (table["decision"] == decision)].set_index("class")
        if list(chosen.index) != [CLASSES[label] for label in classes]:
            raise ValueError(f"its classes for {subset}, {decision} are not those of the run")
        if chosen[list(CLASS_COLUMNS)].isna().any(axis=None):
            raise ValueError("it lacks a score")
    return chosen


def describe(table: pd.DataFrame, subset: str, classes: int, fixed: float) -> str:
    """Return a table of `side_by_side` as lines for the console: macro-F1 on a subset, best on top."""
    chosen = table[table["subset"] == subset]
    scores = chosen.pivot(index="predictor", columns="decision", values="macro_f1")
    samples, guess, frequent_count = chosen[["samples", "guessing_macro_f1", "frequent_classes"]].iloc[0]
    width = max(map(len, scores.index)) + 2
    lines = [
        f"macro-F1 over {classes} classes on {samples:,.0f} samples of {subset} (guessing: {guess:.3f})",
        f"  {'':<{width}}{f'at {fixed:g}':>9}{'tuned':>9}{'submitted':>11}  95 % CI         "
        + (f"{frequent_count:.0f} frequent classes, 95 % CI" if frequent_count else ""),
    ]
    bounds = chosen[chosen["decision"] == "submitted"].set_index("predictor")
    for name, row in scores.sort_values("submitted", ascending=False, kind="stable").iterrows():
        low, high, *frequent = bounds.loc[
            name, ["low", "high", "macro_f1_frequent", "frequent_low", "frequent_high"]
        ]
        lines.append(
            f"  {name:<{width}}{row['fixed']:>9.3f}{row['tuned']:>9.3f}{row['submitted']:>11.3f}"
            f"  {low:.3f} to {high:.3f}"
            + (f"  {frequent[0]:.3f}, {frequent[1]:.3f} to {frequent[2]:.3f}" if frequent_count else "")
        )
    return "\n".join(lines)


def best_predictor(run: Path, among: list[str] | None = None) -> str:
    """Return the predictor with the highest macro-F1 of its submitted decisions on validation.

    Parameters
    ----------
    run : Path
        ``outputs/<run>``.
    among : list of str, or None
        Default: all evaluated predictors.
    """
    names = [path.stem for path in sorted((run / "thresholds").glob("*.json"))]
    scores = {}
    for name in names if among is None else [name for name in names if name in among]:
        path = evaluation_path(run, name, "summary")
        if path.exists():
            summary = read_summary(path).set_index(["subset", "decision"])
            scores[name] = summary.loc[("validation", "submitted"), "macro_f1"]
    if not scores:
        raise UserError(f"{run / 'evaluation'} holds no evaluation: run `python 04_threshold.py` first")
    return max(scores, key=scores.get)


def select_predictor(run: Path, name: str | None) -> str:
    """Return the predictor of that name, or the best of those that exist; a `UserError` lists them."""
    known = predictions.list_predictors(run / "predictions")
    if name is not None and name not in known:
        raise UserError(f"--predictor {name}: {run.name} has no such predictor; it has {' '.join(known)}")
    return name or best_predictor(run, known)
