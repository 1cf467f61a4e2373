"""Does predicting location groups first help? The preset hierarchy with several seeds, on its holdout.

Every seed has its own split and initial weights. Thresholds are tuned on validation, as in stage 04. Average
precision needs no threshold: it measures how well the samples of a class are ranked. Its mean is over the
classes with at least five samples. Two more tables show why: the first is of the samples of each group alone,
with the predictions of stage 2 given the group; the second replaces stage 1 by the true groups.

Run     python benchmarks/hierarchy_helps.py --work FOLDER        (about 75 minutes on two CPU cores)
"""

import pandas as pd
import simulated_runs
from simulated_runs import average_precision

from lib.evaluation import predictions
from lib.evaluation.metrics import f1_per_class, macro_f1
from lib.evaluation.predictor_scores import decide_all
from lib.hierarchy import routing
from lib.report.run_report import RunReport

STAGES = ("00_prepare", "02_train_cnn", "03_train_hier", "04_threshold")
SUBSET = "holdout"
BASELINE = "baseline"


def scores(report: RunReport, name: str) -> dict[str, float]:
    """Return a predictor's macro-F1 at 0.5 and as submitted, and its mean average precision."""
    predictor = report.predictor(name)
    truth_NC, raw_NC = report.data.truth_NC(SUBSET), predictor.raw_NC(SUBSET)
    decided = decide_all(raw_NC, predictor.thresholds(SUBSET), predictor.settings)
    return {
        "macro-F1 at 0.5": macro_f1(truth_NC, decided["fixed"]),
        "macro-F1, tuned thresholds": macro_f1(truth_NC, decided["submitted"]),
        "average precision": average_precision(truth_NC, raw_NC),
    }


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


def main() -> None:
    """Train what is not trained yet, then print the tables."""
    reports = simulated_runs.run_seeds(STAGES, "hierarchy", simulated_runs.parse_seeds(__doc__))
    names = predictions.list_predictors(reports[0].folder / "predictions")
    table = pd.DataFrame(
        {(name, seed): scores(report, name) for name in names for seed, report in enumerate(reports)}
    ).T
    means = table.groupby(level=0).mean().sort_values("macro-F1, tuned thresholds", ascending=False)
    simulated_runs.print_gains(table.loc[list(means.index)], "predictor", BASELINE)

    print("\non the samples of a group alone; means over seeds")
    within = {
        group: pd.DataFrame([scores_within(report, group) for report in reports]).mean()
        for group in reports[0].groups
    }
    print(pd.DataFrame(within).round(3).to_string())
    print("\naverage precision, given the true groups; means over seeds")
    print(pd.DataFrame(map(scores_given_groups, reports)).mean().round(3).to_string())


if __name__ == "__main__":
    main()
