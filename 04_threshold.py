"""Stage 04: choose each class's threshold on validation, and judge every predictor.

Reads   outputs/<run>/predictions/<predictor>/, split.csv, statistics.json
Writes  outputs/<run>/thresholds/<predictor>.json, evaluation/<predictor>_{classes,summary}.csv,
        figures/f1_<predictor>.png; preset liu: evaluation/table_1.csv
Run     python 04_threshold.py --preset demo
"""

from lib import artifacts, samples, stage
from lib.console import say


def main(argv: list[str] | None = None) -> None:
    run = stage.begin(stage.parser(__doc__), argv)
    from lib.results import evaluation, figures, papers, predictions, thresholds

    settings = run.config.threshold
    with run.hold():
        index = samples.read_index(run.index)
        subsets = samples.read_subsets(run.split, index)
        classes = artifacts.read_json(artifacts.require(run.statistics, "00_prepare.py"))["classes"]
        for predictor in predictions.predictors(run.folder / "predictions"):
            tables = {
                subset: artifacts.require(run.predictions(predictor, subset), "02_train_cnn.py")
                for subset in subsets
            }
            classes_csv, summary_csv = (run.evaluation(predictor, name) for name in ("classes", "summary"))
            inputs = stage.prints(run.index, run.split, run.statistics, *tables.values())
            outputs = [run.thresholds(predictor), classes_csv, summary_csv]
            step = run.step(f"04_threshold {predictor}", ["threshold"], inputs, outputs)
            if step.done(run.force):
                say(f"thresholds and evaluation of {predictor} are up to date in {run.folder}")
                continue
            judged = {
                subset: evaluation.join(predictions.load(tables[subset]), index, rows, subset)
                for subset, rows in subsets.items()
            }
            thresholds_C = thresholds.tune(*judged["validation"], settings)
            per_class, summary = evaluation.evaluate(judged, thresholds_C, settings.fixed, classes)
            artifacts.write_json(run.thresholds(predictor), thresholds.as_table(thresholds_C))
            artifacts.write_text(classes_csv, per_class.round(6).to_csv(index=False))
            artifacts.write_text(summary_csv, summary.round(6).to_csv(index=False))
            judge = "holdout" if "holdout" in subsets else "validation"
            figures.class_f1(
                run.figure(f"f1_{predictor}"), per_class, judge, f"{predictor}: {judge}, {run.data_name}"
            )
            step.finish()
            say(evaluation.describe(predictor, summary, len(classes), settings.fixed))
        if run.config.name == "liu":
            scores = evaluation.test_scores(run.folder, index, run.solution, settings.fixed)
            table = papers.liu_table(run.folder, scores)
            artifacts.write_text(
                run.folder / "evaluation" / "table_1.csv", table.round(6).to_csv(index=False)
            )
            say(papers.describe(table, run.data_name))


if __name__ == "__main__":
    stage.run(main)
