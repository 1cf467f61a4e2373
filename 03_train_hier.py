"""Stage 03: train the hierarchy's networks and combine their predictions.

Reads   data/cache/<dataset>/ (arrays, features.csv where the networks take them), and of outputs/<run>/
        split.csv, statistics.json
Writes  outputs/<run>/networks/{stage_1,stage_1_single,stage_2_<group>,stage_2_<group>_other,joint}/,
        figures/{training_<network>,models}.png, predictions/{hierarchy_hard,hierarchy_soft,joint}/,
        predictions/{hierarchy_hard_other,hierarchy_soft_other,hierarchy_hard_other_veto}/; and the same of
        further hierarchies: networks/stage_1_two/, predictions/hierarchy_two_hard/ and so on
Run     python 03_train_hier.py --preset demo
"""

from lib import cli, distributed
from lib.console import info

SCRIPT = "03_train_hier"


def main(argv: list[str] | None = None) -> None:
    run = cli.start(cli.network_parser(__doc__), argv)
    settings = run.config.hierarchy
    if settings.train == "none":
        return info("this run has no hierarchy; --set hierarchy.train=stages, joint or all trains one")
    from lib.data.run_data import RunData  # this and the following take seconds to import
    from lib.hierarchy import predictors, tasks
    from lib.learning import run_tasks

    with distributed.process_group(), run.lock(shared=True):
        data = RunData.read(run)
        known = tasks.hierarchy_tasks(run, data)
        run_tasks.run_tasks([known[name] for name in run.selected(known)], SCRIPT)
        if not run.options.network:
            with run.in_turn():
                predictors.write_predictors(run, data, SCRIPT)


if __name__ == "__main__":
    cli.run(main)
