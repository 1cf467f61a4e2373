"""Thresholds and ensembles on real scores: what published models gave the competition's test images.

FOLDER holds one npy file a model, (11,702, 28) in the order of sample_submission.csv, and answers.csv
(Id,Target) with the labels of some of these images. Macro-F1 is over the classes that the answers have;
a sample for which nothing passes gets its most probable class.

Rules that need no answers are applied as they are. Those that do are cross-validated: the answers are
dealt to five parts, each is decided with what the other four tell, and the five are scored together; mean
over 10 deals. The interval is that of other samples (Bayesian bootstrap, 95 %), of the first deal.

Run     python benchmarks/real_scores.py --scores FOLDER --labels FOLDER    (train.csv, sample_submission.csv)
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.config import Threshold
from lib.evaluation import ensemble, thresholds
from lib.evaluation.metrics import macro_f1, macro_f1_interval
from lib.evaluation.predictions import PredictionTable
from lib.labels import parse_target, target_matrix

PARTS, DEALS = 5, 10
WITHOUT_ANSWERS = {
    "0.5": Threshold("fixed"),
    "0.2": Threshold("fixed", 0.2),
    "frequency": Threshold("frequency"),
    "expected_f1, not calibrated": Threshold(calibration="none"),
}
WITH_ANSWERS = {
    "f1": Threshold("f1"),
    "global": Threshold("global"),
    "shrunk": Threshold("shrunk"),
    "cross_validated": Threshold("cross_validated"),
    "expected_f1": Threshold(),
    "expected_f1, pooled": Threshold(calibration="pooled"),
    "expected_f1, estimated": Threshold(frequencies="estimated"),
}


def main() -> None:
    """Print a table: a row a rule, a column a model or ensemble."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    options = parser.parse_args()
    ids = pd.read_csv(options.labels / "sample_submission.csv")["Id"].tolist()
    answers = pd.read_csv(options.scores / "answers.csv", dtype=str)
    targets = pd.read_csv(options.labels / "train.csv", dtype=str)["Target"]
    frequency_C = target_matrix([parse_target(text) for text in targets]).mean(axis=0)
    truth_NC = target_matrix([parse_target(text) for text in answers["Target"]])
    present = truth_NC.any(axis=0)
    row_of = {sample: row for row, sample in enumerate(ids)}
    rows = [row_of[sample] for sample in answers["Id"]]

    tables = {
        path.stem: PredictionTable(ids, np.load(path).astype(np.float32))
        for path in sorted(options.scores.glob("*.npy"))
    }
    even = np.full(len(tables), 1 / len(tables))
    for name, ranks in (("mean", False), ("rank mean", True)):
        tables[name] = ensemble.combine(list(tables.values())[: len(even)], ids, name, even, ranks)

    def scored(decision_NC: np.ndarray) -> tuple[float, float, float]:
        pair = truth_NC[:, present], decision_NC[:, present]
        return macro_f1(*pair), *macro_f1_interval(*pair)

    def cell(values: list[tuple[float, float, float]]) -> str:
        return f"{np.mean([value[0] for value in values]):.3f} ({values[0][1]:.2f} to {values[0][2]:.2f})"

    print(f"{len(answers)} answers, {present.sum()} classes; {len(ids):,} samples\n")
    print(f"| rule | {' | '.join(tables)} |\n|{'---|' * (1 + len(tables))}")
    nothing = np.zeros((0, 28), bool)
    for name, rule in WITHOUT_ANSWERS.items():
        cells = []
        for table in tables.values():
            known = thresholds.Known(nothing, nothing.astype(np.float32), frequency_C)
            thresholds_C = thresholds.choose(known, rule)(table.probabilities_NC)
            cells.append(cell([scored(thresholds.submitted(table.probabilities_NC[rows], thresholds_C))]))
        print(f"| {name} | {' | '.join(cells)} |")
    for name, rule in WITH_ANSWERS.items():
        cells = []
        for table in tables.values():
            values = []
            for deal in range(DEALS):
                part_N = np.random.default_rng(deal).permutation(len(rows)) % PARTS
                said_NC, decision_NC = table.probabilities_NC[rows], np.zeros_like(truth_NC)
                for part in range(PARTS):
                    kept = part_N != part
                    known = thresholds.Known(truth_NC[kept], said_NC[kept], frequency_C)
                    thresholds_C = thresholds.choose(known, rule)(table.probabilities_NC)
                    decision_NC[~kept] = thresholds.submitted(said_NC[~kept], thresholds_C)
                values.append(scored(decision_NC))
            cells.append(cell(values))
        print(f"| {name}, cross-validated | {' | '.join(cells)} |")
    started = time.perf_counter()
    thresholds.choose(known, Threshold(calibration="none"))(table.probabilities_NC)
    print(f"\nexpected_f1 of {len(ids):,} x 28: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
