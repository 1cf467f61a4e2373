"""Stage 01: compute every sample's biological features, and show how they separate the classes.

Reads   data/cache/<dataset>/ (index.csv, train_<size>/, test_<size>/)
Writes  data/cache/<dataset>/features_<size>_<denoise>_<segmentation>_<columns>/features.csv, and in
        outputs/<run>/ evaluation/features.csv and figures/: features_by_group.png, features_by_class.png,
        protein_in_nuclei.png (samples with their nucleus masks), segments.png (contours and ellipses)
Run     python 01_features.py --preset demo
        python 01_features.py --preset demo --show ID ID   (these two figures of samples of your choice)
"""

from lib import cli, files
from lib.console import info
from lib.run import Run


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--show", nargs="+", metavar="ID", help="draw the segmentation of these samples")
    run = cli.start(parser, argv)
    if not (run.config.any_uses_features or run.force or run.options.show):
        return info("features: skipped, as no network of the run uses any; --force computes them")
    from lib.data import sample_index  # this and the following take seconds to import
    from lib.data.cache import ShardedArray
    from lib.features import table as feature_table
    from lib.report import feature_figures

    settings, size = run.config.features, run.config.feature_size
    with run.lock():
        index = sample_index.read_index(run.index)
        shown = feature_figures.find(index, run.options.show)
        arrays = {subset: ShardedArray(run.array(subset, size), ids) for subset, ids in index.ids.items()}
        shards = [shard.path for shard in feature_table.feature_shards(arrays, run.features.parent, settings)]
        done = run.once(
            "01_features",
            lambda _step: compute_features(run, index, arrays, shown),
            settings=["features"],
            inputs=files.fingerprints(run.index) | {a.folder.name: a.fingerprint() for a in arrays.values()},
            outputs=[run.features, run.evaluation("features"), *shards],
        )
        if not done and run.options.show:
            feature_figures.draw_segmentation(run, arrays, shown)
    if not done:
        info(f"features of {len(index.train_ids) + len(index.test_ids):,} samples are up to date")
    info(f"features: {run.features}")


def compute_features(run: Run, index, arrays: dict, shown: list) -> None:
    """Compute the features; score and draw how well each separates the classes; draw the segmentation."""
    from lib.features import class_separation
    from lib.features import table as feature_table
    from lib.report import feature_figures

    folder, settings = run.features.parent, run.config.features
    with run.backend():
        table = feature_table.build(arrays, index, folder, settings, run.workers, run.force)
    undefined = ", ".join(f"{name} {count:,}" for name, count in table.isna().sum().items() if count)
    info(f"{len(table.columns)} features of {len(table):,} samples; undefined values: {undefined or 'none'}")
    labelled = table.iloc[: len(index.train_ids)]
    by_class = class_separation.by_class(labelled, index.truth_NC)
    files.write_text(run.evaluation("features"), by_class.round(6).to_csv())
    feature_figures.draw_separation(run, index, labelled, by_class)
    feature_figures.draw_segmentation(run, arrays, shown)
    info(f"figures in {run.folder / 'figures'}")


if __name__ == "__main__":
    cli.run(main)
