"""What does each step of the recipe of `strong` gain? The preset ladder: one step after another.

The first step is the first edition of `strong` in small, from random weights; each of the next has one change
more. Two steps are evaluated apart: the folds are a second run of the network `ema` (their mean, with
thresholds fitted on the predictions out of fold), and the second network is averaged with the first on
the single split. Gains on the simulated test samples over the step before; `multilevel` is no step, but
another head in place of that of the step `head`.

Run     python benchmarks/ladder.py --work FOLDER               (about 2.5 hours on two CPU cores, 3 seeds)
        python benchmarks/ladder.py --work FOLDER --size 256    (larger images: five times as long)

Every network of every seed is stored: an interrupted benchmark resumes; --seeds 1 runs the first seed alone.
"""

import paired_scores
import simulated_runs

from lib.report.run_report import RunReport

STAGES = ("00_prepare", "02_train_cnn", "04_threshold")
FOLD_STAGES = ("00_prepare", "02_train_cnn --network ema", "04_threshold")
FOLDS = ("split.folds=5", "ensemble.members=none")
SINGLE, FOLDED = "single split", "folds"
# step: the run and the predictor that show it, and the step that its gain is over
STEPS = {
    "first_edition": (SINGLE, "first_edition", None),
    "imagenet": (SINGLE, "imagenet", "first_edition"),
    "multilevel": (SINGLE, "multilevel", "imagenet"),
    "head": (SINGLE, "head", "imagenet"),
    "crops": (SINGLE, "crops", "head"),
    "loss": (SINGLE, "loss", "crops"),
    "optimizer": (SINGLE, "optimizer", "loss"),
    "ema": (SINGLE, "ema", "optimizer"),
    "tta": (SINGLE, "ema_tta", "ema"),
    "folds": (FOLDED, "ema_tta", "tta"),
    "second_network": (SINGLE, "ensemble", "tta"),
}


def settings(seed: int, size: int) -> list[str]:
    """Return the settings of a seed, with its simulated samples of a size."""
    own = paired_scores.seed_settings(seed, "study" if size == 128 else f"study_{size}")
    return [*own, f"simulation.size={size}", f"data.sizes={size}", f"training.size={size}"]


def main() -> None:
    """Train what is not trained yet, then print the table."""
    parser = simulated_runs.seeds_parser(__doc__)
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    options = parser.parse_args()
    reports: dict[str, list[RunReport]] = {SINGLE: [], FOLDED: []}
    for seed in range(options.seeds):
        chosen = [*settings(seed, options.size), *options.set]
        name = f"ladder_{options.size}_{seed}"
        for kind, stages, run, more in (
            (SINGLE, STAGES, name, ()),
            (FOLDED, FOLD_STAGES, f"{name}_folds", FOLDS),
        ):
            reports[kind].append(
                simulated_runs.run_stages(stages, "ladder", run, [*chosen, *more], options.work)
            )
    tables = {
        step: paired_scores.replicates(reports[kind], predictor)
        for step, (kind, predictor, _) in STEPS.items()
    }
    paired_scores.print_gains(tables, "step", {step: over for step, (*_, over) in STEPS.items() if over})


if __name__ == "__main__":
    main()
