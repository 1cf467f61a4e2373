"""Stage 05: decide for the test samples, write Kaggle's file and check it.

Reads   outputs/<run>/predictions/<predictor>/test.npz, thresholds/<predictor>.json
Writes  outputs/<run>/submission.csv, figures/submission.png, pictures/, report.html; with --compare
        evaluation/comparison.csv
Run     python 05_submit.py --preset demo
"""

import shlex
from pathlib import Path

from lib import cli, files
from lib.console import say
from lib.data import sample_index
from lib.errors import UserError


def main(argv: list[str] | None = None) -> str:
    parser = cli.parser(__doc__)
    parser.add_argument("--predictor", help="whose predictions; default: the best by macro-F1 on validation")
    parser.add_argument("--no-report", action="store_true", help="only the submission: no torch, in seconds")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="no submission: say of new images where their proteins are",
    )
    parser.add_argument("--compare", type=Path, metavar="FILE", help="say what differs from this submission")
    parser.add_argument("--upload", action="store_true", help="send the file with Kaggle's own client")
    parser.add_argument("-m", "--message", default="", help="of the upload; default: run and predictor")
    run = cli.begin(parser, argv)
    if run.options.upload and run.on_simulated:
        raise UserError("--upload: these are simulated cells, whose ids Kaggle does not know")
    from lib.evaluation import kaggle_client, predictions, predictor_scores, submission, thresholds
    from lib.figures import scores
    from lib.hierarchy import evaluation
    from lib.report.run_report import Judge

    with run.hold():
        index = sample_index.read_index(run.index)
        parts = evaluation.Parts.of(run.folder, run.config, index)
        test_scores: dict[str, float] = {}
        predictor = run.options.predictor or predictor_scores.best_predictor(run.folder / "evaluation")
        if run.options.images:
            from lib.learning import own_images

            shown = own_images.classify(run, run.options.images, predictor)
            return f"page: {shown} (open it in a browser)"
        test_npz = files.require(run.predictions(predictor, "test"), "02_train_cnn.py")
        thresholds_json = files.require(run.thresholds(predictor), "04_threshold.py")
        submission_csv, figure = run.folder / "submission.csv", run.figure("submission")
        settings, inputs = run.config.threshold, cli.prints(run.index, test_npz, thresholds_json)
        if settings.consistent:
            inputs |= cli.prints(parts.groups_said("test"), folders=True)
        step = run.step("05_submit", ["threshold"], inputs, [submission_csv, figure])
        if step.done(run.force):
            say(f"{submission_csv} is up to date")
            decision_NC = submission.check(submission_csv, index.test_ids)
        else:
            probabilities_NC = predictions.load(test_npz).rows_of(index.test_ids, "sample_submission.csv")
            thresholds_C = thresholds.load(thresholds_json, "test")
            decision_NC = predictor_scores.submitted(probabilities_NC, thresholds_C, settings, parts, "test")
            submission.replace_unseen(decision_NC, index, run.bad_images)
            decision_NC = submission.write(submission_csv, index.test_ids, decision_NC)
            shares = submission.class_shares(parts.training_NC, decision_NC)
            scores.class_shares(figure, shares, parts.groups, f"Labels given by {predictor}: {run.data_name}")
            step.finish(predictor=predictor)
        say(f"{len(decision_NC):,} rows, {decision_NC.sum(axis=1).mean():.2f} labels a row, by {predictor}")
        if run.solution.exists():
            test_scores = submission.score(index.test_ids, decision_NC, run.solution)
            say(f"macro-F1 that Kaggle would give, {run.data_name}: "
                + ", ".join(f"{one.lower()} {score:.4f}" for one, score in test_scores.items()))  # fmt: skip
        if run.options.compare:
            other_NC = submission.check(run.options.compare, index.test_ids)
            tables = predictions.tables(run.folder / "predictions" / predictor, ["validation", "test"])
            _, said = predictor_scores.with_calibrated(tables, parts, "test")
            table = submission.compare(decision_NC, other_NC, said["calibrated"])
            files.write_csv(run.folder / "evaluation" / "comparison.csv", table)
            say(submission.describe_comparison(table, decision_NC, other_NC, run.options.compare))
        if not run.options.no_report:
            from lib.report import (
                example_images,  # the images and torch, where pictures are to be drawn
                page,
            )

            judge = Judge.of(run.folder, parts, run.config.threshold, run.data_name)
            example_images.make(run, judge, predictor)
            page.write(run.report, page.Facts(
                judge, run.config, run.begun, predictor, decision_NC, test_scores, run.on_simulated,
                run.shared_manifests,
            ))  # fmt: skip
        message = run.options.message or f"{run.folder.name}, {predictor}"
        if run.options.upload:
            say(kaggle_client.upload(submission_csv, message))
        elif not run.on_simulated:
            say(f"to send it: {shlex.join(kaggle_client.command(submission_csv, message))}")
        return submission.ending(submission_csv, run.report, run.on_simulated, run.options.upload)


if __name__ == "__main__":
    cli.run(main)
