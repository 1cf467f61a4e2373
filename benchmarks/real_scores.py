"""Thresholds and ensembles on real scores: those of published models for the competition's test images.

The folder of scores holds one npy file per model, of shape (11,702, 28) in the order of
sample_submission.csv, and answers.csv (Id,Target) with the labels of some of these images. Macro-F1 is over
the classes that occur among them; a sample without a label above its threshold gets its most probable class.

Methods that need no labels are applied as they are. Those that need labels are cross-validated: the labelled
images are split into five folds, the thresholds of each are chosen on the other four, and all five are scored
together; the score is the mean over 10 random splits. The conservative 95 % confidence interval
(`lib.evaluation.intervals`) is that of the first split. All known labels are of small originals (2048 px),
the easier half of the test set.

Run     python benchmarks/real_scores.py --scores FOLDER --labels FOLDER    (train.csv, sample_submission.csv)
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.evaluation import ensemble, thresholds
from lib.evaluation.intervals import macro_f1_interval
from lib.evaluation.metrics import macro_f1
from lib.evaluation.predictions import LabelledPredictions, PredictionTable
from lib.labels import parse_target, target_matrix
from lib.sections import Threshold

FOLDS, SPLITS = 5, 10
WITHOUT_LABELS = {
    "0.5": Threshold("fixed"),
    "0.2": Threshold("fixed", 0.2),
    "frequency": Threshold("frequency"),
    "expected_f1, not calibrated": Threshold(calibration="none"),
}
WITH_LABELS = {
    "f1": Threshold("f1"),
    "global": Threshold("global"),
    "shrunk": Threshold("shrunk"),
    "expected_f1": Threshold(),
    "expected_f1, pooled": Threshold(calibration="pooled"),
    "expected_f1, estimated": Threshold(frequencies="estimated"),
}
Score = tuple[float, float, float]  # macro-F1, and its 95 % confidence interval


@dataclass(frozen=True)
class LabelledImages:
    """The images with known labels.

    Attributes
    ----------
    rows : list of int
        Their rows in the tables of scores.
    truth_NC : ndarray of shape (N, C), bool
    frequency_C : ndarray of shape (C,)
        Class frequencies of train.csv.
    """

    rows: list[int]
    truth_NC: np.ndarray
    frequency_C: np.ndarray

    @property
    def present_C(self) -> np.ndarray:
        """The classes that occur, which are scored."""
        return self.truth_NC.any(axis=0)

    def with_interval(self, decision_NC: np.ndarray, macro: float | None = None) -> Score:
        """Return a macro-F1, by default that of the decisions, and the interval of the decisions."""
        pair = self._present(decision_NC)
        return macro_f1(*pair) if macro is None else macro, *macro_f1_interval(*pair)

    def _present(self, decision_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.truth_NC[:, self.present_C], decision_NC[:, self.present_C]

    def without_labels(self, probabilities_NC: np.ndarray, settings: Threshold) -> Score:
        """Return the score of thresholds that are chosen without labels, on all images."""
        nothing_NC = np.zeros((0, self.truth_NC.shape[1]), bool)
        tuning = LabelledPredictions(nothing_NC, nothing_NC.astype(np.float32))
        thresholds_C = thresholds.choose(tuning, self.frequency_C, settings)(probabilities_NC)
        return self.with_interval(thresholds.final_decisions(probabilities_NC[self.rows], thresholds_C))

    def cross_validated(self, probabilities_NC: np.ndarray, settings: Threshold) -> Score:
        """Return the mean score of the random splits into folds, with the interval of the first."""
        own_NC, decided = probabilities_NC[self.rows], []
        for split in range(SPLITS):
            fold_N = np.random.default_rng(split).permutation(len(self.rows)) % FOLDS
            decision_NC = np.zeros_like(self.truth_NC)
            for fold in range(FOLDS):
                others_N = fold_N != fold
                tuning = LabelledPredictions(self.truth_NC[others_N], own_NC[others_N])
                thresholds_C = thresholds.choose(tuning, self.frequency_C, settings)(probabilities_NC)
                decision_NC[~others_N] = thresholds.final_decisions(own_NC[~others_N], thresholds_C)
            decided.append(decision_NC)
        mean = np.mean([macro_f1(*self._present(decision_NC)) for decision_NC in decided])
        return self.with_interval(decided[0], mean)


def read_labels(scores: Path, labels: Path, ids: list[str]) -> LabelledImages:
    """Read the known labels of test images, and the class frequencies of the training images."""
    answers = pd.read_csv(scores / "answers.csv", dtype=str)
    targets = pd.read_csv(labels / "train.csv", dtype=str)["Target"]
    row_of = {sample: row for row, sample in enumerate(ids)}
    return LabelledImages(
        rows=[row_of[sample] for sample in answers["Id"]],
        truth_NC=target_matrix([parse_target(text) for text in answers["Target"]]),
        frequency_C=target_matrix([parse_target(text) for text in targets]).mean(axis=0),
    )


def read_scores(folder: Path, ids: list[str]) -> dict[str, np.ndarray]:
    """Read the probabilities_NC of every model, and compute two ensembles of them all."""
    tables = {
        path.stem: PredictionTable(ids, np.load(path).astype(np.float32))
        for path in sorted(folder.glob("*.npy"))
    }
    models, equal_M = list(tables.values()), np.full(len(tables), 1 / len(tables))
    for name, ranks in (("mean", False), ("rank mean", True)):
        tables[name] = ensemble.combine(models, ids, name, equal_M, ranks)
    return {name: table.probabilities_NC for name, table in tables.items()}


def table_cell(score: Score) -> str:
    """Return a score and its interval as text."""
    return "{:.3f} ({:.2f} to {:.2f})".format(*score)


def main() -> None:
    """Print a table: a row per method, a column per model or ensemble."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    options = parser.parse_args()
    ids = pd.read_csv(options.labels / "sample_submission.csv")["Id"].tolist()
    images, tables = read_labels(options.scores, options.labels, ids), read_scores(options.scores, ids)
    classes = images.present_C.sum()
    print(f"{len(images.rows)} images with known labels, {classes} classes; {len(ids):,} images in all\n")
    print(f"| method | {' | '.join(tables)} |\n|{'---|' * (1 + len(tables))}")
    for name, settings in WITHOUT_LABELS.items():
        cells = [table_cell(images.without_labels(scores_NC, settings)) for scores_NC in tables.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    for name, settings in WITH_LABELS.items():
        cells = [table_cell(images.cross_validated(scores_NC, settings)) for scores_NC in tables.values()]
        print(f"| {name}, cross-validated | {' | '.join(cells)} |", flush=True)
    started = time.perf_counter()
    images.without_labels(tables["mean"], Threshold(calibration="none"))
    print(f"\nexpected_f1 of {len(ids):,} x 28: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
