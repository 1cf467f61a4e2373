"""What a run's score means: notes on its split, its classes, and related samples, for the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.data import duplicate_pairs, sample_groups
from lib.data.run_data import RunData
from lib.evaluation.predictions import Predictor
from lib.learning.network_spec import NetworkSpec
from lib.report.run_report import RunReport
from lib.run import Invocation


def warnings(report: RunReport) -> list[str]:
    """Return a sentence for each set of initial weights that were trained on the samples that are scored."""
    run, networks = report.run, {}
    if run.is_simulated:
        return []
    for member in ("", *Invocation.read(run.folder).merge):
        folder = (run.folder.with_name(member) if member else run.folder) / "networks"
        for path in sorted(folder.rglob("model.json")):
            if seen := NetworkSpec.read(path.parent).initial_weights.get("trained_on"):
                networks.setdefault(seen, []).append(str(Path(member) / path.parent.relative_to(folder)))
    return [
        f"The weights that {', '.join(names)} started from were trained on {seen}: these networks have seen "
        f"the validation and holdout images, and every score on them is too high. Only the leaderboard shows "
        f"what they are worth."
        for seen, names in networks.items()
    ]


def chosen_on(report: RunReport, predictor: Predictor) -> str:
    """Return as a sentence what else the samples that a predictor is scored on were used for."""
    if report.subset == "holdout":
        return "The holdout was not used for training or tuning."
    settings, run = report.settings, report.run
    calibrated = settings.calibration != "none"
    tuned = {
        "fixed": False,
        "frequency": calibrated and settings.frequencies == "estimated",
        "expected_f1": calibrated,
    }.get(settings.method, True)
    trainings = [run.for_network(name).config.training for name in run.config.networks]
    has_best_epoch = predictor.kind != "external" and any(
        training.epochs > 0 and training.keep != "last" for training in trainings
    )
    has_weights = predictor.method == "weighted"
    if report.data.has_folds:
        how = ", with thresholds chosen on the other folds" * tuned
        chosen = ["its best epoch"] * has_best_epoch + ["the ensemble's weights"] * has_weights
        were = "were" if has_weights else "was"
        also = f"; {' and '.join(chosen)} {were} chosen on these samples, so the score is slightly too high"
        return (
            f"There is no holdout: each validation sample was predicted by the fold that was not trained on "
            f"it{how}{also * bool(chosen)}."
        )
    chosen = ["thresholds"] * tuned + ["the ensemble's weights"] * has_weights
    were = "were" if chosen else "was"
    chosen += ["the best epoch"] * has_best_epoch
    if not chosen:
        return "There is no holdout, but nothing was chosen on these samples."
    chosen = " and ".join(filter(None, (", ".join(chosen[:-1]), chosen[-1])))
    return f"There is no holdout: {chosen} {were} chosen on these samples, so the score is optimistic."


def notes(report: RunReport, summary: pd.DataFrame, predictor: str) -> list[str]:
    """Return sentences that belong next to the score of the predictor that is submitted.

    Parameters
    ----------
    summary : DataFrame
        As `lib.evaluation.predictor_scores.side_by_side` returns it.
    predictor : str
    """
    submitted = summary[(summary["predictor"] == predictor) & (summary["decision"] == "submitted")]
    scores = submitted.set_index("subset").to_dict("index")
    return [
        *_of_classes(report, scores[report.subset]),
        *_of_split(report),
        *_of_siblings(scores),
        *_of_duplicates(report),
    ]


def _of_classes(report: RunReport, row: dict[str, Any]) -> list[str]:
    """Return notes on the classes that the macro-F1 is the mean of, and on the mixture of samples."""
    found, classes = [], len(report.data.classes)
    present = int(report.data.truth_NC(report.subset)[:, report.data.classes].any(axis=0).sum())
    if present < classes:
        absent = classes - present
        do, count = ("does", "counts") if absent == 1 else ("do", "count")
        others = "one that does" if present == 1 else f"{present} that do"
        found.append(
            f"{absent} of the {classes} classes {do} not occur among these samples and {count} as 0; over "
            f"the {others}, macro-F1 is {row['macro_f1_present']:.3f}."
        )
    if frequent := int(row["frequent_classes"]):
        those = "one class that is" if frequent == 1 else f"{frequent} classes that are"
        found.append(
            f"Over the {those} expected to have enough samples here it is {row['macro_f1_frequent']:.3f} "
            f"(95 % CI {row['frequent_low']:.3f} to {row['frequent_high']:.3f}); the interval over all "
            "classes is conservative."
        )
    if not np.isnan(row["macro_f1_weighted"]):
        found.append(
            f"Weighted to the test set's mixture of strata it is {row['macro_f1_weighted']:.3f} "
            f"({row['weighted_low']:.3f} to {row['weighted_high']:.3f})."
        )
    return found


def _of_split(report: RunReport) -> list[str]:
    """Return notes on how related samples were split."""
    data, found = report.data, []
    reasons = sample_groups.read_reasons(report.run.sample_groups)
    if data.has_groups and not _has_divided_groups(data):
        found.append(
            f"The split is by groups of related samples (linked by {' and '.join(sorted(reasons))}): no "
            f"group has samples in two of the subsets{', siblings excepted' * ('siblings' in data.subsets)}."
        )
    elif data.has_groups:
        rows, group_N = data.subsets[report.subset], data.sample_group_N
        pairs = [(fold.validation, fold.train) for fold in data.folds]  # what is scored, and its training
        if report.subset != "validation":
            pairs = [(rows, np.concatenate([fold.train for fold in data.folds]))]
        related = sum(int(np.isin(group_N[scored], group_N[train]).sum()) for scored, train in pairs)
        have = "has" if related == 1 else "have"
        found.append(
            f"The split is by sample: {related:,} of these {len(rows):,} samples {have} a related one among "
            f"the training samples{', which makes the score too high' * bool(related)}."
        )
    if not reasons & {"antibody", "table"}:
        found.append(
            "Which samples are of the same antibody is unknown (--set data.groups=FILE names a table), so "
            "some are probably on both sides of the split: in this competition, scores on the leaderboard "
            "have been 0.1 to 0.17 lower than such scores."
        )
    return found


def _has_divided_groups(data: RunData) -> bool:
    """Return whether a group has samples in two subsets or folds, siblings aside."""
    parts = [rows for name, rows in data.subsets.items() if name != "siblings"]
    part_N = np.full(len(data.sample_group_N), -1)
    # the folds divide validation, whose number they replace
    for number, rows in enumerate([*parts, *(fold.validation for fold in data.folds)]):
        part_N[rows] = number
    used_N = part_N >= 0
    groups = pd.Series(part_N[used_N]).groupby(data.sample_group_N[used_N])
    return bool((groups.nunique() > 1).any())


def _of_siblings(scores: dict[str, dict[str, Any]]) -> list[str]:
    """Return a note on samples whose group is trained on."""
    if "siblings" not in scores:
        return []
    row = scores["siblings"]
    return [
        f"On {row['samples']:,} sample{'s' * (row['samples'] > 1)} not trained on but related to one that "
        f"was (siblings), macro-F1 over the classes that occur is {row['macro_f1_present']:.3f}: what a "
        f"random split would report."
    ]


def _of_duplicates(report: RunReport) -> list[str]:
    """Return a note on test images that duplicate training images."""
    path = report.run.duplicates
    counted = duplicate_pairs.describe(duplicate_pairs.read(path)) if path.exists() else ""
    if not counted:
        return []
    return [
        f"{counted[0].upper()}{counted[1:]}. They stay among the labelled samples, so that a score on the "
        f"test set is higher than on new images."
    ]
