"""How should the fourth channel of a network with ImageNet weights start? The preset fourth_channel.

Liu, Zhang, Zhou 2018 (6.2.1) found that copied weights score more than zeros; timm repeats those of red and
multiplies all by 3/4. With and without dropout before the last layer. Gains on the
simulated test samples over zeros without dropout.

Run     python benchmarks/fourth_channel.py --work FOLDER       (about 75 minutes on two CPU cores, estimated)

What is complete is skipped, so an interrupted benchmark resumes; --seeds 1 runs the first seed alone.
"""

import paired_scores
import simulated_runs

from lib import presets

STAGES = ("00_prepare", "02_train_cnn", "04_threshold")
REGIME = "from ImageNet weights"


def main() -> None:
    """Train what is not trained yet, then print the table."""
    options = simulated_runs.parse_seeds(__doc__)
    names = list(presets.PRESETS["fourth_channel"].networks)
    reports = paired_scores.run_regime(REGIME, STAGES, "fourth_channel", options)
    paired_scores.print_paired_gains(
        reports, names, "initial weights", {name: "zero" for name in names if name != "zero"}
    )


if __name__ == "__main__":
    main()
