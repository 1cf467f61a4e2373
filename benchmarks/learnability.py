"""How much can be learnt from simulated cells: more samples and larger images must help.

Trains the same network on subsets of one simulated data set of realistic visibility, and scores each on the
simulated test samples, which are the same for all. Thresholds are tuned on validation, as in stage 04.

Run     python benchmarks/learnability.py --work FOLDER        (about an hour on two CPU cores)
"""

import numpy as np
import simulated_runs

from lib.evaluation import metrics
from lib.evaluation.confusion import frequent_confusions
from lib.files import read_json
from lib.labels import CLASSES

STAGES = ("00_prepare", "02_train_cnn --network baseline", "04_threshold")
SETTINGS = (
    "simulation.name=realistic", "simulation.train_samples=6000", "simulation.test_samples=2000",
    "simulation.size=256", "simulation.visibility=1", "data.sizes=64,128,192", "split.validation=0.1",
    "baseline:network.architecture=resnet18", "baseline:network.pretrained=false",
    "baseline:training.epochs=16", "baseline:training.schedule=cyclical", "baseline:training.cycle_epochs=16",
    "baseline:training.learning_rate=1e-3",
    "threshold.method=f1",
)  # fmt: skip
# (share of the samples in the holdout, which are not trained on; side of the images in pixels)
GRID = ((0.1, 128), (0.5, 128), (0.7, 128), (0.1, 64), (0.1, 192))


def confusions(truth_NC: np.ndarray, decision_NC: np.ndarray) -> list[str]:
    """Return a line per class: its F1, and the classes that are predicted for its samples by mistake.

    Listed are the three pairs of `lib.evaluation.confusion.frequent_confusions` with the highest lift.
    """
    pairs = frequent_confusions(truth_NC, decision_NC, list(range(len(CLASSES)))).groupby("class")
    lines = []
    for name, row in metrics.class_scores(truth_NC, decision_NC).iterrows():
        worst = pairs.get_group(name).nlargest(3, "lift") if name in pairs.groups else pairs.head(0)
        mistakes = [
            f"{other} (x{lift:.1f})" for other, lift in zip(worst["predicted_as"], worst["lift"], strict=True)
        ]
        lines.append(f"{name:<30}{row['support']:>6.0f}{row['f1']:>8.3f}  {', '.join(mistakes)}")
    return lines


def main() -> None:
    """Train every point of the grid that is not there yet, then print the tables."""
    options = simulated_runs.parser(__doc__).parse_args()
    rows = []
    for holdout, size in GRID:
        settings = [*SETTINGS, f"split.holdout={holdout}", f"training.size={size}", *options.set]
        name = f"holdout{holdout:g}_{size}px"
        report = simulated_runs.run_stages(STAGES, "demo", name, settings, options.work)
        predictor, run = report.predictor("baseline"), report.run
        truth_NC = simulated_runs.test_truth(predictor, run.solution)
        decision_NC = predictor.decisions("test")
        training_NC = report.data.training_NC
        guess = metrics.guessing_macro_f1(truth_NC, training_NC.mean(axis=0))
        score = metrics.macro_f1(truth_NC, decision_NC)
        seconds = read_json(run.manifest("02_train_cnn baseline"))["seconds"]
        rows.append(
            f"{len(training_NC):>8,}{size:>8}{seconds / 60:>10.1f}{score:>11.3f}{guess:>10.3f}"
            f"{score / guess:>8.1f}"
        )
        if len(rows) == 1:
            print(f"\n{'class':<30}{'test':>6}{'F1':>8}  predicted by mistake, and how much more often")
            print("\n".join(confusions(truth_NC, decision_NC)))
    print(f"\n{'samples':>8}{'pixels':>8}{'minutes':>10}{'macro-F1':>11}{'guessing':>10}{'ratio':>8}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
