"""Stage 02: train the preset's networks and let each predict every subset.

Reads   data/cache/<dataset>/ (arrays, features.csv where a network takes them), and of outputs/<run>/
        split.csv, statistics.json
Writes  outputs/<run>/networks/<network>/ (weights.pt, history.csv), figures/training_<network>.png,
        predictions/<network>/{train,validation,holdout,test}.npz
Run     python 02_train_cnn.py --preset demo
"""

from lib import cli


def main(argv: list[str] | None = None) -> None:
    parser = cli.network_parser(__doc__)
    parser.add_argument(
        "--find-lr", action="store_true", help="only show the loss over growing learning rates"
    )
    run = cli.begin(parser, argv)
    names = run.chosen(run.config.networks)
    from lib import distributed
    from lib.learning import run_tasks, task

    with distributed.processes(), run.hold(shared=True):
        known = [task.of_classes(name, run.of_network(name)) for name in names]
        if not run.options.find_lr:
            return run_tasks.carry_out_all(known, run, "02_train_cnn", argv)
        from lib.learning import lr_finder

        for one in known:
            if one.run.config.is_network:
                lr_finder.show(one)


if __name__ == "__main__":
    cli.run(main)
