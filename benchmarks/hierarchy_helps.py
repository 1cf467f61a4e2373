"""Does it help to ask for groups first? The preset hierarchy, several seeds, judged on its holdout.

Each seed deals the labelled samples anew and starts from other weights. Thresholds are tuned on
validation, as stage 04 does. Average precision needs no threshold: it says how well a class's samples
are ranked, averaged here over the classes that at least five samples carry. A second table asks why: on the
samples of each group, told that they are of it, and with the true groups in place of stage 1's.

Run     python benchmarks/hierarchy_helps.py --work FOLDER        (about 75 minutes on two CPU cores)
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from simulated_runs import run_stages
from sklearn.metrics import average_precision_score

from lib import presets
from lib.data import sample_index
from lib.evaluation import predictions, thresholds
from lib.evaluation.metrics import f1_per_class, macro_f1
from lib.evaluation.predictor_scores import Judged, decide_all
from lib.hierarchy import routing
from lib.hierarchy.evaluation import Parts

ENOUGH = 5  # samples that a class needs for an average precision
PRESET = presets.PRESETS["hierarchy"]


class Seed:
    """One seed's run, with what its predictors and networks say of the holdout."""

    def __init__(self, work: Path, seed: int) -> None:
        self.folder = work / "outputs" / f"hierarchy_{seed}"
        given = ["--preset", "hierarchy", "--work", str(work), "--run", self.folder.name]
        given += ["--set", f"split.seed={seed}", f"training.seed={seed}"]
        run_stages(("00_prepare", "02_train_cnn", "03_train_hier", "04_threshold"), given)
        self.index = sample_index.read_index(work / "data" / "cache" / "hierarchy" / "index.csv")
        self.subsets = sample_index.read_subsets(self.folder / "split.csv", self.index)
        self.parts = Parts.of(self.folder, PRESET, self.index)
        self.groups = self.parts.groups

    def said(self, predictor: str, subset: str = "holdout") -> Judged:
        """Return truth_NC and probabilities_NC."""
        table = predictions.load(self.folder / "predictions" / predictor / f"{subset}.npz")
        return Judged(
            self.index.truth_NC[self.subsets[subset]], table.rows_of(self.parts.ids(subset), subset)
        )

    def scores(self, predictor: str) -> dict[str, float]:
        """Return macro-F1 at 0.5 and as submitted, and mean average precision."""
        truth_NC, probabilities_NC, _ = self.said(predictor)
        thresholds_C = thresholds.load(self.folder / "thresholds" / f"{predictor}.json", "holdout")
        decided = decide_all(probabilities_NC, thresholds_C, PRESET.threshold)
        return {
            "macro-F1 at 0.5": macro_f1(truth_NC, decided["fixed"]),
            "macro-F1, own thresholds": macro_f1(truth_NC, decided["submitted"]),
            "average precision": average_precision(truth_NC, probabilities_NC),
        }

    def within(self, group: str) -> dict[str, float]:
        """Return mean F1 at 0.5 and average precision of a group's classes on the group's samples."""
        labels = list(self.groups[group])
        rows = self.parts.truth_NG("holdout")[:, list(self.groups).index(group)]
        truth_NC, baseline_NC, _ = self.said("baseline")
        found = {"samples": rows.sum()}
        for name, said_NC in (
            ("baseline", baseline_NC),
            ("without other", self.parts.said_within("", "holdout")),
            ("with other", self.parts.said_within("_other", "holdout")),
        ):
            truth, said = truth_NC[rows][:, labels], said_NC[rows][:, labels]
            found[f"F1 at 0.5, {name}"] = f1_per_class(truth, said >= 0.5).mean()
            found[f"average precision, {name}"] = average_precision(truth, said)
        return found

    def told_the_groups(self) -> dict[str, float]:
        """Return average precision over all samples, of predictors that are told the true groups."""
        truth_NC, baseline_NC, _ = self.said("baseline")
        truth_NG = self.parts.truth_NG("holdout")
        told = {
            name: routing.hard(truth_NG, said_NC, self.groups)
            for name, said_NC in (
                ("baseline", baseline_NC),
                ("joint", self.said("joint")[1]),
                ("stage 2 without other", self.parts.said_within("", "holdout")),
            )
        }
        return {name: average_precision(truth_NC, said_NC) for name, said_NC in told.items()}


def average_precision(truth_NC: np.ndarray, probabilities_NC: np.ndarray) -> float:
    """Return the mean over classes that enough samples carry."""
    enough = truth_NC.sum(axis=0) >= ENOUGH
    return average_precision_score(truth_NC[:, enough], probabilities_NC[:, enough], average="macro")


def main() -> None:
    """Train what is not trained yet, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for data and outputs")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    seeds = [Seed(options.work, seed) for seed in range(options.seeds)]
    names = predictions.predictors(seeds[0].folder / "predictions")
    table = pd.DataFrame(
        {(name, seed): run.scores(name) for name in names for seed, run in enumerate(seeds)}
    ).T
    means = table.groupby(level=0).mean().sort_values("macro-F1, own thresholds", ascending=False)
    print(f"\n{options.seeds} seeds, mean ± standard deviation; gain: over baseline of the same seed")
    print("| predictor | " + " | ".join(f"{column} | gain" for column in table) + " |")
    print("|---" * (1 + 2 * table.shape[1]) + "|")
    for name in means.index:
        cells = [f"`{name}`"]
        for column in table:
            own, gain = table.loc[name, column], table.loc[name, column] - table.loc["baseline", column]
            cells.append(f"{own.mean():.3f} ± {own.std():.3f}")
            spread = f"{gain.mean():+.3f} ({gain.min():+.3f} to {gain.max():+.3f})"
            cells.append("" if name == "baseline" else spread)
        print(f"| {' | '.join(cells)} |")

    print("\non the samples of a group alone; means over seeds")
    rows = {group: pd.DataFrame([run.within(group) for run in seeds]).mean() for group in seeds[0].groups}
    print(pd.DataFrame(rows).round(3).to_string())
    told = pd.DataFrame([run.told_the_groups() for run in seeds])
    print("\naverage precision, told the true groups; means over seeds")
    print(told.mean().round(3).to_string())


if __name__ == "__main__":
    main()
