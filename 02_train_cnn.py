"""Stage 02: train the preset's network and let it predict every subset.

Reads   data/cache/<dataset>/, outputs/<run>/split.csv, statistics.json
Writes  outputs/<run>/networks/baseline/ (weights.pt, history.csv), figures/training_baseline.png,
        predictions/baseline/{train,validation,holdout,test}.npz
Run     python 02_train_cnn.py --preset demo
"""

from lib import samples, stage
from lib.console import say

NAME = "baseline"


def main(argv: list[str] | None = None) -> None:
    run = stage.begin(stage.parser(__doc__), argv)
    from lib.images.arrays import ShardedArray

    settings, network = run.config.training, run.network(NAME)
    with run.hold():
        index = samples.read_index(run.index)
        subsets = samples.read_subsets(run.split, index)
        classes, channels = samples.read_statistics(run.statistics, settings.size)
        train_array, test_array = (ShardedArray(run.array(part, settings.size)) for part in ("train", "test"))
        inputs = stage.prints(run.index, run.split, run.statistics)
        inputs |= {array.folder.name: array.fingerprint() for array in (train_array, test_array)}
        tables = {subset: run.predictions(NAME, subset) for subset in (*subsets, "test")}
        outputs = [network / "weights.pt", *tables.values()]
        step = run.step(f"02_train_cnn {NAME}", ["network", "training"], inputs, outputs)
        if step.done(run.force):
            return say(f"{network} and its predictions are up to date")

        from lib.images.augment import Augmentation
        from lib.learning import models, training  # torch takes seconds; --help should not
        from lib.learning.dataset import make_loader
        from lib.results import figures, predictions

        device = training.choose_device()
        workers = min(run.workers, 16) if device.type == "cuda" else 0  # on a CPU they would fight for cores
        truth_NC = index.truth_NC[:, classes]
        training.make_deterministic(settings.seed)
        model = models.build_model(run.config.network, len(classes), **channels).to(device)
        say(f"{run.config.network.architecture}, {models.count_parameters(model):,} parameters, on {device}")

        batches = make_loader(
            train_array, truth_NC, subsets["train"], settings.batch_size, workers,
            seed=settings.seed, augmentation=Augmentation(settings.augmentation, settings.seed),
        )  # fmt: skip
        plain = {
            subset: make_loader(train_array, truth_NC, rows, settings.batch_size, workers)
            for subset, rows in subsets.items()
        }
        history = training.fit(
            model, batches, plain["validation"], settings, network, step.identity, resume=not run.force
        )
        figures.training_curves(run.figure(f"training_{NAME}"), history, f"{NAME}: {run.data_name}")

        plain["test"] = make_loader(test_array, None, range(len(test_array)), settings.batch_size, workers)
        for subset, loader in plain.items():
            ids = index.test_ids if subset == "test" else index.train_ids
            outcome = training.evaluate(model, loader, settings.precision, f"predicting {subset}")
            table = predictions.PredictionTable(
                [ids[row] for row in outcome.rows_N], predictions.expand(outcome.probabilities_NC, classes)
            )
            predictions.save(tables[subset], table)
        step.finish()
        say(f"predictions of {', '.join(tables)} in {tables['test'].parent}")


if __name__ == "__main__":
    stage.run(main)
