"""Weighted by stratum, samples have the mixture of the test set."""

import numpy as np
import pytest

from lib.data import strata
from lib.errors import UserError


def test_strata_are_read_in_the_order_of_the_samples(tmp_path):
    path = tmp_path / "sides.csv"
    path.write_text("id,set,side\nNA,train,2048\n001,test,3072\nother,test,1\n")
    assert strata.read_strata(path, ["001", "NA"]).tolist() == ["3072", "2048"]


@pytest.mark.parametrize(
    ("content", "value", "remedy"),
    [
        ("id,side\na,1\n", "example b", "add a row"),
        ("id,side\na,1\nb,1\na,2\n", "line 4", "each id once"),
        ("id\na\nb\n", "columns id", "id,side"),
        ("id,side,color\na,1,2\nb,1,2\n", "side,color", "one other"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(tmp_path, content, value, remedy):
    path = tmp_path / "sides.csv"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        strata.read_strata(path, ["a", "b"])
    assert str(path) in str(error.value) and value in str(error.value) and remedy in str(error.value)


def test_weights_are_the_ratio_of_the_shares():
    here_N, target_M = np.array(list("sssl"), object), np.array(list("slll"), object)
    weight_N = strata.weights(here_N, target_M, "validation")
    assert weight_N == pytest.approx([1 / 3, 1 / 3, 1 / 3, 3])
    assert np.average(here_N == "l", weights=weight_N) == pytest.approx(0.75)


def test_a_stratum_that_only_the_test_set_has_is_left_out_with_a_warning(capsys):
    weight_N = strata.weights(
        np.array(["s", "x"], object), np.array(["s", "s", "s", "l"], object), "validation"
    )
    assert weight_N.tolist() == [2.0, 0.0]
    printed = "".join(capsys.readouterr())
    assert "25.0%" in printed and "(l)" in printed and "validation" in printed
    with pytest.raises(UserError, match="validation"):
        strata.weights(np.array(["x"], object), np.array(["s"], object), "validation")
