"""Stage 02: train the preset's networks and let each predict every subset.

Reads   data/cache/<dataset>/ (arrays, features.csv where a network takes them), and of outputs/<run>/
        split.csv, statistics.json
Writes  outputs/<run>/networks/<network>/ (weights.pt, history.csv), figures/training_<network>.png,
        predictions/<network>/{train,validation,holdout,test}.npz
Run     python 02_train_cnn.py --preset demo
"""

from lib import artifacts, samples, stage
from lib.console import say


def main(argv: list[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--network", nargs="+", metavar="NAME", help="which of the preset's; default: all")
    parser.add_argument(
        "--find-lr", action="store_true", help="only show the loss over growing learning rates"
    )
    run = stage.begin(parser, argv)
    networks = run.networks()
    from lib.images import arrays, feature_table
    from lib.learning import distributed

    with distributed.processes(), run.hold():
        index = samples.read_index(run.index)
        subsets = samples.read_subsets(run.split, index)
        for name, own in networks.items():
            settings, folder = own.config, own.network(name)
            size = settings.training.size
            classes, channels = samples.read_statistics(run.statistics, size)
            array = {part: arrays.ShardedArray(run.array(part, size)) for part in ("train", "test")}
            inputs = stage.prints(run.index, run.split, run.statistics)
            inputs |= {part.folder.name: part.fingerprint() for part in array.values()}
            features = {"train": None, "test": None}
            if settings.uses_features:
                table = feature_table.read(run.features, index, settings.network.features)
                features = {"train": table.loc[index.train_ids], "test": table.loc[index.test_ids]}
                inputs |= stage.prints(run.features)
            outputs = [run.predictions(name, subset) for subset in (*subsets, "test")]
            if settings.is_network:
                outputs.append(folder / "weights.pt")
            step = own.step(f"02_train_cnn {name}", ["network", "training"], inputs, outputs)
            if not run.options.find_lr and distributed.agree(step.done(run.force)):
                say(f"{name} and its predictions are up to date in {run.folder}")
                continue

            from lib.learning import predictor, rate_finder  # torch takes seconds; --help should not
            from lib.learning.dataset import Source
            from lib.results import figures, predictions

            say(f"{name}:")
            ids = {"train": index.train_ids, "test": index.test_ids}
            truth = {"train": index.truth_NC[:, classes], "test": None}
            train, test = (Source(array[part], ids[part], truth[part], features[part]) for part in array)
            if run.options.find_lr:
                if settings.is_network:
                    start = predictor.start(settings, train, subsets["train"], channels, run.workers)
                    curve = rate_finder.find_rate(*start, settings.training)
                    rising, suggestion = rate_finder.suggest(curve)
                    artifacts.write_text(folder / "learning_rates.csv", curve.to_csv(index=False))
                    figure = run.figure(f"learning_rates_{name}")
                    figures.learning_rates(figure, curve, rising, suggestion, f"{name}: {run.data_name}")
                    say(f"the loss rises from a rate of {rising:.1e}; suggested: "
                        f"--set training.learning_rate={suggestion:.1e}; {figure}")  # fmt: skip
                continue
            history, found = predictor.train_and_predict(
                settings, train, test, subsets, channels, folder, step.identity, run.workers, not run.force
            )
            if history is not None:
                figures.training_curves(
                    run.figure(f"training_{name}"),
                    history,
                    settings.training.loss,
                    f"{name}: {run.data_name}",
                )
            for suffix, probabilities in found.items():
                for subset, part in probabilities.items():
                    rows = (
                        index.test_ids
                        if subset == "test"
                        else [index.train_ids[row] for row in subsets[subset]]
                    )
                    table = predictions.PredictionTable(rows, predictions.expand(part, classes))
                    predictions.save(run.predictions(name + suffix, subset), table)
            step.finish()
            say(
                f"predictions in {run.folder / 'predictions'}: {', '.join(name + suffix for suffix in found)}"
            )


if __name__ == "__main__":
    stage.run(main)
