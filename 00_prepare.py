"""Stage 00: check the images, cache them as arrays, deal the samples to subsets.

Reads   Kaggle's folder: train.csv, sample_submission.csv, train/, test/ (made first where the
        preset runs on simulated cells)
Writes  data/cache/<dataset>/ (index.csv, train_<size>/, test_<size>/), and in outputs/<run>/
        split.csv, statistics.json, figures/
Run     python 00_prepare.py --preset demo
"""

from lib import artifacts, samples, stage
from lib.console import say


def main(argv: list[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument(
        "--labels-only", action="store_true", help="no images: only the split, for scores made elsewhere"
    )
    run = stage.begin(parser, argv)
    from lib.images import arrays, kaggle, simulate, splits  # these and their packages take seconds
    from lib.results import figures

    data = run.config.data
    with run.hold():
        bad = []
        with run.engine():
            if run.simulated:
                simulate.ensure_dataset(run.source, run.config.simulation, run.workers, run.force)
            index = samples.Index(*kaggle.read_labels(run.source), kaggle.read_submission_ids(run.source))
            sizes = () if run.options.labels_only else data.sizes
            for subset, ids in (("train", index.train_ids), ("test", index.test_ids)) if sizes else ():
                bad += arrays.build(
                    run.source, run.cache, subset, ids, sizes, data.shard_rows, run.workers, run.force
                )
        samples.write_index(run.index, index)
        kaggle.refuse_bad_images(bad, run.bad_images, data.max_bad_images)
        say(f"{len(index.train_ids):,} labelled and {len(index.test_ids):,} test samples in {run.cache}")

        cached = {size: arrays.ShardedArray(run.array("train", size)) for size in sizes}
        inputs = stage.prints(run.index) | {
            array.folder.name: array.fingerprint() for array in cached.values()
        }
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
        artifacts.write_text(run.split, split.to_csv(index=False))
        artifacts.write_json(
            run.statistics,
            {
                "classes": classes.tolist(),
                "channels": {
                    str(size): array.channel_statistics(train_rows) for size, array in cached.items()
                },
            },
        )
        counts = split["subset"].value_counts()
        say("split: " + ", ".join(f"{counts[name]:,} {name}" for name in samples.SUBSETS if name in counts)
            + f"; {len(classes)} classes")  # fmt: skip

        truth_NC = index.truth_NC[rows]
        figures.class_counts(run.figure("class_counts"), splits.count_classes(truth_NC, split), run.data_name)
        figures.labels_per_sample(run.figure("labels_per_sample"), truth_NC, run.data_name)
        if cached:
            shown = rows[splits.varied_rows(truth_NC, 6)]
            images = [cached[max(cached)][row] for row in shown]
            names = [figures.label_names(index.truth_NC[row]) for row in shown]
            figures.contact_sheet(run.figure("samples"), images, names, run.data_name)
        if run.simulated:
            examples = simulate.class_gallery(256, run.config.simulation.seed)
            figures.class_gallery(
                run.figure("classes"),
                examples,
                "Simulated cells: one example of each class, brightened for display",
            )
        step.finish()
        say(f"figures in {run.folder / 'figures'}")


if __name__ == "__main__":
    stage.run(main)
