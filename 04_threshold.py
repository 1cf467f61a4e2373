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
    run = stage.begin(stage.parser(__doc__), argv)
    from lib.results import evaluation, hierarchy, papers, predictions, score_figures, thresholds

    settings, folder = run.config.threshold, run.folder / "evaluation"
    with run.hold():
        index = samples.read_index(run.index)
        parts = hierarchy.Parts.of(run.folder, run.config, index)
        subsets, classes = parts.subsets, parts.classes
        judge = "holdout" if "holdout" in subsets else "validation"
        on = f"{judge}, {run.data_name}"
        used = [Path(settings.frequencies)] if settings.frequencies not in ("training", "estimated") else []
        frequency_C = index.truth_NC[subsets["train"]].mean(axis=0)
        if used:
            frequency_C = thresholds.read_frequencies(settings.frequencies, frequency_C)
        if settings.consistent:
            used += [parts.groups_said(subset) for subset in (*subsets, "test")]
        predictors = predictions.predictors(run.folder / "predictions")
        for predictor in predictors:
            tables = {
                subset: artifacts.require(run.predictions(predictor, subset), "02_train_cnn.py")
                for subset in (*subsets, "test")
            }
            classes_csv, summary_csv = (run.evaluation(predictor, name) for name in ("classes", "summary"))
            inputs = stage.prints(run.index, run.split, run.statistics, *tables.values(), *used)
            outputs = [run.thresholds(predictor), classes_csv, summary_csv]
            step = run.step(f"04_threshold {predictor}", ["threshold"], inputs, outputs)
            if step.done(run.force):
                say(f"thresholds and evaluation of {predictor} are up to date in {run.folder}")
                continue
            judged = {
                subset: evaluation.join(
                    predictions.load(tables[subset]), index, rows, subset,
                    parts.allowed_NC(subset) if settings.consistent else None,
                )
                for subset, rows in subsets.items()
            }  # fmt: skip
            said = {subset: part.probabilities_NC for subset, part in judged.items()}
            said["test"] = predictions.load(tables["test"]).probabilities_NC
            known = thresholds.Known(judged["validation"].truth_NC, said["validation"], frequency_C)
            rule = thresholds.choose(known, settings)
            chosen = {subset: rule(probabilities_NC) for subset, probabilities_NC in said.items()}
            per_class, summary = evaluation.evaluate(judged, chosen, settings, classes)
            artifacts.write_json(run.thresholds(predictor), thresholds.as_table(chosen))
            artifacts.write_csv(classes_csv, per_class)
            artifacts.write_csv(summary_csv, summary)
            score_figures.class_f1(run.figure(f"f1_{predictor}"), per_class, judge, f"{predictor}: {on}")
            at_fixed = per_class[(per_class["subset"] == judge) & (per_class["decision"] == "fixed")]
            title = f"{predictor}, {settings.fixed:g} for all classes: {on}"
            score_figures.class_scores(run.figure(f"scores_{predictor}"), at_fixed, parts.groups, title)
            step.finish()

        table = evaluation.side_by_side(folder, predictors)
        artifacts.write_csv(folder / "predictors.csv", table)
        score_figures.predictors(run.figure("predictors"), table, judge, settings.fixed, f"Predictors: {on}")
        say(evaluation.describe(table, judge, len(classes), settings.fixed))
        if run.config.hierarchy.train in ("stages", "all"):
            baseline = next(iter(run.config.networks))
            parts.report(run.folder, judge, baseline, settings.fixed, on)
        if run.config.name == "liu":
            scores = evaluation.test_scores(run.folder, index, run.solution, settings)
            rows = papers.liu_table(run.folder, scores)
            artifacts.write_csv(folder / "table_1.csv", rows)
            say(papers.describe_liu(rows, run.data_name))
        if run.config.name == "hoogenboom":
            rows = papers.hoogenboom_table(table, judge)
            artifacts.write_csv(folder / "averages.csv", rows)
            say(papers.describe_hoogenboom(rows, on))


if __name__ == "__main__":
    stage.run(main)
