"""One predictor judged: every class, every labelled subset, each way to decide."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import files
from lib.config import Threshold
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation import predictions, submission, thresholds
from lib.evaluation.calibration import Calibration
from lib.evaluation.metrics import class_scores, guessing_macro_f1, macro_f1_interval
from lib.hierarchy.evaluation import Parts


class Judged(NamedTuple):
    """One subset's truth beside what a predictor says of it, the same samples in the same order.

    ``allowed_NC``: as `thresholds.submitted` takes it.
    """

    truth_NC: np.ndarray
    probabilities_NC: np.ndarray
    allowed_NC: np.ndarray | None = None


def decide_all(
    probabilities_NC: np.ndarray,
    thresholds_C: np.ndarray,
    settings: Threshold,
    allowed_NC: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Decide in every way that is reported.

    Returns
    -------
    dict of ndarray of shape (N, C), bool
        fixed: one threshold for all classes, as both papers begin; tuned: each class's own;
        submitted: `thresholds.submitted`, with at least one label.
    """
    return {
        "fixed": thresholds.decide(probabilities_NC, np.full(len(thresholds_C), settings.fixed)),
        "tuned": thresholds.decide(probabilities_NC, thresholds_C),
        "submitted": thresholds.submitted(probabilities_NC, thresholds_C, settings.max_labels, allowed_NC),
    }


def judge(
    tables: dict[str, Path], parts: Parts, settings: Threshold, frequency_C: np.ndarray
) -> tuple[dict[str, np.ndarray], pd.DataFrame, pd.DataFrame]:
    """Choose a predictor's thresholds and score it.

    Parameters
    ----------
    tables : dict of Path
        Its prediction tables by labelled subset, and of ``test``.
    parts : Parts
        Of the run: its samples, subsets, classes, and the hierarchy's groups where the settings ask for them.
    frequency_C : ndarray of shape (C,)
        As `thresholds.Known` takes it.

    Returns
    -------
    thresholds_C : dict of ndarray of shape (C,)
        By subset.
    per_class, summary : DataFrame
        As `evaluate` returns them.
    """
    judged = {
        subset: Judged(
            parts.index.truth_NC[rows],
            predictions.load(tables[subset]).rows_of(parts.ids(subset), f"the {subset} subset"),
            parts.allowed_NC(subset) if settings.consistent else None,
        )
        for subset, rows in parts.subsets.items()
        if subset in tables
    }
    said = {subset: part.probabilities_NC for subset, part in judged.items()}
    said["test"] = predictions.load(tables["test"]).probabilities_NC
    known = thresholds.Known(judged["validation"].truth_NC, said["validation"], frequency_C)
    rule = thresholds.choose(known, settings)
    chosen = {subset: rule(probabilities_NC) for subset, probabilities_NC in said.items()}
    return chosen, *evaluate(judged, chosen, settings, parts.classes)


def submitted(
    probabilities_NC: np.ndarray, thresholds_C: np.ndarray, settings: Threshold, parts: Parts, subset: str
) -> np.ndarray:
    """Return decision_NC that is handed in for a subset, as the settings have it: `thresholds.submitted`."""
    allowed_NC = parts.allowed_NC(subset) if settings.consistent else None
    return thresholds.submitted(probabilities_NC, thresholds_C, settings.max_labels, allowed_NC)


def calibration(validation: Path, parts: Parts) -> Calibration:
    """Return what makes a predictor's probabilities true to their frequency on validation.

    Parameters
    ----------
    validation : Path
        Its prediction table of that subset.
    """
    said_NC = predictions.load(validation).rows_of(parts.ids("validation"), "the validation subset")
    return Calibration(said_NC, parts.index.truth_NC[parts.subsets["validation"]])


def with_calibrated(
    tables: dict[str, Path], parts: Parts, subset: str
) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Return a subset's truth_NC, None of ``test``, and what a predictor says of it, by name.

    Its probabilities_NC as given, and calibrated on validation.
    """
    said_NC = predictions.load(tables[subset]).rows_of(parts.ids(subset), f"the {subset} subset")
    calibrate = calibration(tables["validation"], parts)
    truth_NC = parts.index.truth_NC[parts.subsets[subset]] if subset in parts.subsets else None
    return truth_NC, {"as given": said_NC, "calibrated": calibrate(said_NC)}


def evaluate(
    subsets: dict[str, Judged],
    thresholds_C: dict[str, np.ndarray],
    settings: Threshold,
    classes: list[int],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score a predictor.

    Parameters
    ----------
    subsets : dict of Judged
        By name; must hold validation.
    thresholds_C : dict of ndarray of shape (C,)
        By subset.
    settings : Threshold
        ``fixed`` is the one threshold of decision "fixed".
    classes : list of int
        The classes that the run keeps; macro averages are over these.

    Returns
    -------
    per_class : DataFrame
        A row for each (subset, decision, class), with the columns of `metrics.class_scores`.
    summary : DataFrame
        A row for each (subset, decision): samples, macro_f1 over the run's classes,
        low and high, between which it lies with 95 % certainty (only of what is submitted),
        macro_f1_present over those of them that a sample of the subset carries, macro precision and
        recall, labels a sample, and the macro-F1 of guessing by validation's frequencies.
    """
    frequency_C = subsets["validation"].truth_NC.mean(axis=0)
    per_class, summary = [], []
    for subset, judged in subsets.items():
        guess = guessing_macro_f1(judged.truth_NC[:, classes], frequency_C[classes])
        decided = decide_all(judged.probabilities_NC, thresholds_C[subset], settings, judged.allowed_NC)
        for decision, decision_NC in decided.items():
            scores = class_scores(judged.truth_NC, decision_NC).iloc[classes]
            low, high = np.nan, np.nan
            if decision == "submitted" and subset != "train":
                low, high = macro_f1_interval(judged.truth_NC[:, classes], decision_NC[:, classes])
            per_class.append(scores.reset_index().assign(subset=subset, decision=decision))
            summary.append(
                {
                    "subset": subset,
                    "decision": decision,
                    "samples": len(decision_NC),
                    "macro_f1": scores["f1"].mean(),
                    "low": low,
                    "high": high,
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


def side_by_side(folder: Path, predictors: list[str]) -> pd.DataFrame:
    """Return the summaries of all predictors, one under another, with a column predictor.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>/evaluation``.
    """
    tables = [pd.read_csv(folder / f"{name}_summary.csv").assign(predictor=name) for name in predictors]
    table = pd.concat(tables, ignore_index=True)
    return table[["predictor", *(column for column in table if column != "predictor")]]


def read_classes(path: Path, subset: str, decision: str = "submitted") -> pd.DataFrame:
    """Read the scores of a predictor's classes, by name, of one subset and way to decide.

    Parameters
    ----------
    path : Path
        ``outputs/<run>/evaluation/<predictor>_classes.csv``.
    """
    table = pd.read_csv(files.require(path, "04_threshold.py"))
    return table[(table["subset"] == subset) & (table["decision"] == decision)].set_index("class")


def describe(table: pd.DataFrame, subset: str, classes: int, fixed: float) -> str:
    """Return a table of `side_by_side` as lines for the console: macro-F1 of a subset, best on top."""
    chosen = table[table["subset"] == subset]
    scores = chosen.pivot(index="predictor", columns="decision", values="macro_f1")
    samples, guess = chosen[["samples", "guessing_macro_f1"]].iloc[0]
    width = max(map(len, scores.index)) + 2
    lines = [
        f"macro-F1 over {classes} classes on {samples:,.0f} samples of {subset} (guessing: {guess:.3f})",
        f"  {'':<{width}}{f'at {fixed:g}':>9}{'tuned':>9}{'submitted':>11}  95 % certain",
    ]
    bounds = chosen[chosen["decision"] == "submitted"].set_index("predictor")
    for name, row in scores.sort_values("submitted", ascending=False, kind="stable").iterrows():
        low, high = bounds.loc[name, ["low", "high"]]
        lines.append(
            f"  {name:<{width}}{row['fixed']:>9.3f}{row['tuned']:>9.3f}{row['submitted']:>11.3f}"
            f"  {low:.3f} to {high:.3f}"
        )
    return "\n".join(lines)


def best_predictor(folder: Path, among: list[str] | None = None) -> str:
    """Return the predictor with the best macro-F1 of its submitted decisions on validation.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>/evaluation``.
    among : list of str, or None
        Those that are compared; default: all that are judged.
    """
    scores = {}
    for path in sorted(folder.glob("*_summary.csv")):
        if among is not None and path.name.removesuffix("_summary.csv") not in among:
            continue
        summary = pd.read_csv(path).set_index(["subset", "decision"])
        scores[path.name.removesuffix("_summary.csv")] = summary.loc[("validation", "submitted"), "macro_f1"]
    if not scores:
        raise UserError(f"{folder} holds no evaluation: run `python 04_threshold.py` first")
    return max(scores, key=scores.get)


def test_scores(run: Path, index: Index, solution: Path, settings: Threshold) -> dict[tuple[str, str], float]:
    """Return macro-F1 on the test samples by predictor and way to decide; empty where answers are unknown.

    Parameters
    ----------
    run : Path
        ``outputs/<run>``, with predictions and thresholds.
    solution : Path
        As `lib.evaluation.submission.score` takes it.
    settings : Threshold
        As `decide_all` takes it.
    """
    scores = {}
    for path in sorted((run / "thresholds").glob("*.json")) if solution.exists() else ():
        table = predictions.load(run / "predictions" / path.stem / "test.npz")
        probabilities_NC = table.rows_of(index.test_ids, "sample_submission.csv")
        thresholds_C = thresholds.load(path, "test")
        for decision, decision_NC in decide_all(probabilities_NC, thresholds_C, settings).items():
            scores[path.stem, decision] = submission.score(index.test_ids, decision_NC, solution)["All"]
    return scores
