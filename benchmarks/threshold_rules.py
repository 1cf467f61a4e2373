"""Which method of choosing thresholds generalises best as positives grow rarer? On simulated classifiers.

Each draw is a classifier of the 28 classes, with label sets as frequent as in the competition. The scores of
samples with and without a class are normally distributed, with means that differ by a random distance; the
logits of its probabilities are off by a random slope and offset. Thresholds are chosen on validation samples
with each method of stage 04, and evaluated by the F1 of each class on 4,000 other samples, in which classes
may be rarer or more frequent by a random factor. Classes are binned by their number of validation samples.

Run     python benchmarks/threshold_rules.py --figure FILE.png         (about 10 minutes on one CPU core)
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.console import Progress
from lib.evaluation import thresholds
from lib.evaluation.metrics import f1_per_class
from lib.evaluation.predictions import LabelledPredictions
from lib.figures.data_and_training import Axes, Figure  # matplotlib's, after its backend is chosen
from lib.labels import target_matrix
from lib.sections import Threshold
from lib.simulation.antibodies import label_sets

METHODS = {
    "0.5": Threshold("fixed"),
    "f1": Threshold("f1"),
    "global": Threshold("global"),
    "shrunk": Threshold("shrunk"),
    "frequency": Threshold("frequency"),
    "frequency, estimated": Threshold("frequency", frequencies="estimated"),
    "expected_f1, not calibrated": Threshold(calibration="none"),
    "expected_f1": Threshold(),
    "expected_f1, pooled": Threshold(calibration="pooled"),
    "expected_f1, estimated": Threshold(frequencies="estimated"),
}
BINS = (1, 3, 10, 30, 100, 10_000)  # edges of the bins, in validation samples of a class
SETTINGS = {  # validation samples, and std of the logarithm of the random factor of frequencies
    "600 samples, same frequencies": (600, 0.0),
    "6,000 samples, same frequencies": (6000, 0.0),
    "600 samples, other frequencies": (600, 0.5),
    "6,000 samples, other frequencies": (6000, 0.5),
}
TEST = 4000
MACRO, ERROR = "macro-F1", "± of the mean"  # columns of the table
MARKERS = {  # of the methods that the figure shows
    "0.5": "s",
    "f1": "o",
    "shrunk": "v",
    "frequency": "x",
    "expected_f1": "D",
}

SETS, SHARES = label_sets()
SETS_NC = target_matrix(list(SETS))
FREQUENCY_C = SHARES @ SETS_NC


class Classifier:
    """A simulated classifier with random properties."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.distance_C = random.uniform(1.5, 4, 28)
        self.slope_C = np.exp(random.normal(0, 0.3, 28))
        self.offset_C = random.normal(0, 0.7, 28)

    def draw(self, samples: int, shift_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return truth_NC and probabilities_NC; the shifts are the logarithms of the classes' factors."""
        weight = SHARES * np.exp(SETS_NC @ shift_C)
        truth_NC = SETS_NC[self.random.choice(len(SHARES), samples, p=weight / weight.sum())]
        score_NC = self.random.standard_normal(truth_NC.shape) + self.distance_C * truth_NC
        prior_C = np.log(FREQUENCY_C / (1 - FREQUENCY_C))
        calibrated_NC = self.distance_C * (score_NC - self.distance_C / 2) + prior_C
        logit_NC = self.slope_C * calibrated_NC + self.offset_C
        return truth_NC, expit(logit_NC).astype(np.float32)


def draw(random: np.random.Generator, samples: int, spread: float) -> pd.DataFrame:
    """Return the F1 on other samples: a row per class (positives: in validation), a column per method."""
    classifier = Classifier(random)
    truth_NC, probabilities_NC = classifier.draw(samples, np.zeros(28))
    test_NC, predicted_NC = classifier.draw(TEST, random.normal(0, spread, 28))
    tuning, frequency_C = LabelledPredictions(truth_NC, probabilities_NC), truth_NC.mean(axis=0)
    scores = {
        name: f1_per_class(
            test_NC,
            thresholds.decide(predicted_NC, thresholds.choose(tuning, frequency_C, method)(predicted_NC)),
        )
        for name, method in METHODS.items()
    }
    table = pd.DataFrame(scores).assign(positives=truth_NC.sum(axis=0))
    return table[test_NC.any(axis=0)]


def scores_by_bin(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean F1: a row per method, a column per bin of classes, then macro-F1 and its error."""
    bins = pd.cut(table["positives"], BINS, include_lowest=True)
    result = table.groupby(bins, observed=True)[list(METHODS)].mean().T
    names = [f"{int(one.left) + 1} to {int(one.right)}" for one in result.columns]
    names[-1] = f"over {BINS[-2]}"
    result.columns = names
    macro = table.groupby("draw")[list(METHODS)].mean()
    return result.assign(**{MACRO: macro.mean(), ERROR: macro.std() / np.sqrt(len(macro))})


def plot(axis: Axes, scores: pd.DataFrame, title: str) -> None:
    """Draw the F1 of methods by bin, relative to that of f1."""
    by_bin = scores.drop(columns=[MACRO, ERROR])
    for method, marker in MARKERS.items():
        axis.plot(by_bin.columns, by_bin.loc[method] - by_bin.loc["f1"], marker=marker, label=method)
    axis.set_title(title, fontsize=9)
    axis.set_xlabel("validation samples of a class")
    axis.tick_params(axis="x", labelsize=7)


def main() -> None:
    """Print a table per setting, and draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=150, help="of each of the four settings")
    parser.add_argument("--figure", type=Path, help="PNG file to write")
    options = parser.parse_args()
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    axes = figure.subplots(1, 4, sharey=True)
    for axis, (name, (samples, spread)) in zip(axes, SETTINGS.items(), strict=True):
        random, tables = np.random.default_rng(samples), []
        with Progress(options.draws, name, "draws") as progress:
            for number in range(options.draws):
                tables.append(draw(random, samples, spread).assign(draw=number))
                progress.update()
        scores = scores_by_bin(pd.concat(tables))
        print(f"\n{name}; F1 on {TEST:,} others by validation samples of a class; {options.draws} draws")
        print(scores.round(4).to_string())
        plot(axis, scores, name)
    axes[0].set_ylabel("F1, less that of the optimum on validation (f1)")
    axes[0].set_ylim(-0.1, 0.1)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    if options.figure:
        figure.savefig(options.figure, dpi=110)


if __name__ == "__main__":
    main()
