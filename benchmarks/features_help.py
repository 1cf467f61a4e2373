"""Do biological features help a network? The preset fusion, from random and from ImageNet weights.

Gains on the simulated test samples over the network without features. Thresholds are those of stage 04.

Run     python benchmarks/features_help.py --work FOLDER        (about 2.5 hours on two CPU cores, 3 seeds)

What is complete is skipped, so an interrupted benchmark resumes; --seeds 1 runs the first seed alone.
"""

import paired_scores
import simulated_runs

from lib import presets

STAGES = ("00_prepare", "01_features", "02_train_cnn", "04_threshold")


def main() -> None:
    """Train what is not trained yet, then print a table per regime."""
    options = simulated_runs.parse_seeds(__doc__)
    names = list(presets.PRESETS["fusion"].networks)
    for regime in paired_scores.REGIMES:
        reports = paired_scores.run_regime(regime, STAGES, "fusion", options)
        print(f"\n{regime}")
        paired_scores.print_paired_gains(reports, names, "network", dict.fromkeys(names[1:], names[0]))


if __name__ == "__main__":
    main()
