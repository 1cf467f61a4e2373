"""The score on known test labels is that of the listed samples, and says how far it reaches."""

from types import SimpleNamespace

import pytest

from lib.errors import UserError
from lib.evaluation.intervals import macro_f1_interval
from lib.evaluation.known_labels import KnownLabels
from lib.labels import target_matrix
from lib.sections import Split

IDS = ["t0", "t1", "t2", "t3"]
DECISIONS = target_matrix([(0,), (0, 1), (9,), (1,)])


def run_with(strata="", is_simulated=False):
    return SimpleNamespace(config=SimpleNamespace(split=Split(strata=str(strata))), is_simulated=is_simulated)


@pytest.fixture
def known(tmp_path):
    (tmp_path / "answers.csv").write_text("Id,Target\nt3,1\nt0,0 1\n")
    return KnownLabels.read(tmp_path / "answers.csv", IDS)


def test_the_score_is_that_of_the_listed_samples_and_their_classes(known):
    assert known.rows.tolist() == [3, 0]
    text = known.describe(DECISIONS, run_with())
    pair = target_matrix([(1,), (0, 1)])[:, :2], target_matrix([(1,), (0,)])[:, :2]
    low, high = macro_f1_interval(*pair)
    assert f"macro-F1 {(1 + 2 / 3) / 2:.3f} " in text and f"{low:.3f} to {high:.3f}" in text
    assert "classes that occur: 2;" in text and "answers.csv: 2 of 4," in text


def test_known_labels_of_kaggles_images_are_of_small_originals(known):
    assert "small originals (2048 px) only" in known.describe(DECISIONS, run_with())
    assert "small originals" not in known.describe(DECISIONS, run_with(is_simulated=True))


def test_with_strata_their_shares_are_compared_with_the_test_set(known, tmp_path):
    (tmp_path / "sides.csv").write_text("id,side\nt0,2048\nt1,3072\nt2,3072\nt3,2048\n")
    text = known.describe(DECISIONS, run_with(tmp_path / "sides.csv"))
    assert "2048 100% (50%)" in text and "3072 0% (50%)" in text and "small originals" not in text


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Id,Target\n", ("no rows", "Id,Target")),
        ("Id,Predicted\nt0,1\n", ("Id,Target",)),
        ("Id,Target\nt0,1\nx,1\n", ("line 3", "'x'", "sample_submission.csv")),
        ("Id,Target\nt0,1\nt0,1\n", ("line 3", "'t0'", "once")),
        ("Id,Target\nt0,28\n", ("line 2", "28", "0-27")),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, text, pieces):
    path = tmp_path / "answers.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        KnownLabels.read(path, IDS)
    assert all(piece in str(error.value) for piece in (str(path), *pieces))
    assert "\n" not in str(error.value)
