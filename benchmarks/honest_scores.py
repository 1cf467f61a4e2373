"""Which local score predicts that on new antibodies? Splits by group and at random, on three simulations.

Half of the test antibodies have fields in the training set, half have none, and twice as many of the test
images are from the large camera. Per simulation, the demo's samples are split into three folds twice, by
group and at random, with gradient-boosted trees on twenty features and a pretrained network. All scores are
the macro-F1 of single networks: of out-of-fold predictions, whose thresholds were tuned on the other folds,
and of the test predictions of each fold's network (their mean). An antibody is seen if the network was
trained on a field of it, and unseen if train has none. Averages are over the classes with at least five
positives in each of the compared sets.

95 % intervals: Bayesian bootstrap of the antibodies, the same weights for all scores of a simulation; shifted
so that their center is the score.

Run     python benchmarks/honest_scores.py --work FOLDER        (about an hour on two CPU cores, estimated)
        python benchmarks/honest_scores.py --work FOLDER --trees   (20 minutes, without the network)

What is complete is skipped, so an interrupted benchmark resumes.
"""

import argparse
from dataclasses import dataclass

import numpy as np
import paired_scores
import pandas as pd
import simulated_runs

from lib.evaluation import predictions, thresholds
from lib.evaluation.metrics import macro_f1
from lib.evaluation.predictor_scores import EvaluatedPredictor
from lib.report.run_report import RunReport

NETWORKS = {"all_alone": "trees, twenty features", "network_alone": "EfficientNet-Lite0, pretrained"}
SETTINGS = [
    *paired_scores.REGIMES["from ImageNet weights"], "simulation.test_samples=6000",
    "split.folds=3", "split.holdout=0", "split.siblings=0", "ensemble.members=none",
]  # fmt: skip


@dataclass
class ScoredSet:
    """Decisions on some samples.

    Parameters
    ----------
    truth_NC, decision_NC : ndarray of shape (N, C), bool
    antibody_N : ndarray of shape (N,), int
    weight_N : ndarray of shape (N,), float
        With a mean of 1.
    """

    truth_NC: np.ndarray
    decision_NC: np.ndarray
    antibody_N: np.ndarray
    weight_N: np.ndarray

    def replicates(self, weight_BA: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the macro-F1 over some classes with each row of weights of the antibodies, (B,)."""
        return paired_scores.macro_f1_replicates(
            self.truth_NC[:, classes],
            self.decision_NC[:, classes],
            self.antibody_N,
            weight_BA,
            self.weight_N,
        )


class Simulation:
    """The scores of one predictor on one simulation.

    Parameters
    ----------
    reports : dict of RunReport
        Of the runs with a split by group and by sample.
    network : str
    """

    def __init__(self, reports: dict[str, RunReport], network: str) -> None:
        run = reports["group"].run
        solution = pd.read_csv(run.solution, dtype={"Id": str}).set_index("Id")
        self.antibody = solution["Antibody"]
        sides = pd.read_csv(run.source / "original_sides.csv", dtype={"id": str}).set_index("id")
        self.is_large, self.test_large = (
            sides["side"] > 2048,
            (sides["side"] > 2048)[sides["set"] == "test"].mean(),
        )
        in_train = set(self.antibody[solution["Usage"] == "Train"])
        self.sets: dict[str, list[ScoredSet]] = {"seen": [], "unseen": [], "test": [], "test_of_random": []}
        for by, report in reports.items():
            predictor = report.predictor(network)
            self._add_out_of_fold(predictor, by)
            rule = thresholds.choose(
                predictor.labelled("validation"), predictor.frequency_C, predictor.settings
            )
            truth_NC = simulated_runs.test_truth(predictor, report.run.solution)
            for fold in predictor.data.folds:
                path = predictions.table_path(report.run.network(network) / fold.folder, "test", 1)
                ids = predictor.data.ids("test")
                probabilities_NC = predictions.load(path).select(ids, "the test set")
                decision_NC = thresholds.final_decisions(probabilities_NC, rule(probabilities_NC), 0)
                if by == "sample":
                    self._add("test_of_random", ids, truth_NC, decision_NC)
                    continue
                self._add("test", ids, truth_NC, decision_NC)
                trained = set(self.antibody[[predictor.data.index.train_ids[row] for row in fold.train]])
                antibodies = self.antibody[ids]
                for name, chosen in (
                    ("seen", antibodies.isin(trained)),
                    ("unseen", ~antibodies.isin(in_train)),
                ):
                    rows = np.flatnonzero(chosen)
                    self._add(
                        name, [ids[row] for row in rows], truth_NC[rows], decision_NC[rows], weighted=True
                    )

    def _add_out_of_fold(self, predictor: EvaluatedPredictor, by: str) -> None:
        ids, truth_NC = predictor.data.ids("validation"), predictor.data.truth_NC("validation")
        decision_NC = predictor.decisions("validation")
        self.sets[by] = []
        self._add(by, ids, truth_NC, decision_NC)
        self.sets[f"{by}_weighted"] = []
        self._add(f"{by}_weighted", ids, truth_NC, decision_NC, weighted=True)

    def _add(
        self, name: str, ids: list[str], truth_NC: np.ndarray, decision_NC: np.ndarray, weighted: bool = False
    ) -> None:
        """Add the decisions on some samples, weighted to the cameras of the test set if requested."""
        large_N = self.is_large[ids].to_numpy()
        share = large_N.mean()
        weight_N = np.ones(len(ids))
        if weighted:
            weight_N = np.where(large_N, self.test_large / share, (1 - self.test_large) / (1 - share))
        self.sets[name].append(ScoredSet(truth_NC, decision_NC, self.antibody[ids].to_numpy(), weight_N))

    def compared_classes(self) -> np.ndarray:
        """Return the classes with enough positives in each compared set."""
        compared = [one for name in ("seen", "unseen", "group") for one in self.sets[name]]
        positives = np.array([one.truth_NC.sum(axis=0) for one in compared])
        return np.flatnonzero((positives >= simulated_runs.MIN_POSITIVES).all(axis=0))

    def scores(self, classes: np.ndarray, seed: int) -> pd.DataFrame:
        """Return every score: its value in row 0, then its bootstrap replicates."""
        weight_BA = paired_scores.antibody_weights(self.antibody.max() + 1, seed)
        columns = {
            name: np.mean([one.replicates(weight_BA, classes) for one in found], axis=0)
            for name, found in self.sets.items()
        }
        table = pd.DataFrame(columns)
        table["seen - unseen"] = table["seen"] - table["unseen"]
        table["group_weighted - unseen"] = table["group_weighted"] - table["unseen"]
        table["random - test"] = table["sample"] - table["test_of_random"]
        table["group - test"] = table["group"] - table["test"]
        return table


LINES = {
    "seen": "seen test antibodies, test cameras",
    "unseen": "unseen test antibodies, test cameras",
    "seen - unseen": "**seen minus unseen**",
    "group_weighted": "split by group, test cameras",
    "group_weighted - unseen": "**split by group, test cameras minus unseen**",
    "group": "split by group",
    "test": "test",
    "group - test": "split by group minus test",
    "sample": "random split",
    "test_of_random": "test, networks of the random split",
    "random - test": "**random split minus test**",
}


def print_table(simulations: list[Simulation], title: str) -> None:
    """Print the scores of one predictor: the mean of the simulations with its interval, and each."""
    classes = [one.compared_classes() for one in simulations]
    tables = [
        one.scores(chosen, seed) for seed, (one, chosen) in enumerate(zip(simulations, classes, strict=True))
    ]
    mean = sum(tables) / len(tables)
    numbers = ", ".join(str(len(chosen)) for chosen in classes)
    print(f"\n{title}: {len(tables)} simulations, {numbers} classes\n")
    print("| macro-F1 | mean (95 % CI) | each |\n|---|---|---|")
    for name, text in LINES.items():
        low, high = paired_scores.interval(mean[name])
        each = " ".join(f"{table[name][0]:.3f}" for table in tables)
        print(f"| {text} | {mean[name][0]:.3f} ({low:.3f} to {high:.3f}) | {each} |")
    all_classes = [macro_f1(one.truth_NC, one.decision_NC) for s in simulations for one in s.sets["test"]]
    print(f"\ntest macro-F1 over all 28 classes: {np.mean(all_classes):.3f}")


def run_seed(seed: int, networks: list[str], options: argparse.Namespace) -> dict[str, RunReport]:
    """Run the stages on one simulation, with a split by group and by sample."""
    settings = [*SETTINGS, *paired_scores.seed_settings(seed, "honest")]
    return {
        by: simulated_runs.run_stages(
            ("00_prepare", "01_features", f"02_train_cnn --network {' '.join(networks)}", "04_threshold"),
            "fusion",
            f"honest_{seed}_{by}",
            [*settings, f"split.by={by}", *options.set],
            options.work,
        )
        for by in ("group", "sample")
    }


def main() -> None:
    """Run what is not complete yet, then print a table per predictor."""
    parser = simulated_runs.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of simulations")
    parser.add_argument("--trees", action="store_true", help="without the network")
    options = parser.parse_args()
    networks = ["all_alone"] if options.trees else list(NETWORKS)
    reports = [run_seed(seed, networks, options) for seed in range(options.seeds)]
    for network in networks:
        print_table([Simulation(of_seed, network) for of_seed in reports], NETWORKS[network])


if __name__ == "__main__":
    main()
