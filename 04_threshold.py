"""Stage 04: choose each class's threshold on validation, and judge every predictor.

Reads   outputs/<run>/predictions/<predictor>/, split.csv, statistics.json; with a hierarchy also its
        networks/<network>/*.npz
Writes  outputs/<run>/thresholds/<predictor>.json, evaluation/<predictor>_{classes,summary,reliability}.csv
        and {predictors,confusions}.csv, figures/{f1,scores}_<predictor>.png and
        {predictors,reliability,confusions}.png; with --add, --join or an ensemble
        predictions/<predictor>/; with a hierarchy evaluation/{groups,within_groups}.csv and
        figures/{groups,within_groups,advantages}.png; for a paper's preset evaluation/table_1.csv or
        averages.csv
Run     python 04_threshold.py --preset demo
"""

from pathlib import Path

from lib import cli, files
from lib.console import say
from lib.data import sample_index


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--add",
        nargs="+",
        metavar=("NAME", "FILE"),
        help="take scores made elsewhere as a predictor: CSV files with ids, or npy",
    )
    parser.add_argument("--join", nargs="+", metavar="RUN", help="make this run of others: folds, or seeds")
    run = cli.begin(parser, argv)
    from lib.evaluation import ensemble, external_scores, merge_runs, predictions, predictor_scores
    from lib.hierarchy import evaluation
    from lib.report import paper_tables, run_report

    settings, folder = run.config.ensemble, run.folder / "predictions"
    again = run.force or bool(run.options.add)  # an ensemble of all is to have the one that is added
    with run.hold():
        index = sample_index.read_index(run.index)
        if run.options.join:
            runs = [run.folder.parent / name for name in run.options.join]
            merge_runs.begin(runs, run.folder, index)
            run.remember(run.options.join)
        parts = evaluation.Parts.of(run.folder, run.config, index)
        judge = run_report.Judge.of(run.folder, parts, run.config.threshold, run.data_name)
        ids = {subset: parts.ids(subset) for subset in (*parts.subsets, "test")}
        if run.options.join:
            names = merge_runs.join(runs, folder, ids)
            say(f"joined {len(runs)} runs: {', '.join(names)}")
        if run.options.add:
            name, *paths = run.options.add
            counts = external_scores.add(folder, name, [Path(file) for file in paths], index, ids)
            say(f"{name}: " + ", ".join(f"{count:,} {subset}" for subset, count in counts.items()))
        predictors = predictions.predictors(folder)
        members = ensemble.choose_members(settings.members, predictors)
        if members:
            inputs = cli.prints(*(p for m in members for p in judge.tables(m).values()), folders=True)
            outputs = [run.predictions(ensemble.NAME, subset) for subset in ids if subset != "train"]
            step = run.step("04_threshold join", ["ensemble"], inputs, outputs)
            if not step.done(again):
                truth_NC = index.truth_NC[parts.subsets["validation"]]
                weights = ensemble.make(folder, members, settings.method, ids, truth_NC)
                step.finish(weights=weights)
                say("weights in the ensemble: "
                    + ", ".join(f"{name} {share:.2f}" for name, share in weights.items()))  # fmt: skip
            predictors = sorted({*predictors, ensemble.NAME})
        extra = cli.prints(*judge.extra_inputs, folders=True)
        for predictor in predictors:
            inputs = cli.prints(run.index, run.split, run.statistics, *judge.tables(predictor).values())
            outputs = judge.outputs(predictor)
            step = run.step(f"04_threshold {predictor}", ["threshold"], inputs | extra, outputs)
            if step.done(again):
                say(f"thresholds and evaluation of {predictor} are up to date")
            else:
                judge.judge(predictor)
                step.finish()
        judged = (
            run.evaluation(name, kind)
            for name in predictors
            for kind in ("summary", "classes", "reliability")
        )
        step = run.step("04_threshold all", ["threshold"], cli.prints(*judged) | extra, judge.drawn)
        if not step.done(again, anew=True):
            judge.compare(predictors)
            if run.config.hierarchy.train in ("stages", "all"):
                judge.judge_hierarchy(next(iter(run.config.networks)))
            step.finish()
        table = predictor_scores.side_by_side(run.folder / "evaluation", predictors)
        say(predictor_scores.describe(table, judge.subset, len(parts.classes), judge.settings.fixed))
        ours = paper_tables.Ours(judge, run.solution, table)
        for name, rows, text in ours.beside_theirs(run.config.name):
            files.write_csv(run.folder / "evaluation" / f"{name}.csv", rows)
            say(text)


if __name__ == "__main__":
    cli.run(main)
