"""Stage 05: decide for the test samples, write Kaggle's file and check it.

Reads   outputs/<run>/predictions/<predictor>/test.npz, thresholds/<predictor>.json
Writes  outputs/<run>/submission.csv
Run     python 05_submit.py --preset demo
"""

from lib import artifacts, samples, stage
from lib.console import say


def main(argv: list[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--predictor", help="whose predictions; default: the best by macro-F1 on validation")
    run = stage.begin(parser, argv)
    from lib.results import evaluation, hierarchy, predictions, submission, thresholds

    with run.hold():
        index = samples.read_index(run.index)
        predictor = run.options.predictor or evaluation.best_predictor(run.folder / "evaluation")
        test_npz = artifacts.require(run.predictions(predictor, "test"), "02_train_cnn.py")
        thresholds_json = artifacts.require(run.thresholds(predictor), "04_threshold.py")
        submission_csv = run.folder / "submission.csv"
        settings, inputs = run.config.threshold, stage.prints(run.index, test_npz, thresholds_json)
        parts = hierarchy.Parts.of(run.folder, run.config, index) if settings.consistent else None
        if parts:
            inputs |= stage.prints(parts.groups_said("test"))
        step = run.step("05_submit", ["threshold"], inputs, [submission_csv])
        if step.done(run.force):
            say(f"{submission_csv} is up to date")
            decision_NC = submission.check(submission_csv, index.test_ids)
        else:
            probabilities_NC = predictions.load(test_npz).rows_of(index.test_ids, "sample_submission.csv")
            allowed_NC = parts.allowed_NC("test") if parts else None
            decision_NC = thresholds.submitted(
                probabilities_NC, thresholds.load(thresholds_json, "test"), settings.max_labels, allowed_NC
            )
            submission.replace_unseen(decision_NC, index, run.bad_images)
            decision_NC = submission.write(submission_csv, index.test_ids, decision_NC)
            step.finish(predictor=predictor)
        say(f"{len(decision_NC):,} rows, {decision_NC.sum(axis=1).mean():.2f} labels a row, by {predictor}")
        if run.solution.exists():
            scores = submission.score(index.test_ids, decision_NC, run.solution)
            say(f"macro-F1 that Kaggle would give, {run.data_name}: "
                + ", ".join(f"{name.lower()} {score:.4f}" for name, score in scores.items()))  # fmt: skip
        say(f"submission: {submission_csv}")


if __name__ == "__main__":
    stage.run(main)
