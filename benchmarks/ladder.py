"""What does each step of the recipe of `strong` gain? The preset ladder: one step after another.

The step `first_edition` is the first edition of `strong` in small, but from random weights; each of the next
has one change more. Two steps are evaluated apart: the folds are a second run of the network `ema` (their
mean, with thresholds fitted on the predictions out of fold), and the second network is averaged with the
first on the single split. Gains on the simulated test samples over the step before; `multilevel` is no step,
but another head in place of that of the step `head`.

Run     python benchmarks/ladder.py --work FOLDER               (about 3 hours on two CPU cores, 3 seeds)
        python benchmarks/ladder.py --work FOLDER --size 256    (larger images: five times as long)
        python benchmarks/ladder.py --work FOLDER --long        (more epochs of smaller images: 2.5 hours)

With --long, the steps that change the training of one network are trained until they fit, at one rate for
all: an eighth of the epochs favours whatever fits fastest. Gains are over `imagenet`; each step but
`multilevel` has the changes of those before it as well.

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
# trained until they fit: 6,900 steps on images reduced to half
LONG_STEPS = ("imagenet", "multilevel", "head", "crops", "loss", "optimizer", "ema")
LONG_STAGES = ("00_prepare", f"02_train_cnn --network {' '.join(LONG_STEPS)}", "04_threshold")
LONG = (
    "all:training.epochs=48", "training.cycle_epochs=48", "all:training.learning_rate=1e-3",
    "all:training.tta=false", "ensemble.members=none",
)  # fmt: skip


def settings(seed: int, size: int) -> list[str]:
    """Return the settings of a seed, with its simulated samples of a size."""
    own = paired_scores.seed_settings(seed, "study" if size == 128 else f"study_{size}")
    return [*own, f"simulation.size={size}", f"data.sizes={size}", f"training.size={size}"]


def main() -> None:
    """Train what is not trained yet, then print the table."""
    parser = simulated_runs.seeds_parser(__doc__)
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--long", action="store_true", help="48 epochs on images reduced to half")
    options = parser.parse_args()
    steps, kinds = STEPS, {SINGLE: (STAGES, "", ()), FOLDED: (FOLD_STAGES, "_folds", FOLDS)}
    if options.long:
        half = options.size // 2
        steps = {step: (SINGLE, step, "imagenet" if step != "imagenet" else None) for step in LONG_STEPS}
        kinds = {SINGLE: (LONG_STAGES, "_long", (f"data.sizes={half}", f"training.size={half}", *LONG))}
    reports: dict[str, list[RunReport]] = {kind: [] for kind in kinds}
    for seed in range(options.seeds):
        for kind, (stages, suffix, more) in kinds.items():
            chosen = [*settings(seed, options.size), *more, *options.set]
            name = f"ladder_{options.size}_{seed}{suffix}"
            reports[kind].append(simulated_runs.run_stages(stages, "ladder", name, chosen, options.work))
    tables = {
        step: paired_scores.replicates(reports[kind], predictor)
        for step, (kind, predictor, _) in steps.items()
    }
    paired_scores.print_gains(tables, "step", {step: over for step, (*_, over) in steps.items() if over})


if __name__ == "__main__":
    main()
