"""Stage 01: compute every sample's biological features, and show how they separate the classes.

Reads   data/cache/<dataset>/ (index.csv, train_<size>/, test_<size>/)
Writes  data/cache/<dataset>/features_<size>_<denoise>_<columns>/features.csv, and in outputs/<run>/
        evaluation/features.csv, figures/features_by_group.png, figures/features_by_class.png
Run     python 01_features.py --preset demo
"""

from lib import cli, files
from lib.console import info
from lib.run import Run


def main(argv: list[str] | None = None) -> None:
    run = cli.start(cli.parser(__doc__), argv)
    if not (run.config.any_uses_features or run.force):
        return info("features: skipped, as no network of the run uses any; --force computes them")
    from lib.data import sample_index  # this and the following take seconds to import
    from lib.data.cache import ShardedArray
    from lib.features import table as feature_table

    settings, size = run.config.features, run.config.feature_size
    with run.lock():
        index = sample_index.read_index(run.index)
        ids = {"train": index.train_ids, "test": index.test_ids}
        arrays = {subset: ShardedArray(run.array(subset, size), ids[subset]) for subset in ids}
        shards = [shard.path for shard in feature_table.feature_shards(arrays, run.features.parent, settings)]
        done = run.once(
            "01_features",
            lambda _step: compute_features(run, index, arrays),
            settings=["features"],
            inputs=files.fingerprints(run.index) | {a.folder.name: a.fingerprint() for a in arrays.values()},
            outputs=[run.features, run.evaluation("features"), *shards],
        )
    if not done:
        info(f"features of {len(index.train_ids) + len(index.test_ids):,} samples are up to date")
    info(f"features: {run.features}")


def compute_features(run: Run, index, arrays: dict) -> None:
    """Compute the features; score and draw how well each separates the classes."""
    from lib.features import class_separation
    from lib.features import table as feature_table
    from lib.figures import data_and_training as figures

    folder, settings = run.features.parent, run.config.features
    with run.backend():
        table = feature_table.build(arrays, index, folder, settings, run.workers, run.force)
    undefined = ", ".join(f"{name} {count:,}" for name, count in table.isna().sum().items() if count)
    info(f"{len(table.columns)} features of {len(table):,} samples; undefined values: {undefined or 'none'}")
    labelled = table.iloc[: len(index.train_ids)]
    by_class = class_separation.by_class(labelled, index.truth_NC)
    files.write_text(run.evaluation("features"), by_class.round(6).to_csv())
    figures.features_by_class(run.figure("features_by_class"), by_class, index.truth_NC, run.data_name)
    figures.features_by_group(run.figure("features_by_group"), labelled, index.truth_NC, run.data_name)
    info(f"figures in {run.folder / 'figures'}")


if __name__ == "__main__":
    cli.run(main)
