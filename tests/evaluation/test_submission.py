import os
import sys
from pathlib import Path

import numpy as np
import pytest

from lib.data.kaggle import BadImage, report_bad_images
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
        ("\ufeffId,Predicted\nt3,0\nt1,1\nt2,2\n", ("line 1", "is not Id,Predicted")),
        ("Id,Predicted,\nt3,0,\nt1,1,\nt2,2,\n", ("line 1", "is not Id,Predicted")),
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
    assert all(piece in str(error.value) for piece in ("submission.csv", "05_submit.py --force", *pieces))


@pytest.mark.parametrize(
    "text",
    [
        "Id,Predicted\nt1,27\nt2,3\nt3,25 0\n",
        "note,Predicted,Id\n,27,t1\n,3,t2\n,0 25,t3\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_another_submission_is_read_by_id_in_any_order(tmp_path, text, encoding):
    (tmp_path / "other.csv").write_bytes(text.encode(encoding))
    assert np.array_equal(submission.read_other(tmp_path / "other.csv", IDS), DECISIONS)


def test_an_empty_row_of_another_submission_is_no_label(tmp_path):
    (tmp_path / "other.csv").write_text("Id,Predicted\nt1,\nt2, \nt3,4\n")
    assert np.array_equal(submission.read_other(tmp_path / "other.csv", IDS), target_matrix([(4,), (), ()]))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ("is empty", "Id,Predicted")),
        ("Id;Predicted\nt1;1\n", ("line 1", "semicolons")),
        ("Id,Predicted\nt3,0\nt1,1\n", ("no row for 1 of the 3 ids", "'t2'")),
        ("Id,Predicted\nt3,0\nx,1\nT1,1\n", ("line 3", "'x'", "2 of its 3 ids", "same samples")),
        ("Id,Predicted\nt3,0\nt1,1\nt2,1\nt1,1\n", ("line 5", "'t1'", "line 3", "once")),
        ("Id,Predicted\nt3,0\nt1,28\nt2,1\n", ("line 3", "Predicted", "28", "0-27")),
    ],
)
def test_another_submission_that_cannot_be_compared_is_one_line(tmp_path, text, pieces):
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(UserError) as error:
        submission.read_other(tmp_path / "other.csv", IDS)
    assert all(piece in str(error.value) for piece in ("other.csv", *pieces)), str(error.value)


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
    for text, message in (
        ("Id,Target,Usage\nt1,27,Private\n", r"no row for 2 of the 3 ids.*'t3'"),
        ("Id,Target\nt1,27\n", r"the columns 'Id,Target'; expected the columns Id,Target,Usage"),
        ("Id,Target,Usage\nt1,27,Public\nt1,27,Public\n", r"line 3: Id 't1' is already in line 2"),
        ("Id,Target,Usage\nt1,7,Public\nt2,7,public\nt3,7,Public\n", r"line 3: Usage 'public'; .*Private"),
        ("Id,Target,Usage\nt1,7,Public\nt2,x,Public\nt3,7,Public\n", r"line 3: Target label 'x'"),
    ):
        solution.write_text(text)
        with pytest.raises(UserError, match=rf"solution.csv.*{message}"):
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
    index = SampleIndex(["a", "b", "c"], [(4,), (4, 2), (1,)], ["t3", "NA", "=1+1"])
    bad_images = tmp_path / "bad_images.csv"
    decision_NC = DECISIONS.copy()
    bad = [BadImage("train", "t3", "x", "y"), BadImage("test", "NA", "NA_red.png", "is missing")]
    samples = {"train": ["t3", "b"], "test": index.test_ids}
    report_bad_images([*bad, BadImage("test", "=1+1", "=1+1_red.png", "is empty")], bad_images, 3, samples)
    submission.fill_unusable(decision_NC, index, bad_images)
    assert [np.flatnonzero(decision_C).tolist() for decision_C in decision_NC] == [[0, 25], [4], [4]]
    warning = capsys.readouterr().err
    assert "2 test samples" in warning and CLASSES[4] in warning


def fake_kaggle(folder, monkeypatch, text, code, before=""):
    """Install a program called kaggle that records its arguments."""
    program = folder / "kaggle"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/arguments\n{before}\necho "{text}"\nexit {code}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_kaggles_client_uploads_the_file(tmp_path, monkeypatch):
    fake_kaggle(tmp_path, monkeypatch, "Successfully submitted", 0)
    assert submission.upload(Path("out/submission.csv"), "my best") == "Successfully submitted"
    assert (tmp_path / "arguments").read_text().splitlines() == [
        "competitions", "submit", "-c", "human-protein-atlas-image-classification", "-f",
        "out/submission.csv", "-m", "my best",
    ]  # fmt: skip


@pytest.mark.parametrize("code", [0, 1])
def test_an_upload_succeeds_where_the_client_reports_it_whatever_its_exit_code(tmp_path, monkeypatch, code):
    fake_kaggle(tmp_path, monkeypatch, "100%\nSuccessfully submitted to Human Protein Atlas", code)
    answer = submission.upload(Path("submission.csv"), "x")
    assert answer == "100% Successfully submitted to Human Protein Atlas"
    fake_kaggle(tmp_path, monkeypatch, "Could not submit\nto competition", code)
    with pytest.raises(UserError) as error:
        submission.upload(Path("submission.csv"), "x")
    assert f"'Could not submit to competition' (exit code {code})" in str(error.value)
    assert str(error.value).endswith(f"-c {submission.COMPETITION} -f submission.csv -m x")


def test_a_client_that_waits_or_does_not_start_is_one_line(tmp_path, monkeypatch):
    upload = lambda: submission.upload(Path("submission.csv"), "x")  # noqa: E731
    session = f'"{sys.executable}" -c "import os; print(os.getsid(0))"'  # one of its own has no terminal
    fake_kaggle(tmp_path, monkeypatch, "401", 1, f"read name; {session}")
    monkeypatch.setattr(submission, "UPLOAD_SECONDS", 20)
    (reading, writing), stdin = os.pipe(), os.dup(0)
    os.dup2(reading, 0)  # nobody writes to it
    with pytest.raises(UserError, match=r"'\d+ 401'.* -f submission.csv -m x$") as error:
        upload()
    os.dup2(stdin, 0)
    for end in (reading, writing, stdin):
        os.close(end)
    assert f"'{os.getsid(0)} 401'" not in str(error.value)
    monkeypatch.setattr(submission, "UPLOAD_SECONDS", 0.2)
    fake_kaggle(tmp_path, monkeypatch, "too late", 0, "exec sleep 60")
    with pytest.raises(UserError, match=r"did not end within 0.2 s; .* -f submission.csv -m x$"):
        upload()
    (tmp_path / "kaggle").write_bytes(b"\x7fELF")
    with pytest.raises(UserError, match=r"cannot be started .*; .* -f submission.csv -m x$"):
        upload()


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
