"""Stage 05: decide for the test samples, write Kaggle's file and the report.

Reads   outputs/<run>/predictions/<predictor>/test.npz, thresholds/<predictor>.json
Writes  outputs/<run>/submission.csv, figures/{submission,schedules,network_<network>}.png, examples/,
        report.html; with --compare evaluation/comparison.csv
Run     python 05_submit.py --preset demo
"""

import shlex
from pathlib import Path

from lib import cli, files
from lib.console import info
from lib.errors import UserError


def main(argv: list[str] | None = None) -> str:
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--predictor", help="the predictor to submit; default: the best by macro-F1 on validation")
    add("--no-report", action="store_true", help="only the submission: without torch, in seconds")
    add("--compare", type=Path, metavar="FILE", help="compare with another submission")
    add("--known-labels", type=Path, metavar="FILE", help="score on test samples listed in it (Id,Target)")
    add("--upload", action="store_true", help="upload the file with Kaggle's own client")
    add("-m", "--message", help="of the upload; default: run and predictor")
    run = cli.start(parser, argv)
    if run.options.upload and run.is_simulated:
        raise UserError("--upload: these are simulated cells, whose ids Kaggle does not know")
    from lib.data.run_data import RunData  # this and the following take seconds to import
    from lib.evaluation import known_labels, predictor_scores, submission
    from lib.report.run_report import RunReport

    with run.lock():
        report = RunReport.of(run, RunData.read(run))
        predictor = predictor_scores.select_predictor(run.folder, run.options.predictor)
        decision_NC = report.submit(predictor)
        info(f"{len(decision_NC):,} rows, {decision_NC.sum(1).mean():.2f} labels per row, by {predictor}")
        scores, known = {}, known_labels.score(run, report.data.ids("test"), decision_NC)
        if run.solution.exists():
            scores = submission.score(report.data.ids("test"), decision_NC, run.solution)
            listed = ", ".join(f"{name.lower()} {score:.4f}" for name, score in scores.items())
            info(f"macro-F1 scored as on Kaggle, {run.data_name}: {listed}")
        if run.options.compare:
            compare(report, predictor, decision_NC)
        if not run.options.no_report:
            from lib.report import example_images, method_figures, page

            example_images.draw_examples(report, predictor)
            method_figures.draw(report)
            page.write(report, page.Submission(predictor, decision_NC, scores, known))
        message = run.options.message or f"{run.folder.name}, {predictor}"
        if run.options.upload:
            info(submission.upload(run.submission, message))
        elif not run.is_simulated:
            info(f"to upload it: {shlex.join(submission.upload_command(run.submission, message))}")
        return submission.ending(run.submission, run.report, run.is_simulated, run.options.upload)


def compare(report, predictor: str, decision_NC) -> None:
    """Compare the submission with the file that --compare names."""
    from lib.evaluation import submission

    run, other = report.run, report.run.options.compare
    other_NC = submission.read_other(other, report.data.ids("test"))
    calibrated_NC = report.predictor(predictor).calibrated_NC("test")
    table = submission.compare(decision_NC, other_NC, calibrated_NC)
    files.write_csv(run.evaluation("comparison"), table)
    info(submission.describe_comparison(table, decision_NC, other_NC, other))


if __name__ == "__main__":
    cli.run(main)
