import os
from pathlib import Path

import numpy as np
import pytest

from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.evaluation import submission
from lib.labels import CLASSES, target_matrix

IDS = ["t3", "t1", "t2"]
DECISIONS = target_matrix([(0, 25), (27,), (3,)])


def test_a_submission_is_written_in_order_and_read_back(tmp_path):
    path = tmp_path / "submission.csv"
    assert np.array_equal(submission.write(path, IDS, DECISIONS), DECISIONS)
    assert path.read_text() == "Id,Predicted\nt3,0 25\nt1,27\nt2,3\n"
    assert np.array_equal(submission.check(path, IDS), DECISIONS)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (None, ("is missing", "Id,Predicted")),
        ("Id,Target\n", ("Id,Target", "Id,Predicted")),
        ("Id,Predicted\nt3,0\nt1,1\n", ("2 rows", "3", "sample_submission.csv")),
        ("Id,Predicted\nt3,0\nt2,1\nt1,1\n", ("line 3", "t2", "t1", "sample_submission.csv")),
        ("Id,Predicted\nt3,0\nt3,1\nt2,1\n", ("line 3", "t3", "t1")),
        ("Id,Predicted\nt3,0\nt1,\nt2,1\n", ("line 3", "no label", "0-27")),
        ("Id,Predicted\nt3,0\nt1,28\nt2,1\n", ("line 3", "28", "0-27")),
    ],
)
def test_what_kaggle_would_reject_is_an_error(tmp_path, text, pieces):
    path = tmp_path / "submission.csv"
    if text:
        path.write_text(text)
    with pytest.raises(UserError) as error:
        submission.check(path, IDS)
    assert all(piece in str(error.value) for piece in ("submission.csv", *pieces))


def test_score_is_macro_f1_over_all_classes_by_usage(tmp_path):
    solution = tmp_path / "solution.csv"
    solution.write_text(
        "Id,Target,Usage,Antibody\nx,5,Train,1\nt1,27,Private,2\nt2,4,Private,3\nt3,0 4,Public,4\n"
    )
    scores = submission.score(IDS, DECISIONS, solution)
    # public: 0 found, 4 missed, 25 wrong; private: 27 found, 4 missed, 3 wrong
    assert scores == pytest.approx({"Public": 1 / 28, "Private": 1 / 28, "All": 2 / 28})
    assert list(scores) == ["Public", "Private", "All"]
    wrong_NC = target_matrix([(0, 4), (1,), (1,)])
    assert submission.score(IDS, wrong_NC, solution) == pytest.approx(
        {"Public": 2 / 28, "Private": 0, "All": (1 + 2 / 3) / 28}
    )
    solution.write_text("Id,Target,Usage\nt1,27,Private\n")
    with pytest.raises(UserError, match=r"solution.csv.*t3"):
        submission.score(IDS, DECISIONS, solution)


def test_two_submissions_are_compared_by_hand():
    ours_NC, theirs_NC = target_matrix([(0,), (0, 1), (1,)]), target_matrix([(0,), (1,), (2,)])
    calibrated_NC = np.zeros((3, 28))
    calibrated_NC[:, 0] = [1.0, 0.5, 0.1]
    table = submission.compare(ours_NC, theirs_NC, calibrated_NC).set_index("class")
    row = table.loc["Nucleoplasm"]
    assert row[["ours", "theirs", "both", "agreement"]].tolist() == [2, 1, 1, 0.5]
    assert row["expected_f1_ours"] == pytest.approx(2 * 1.5 / (2 + 1.6))
    assert row["expected_f1_theirs"] == pytest.approx(2 * 1 / (1 + 1.6))
    assert table.loc["Cytosol", "agreement"] == 1  # predicted by neither


def test_a_comparison_is_described_by_the_classes_that_agree_least():
    ours_NC, theirs_NC = target_matrix([(0,), (0, 1), (1,)]), target_matrix([(0,), (1,), (2,)])
    calibrated_NC = np.full((3, 28), 0.5)
    calibrated_NC[:, 0] = [1.0, 0.5, 0.1]
    table = submission.compare(ours_NC, theirs_NC, calibrated_NC)
    summary, header, *rows = submission.describe_comparison(
        table, ours_NC, theirs_NC, Path("o.csv")
    ).splitlines()
    ours, theirs = table["expected_f1_ours"].mean(), table["expected_f1_theirs"].mean()
    assert "o.csv" in summary and "2 of 3 rows" in summary
    assert f"ours {ours:.4f}, theirs {theirs:.4f} ({ours - theirs:+.4f})" in summary
    assert header.split()[-4:] == ["ours", "theirs", "both", "agreement"]
    assert [line.split() for line in rows] == [
        ["Nucleoli", "0", "1", "0", "0.00"],
        ["Nucleoplasm", "2", "1", "1", "0.50"],
        ["Nuclear", "membrane", "2", "1", "1", "0.50"],
    ]
    same = submission.compare(ours_NC, ours_NC, calibrated_NC)
    assert len(submission.describe_comparison(same, ours_NC, ours_NC, Path("o.csv")).splitlines()) == 1


def test_class_shares_are_percentages():
    training_NC = target_matrix([(0,), (0, 25), (25,), (0,)])
    shares = submission.class_shares(training_NC, DECISIONS[:2])
    assert list(shares.index) == list(CLASSES) and list(shares) == ["training set", "submission"]
    assert shares.loc["Nucleoplasm"].tolist() == [75, 50] and shares.loc["Cytosol"].tolist() == [50, 50]
    assert shares.loc["Rods & rings"].tolist() == [0, 50]


def test_samples_without_usable_images_get_the_most_frequent_class(tmp_path, capsys):
    index = SampleIndex(["a", "b", "c"], [(4,), (4, 2), (1,)], IDS)
    bad_images = tmp_path / "bad_images.csv"
    decision_NC = DECISIONS.copy()
    submission.fill_unusable(decision_NC, index, bad_images)
    assert np.array_equal(decision_NC, DECISIONS)
    bad_images.write_text("subset,id,file,reason\ntrain,t3,x,y\ntest,t1,t1_red.png,is missing\n")
    submission.fill_unusable(decision_NC, index, bad_images)
    assert np.flatnonzero(decision_NC[1]).tolist() == [4]
    assert np.array_equal(decision_NC[[0, 2]], DECISIONS[[0, 2]])
    warning = capsys.readouterr().err
    assert "1 test samples" in warning and CLASSES[4] in warning


def fake_kaggle(folder, monkeypatch, text, code):
    """Install a program called kaggle that records its arguments."""
    program = folder / "kaggle"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/arguments\necho "{text}"\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_kaggles_client_uploads_the_file(tmp_path, monkeypatch):
    fake_kaggle(tmp_path, monkeypatch, "Successfully submitted", 0)
    assert submission.upload(Path("out/submission.csv"), "my best") == "Successfully submitted"
    assert (tmp_path / "arguments").read_text().splitlines() == [
        "competitions", "submit", "-c", "human-protein-atlas-image-classification", "-f",
        "out/submission.csv", "-m", "my best",
    ]  # fmt: skip


def test_without_the_client_or_its_key_the_command_is_shown(tmp_path, monkeypatch):
    by_hand = "-f submission.csv -m 'my best'"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pip install kaggle") as error:
        submission.upload(Path("submission.csv"), "my best")
    assert str(error.value).endswith(by_hand)
    monkeypatch.undo()
    fake_kaggle(tmp_path, monkeypatch, "401 Unauthorized", 1)
    with pytest.raises(UserError, match="401 Unauthorized") as error:
        submission.upload(Path("submission.csv"), "my best")
    assert str(error.value).endswith(by_hand)


def test_a_run_ends_with_where_its_results_are_and_what_to_do_next(tmp_path):
    path, report = tmp_path / "submission.csv", tmp_path / "report.html"
    upload, simulated = submission.COMPETITION, "`bash run_all.sh`"
    line = submission.ending(path, report, simulated=False, uploaded=False)
    assert str(path) in line and line.endswith(upload) and "report" not in line
    line = submission.ending(path, report, simulated=True, uploaded=False)
    assert line.endswith(simulated) and upload not in line
    report.touch()
    line = submission.ending(path, report, simulated=False, uploaded=True)
    assert str(report) in line and upload not in line and simulated not in line
