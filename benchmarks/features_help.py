"""Do biological features help a network? The preset fusion, several seeds, judged on its test samples.

Each seed deals the labelled samples anew and starts from other weights. Thresholds are tuned on
validation, as stage 04 does. Average precision needs no threshold: it says how well a class's samples
are ranked, averaged here over the classes that at least five test samples carry.

Run     python benchmarks/features_help.py --work FOLDER        (about 45 minutes on two CPU cores)
"""

import argparse
from pathlib import Path

import pandas as pd
from simulated_runs import judge, run_stages
from sklearn.metrics import average_precision_score

from lib import presets
from lib.evaluation.metrics import macro_f1

ENOUGH = 5  # test samples that a class needs for an average precision


def scores(work: Path, run: str, network: str) -> dict[str, float]:
    """Return macro-F1 as handed in and mean average precision of one network on the test samples."""
    truth_NC, probabilities_NC, decision_NC = judge(work, "fusion", run, network)
    enough = truth_NC.sum(axis=0) >= ENOUGH
    precision = average_precision_score(truth_NC[:, enough], probabilities_NC[:, enough], average="macro")
    return {"macro-F1": macro_f1(truth_NC, decision_NC), "average precision": precision}


def main() -> None:
    """Train what is not trained yet, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for data and outputs")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    networks, rows = presets.PRESETS["fusion"].networks, []
    for seed in range(options.seeds):
        run = f"fusion_{seed}"
        given = ["--preset", "fusion", "--work", str(options.work), "--run", run]
        given += ["--set", f"split.seed={seed}", f"training.seed={seed}"]
        run_stages(("00_prepare", "01_features", "02_train_cnn", "04_threshold"), given)
        for network in networks:
            rows.append({"network": network, "seed": seed, **scores(options.work, run, network)})
    table = pd.DataFrame(rows).set_index(["network", "seed"])
    first = next(iter(networks))
    print(f"\n{options.seeds} seeds, mean ± standard deviation; gain: over {first} of the same seed")
    print("| network | macro-F1 | gain | average precision | gain |\n|---|---|---|---|---|")
    for network in networks:
        cells = [f"`{network}`"]
        for column in table:
            own, base = table.loc[network, column], table.loc[first, column]
            gain = own - base
            cells.append(f"{own.mean():.3f} ± {own.std():.3f}")
            cells.append(
                f"{gain.mean():+.3f} ({gain.min():+.3f} to {gain.max():+.3f})" if network != first else ""
            )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
