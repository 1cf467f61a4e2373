"""Stage 04: choose each class's threshold on validation, and evaluate every predictor.

Reads   outputs/<run>/predictions/<predictor>/, split.csv, statistics.json; with a hierarchy also its
        networks/<network>/*.npz
Writes  outputs/<run>/thresholds/<predictor>.json, evaluation/<predictor>_{classes,summary,reliability}.csv
        and {predictors,confusions}.csv, figures/{f1,scores}_<predictor>.png and
        {predictors,reliability,confusions}.png; with --add, --merge or an ensemble
        predictions/<predictor>/; with a hierarchy evaluation/{groups,within_groups}.csv and
        figures/{groups,within_groups,advantages}.png; for a paper's preset evaluation/table_1.csv,
        section_6_3.csv and figures/macro_f1_over_epochs.png, or evaluation/averages.csv
Run     python 04_threshold.py --preset demo
"""

from pathlib import Path

from lib import cli
from lib.console import info
from lib.names import check_name


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--add",
        nargs="+",
        metavar=("NAME", "FILE"),
        help="add external predictions: CSV files with ids, or npy",
    )
    parser.add_argument("--merge", nargs="+", metavar="RUN", help="create this run by averaging other runs")
    run = cli.start(parser, argv)
    from lib.data.run_data import RunData  # this and the following take seconds to import
    from lib.evaluation import ensemble, external_scores, merge_runs, predictions, predictor_scores
    from lib.report import paper_tables
    from lib.report.run_report import RunReport

    folder = run.folder / "predictions"
    with run.lock():
        merged = [run.folder.parent / check_name(name, "--merge") for name in run.options.merge or ()]
        if merged:
            merge_runs.start(merged, run.folder)
            run.save_invocation(merge=run.options.merge)
        data = RunData.read(run)
        report = RunReport.of(run, data)
        ids = {subset: data.ids(subset) for subset in data.predicted_subsets}
        if merged:
            means = merge_runs.merge(merged, folder, ids, run.config.ensemble.members)
            info(f"merged {len(merged)} runs: {', '.join(means)}")
        if run.options.add:
            name, *paths = run.options.add
            counts = external_scores.add(folder, name, [Path(path) for path in paths], data.index, ids)
            info(f"{name}: " + ", ".join(f"{count:,} {subset}" for subset, count in counts.items()))
        names = ensemble.update(run, data, predictions.list_predictors(folder), bool(run.options.add))
        for name in names:
            if not report.evaluate(name):
                info(f"thresholds and evaluation of {name} are up to date")
        report.compare(names)
        table = predictor_scores.side_by_side(run.folder, names)
        info(predictor_scores.describe(table, report.subset, len(data.classes), report.settings.fixed))
        for text in paper_tables.write(report, table):
            info(text)


if __name__ == "__main__":
    cli.run(main)
