"""Stage 02: train the preset's networks and predict every subset with each.

Reads   data/cache/<dataset>/ (arrays, features.csv where a network takes them), and of outputs/<run>/
        split.csv, statistics.json
Writes  outputs/<run>/networks/<network>/ (model.json, weights.safetensors, history.csv; with folds in
        fold_<k>/), figures/training_<network>.png,
        predictions/<network>/{train,validation,holdout,test}.npz and predictor.json
Run     python 02_train_cnn.py --preset demo
"""

from lib import cli, distributed


def main(argv: list[str] | None = None) -> None:
    parser = cli.network_parser(__doc__)
    parser.add_argument(
        "--find-lr", action="store_true", help="only plot the loss over a growing learning rate"
    )
    run = cli.start(parser, argv)
    names = run.selected(run.config.networks)
    from lib.data.run_data import RunData  # this and the following take seconds to import
    from lib.learning import run_tasks, task, training_data

    with distributed.process_group(), run.lock(shared=True):
        data, tasks = RunData.read(run), []
        for name in names:
            own = run.for_network(name)
            tasks.append(task.of_all_classes(name, own, training_data.TrainingData.read(own, data)))
        if not run.options.find_lr:
            return run_tasks.run_tasks(tasks, "02_train_cnn")
        from lib.learning import lr_finder

        for one in tasks:
            if one.run.config.is_network:
                lr_finder.find_and_draw(one)


if __name__ == "__main__":
    cli.run(main)
