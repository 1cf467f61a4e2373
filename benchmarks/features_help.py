"""Do biological features help a network? The preset fusion, from random and from ImageNet weights.

Gains on the simulated test samples. Features come with a fully connected layer, which a network has to learn:
those networks are compared with one that has the layer, but features that are all 0; linear fusion, trees on
the features alone, and the mean of network and trees (`ensemble`), with the network without features.
Thresholds are those of stage 04.

Run     python benchmarks/features_help.py --work FOLDER        (about 2.5 hours on two CPU cores, 3 seeds)

What is complete is skipped, so an interrupted benchmark resumes; --seeds 1 runs the first seed alone.
"""

import paired_scores
import simulated_runs

from lib import presets
from lib.evaluation import ensemble

STAGES = ("00_prepare", "01_features", "02_train_cnn", "04_threshold")


def main() -> None:
    """Train what is not trained yet, then print a table per regime."""
    options = simulated_runs.parse_seeds(__doc__)
    preset = presets.PRESETS["fusion"]
    alone, layer, *others = names = list(preset.networks)
    reference = {layer: alone, ensemble.NAME: alone}
    for name in others:
        network = preset.for_network(name).network
        has_layer = network.kind == "network" and network.fusion == "pooled"
        reference[name] = layer if has_layer else alone
    for regime in paired_scores.REGIMES:
        reports = paired_scores.run_regime(regime, STAGES, "fusion", options)
        print(f"\n{regime}")
        paired_scores.print_paired_gains(reports, [*names, ensemble.NAME], "predictor", reference)


if __name__ == "__main__":
    main()
