"""Which way to choose thresholds generalises best as positives grow rarer? Simulated labels, known truth.

Each draw is a classifier of the 28 classes with label sets as frequent as in the competition: scores of
samples with a class and without are normal, apart by a random distance; its probabilities are off by a random
slope and offset of their logits. Thresholds are chosen on a validation set, with each of the rules of stage
04, and judged by the F1 of each class on 4,000 other samples, in which classes may be rarer or more frequent
(by a random factor). Classes are sorted by how many validation samples carry them.

Run     python benchmarks/threshold_rules.py --figure FILE.png         (about 10 minutes on one CPU core)
"""

import argparse
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.config import Threshold
from lib.console import Progress
from lib.evaluation import thresholds
from lib.evaluation.metrics import f1_per_class
from lib.labels import target_matrix
from lib.simulation.antibodies import label_sets

RULES = {
    "0.5": Threshold("fixed"),
    "f1": Threshold("f1"),
    "global": Threshold("global"),
    "shrunk": Threshold("shrunk"),
    "cross_validated": Threshold("cross_validated"),
    "frequency": Threshold("frequency"),
    "frequency, estimated": Threshold("frequency", frequencies="estimated"),
    "expected_f1, not calibrated": Threshold(calibration="none"),
    "expected_f1": Threshold(),
    "expected_f1, pooled": Threshold(calibration="pooled"),
    "expected_f1, estimated": Threshold(frequencies="estimated"),
}
BINS = (1, 3, 10, 30, 100, 10_000)  # validation samples of a class: more than one number, to the next
SETTINGS = {  # validation samples, and spread of the logarithm of what frequencies are multiplied by
    "600 samples, same frequencies": (600, 0.0),
    "6,000 samples, same frequencies": (6000, 0.0),
    "600 samples, other frequencies": (600, 0.5),
    "6,000 samples, other frequencies": (6000, 0.5),
}
TEST = 4000
DRAWN = {"0.5": "s", "f1": "o", "shrunk": "v", "frequency": "x", "expected_f1": "D"}

SETS, SHARES = label_sets()
SETS_NC = target_matrix(list(SETS))
FREQUENCY_C = SHARES @ SETS_NC


class Classifier:
    """A simulated classifier; all of it random."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.distance_C = random.uniform(1.5, 4, 28)
        self.slope_C = np.exp(random.normal(0, 0.3, 28))
        self.offset_C = random.normal(0, 0.7, 28)

    def draw(self, samples: int, shift_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return truth_NC and probabilities_NC of samples, label sets multiplied by the classes' shifts."""
        weight = SHARES * np.exp(SETS_NC @ shift_C)
        truth_NC = SETS_NC[self.random.choice(len(SHARES), samples, p=weight / weight.sum())]
        score_NC = self.random.standard_normal(truth_NC.shape) + self.distance_C * truth_NC
        right_NC = self.distance_C * (score_NC - self.distance_C / 2) + np.log(
            FREQUENCY_C / (1 - FREQUENCY_C)
        )
        logit_NC = self.slope_C * right_NC + self.offset_C
        return truth_NC, expit(logit_NC).astype(np.float32)


def draw(random: np.random.Generator, samples: int, spread: float) -> pd.DataFrame:
    """Return the F1 on other samples: a row a class (positives: in validation), a column a rule."""
    classifier = Classifier(random)
    truth_NC, probabilities_NC = classifier.draw(samples, np.zeros(28))
    test_NC, said_NC = classifier.draw(TEST, random.normal(0, spread, 28))
    known = thresholds.Known(truth_NC, probabilities_NC, truth_NC.mean(axis=0))
    scores = {
        name: f1_per_class(test_NC, thresholds.decide(said_NC, thresholds.choose(known, rule)(said_NC)))
        for name, rule in RULES.items()
    }
    table = pd.DataFrame(scores).assign(positives=truth_NC.sum(axis=0))
    return table[test_NC.any(axis=0)]


def main() -> None:
    """Draw, print a table a setting, and draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=150, help="of each of the four settings")
    parser.add_argument("--figure", type=Path, help="PNG file to write")
    options = parser.parse_args()
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.8), sharey=True, layout="constrained")
    for axis, (name, (samples, spread)) in zip(axes, SETTINGS.items(), strict=True):
        random, parts = np.random.default_rng(samples), []
        with Progress(options.draws, name, "draws") as progress:
            for number in range(options.draws):
                parts.append(draw(random, samples, spread).assign(draw=number))
                progress.update()
        table = pd.concat(parts)
        bins = pd.cut(table["positives"], BINS, include_lowest=True)
        by_bin = table.groupby(bins, observed=True)[list(RULES)].mean().T
        macro = table.groupby("draw")[list(RULES)].mean()
        names = [f"{int(b.left) + 1} to {int(b.right)}" for b in by_bin.columns]
        names[-1] = f"over {BINS[-2]}"
        by_bin.columns = names
        by_bin["macro-F1"] = macro.mean()
        by_bin["± of the mean"] = macro.std() / np.sqrt(options.draws)
        print(f"\n{name}; F1 on {TEST:,} others by validation samples of a class; {options.draws} draws")
        print(by_bin.round(4).to_string())
        for rule, mark in DRAWN.items():
            axis.plot(names, by_bin.loc[rule, names] - by_bin.loc["f1", names], marker=mark, label=rule)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("validation samples of a class")
        axis.tick_params(axis="x", labelsize=7)
    axes[0].set_ylabel("F1, less that of the optimum on validation (f1)")
    axes[0].set_ylim(-0.1, 0.1)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    if options.figure:
        figure.savefig(options.figure, dpi=110)


if __name__ == "__main__":
    main()
