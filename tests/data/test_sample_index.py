import numpy as np
import pytest

from lib.data import sample_index
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.labels import CLASSES

INDEX = SampleIndex(["b", "007", "NA"], [(0, 25), (27,), (3,)], ["t1", "1e3"])


def test_an_index_survives_its_file_row_by_row(tmp_path):
    path = tmp_path / "cache" / "index.csv"
    sample_index.write_index(path, INDEX)
    assert sample_index.read_index(path) == INDEX  # ids stay text, in the order of the arrays' rows
    first = path.read_bytes()
    sample_index.write_index(path, INDEX)
    assert path.read_bytes() == first
    assert path.read_text().splitlines()[:3] == ["id,set,target", "b,train,0 25", "007,train,27"]


def test_the_labels_are_a_matrix_in_kaggles_class_order():
    assert INDEX.truth_NC.shape == (3, len(CLASSES)) and INDEX.truth_NC.dtype == bool
    assert [np.flatnonzero(row).tolist() for row in INDEX.truth_NC] == [[0, 25], [27], [3]]


def test_a_missing_index_names_the_stage_that_creates_it(tmp_path):
    with pytest.raises(UserError, match=r"index.csv is missing: run `python 00_prepare.py"):
        sample_index.read_index(tmp_path / "index.csv")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,set\na,train\n", "columns"),
        ("id,set,target\n", "labelled samples are missing"),
        ("id,set,target\nt,test,\n", "labelled samples are missing"),
        ("id,set,target\na,train,0\na,train,0\n", "line 3 repeats"),
        ("id,set,target\na,train,0\na,test,\n", "line 3 repeats"),
        ("id,set,target\n,train,0\n", "line 2 repeats or lacks"),
        ("id,set,target\na,train,28\n", "28"),
        ("id,set,target\na,train,\n", "no label"),
        ("id,set,target\na,train,0\nt,test,5\n", "line 3 is no sample"),
        ("id,set,target\na,validation,0\n", "line 2 is no sample"),
        ("id,set,target\nt,test,\na,train,0\n", "do not come first"),
    ],
)
def test_a_damaged_index_names_reason_and_stage(tmp_path, text, reason):
    path = tmp_path / "index.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        sample_index.read_index(path)
    assert all(
        part in str(error.value) for part in (str(path), reason, "delete it and run `python 00_prepare.py`")
    )
