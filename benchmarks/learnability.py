"""How much can be learnt from simulated cells: more samples and larger images must help.

Trains the same network on parts of one simulated set of realistic visibility, and scores each on the
simulated test samples that all share. Thresholds are tuned on validation, as stage 04 does.

Run     python benchmarks/learnability.py --work FOLDER        (about an hour on two CPU cores)
"""

import argparse
from pathlib import Path

import numpy as np
from simulated_runs import judge, run_stages

from lib.data import sample_index
from lib.evaluation import metrics
from lib.evaluation.confusion import that_matter
from lib.files import read_json
from lib.labels import CLASSES

SET = (
    "simulation.name=realistic", "simulation.train_samples=6000", "simulation.test_samples=2000",
    "simulation.size=256", "simulation.visibility=1", "data.sizes=64,128,192", "split.validation=0.1",
    "network.architecture=resnet18", "training.epochs=16", "training.cycle_epochs=16",
    "threshold.method=f1",
)  # fmt: skip
# (share kept for the holdout instead of training, size in pixels)
GRID = ((0.1, 128), (0.5, 128), (0.7, 128), (0.1, 64), (0.1, 192))


def confusions(truth_NC: np.ndarray, decision_NC: np.ndarray) -> list[str]:
    """Return, for each class, its F1 and what its samples are taken for more often than others are.

    What is taken for what is `lib.evaluation.confusion.that_matter`, here by lift.
    """
    pairs = that_matter(truth_NC, decision_NC, list(range(len(CLASSES)))).groupby("class")
    lines = []
    for name, row in metrics.class_scores(truth_NC, decision_NC).iterrows():
        worst = pairs.get_group(name).nlargest(3, "lift") if name in pairs.groups else pairs.head(0)
        taken = [f"{given} (x{lift:.1f})" for given, lift in zip(worst["given"], worst["lift"], strict=True)]
        lines.append(f"{name:<30}{row['support']:>6.0f}{row['f1']:>8.3f}  {', '.join(taken)}")
    return lines


def main() -> None:
    """Train every point of the grid that is not there yet, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for data and outputs")
    work = parser.parse_args().work
    rows = []
    for holdout, size in GRID:
        run = f"holdout{holdout:g}_{size}px"
        options = ["--preset", "demo", "--work", str(work), "--run", run, "--set", *SET]
        options += [f"split.holdout={holdout}", f"training.size={size}"]
        run_stages(("00_prepare", "02_train_cnn", "04_threshold"), options)
        truth_NC, _, decision_NC = judge(work, "realistic", run, "baseline")
        index = sample_index.read_index(work / "data" / "cache" / "realistic" / "index.csv")
        train_rows = sample_index.read_subsets(work / "outputs" / run / "split.csv", index)["train"]
        guess = metrics.guessing_macro_f1(truth_NC, index.truth_NC[train_rows].mean(axis=0))
        train, score = len(train_rows), metrics.macro_f1(truth_NC, decision_NC)
        seconds = read_json(work / "outputs" / run / "manifests" / "02_train_cnn_baseline.json")["seconds"]
        rows.append(
            f"{train:>8,}{size:>8}{seconds / 60:>10.1f}{score:>11.3f}{guess:>10.3f}{score / guess:>8.1f}"
        )
        if len(rows) == 1:
            print(f"\n{'class':<30}{'test':>6}{'F1':>8}  is taken for, more often than others are")
            print("\n".join(confusions(truth_NC, decision_NC)))
    print(f"\n{'samples':>8}{'pixels':>8}{'minutes':>10}{'macro-F1':>11}{'guessing':>10}{'ratio':>8}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
