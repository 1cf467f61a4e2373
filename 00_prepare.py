"""Stage 00: check the images, cache them as arrays, deal the samples to subsets.

Reads   Kaggle's folder: train.csv, sample_submission.csv, train/, test/ (made first where the
        preset runs on simulated cells)
Writes  data/cache/<dataset>/ (index.csv, train_<size>/, test_<size>/), and in outputs/<run>/
        split.csv, statistics.json, figures/
Run     python 00_prepare.py --preset demo
"""

from lib import cli, files
from lib.console import say
from lib.data import sample_index


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--labels-only", action="store_true", help="no images: only the split, for scores made elsewhere"
    )
    run = cli.begin(parser, argv)
    from lib.data import cache, kaggle, splits
    from lib.figures import data_and_training
    from lib.simulation import dataset  # these and their packages take seconds

    data = run.config.data
    with run.hold():
        bad = []
        with run.engine():
            if run.simulated:
                dataset.ensure_dataset(run.source, run.config.simulation, run.workers, run.force)
            index = sample_index.Index(
                *kaggle.read_labels(run.source), kaggle.read_submission_ids(run.source)
            )
            sizes = () if run.options.labels_only else data.sizes
            for subset, ids in (("train", index.train_ids), ("test", index.test_ids)) if sizes else ():
                bad += cache.build(
                    run.source, run.cache, subset, ids, sizes, data.shard_rows, run.workers, run.force
                )
        sample_index.write_index(run.index, index)
        kaggle.refuse_bad_images(bad, run.bad_images, data.max_bad_images)
        say(f"{len(index.train_ids):,} labelled and {len(index.test_ids):,} test samples in {run.cache}")

        cached = {size: cache.ShardedArray(run.array("train", size)) for size in sizes}
        inputs = cli.prints(run.index) | {array.folder.name: array.fingerprint() for array in cached.values()}
        step = run.step("00_prepare", ["split"], inputs, [run.split, run.statistics])
        done = step.done(run.force)
        run.remember()
        if done:
            return say(f"split and figures in {run.folder} are up to date")
        classes, rows = splits.choose(index, {image.id for image in bad}, run.config.split)
        split = splits.make_split(
            [index.train_ids[row] for row in rows], index.truth_NC[rows], run.config.split
        )
        train_rows = rows[(split["subset"] == "train").to_numpy()]
        files.write_text(run.split, split.to_csv(index=False))
        files.write_json(
            run.statistics,
            {
                "classes": classes.tolist(),
                "channels": {
                    str(size): array.channel_statistics(train_rows) for size, array in cached.items()
                },
            },
        )
        counts = split["subset"].value_counts()
        dealt = ", ".join(f"{counts[name]:,} {name}" for name in sample_index.SUBSETS if name in counts)
        say("split: " + dealt
            + f"; {len(classes)} classes")  # fmt: skip

        truth_NC = index.truth_NC[rows]
        data_and_training.class_counts(
            run.figure("class_counts"), splits.count_classes(truth_NC, split), run.data_name
        )
        data_and_training.labels_per_sample(run.figure("labels_per_sample"), truth_NC, run.data_name)
        if cached:
            shown = rows[splits.varied_rows(truth_NC, 6)]
            images = [cached[max(cached)][row] for row in shown]
            names = [data_and_training.label_names(index.truth_NC[row]) for row in shown]
            data_and_training.contact_sheet(run.figure("samples"), images, names, run.data_name)
        if run.simulated:
            examples = dataset.class_gallery(256, run.config.simulation.seed)
            data_and_training.class_gallery(
                run.figure("classes"),
                examples,
                "Simulated cells: one example of each class, brightened for display",
            )
        step.finish()
        say(f"figures in {run.folder / 'figures'}")


if __name__ == "__main__":
    cli.run(main)
