"""Stage 04: choose each class's threshold on validation, and judge every predictor.

Reads   outputs/<run>/predictions/<predictor>/, split.csv, statistics.json; with a hierarchy also its
        networks/<network>/*.npz
Writes  outputs/<run>/thresholds/<predictor>.json, evaluation/<predictor>_{classes,summary}.csv,
        evaluation/predictors.csv, figures/{f1,scores}_<predictor>.png, figures/predictors.png; with a
        hierarchy evaluation/{groups,within_groups}.csv and figures/{groups,within_groups,advantages}.png;
        preset liu: evaluation/table_1.csv; preset hoogenboom: evaluation/averages.csv
Run     python 04_threshold.py --preset demo
"""

from pathlib import Path

from lib import artifacts, samples, stage
from lib.console import say


def main(argv: list[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument(
        "--add",
        nargs="+",
        metavar=("NAME", "FILE"),
        help="take scores made elsewhere as a predictor: CSV files with ids, or npy",
    )
    run = stage.begin(parser, argv)
    from lib.results import ensemble, evaluation, foreign, hierarchy, papers, plots, predictions, thresholds

    settings, folder = run.config.threshold, run.folder / "evaluation"
    with run.hold():
        index = samples.read_index(run.index)
        parts = hierarchy.Parts.of(run.folder, run.config, index)
        subsets, classes = parts.subsets, parts.classes
        judge = "holdout" if "holdout" in subsets else "validation"
        on = f"{judge}, {run.data_name}"
        used, frequency_C = {}, index.truth_NC[subsets["train"]].mean(axis=0)
        if settings.frequencies not in ("training", "estimated"):
            frequency_C = thresholds.read_frequencies(settings.frequencies, frequency_C)
            used |= stage.prints(Path(settings.frequencies))
        if settings.consistent:
            used |= stage.prints(*map(parts.groups_said, [*subsets, "test"]), folders=True)
        every, folder_of = [*subsets, "test"], run.folder / "predictions"
        ids = {subset: parts.ids(subset) for subset in every}
        if run.options.add:
            name, *files = run.options.add
            counts = foreign.add(folder_of, name, [Path(file) for file in files], index, ids)
            say(f"{name}: " + ", ".join(f"{count:,} {subset}" for subset, count in counts.items()))
        predictors = predictions.predictors(folder_of)
        members = ensemble.choose_members(run.config.ensemble.members, predictors)
        if members:
            paths = [
                path for name in members for path in predictions.tables(folder_of / name, every).values()
            ]
            outputs = [run.predictions(ensemble.NAME, subset) for subset in every if subset != "train"]
            step = run.step("04_threshold join", ["ensemble"], stage.prints(*paths, folders=True), outputs)
            if not step.done(run.force):
                truth_NC = index.truth_NC[subsets["validation"]]
                weights = ensemble.make(folder_of, members, run.config.ensemble.method, ids, truth_NC)
                step.finish(weights=weights)
                say("ensemble: " + ", ".join(f"{share:.2f} {name}" for name, share in weights.items()))
            predictors = sorted({*predictors, ensemble.NAME})
        for predictor in predictors:
            tables = predictions.tables(folder_of / predictor, every)
            classes_csv, summary_csv = (run.evaluation(predictor, name) for name in ("classes", "summary"))
            inputs = used | stage.prints(run.index, run.split, run.statistics, *tables.values())
            outputs = [run.thresholds(predictor), classes_csv, summary_csv]
            step = run.step(f"04_threshold {predictor}", ["threshold"], inputs, outputs)
            if step.done(run.force):
                say(f"thresholds and evaluation of {predictor} are up to date in {run.folder}")
                continue
            chosen, per_class, summary = evaluation.judge(tables, parts, settings, frequency_C)
            artifacts.write_json(run.thresholds(predictor), thresholds.as_table(chosen))
            artifacts.write_csv(classes_csv, per_class)
            artifacts.write_csv(summary_csv, summary)
            plots.class_f1(run.figure(f"f1_{predictor}"), per_class, judge, f"{predictor}: {on}")
            at_fixed = per_class[(per_class["subset"] == judge) & (per_class["decision"] == "fixed")]
            title = f"{predictor}, {settings.fixed:g} for all classes: {on}"
            plots.class_scores(run.figure(f"scores_{predictor}"), at_fixed, parts.groups, title)
            step.finish()

        table = evaluation.side_by_side(folder, predictors)
        artifacts.write_csv(folder / "predictors.csv", table)
        plots.predictors(run.figure("predictors"), table, judge, settings.fixed, f"Predictors: {on}")
        say(evaluation.describe(table, judge, len(classes), settings.fixed))
        if run.config.hierarchy.train in ("stages", "all"):
            baseline = next(iter(run.config.networks))
            parts.report(run.folder, judge, baseline, settings.fixed, on)
        beside = papers.Ours(run.folder, run.data_name, index, run.solution, settings, table, judge)
        for name, rows, text in beside.theirs(run.config.name):
            artifacts.write_csv(folder / f"{name}.csv", rows)
            say(text)


if __name__ == "__main__":
    stage.run(main)
