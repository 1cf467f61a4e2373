"""How often does a 95 % confidence interval of the macro-F1 contain the population's value? A simulation.

Each draw is a holdout with label sets of the competition's training samples, drawn with replacement, and the
decisions of a simulated classifier with known precision and recall in every class, so that the population's
macro-F1 is known. F1 scores are drawn between 0.45 and 0.8; those of classes rarer than 2 % are the same, or
0.02, or 0.95. Grouped samples have the group sizes and one label set per group, as images of one antibody,
and share half of their random variation with the rest of their group.

Coverage is the fraction of intervals that contain the population's macro-F1; relative width is the mean width
over the width of the central 95 % of the macro-F1 scores themselves. The intervals are those of
``lib/evaluation/intervals.py``, over the classes with at least 5 expected positives (per independent group)
and over all 28, and the plain Bayesian bootstrap over samples.

Run     python benchmarks/interval_coverage.py --labels FOLDER     (train.csv; about 12 minutes on one core)
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.console import Progress
from lib.data import kaggle
from lib.evaluation import intervals
from lib.evaluation.metrics import f1_per_class
from lib.labels import target_matrix

SIZES = (583, 3126, 6086)  # holdouts of an earlier demo, and of 10 % and 20 % of the competition's samples
RARE, RARE_F1 = 0.02, {"same": None, "near 0": 0.02, "near 0.95": 0.95}
GROUP_SIZES = (1, 2, 4, 6, 6, 6, 6, 6, 8, 12)  # images per antibody, mean 5.7
SHARED = 0.5  # of the random variation, within a group


class Population:
    """Label sets, and a classifier with known precision and recall.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
    rare_f1 : float or None
        F1 of classes rarer than `RARE`; None: as the others.
    """

    def __init__(self, truth_NC: np.ndarray, rare_f1: float | None) -> None:
        self.truth_NC, self.frequency_C = truth_NC, truth_NC.mean(axis=0)
        self.f1_C = np.random.default_rng(5).uniform(0.45, 0.8, truth_NC.shape[1])
        if rare_f1 is not None:
            self.f1_C[self.frequency_C < RARE] = rare_f1
        # as many false positives as false negatives, so that precision and recall equal F1
        self.false_positive_rate_C = self.frequency_C * (1 - self.f1_C) / (1 - self.frequency_C)

    def draw(
        self, random: np.random.Generator, samples: int, grouped: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return truth_NC, decision_NC and group_N of a holdout."""
        group_N = np.arange(samples)
        if grouped:
            group_N = np.repeat(np.arange(samples), random.choice(GROUP_SIZES, samples))[:samples]
        truth_NC = self.truth_NC[random.integers(0, len(self.truth_NC), samples)][group_N]
        shared_NC = random.random(truth_NC.shape)[group_N]
        own_NC = random.random(truth_NC.shape)
        variate_NC = np.where(random.random(truth_NC.shape) < SHARED, shared_NC, own_NC)
        return truth_NC, variate_NC < np.where(truth_NC, self.f1_C, self.false_positive_rate_C), group_N


def evaluate(
    population: Population, samples: int, grouped: bool, draws: int, progress: Progress
) -> pd.DataFrame:
    """Return coverage and width of each interval, over random holdouts."""
    random, rows = np.random.default_rng(0), []
    for _ in range(draws):
        truth_NC, decision_NC, group_N = population.draw(random, samples, grouped)
        frequent_C = intervals.enough_positives(population.frequency_C, group_N)
        chosen = {
            "frequent": (frequent_C, group_N, intervals.FREQUENT),
            "all": (np.ones_like(frequent_C), group_N, intervals.CONSERVATIVE),
            "bootstrap": (np.ones_like(frequent_C), None, 0.0),
        }
        f1_C = f1_per_class(truth_NC, decision_NC)
        for name, (classes_C, groups_N, pseudo) in chosen.items():
            pair = truth_NC[:, classes_C], decision_NC[:, classes_C]
            low, high = intervals.macro_f1_interval(*pair, groups_N, pseudo)
            true = population.f1_C[classes_C].mean()
            error = f1_C[classes_C].mean() - true  # the classes differ between draws if the groups do
            rows.append((name, classes_C.sum(), low <= true <= high, high - low, error))
        progress.update(1)
    table = pd.DataFrame(rows, columns=["interval", "classes", "covered", "width", "error"]).groupby(
        "interval"
    )
    spread = table["error"].quantile(0.975) - table["error"].quantile(0.025)
    result = table[["classes", "covered", "width"]].mean()
    return result.assign(relative=result["width"] / spread)


def main() -> None:
    """Print a row per size, classifier and grouping."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=Path, required=True, help="folder with train.csv")
    parser.add_argument("--draws", type=int, default=1000, help="holdouts per row")
    options = parser.parse_args()
    truth_NC = target_matrix(kaggle.read_labels(options.labels)[1])
    populations = {name: Population(truth_NC, rare_f1) for name, rare_f1 in RARE_F1.items()}
    print(f"{options.draws} holdouts per row; coverage (mean width, relative width)\n")
    header = (
        "samples",
        "rare classes",
        "groups",
        "frequent classes",
        "their interval",
        "all 28",
        "bootstrap",
    )
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for grouped in (False, True):
        for samples in SIZES:
            for name, population in populations.items():
                with Progress(options.draws, f"{samples} samples, {name}", "holdouts") as progress:
                    table = evaluate(population, samples, grouped, options.draws, progress)
                intervals_of = [table.loc[key] for key in ("frequent", "all", "bootstrap")]
                cells = [f"{row.covered:.3f} ({row.width:.3f}, {row.relative:.2f})" for row in intervals_of]
                first = f"{samples:,}", name, "yes" if grouped else "no", f"{intervals_of[0].classes:.0f}"
                print(f"| {' | '.join([*first, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
