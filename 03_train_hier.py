"""Stage 03: train the hierarchy's networks, and put together what they predict.

Reads   data/cache/<dataset>/ (arrays, features.csv where the networks take them), and of outputs/<run>/
        split.csv, statistics.json
Writes  outputs/<run>/networks/{stage_1,stage_1_single,stage_2_<group>,stage_2_<group>_other,joint}/,
        figures/training_<network>.png,
        predictions/{hierarchy_hard,hierarchy_soft,hierarchy_hard_other,hierarchy_soft_other,joint}/*.npz
Run     python 03_train_hier.py --preset demo
"""

from lib import cli, location_groups
from lib.console import say
from lib.data import sample_index


def main(argv: list[str] | None = None) -> None:
    run = cli.begin(cli.network_parser(__doc__), argv)
    settings = run.config.hierarchy
    if settings.train == "none":
        return say("this run has no hierarchy; --set hierarchy.train=stages, joint or all trains one")
    from lib import distributed
    from lib.evaluation import predictions
    from lib.hierarchy import tasks
    from lib.hierarchy.evaluation import Parts
    from lib.learning import run_tasks, task

    groups = location_groups.read(settings.grouping)
    with distributed.processes(), run.hold(shared=True):
        known = tasks.tasks(run, groups)
        run_tasks.carry_out_all([known[name] for name in run.chosen(known)], run, "03_train_hier", argv)
        if run.options.network or settings.train == "joint":
            return
        parts = Parts.of(run.folder, run.config, sample_index.read_index(run.index))
        subsets, suffixes = (*parts.subsets, "test"), task.suffixes(run.of_part("stage_1"))
        tables = [path for subset in subsets for suffix in suffixes for path in parts.tables(subset, suffix)]
        inputs = cli.prints(run.index, run.split) | cli.prints(*tables, folders=True)
        names = [f"hierarchy_{rule}{variant}{suffix}" for variant in parts.variants for suffix in suffixes
                 for rule in ("hard", "soft")]  # fmt: skip
        outputs = [run.predictions(name, subset) for name in names for subset in subsets]
        step = run.step("03_train_hier hierarchy", [], inputs, outputs)
        if distributed.agree(step.done(run.force)):
            return say("what the hierarchy says together is up to date")
        for suffix in suffixes:
            for name, tables in parts.predictors(suffix).items():
                for subset, table in tables.items():
                    predictions.save(run.predictions(name, subset), table)
        step.finish()
        say(f"predictions in {run.folder / 'predictions'}: {', '.join(names)}")


if __name__ == "__main__":
    cli.run(main)
