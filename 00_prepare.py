"""Stage 00: check the images, cache them as arrays, split the samples into subsets.

Reads   Kaggle's folder: train.csv, sample_submission.csv, train/, test/ (simulated first where the
        preset runs on simulated cells)
Writes  data/cache/<dataset>/ (index.csv, train_<size>/, test_<size>/), and in outputs/<run>/
        split.csv, statistics.json, figures/
Run     python 00_prepare.py --preset demo
"""

from lib import cli, files
from lib.console import info
from lib.run import Run


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--labels-only", action="store_true", help="without images: only the split, for external predictions"
    )
    run = cli.start(parser, argv)
    with run.lock():
        run, index, bad_ids, arrays = prepare_images(run)
        images = {array.folder.name: array.fingerprint() for array in arrays.values()}
        done = run.once(
            "00_prepare",
            lambda _step: split_samples(run, index, bad_ids, arrays),
            settings=["split"],
            inputs=files.fingerprints(run.index) | images,
            outputs=[run.split, run.statistics],
        )
        run.save_invocation()
    info(f"split and figures in {run.folder}" + " are up to date" * (not done))


def prepare_images(run: Run) -> tuple:
    """Simulate, decode and cache; return the run with its cache, the index, unusable ids, and arrays."""
    from lib.data import cache, kaggle, sample_index  # these and their packages take seconds
    from lib.simulation import dataset

    data, bad = run.config.data, []
    sizes = () if run.options.labels_only else data.sizes
    with run.backend():
        if run.generates_data:
            dataset.ensure_dataset(run.source, run.config.simulation, run.workers, run.force)
        labels, test_ids = kaggle.read_labels(run.source), kaggle.read_submission_ids(run.source)
        index = sample_index.SampleIndex(*labels, test_ids)
        run = run.with_cache(cache.fingerprint(run.source, index))
        for subset, ids in (("train", index.train_ids), ("test", index.test_ids)) if sizes else ():
            how = (sizes, data.shard_rows, run.workers, run.force)
            bad += cache.build(run.source, run.cache, subset, ids, *how)
    sample_index.write_index(run.index, index)
    kaggle.report_bad_images(bad, run.bad_images, data.max_bad_images)
    info(f"{len(index.train_ids):,} labelled and {len(index.test_ids):,} test samples in {run.cache}")
    arrays = {size: cache.ShardedArray(run.array("train", size), index.train_ids) for size in sizes}
    return run, index, {image.id for image in bad}, arrays


def split_samples(run: Run, index, bad_ids: set[str], arrays: dict) -> None:
    """Write the split and the channel statistics of its training samples; draw the data."""
    from lib.data import run_data, sample_index, splits
    from lib.report import data_figures

    classes, rows = splits.select_samples(index, bad_ids, run.config.split)
    ids = [index.train_ids[row] for row in rows]
    split = splits.make_split(ids, index.truth_NC[rows], run.config.split)
    files.write_text(run.split, split.to_csv(index=False))
    _, folds = run_data.read_split(run.split, index)
    channels = {
        size: [array.channel_statistics(fold.train) for fold in folds] for size, array in arrays.items()
    }
    run_data.write_statistics(run.statistics, classes, channels)
    counts = split["subset"].value_counts().reindex(sample_index.SUBSETS).dropna().astype(int)
    info("split: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()) + f"; {len(classes)} classes")
    data_figures.draw(run, index, rows, split, arrays)


if __name__ == "__main__":
    cli.run(main)
