"""Stage 01: measure every sample's biological features, and show what they tell of the classes.

Reads   data/cache/<dataset>/ (index.csv, train_<size>/, test_<size>/)
Writes  data/cache/<dataset>/features_<size>_<denoise>_<columns>/features.csv, and in outputs/<run>/
        evaluation/features.csv, figures/features_by_group.png, figures/features_by_class.png
Run     python 01_features.py --preset demo
"""

from lib import cli, files
from lib.console import say
from lib.data import sample_index


def main(argv: list[str] | None = None) -> None:
    run = cli.begin(cli.parser(__doc__), argv)
    from lib.data.cache import ShardedArray
    from lib.features import class_separation
    from lib.features import table as feature_table  # these and their packages take seconds
    from lib.figures import data_and_training

    settings, size = run.config.features, run.config.feature_size
    with run.hold():
        index = sample_index.read_index(run.index)
        arrays = {part: ShardedArray(run.array(part, size)) for part in ("train", "test")}
        inputs = cli.prints(run.index) | {a.folder.name: a.fingerprint() for a in arrays.values()}
        separation_csv = run.folder / "evaluation" / "features.csv"
        shards = [task.path for task in feature_table.all_tasks(arrays, run.features.parent, settings)]
        step = run.step("01_features", ["features"], inputs, [run.features, separation_csv, *shards])
        if step.done(run.force):
            return say(f"features of {len(index.train_ids) + len(index.test_ids):,} samples are up to date\n"
                       f"features: {run.features}")  # fmt: skip
        with run.engine():
            table = feature_table.build(arrays, index, run.features.parent, settings, run.workers, run.force)
        unsaid = ", ".join(f"{name} {count:,}" for name, count in table.isna().sum().items() if count)
        say(f"{len(table.columns)} features of {len(table):,} samples")
        say(f"left empty where there was nothing to measure: {unsaid or 'none'}")

        labelled = table.iloc[: len(index.train_ids)]
        by_class = class_separation.by_class(labelled, index.truth_NC)
        files.write_text(separation_csv, by_class.round(6).to_csv())
        data_and_training.features_by_class(
            run.figure("features_by_class"), by_class, index.truth_NC, run.data_name
        )
        data_and_training.features_by_group(
            run.figure("features_by_group"), labelled, index.truth_NC, run.data_name
        )
        step.finish()
        say(f"figures in {run.folder / 'figures'}\nfeatures: {run.features}")


if __name__ == "__main__":
    cli.run(main)
