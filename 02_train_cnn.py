"""Stage 02: train the preset's networks and let each predict every subset.

Reads   data/cache/<dataset>/ (arrays, features.csv where a network takes them), and of outputs/<run>/
        split.csv, statistics.json
Writes  outputs/<run>/networks/<network>/ (weights.pt, history.csv), figures/training_<network>.png,
        predictions/<network>/{train,validation,holdout,test}.npz
Run     python 02_train_cnn.py --preset demo
"""

from lib import stage


def main(argv: list[str] | None = None) -> None:
    parser = stage.network_parser(__doc__)
    parser.add_argument(
        "--find-lr", action="store_true", help="only show the loss over growing learning rates"
    )
    run = stage.begin(parser, argv)
    names = run.chosen(run.config.networks)
    from lib.learning import distributed, tasks, workshop

    with distributed.processes(), run.hold(shared=True):
        known = [tasks.of_classes(name, run.of_network(name)) for name in names]
        if not run.options.find_lr:
            return workshop.carry_out_all(known, run, "02_train_cnn", argv)
        from lib.learning import rate_finder

        for task in known:
            if task.run.config.is_network:
                rate_finder.show(task)


if __name__ == "__main__":
    stage.run(main)
