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
    from lib.data import sample_groups  # this and the following take seconds to import

    with run.lock():
        run, index, bad_ids, arrays = prepare_images(run)
        images = {array.folder.name: array.fingerprint() for array in arrays.values()}
        done = run.once(
            "00_prepare",
            lambda _step: split_samples(run, index, bad_ids, arrays),
            settings=["split"],
            inputs=files.fingerprints(run.index, *sample_groups.sources(run)) | images,
            outputs=[run.sample_groups, run.split, run.statistics],
        )
        run.save_invocation()
    info(f"split and figures in {run.folder}" + " are up to date" * (not done))


def prepare_images(run: Run) -> tuple:
    """Simulate, decode and cache; return the run with its cache, the index, unusable ids, and arrays."""
    from lib.data import cache, duplicates, kaggle, sample_groups, sample_index
    from lib.simulation import dataset

    sample_groups.read_own(run)  # a mistyped name is an error now, not after hours
    sizes, bad_ids = () if run.options.labels_only else run.config.data.sizes, set()
    with run.backend():
        if run.generates_data:
            dataset.ensure_dataset(run.source, run.config.simulation, run.workers, run.force)
        index = kaggle.read_tables(run.source)
        sample_groups.check_own(run, index)
        run = run.with_cache(cache.fingerprint(run.source, index))
        if sizes:
            bad_ids = cache.build_dataset(run, index)
            duplicates.find_in_dataset(run, index)
    sample_index.write_index(run.index, index)
    info(f"{len(index.train_ids):,} labelled and {len(index.test_ids):,} test samples in {run.cache}")
    arrays = {size: cache.ShardedArray(run.array("train", size), index.train_ids) for size in sizes}
    return run, index, bad_ids, arrays


def split_samples(run: Run, index, bad_ids: set[str], arrays: dict) -> None:
    """Write the split and the channel statistics of its training samples; draw the data."""
    from lib.data import run_data, sample_groups, splits
    from lib.report import data_checks, data_figures

    group_N = sample_groups.write(run, index)
    classes, rows = splits.select_samples(index, bad_ids, run.config.split)
    ids = [index.train_ids[row] for row in rows]
    split = splits.make_split(ids, index.truth_NC[rows], run.config.split, group_N[rows])
    files.write_text(run.split, split.to_csv(index=False))
    _, folds = run_data.read_split(run.split, index)
    channels = {
        size: [array.channel_statistics(fold.train) for fold in folds] for size, array in arrays.items()
    }
    run_data.write_statistics(run.statistics, classes, channels)
    info(f"{splits.describe(split)}; {len(classes)} classes")
    data_checks.warn_if_implausible(run, index, bad_ids, classes, index.truth_NC[folds[0].train])
    data_figures.draw(run, index, rows, split, arrays)


if __name__ == "__main__":
    cli.run(main)
