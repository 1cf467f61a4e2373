"""Stage 02: train the preset's networks and let each predict every subset.

Reads   data/cache/<dataset>/ (arrays, features.csv where a network takes them), and of outputs/<run>/
        split.csv, statistics.json
Writes  outputs/<run>/networks/<network>/ (weights.pt, history.csv), figures/training_<network>.png,
        predictions/<network>/{train,validation,holdout,test}.npz
Run     python 02_train_cnn.py --preset demo
"""

import numpy as np

from lib import samples, stage
from lib.console import say


def main(argv: list[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--network", nargs="+", metavar="NAME", help="which of the preset's; default: all")
    run = stage.begin(parser, argv)
    networks = run.networks()
    from lib.images import arrays, feature_table

    with run.hold():
        index = samples.read_index(run.index)
        subsets = samples.read_subsets(run.split, index)
        for name, own in networks.items():
            settings, folder = own.config, own.network(name)
            size = settings.training.size
            classes, channels = samples.read_statistics(run.statistics, size)
            train_array, test_array = (
                arrays.ShardedArray(run.array(part, size)) for part in ("train", "test")
            )
            inputs = stage.prints(run.index, run.split, run.statistics)
            inputs |= {array.folder.name: array.fingerprint() for array in (train_array, test_array)}
            features = None
            if settings.uses_features:
                features = feature_table.read(run.features, index, settings.network.features)
                inputs |= stage.prints(run.features)
            tables = {subset: run.predictions(name, subset) for subset in (*subsets, "test")}
            outputs = [*tables.values()] + [folder / "weights.pt"] * settings.is_network
            step = own.step(f"02_train_cnn {name}", ["network", "training"], inputs, outputs)
            if step.done(run.force):
                say(f"{name} and its predictions are up to date in {run.folder}")
                continue

            from lib.learning.dataset import Source  # torch takes seconds; --help should not
            from lib.learning.predictor import train_and_predict
            from lib.results import figures, predictions

            say(f"{name}:")
            known = [(None, ()), (None, ())]
            if features is not None:
                parts = np.split(features.to_numpy(np.float32), [len(index.train_ids)])
                known = [(part, tuple(features)) for part in parts]
            history, probabilities = train_and_predict(
                settings,
                Source(train_array, index.truth_NC[:, classes], *known[0]),
                Source(test_array, None, *known[1]),
                subsets, channels, folder, step.identity, run.workers, not run.force,
            )  # fmt: skip
            if history is not None:
                figures.training_curves(run.figure(f"training_{name}"), history, f"{name}: {run.data_name}")
            for subset, path in tables.items():
                ids = (
                    index.test_ids if subset == "test" else [index.train_ids[row] for row in subsets[subset]]
                )
                probabilities_NC = predictions.expand(probabilities[subset], classes)
                predictions.save(path, predictions.PredictionTable(ids, probabilities_NC))
            step.finish()
            say(f"predictions of {', '.join(tables)} in {tables['test'].parent}")


if __name__ == "__main__":
    stage.run(main)
