"""Do biological features help a network? The preset fusion with several seeds, evaluated on its test samples.

Every seed has its own split and initial weights. Thresholds are tuned on validation, as in stage 04. Average
precision needs no threshold: it measures how well the samples of a class are ranked. Its mean is over the
classes with at least five test samples.

Run     python benchmarks/features_help.py --work FOLDER        (about 45 minutes on two CPU cores)
"""

import pandas as pd
import simulated_runs

from lib import presets
from lib.evaluation.metrics import macro_f1
from lib.report.run_report import RunReport

STAGES = ("00_prepare", "01_features", "02_train_cnn", "04_threshold")


def scores(report: RunReport, network: str) -> dict[str, float]:
    """Return the macro-F1 as submitted and the mean average precision of a network on the test samples."""
    predictor = report.predictor(network)
    truth_NC = simulated_runs.test_truth(predictor, report.run.solution)
    return {
        "macro-F1": macro_f1(truth_NC, predictor.decisions("test")),
        "average precision": simulated_runs.average_precision(truth_NC, predictor.raw_NC("test")),
    }


def main() -> None:
    """Train what is not trained yet, then print the table."""
    options = simulated_runs.parse_seeds(__doc__)
    reports = simulated_runs.run_seeds(STAGES, "fusion", options)
    networks = list(presets.PRESETS["fusion"].networks)
    rows = {(name, seed): scores(report, name) for name in networks for seed, report in enumerate(reports)}
    simulated_runs.print_gains(pd.DataFrame(rows).T, "network", baseline=networks[0])


if __name__ == "__main__":
    main()
