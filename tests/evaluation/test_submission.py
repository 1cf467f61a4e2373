import os
from pathlib import Path

import numpy as np
import pytest

from lib.config import Threshold
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation import kaggle_client, predictions, predictor_scores, submission
from lib.evaluation.predictions import PredictionTable
from lib.labels import target_matrix

IDS = ["t3", "t1", "t2"]
DECISIONS = target_matrix([(0, 25), (27,), (3,)])


def test_a_submission_is_written_in_order_and_read_back(tmp_path):
    path = tmp_path / "submission.csv"
    submission.write(path, IDS, DECISIONS)
    assert path.read_text() == "Id,Predicted\nt3,0 25\nt1,27\nt2,3\n"
    assert np.array_equal(submission.check(path, IDS), DECISIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Id,Target\n", r"has the columns Id,Target; expected Id,Predicted"),
        ("Id,Predicted\nt3,0\nt1,1\n", r"has 2 rows; expected 3, one an id of sample_submission.csv"),
        ("Id,Predicted\nt3,0\nt2,1\nt1,1\n", r"line 3: Id t2, expected t1 as in sample_submission.csv"),
        ("Id,Predicted\nt3,0\nt3,1\nt2,1\n", r"line 3: Id t3, expected t1"),
        ("Id,Predicted\nt3,0\nt1,\nt2,1\n", r"line 3: Predicted has no label"),
        ("Id,Predicted\nt3,0\nt1,28\nt2,1\n", r"line 3: Predicted label 28 is out of range"),
    ],
)
def test_what_kaggle_would_refuse_is_refused(tmp_path, text, message):
    path = tmp_path / "submission.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        submission.check(path, IDS)


def test_score_is_macro_f1_over_all_classes_by_usage(tmp_path):
    solution = tmp_path / "solution.csv"
    solution.write_text(
        "Id,Target,Usage,Antibody\nx,5,Train,1\nt1,27,Private,2\nt2,4,Private,3\nt3,0,Public,4\n"
    )
    scores = submission.score(IDS, DECISIONS, solution)
    # public: class 0 right, class 25 wrongly given; private: 27 right, 3 for 4
    assert scores == pytest.approx({"Public": 1 / 28, "Private": 1 / 28, "All": 2 / 28})
    solution.write_text("Id,Target,Usage\nt1,27,Private\n")
    with pytest.raises(UserError, match="has no answer for t3"):
        submission.score(IDS, DECISIONS, solution)


def test_a_run_ends_with_where_everything_is_and_what_to_do_next(tmp_path):
    path, report = tmp_path / "submission.csv", tmp_path / "report.html"
    upload = "next: upload the submission at kaggle.com/c/human-protein-atlas-image-classification"
    simulated = "next: put Kaggle's files in data/, then run `bash run_all.sh`"
    assert submission.ending(path, report, False, False) == f"submission: {path} · {upload}"
    assert submission.ending(path, report, True, False) == f"submission: {path} · {simulated}"
    report.touch()
    both = f"submission: {path} · report: {report} (open it in a browser)"
    assert submission.ending(path, report, True, False) == f"{both} · {simulated}"
    assert submission.ending(path, report, False, True) == both


def test_ids_without_images_get_the_most_frequent_class(tmp_path, capsys):
    index = Index(["a", "b", "c"], [(4,), (4, 2), (1,)], IDS)
    bad_images = tmp_path / "bad_images.csv"
    decision_NC = DECISIONS.copy()
    submission.replace_unseen(decision_NC, index, bad_images)
    assert np.array_equal(decision_NC, DECISIONS)
    bad_images.write_text("subset,id,file,reason\ntrain,t3,x,y\ntest,t1,t1_red.png,is missing\n")
    submission.replace_unseen(decision_NC, index, bad_images)
    assert np.flatnonzero(decision_NC[1]).tolist() == [4]
    assert np.array_equal(decision_NC[[0, 2]], DECISIONS[[0, 2]])
    assert (
        "1 test ids without a usable image are given the most frequent class, Nuclear spe"
        in capsys.readouterr().err
    )


def table(ids=("a", "b"), value=0.5):
    return PredictionTable(list(ids), np.full((len(ids), 28), value, np.float32))


def test_prediction_tables_survive_their_file(tmp_path):
    path = tmp_path / "p" / "validation.npz"
    predictions.save(path, table())
    loaded = predictions.load(path)
    assert loaded.ids == ["a", "b"] and np.array_equal(loaded.probabilities_NC, table().probabilities_NC)
    first = path.read_bytes()
    predictions.save(path, table())
    assert path.read_bytes() == first
    assert predictions.predictors(tmp_path) == ["p"]


def test_bad_prediction_tables_are_refused(tmp_path):
    path = tmp_path / "validation.npz"
    with pytest.raises(UserError, match=r"validation.npz is missing: run `python 02_train_cnn.py` first"):
        predictions.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="is no prediction table with ids and probabilities"):
        predictions.load(path)
    np.savez(path, ids=np.array(["a"]), probabilities=np.zeros((1, 27)))
    with pytest.raises(UserError, match=r"probabilities have shape \(1, 27\), expected \(1, 28\)"):
        predictions.load(path)
    predictions.save(path, table(("a", "a")))
    with pytest.raises(UserError, match="holds an id twice"):
        predictions.load(path)
    predictions.save(path, table(("a", "b"), np.nan))
    with pytest.raises(UserError, match=r"id a: a value is no probability in \[0, 1\]"):
        predictions.load(path)


def test_rows_are_matched_by_id_never_by_position():
    probabilities_NC = np.arange(3 * 28, dtype=np.float32).reshape(3, 28) / 100
    shuffled = PredictionTable(["c", "a", "b"], probabilities_NC)
    assert np.array_equal(shuffled.rows_of(["c", "b"], "the test"), probabilities_NC[[0, 2]])
    with pytest.raises(UserError, match="no prediction for 1 of the 2 ids of the test, x for one"):
        shuffled.rows_of(["a", "x"], "the test")


def test_classes_that_a_predictor_does_not_know_are_zero():
    table = predictions.of_classes(["a"], np.array([[0.25, 0.75]]), [3, 27])
    expanded_NC = table.probabilities_NC
    assert np.flatnonzero(table.known_C).tolist() == [3, 27]
    assert expanded_NC.shape == (1, 28) and expanded_NC.dtype == np.float32
    assert (expanded_NC[0, 3], expanded_NC[0, 27], expanded_NC.sum()) == (0.25, 0.75, 1.0)


def test_evaluation_by_hand():
    truth_NC = target_matrix([(0,), (1,), (0, 1), (0,)])
    probabilities_NC = np.zeros((4, 28), np.float32)
    probabilities_NC[:, 0] = [0.9, 0.2, 0.4, 0.1]
    probabilities_NC[:, 1] = [0.1, 0.6, 0.2, 0.05]
    thresholds_C = np.full(28, 0.5)
    thresholds_C[0] = 0.3
    judged = {"validation": predictor_scores.Judged(truth_NC, probabilities_NC)}
    per_class, summary = predictor_scores.evaluate(
        judged, {"validation": thresholds_C}, Threshold(fixed=0.5), classes=[0, 1, 2]
    )
    scores = per_class.set_index(["decision", "class"])["f1"]
    # class 0: 1 of 3 found at 0.5; 2 of 3 at 0.3; all 3 when the empty last row gets its best class
    assert [scores[d, "Nucleoplasm"] for d in ("fixed", "tuned", "submitted")] == pytest.approx(
        [0.5, 0.8, 1.0]
    )
    assert scores["tuned", "Nuclear membrane"] == pytest.approx(2 / 3)
    row = summary.set_index("decision").loc["submitted"]
    assert row["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert row["macro_f1_present"] == pytest.approx((1 + 2 / 3) / 2)
    assert row["labels_per_sample"] == 1.0 and row["samples"] == 4


def test_predictors_stand_side_by_side_best_on_top(tmp_path):
    for name, fixed, submitted in (("a", 0.2, 0.3), ("longer_name", 0.1, 0.4)):
        scores = {"fixed": fixed, "tuned": 0.25, "submitted": submitted}.items()
        subsets = ("validation", "holdout")
        rows = [f"{subset},{way},40,{score},0.1,0.5,0.05" for subset in subsets for way, score in scores]
        header = "subset,decision,samples,macro_f1,low,high,guessing_macro_f1"
        (tmp_path / f"{name}_summary.csv").write_text("\n".join([header, *rows]) + "\n")
    table = predictor_scores.side_by_side(tmp_path, ["a", "longer_name"])
    assert list(table)[:3] == ["predictor", "subset", "decision"] and len(table) == 12
    lines = predictor_scores.describe(table, "holdout", 3, 0.5).splitlines()
    assert lines[0] == "macro-F1 over 3 classes on 40 samples of holdout (guessing: 0.050)"
    assert [line.split() for line in lines[1:]] == [
        ["at", "0.5", "tuned", "submitted", "95", "%", "certain"],
        ["longer_name", "0.100", "0.250", "0.400", "0.100", "to", "0.500"],
        ["a", "0.200", "0.250", "0.300", "0.100", "to", "0.500"],
    ]


def test_the_best_predictor_is_the_one_with_the_best_validation(tmp_path):
    with pytest.raises(UserError, match=r"holds no evaluation: run `python 04_threshold.py` first"):
        predictor_scores.best_predictor(tmp_path)
    for name, score in (("a", 0.3), ("b", 0.5), ("c", 0.4)):
        (tmp_path / f"{name}_summary.csv").write_text(
            f"subset,decision,macro_f1\nvalidation,tuned,0.9\nvalidation,submitted,{score}\n"
        )
    assert predictor_scores.best_predictor(tmp_path) == "b"


# other submissions, and Kaggle


def test_two_submissions_are_compared_by_hand():
    ours_NC, theirs_NC = target_matrix([(0,), (0, 1), (1,)]), target_matrix([(0,), (1,), (2,)])
    chances_NC = np.zeros((3, 28))
    chances_NC[:, 0] = [1.0, 0.5, 0.1]
    table = submission.compare(ours_NC, theirs_NC, chances_NC).set_index("class")
    row = table.loc["Nucleoplasm"]
    assert row.tolist()[:4] == [2, 1, 1, 0.5]
    # 2 * 1.5 / (2 + 1.6), and 2 * 1 / (1 + 1.6)
    assert row.tolist()[4:] == pytest.approx([3 / 3.6, 2 / 2.6])
    assert table.loc["Cytosol", "agreement"] == 1
    text = submission.describe_comparison(table.reset_index(), ours_NC, theirs_NC, Path("o.csv"))
    lines = text.splitlines()
    assert lines[0].startswith("against o.csv: 2 of 3 rows differ; macro-F1 that our predictor expects: ")
    assert [line.split()[-4:] for line in lines[2:]] == [
        ["0", "1", "0", "0.00"], ["2", "1", "1", "0.50"], ["2", "1", "1", "0.50"],
    ]  # fmt: skip
    same = submission.compare(ours_NC, ours_NC, chances_NC)
    assert len(submission.describe_comparison(same, ours_NC, ours_NC, Path("o.csv")).splitlines()) == 1


def fake_kaggle(folder, monkeypatch, text, code):
    """A program called kaggle that keeps its arguments."""
    program = folder / "kaggle"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/arguments\necho "{text}"\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_kaggles_client_sends_the_file(tmp_path, monkeypatch):
    fake_kaggle(tmp_path, monkeypatch, "Successfully submitted", 0)
    assert kaggle_client.upload(Path("out/submission.csv"), "my best") == "Successfully submitted"
    assert (tmp_path / "arguments").read_text().splitlines() == [
        "competitions", "submit", "-c", "human-protein-atlas-image-classification", "-f",
        "out/submission.csv", "-m", "my best",
    ]  # fmt: skip


def test_without_the_client_or_its_key_the_command_is_shown(tmp_path, monkeypatch):
    by_hand = "-f submission.csv -m 'my best'"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as refusal:
        kaggle_client.upload(Path("submission.csv"), "my best")
    assert "pip install kaggle" in str(refusal.value) and str(refusal.value).endswith(by_hand)
    monkeypatch.undo()
    fake_kaggle(tmp_path, monkeypatch, "401 Unauthorized", 1)
    with pytest.raises(UserError) as refusal:
        kaggle_client.upload(Path("submission.csv"), "my best")
    assert "Kaggle's client says: 401 Unauthorized" in str(refusal.value)
    assert str(refusal.value).endswith(by_hand)
