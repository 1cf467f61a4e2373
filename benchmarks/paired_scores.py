"""What the studies on simulated cells share: their samples, and gains on the test set with paired intervals.

Imported by the others; python benchmarks/paired_scores.py does nothing.

All studies read the same 3,000 labelled and 4,000 test samples of 128 px, simulated once per seed and split
by group. 95 % intervals: Bayesian bootstrap of the antibodies of the test samples, with the same weights for
all predictors of a seed, so that what all find difficult cancels out; averaged over the seeds. They tell how
sure a gain is for these networks; how much it varies between trainings, the range over the seeds tells.
"""

import argparse

import numpy as np
import pandas as pd
import simulated_runs

from lib.report.run_report import RunReport

DRAWS = 1000
# a network from random weights, of the size that the first studies had, and one from ImageNet weights
REGIMES = {
    "from random weights": [
        "network.architecture=resnet18", "network.pretrained=false", "training.size=96",
        "training.array_size=128", "training.epochs=12", "training.schedule=cyclical",
        "training.cycle_epochs=12", "training.learning_rate=1e-3", "training.batch_size=32",
    ],
    "from ImageNet weights": [
        "network.architecture=tf_efficientnet_lite0", "network.pretrained=true", "training.epochs=5",
        "training.schedule=one_cycle", "training.learning_rate=8e-3", "training.batch_size=16",
    ],
}  # fmt: skip


def seed_settings(seed: int, cells: str = "study") -> list[str]:
    """Return the settings of a seed: of the simulated samples, named `cells`, their split and training."""
    return [
        f"simulation.name={cells}_{seed}",
        *(f"{section}.seed={seed}" for section in ("simulation", "split", "training")),
    ]


def run_regime(
    regime: str, scripts: tuple[str, ...], preset: str, options: argparse.Namespace
) -> list[RunReport]:
    """Run some of the scripts with a regime and each seed; what is complete is skipped."""
    return [
        simulated_runs.run_stages(
            scripts,
            preset,
            f"{preset}_{regime.split()[1].lower()}_{seed}",
            [*REGIMES[regime], *seed_settings(seed), *options.set],
            options.work,
        )
        for seed in range(options.seeds)
    ]


def antibody_weights(antibodies: int, seed: int) -> np.ndarray:
    """Return random weights of the antibodies, shape (1 + B, A): row 0 is all ones, for the score itself."""
    random_BA = np.random.default_rng(seed).exponential(size=(DRAWS, antibodies))
    return np.concatenate([np.ones((1, antibodies)), random_BA])


def macro_f1_replicates(
    truth_NC: np.ndarray, decision_NC: np.ndarray, antibody_N: np.ndarray, weight_BA: np.ndarray,
    weight_N: np.ndarray | float = 1.0,
) -> np.ndarray:  # fmt: skip
    """Return the macro-F1 with each row of weights of the antibodies, shape (B,)."""
    counts = []
    for values_NC in (truth_NC & decision_NC, truth_NC.astype(int) + decision_NC):
        sum_AC = np.zeros((weight_BA.shape[1], truth_NC.shape[1]))
        np.add.at(sum_AC, antibody_N, values_NC * np.reshape(weight_N, (-1, 1)))
        counts.append(weight_BA @ sum_AC)
    hits_BC, total_BC = counts
    return (2 * hits_BC / np.maximum(total_BC, 1e-12)).mean(axis=1)


def average_precision_replicates(
    truth_NC: np.ndarray, probabilities_NC: np.ndarray, antibody_N: np.ndarray, weight_BA: np.ndarray
) -> np.ndarray:
    """Return the mean average precision with each row of weights of the antibodies, shape (B,).

    Equal probabilities are one threshold, as in scikit-learn. The mean is over the classes with at least
    `simulated_runs.MIN_POSITIVES` samples.
    """
    classes = np.flatnonzero(truth_NC.sum(axis=0) >= simulated_runs.MIN_POSITIVES)
    sums_B = np.zeros(len(weight_BA))
    for label in classes:
        order_N = np.argsort(-probabilities_NC[:, label], kind="stable")
        sorted_N = -probabilities_NC[order_N, label]
        last_N = np.searchsorted(sorted_N, sorted_N, side="right") - 1  # of the samples with this probability
        positive_P = np.flatnonzero(truth_NC[order_N, label])
        weight_BN = weight_BA[:, antibody_N[order_N]]
        weight_BP = weight_BN[:, positive_P]
        hits_BP = np.cumsum(weight_BP, axis=1)[
            :, np.searchsorted(positive_P, last_N[positive_P], side="right") - 1
        ]
        all_BP = np.cumsum(weight_BN, axis=1)[:, last_N[positive_P]]
        sums_B += (weight_BP * hits_BP / all_BP).sum(axis=1) / weight_BP.sum(axis=1)
    return sums_B / len(classes)


def test_replicates(report: RunReport, name: str, seed: int) -> pd.DataFrame:
    """Return the scores of a predictor on the test samples: their values in row 0, then replicates."""
    predictor = report.predictor(name)
    solution = pd.read_csv(report.run.solution, dtype={"Id": str}).set_index("Id")
    antibody_N = solution["Antibody"][predictor.data.ids("test")].to_numpy()
    truth_NC = simulated_runs.test_truth(predictor, report.run.solution)
    weight_BA = antibody_weights(antibody_N.max() + 1, seed)
    return pd.DataFrame(
        {
            "macro-F1": macro_f1_replicates(truth_NC, predictor.decisions("test"), antibody_N, weight_BA),
            "average precision": average_precision_replicates(
                truth_NC, predictor.raw_NC("test"), antibody_N, weight_BA
            ),
        }
    )


def interval(replicates: pd.Series) -> tuple[float, float]:
    """Return the 95 % interval of a score in row 0 from its replicates, shifted to be centered on it."""
    low, high = replicates[1:].quantile([0.025, 0.975]) - replicates[1:].mean()
    return replicates[0] + low, replicates[0] + high


def print_paired_gains(
    reports: list[RunReport], names: list[str], what: str, reference: dict[str, str]
) -> None:
    """Print a Markdown table of scores on the test samples, and their gains over a reference.

    Parameters
    ----------
    reports : list of RunReport
        One per seed.
    names : list of str
        Predictors, in the order of the rows.
    what : str
        Title of the column of names.
    reference : dict of str
        The predictor that a predictor's gain is computed against, where there is one.
    """
    print_gains({name: replicates(reports, name) for name in names}, what, reference)


def replicates(reports: list[RunReport], name: str) -> list[pd.DataFrame]:
    """Return the scores of a predictor on the test samples for each seed (`test_replicates`)."""
    return [test_replicates(report, name, seed) for seed, report in enumerate(reports)]


def print_gains(tables: dict[str, list[pd.DataFrame]], what: str, reference: dict[str, str]) -> None:
    """Print the table of `print_paired_gains` from the replicates of each row, which may be of any run."""
    names, columns = list(tables), list(next(iter(tables.values()))[0])
    seeds = len(tables[names[0]])
    print(f"\n{seeds} seeds: mean ± standard deviation; gain (95 % interval; lowest to highest seed)")
    print(f"| {what} | gain over | " + " | ".join(f"{column} | gain" for column in columns) + " |")
    print("|---" * (2 + 2 * len(columns)) + "|")
    for name in names:
        other = reference.get(name)
        cells = [f"`{name}`", f"`{other}`" if other else ""]
        for column in columns:
            values = [table[column][0] for table in tables[name]]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=len(values) > 1):.3f}")
            if other is None:
                cells.append("")
                continue
            gains = [
                own[column] - before[column] for own, before in zip(tables[name], tables[other], strict=True)
            ]
            low, high = interval(sum(gains) / len(gains))
            each = sorted(gain[0] for gain in gains)
            cells.append(
                f"{np.mean(each):+.3f} ({low:+.3f} to {high:+.3f}; {each[0]:+.3f} to {each[-1]:+.3f})"
            )
        print(f"| {' | '.join(cells)} |")
