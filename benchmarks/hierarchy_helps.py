"""Does predicting location groups first help? The preset hierarchy, from random and from ImageNet weights.

Gains on the simulated test samples over the network of all classes. Thresholds are those of stage 04. Two
more tables show why, on validation and without tuned thresholds: the first is of the samples of each group
alone, with the predictions of stage 2 given the group; the second replaces stage 1 by the true groups.

Run     python benchmarks/hierarchy_helps.py --work FOLDER      (about 2.5 hours on two CPU cores, 3 seeds)

What is complete is skipped, so an interrupted benchmark resumes; --seeds 1 runs the first seed alone.
"""

import paired_scores
import pandas as pd
import simulated_runs
from simulated_runs import average_precision

from lib.evaluation import predictions
from lib.evaluation.metrics import f1_per_class
from lib.hierarchy import routing
from lib.report.run_report import RunReport

STAGES = ("00_prepare", "02_train_cnn", "03_train_hier", "04_threshold")
SUBSET = "validation"
BASELINE = "baseline"


def scores_within(report: RunReport, group: str) -> dict[str, float]:
    """Return mean F1 at 0.5 and mean average precision of a group's classes, on the group's samples."""
    labels = list(report.groups[group])
    in_group_N = report.hierarchy.truth_NG(SUBSET)[:, list(report.groups).index(group)]
    truth_NL = report.data.truth_NC(SUBSET)[in_group_N][:, labels]
    compared = {
        BASELINE: report.predictor(BASELINE).raw_NC(SUBSET),
        "without other": report.hierarchy.within_NC(report.hierarchy.stage_2(False), SUBSET),
        "with other": report.hierarchy.within_NC(report.hierarchy.stage_2(True), SUBSET),
    }
    result = {"samples": in_group_N.sum()}
    for name, probabilities_NC in compared.items():
        probabilities_NL = probabilities_NC[in_group_N][:, labels]
        result[f"F1 at 0.5, {name}"] = f1_per_class(truth_NL, probabilities_NL >= 0.5).mean()
        result[f"average precision, {name}"] = average_precision(truth_NL, probabilities_NL)
    return result


def scores_given_groups(report: RunReport) -> dict[str, float]:
    """Return the mean average precision over all samples of predictors that are given the true groups."""
    truth_NC, truth_NG = report.data.truth_NC(SUBSET), report.hierarchy.truth_NG(SUBSET)
    compared = {
        BASELINE: report.predictor(BASELINE).raw_NC(SUBSET),
        "joint": report.predictor("joint").raw_NC(SUBSET),
        "stage 2 without other": report.hierarchy.within_NC(report.hierarchy.stage_2(False), SUBSET),
    }
    return {
        name: average_precision(truth_NC, routing.hard(truth_NG, probabilities_NC, report.groups, truth_NG))
        for name, probabilities_NC in compared.items()
    }


def print_reasons(reports: list[RunReport]) -> None:
    """Print how stage 2 compares within the groups, and everything given the true groups."""
    print("\non the samples of a group alone; means over seeds")
    within = {
        group: pd.DataFrame([scores_within(report, group) for report in reports]).mean()
        for group in reports[0].groups
    }
    print(pd.DataFrame(within).round(3).to_string())
    print("\naverage precision, given the true groups; means over seeds")
    print(pd.DataFrame(map(scores_given_groups, reports)).mean().round(3).to_string())


def main() -> None:
    """Train what is not trained yet, then print the tables of each regime."""
    options = simulated_runs.parse_seeds(__doc__)
    for regime in paired_scores.REGIMES:
        reports = paired_scores.run_regime(regime, STAGES, "hierarchy", options)
        names = predictions.list_predictors(reports[0].folder / "predictions")
        names.sort(key=lambda name: name != BASELINE)
        print(f"\n{regime}")
        paired_scores.print_paired_gains(reports, names, "predictor", dict.fromkeys(names[1:], BASELINE))
        print_reasons(reports)


if __name__ == "__main__":
    main()
