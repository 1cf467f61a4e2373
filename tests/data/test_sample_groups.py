"""Everything that links samples puts them into one group, and the group says why."""

from types import SimpleNamespace

import pandas as pd
import pytest

from lib.data import sample_groups
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.sections import Data

IDS = ["a", "b", "c", "d", "e", "f", "g"]


def test_samples_that_are_linked_directly_or_through_others_form_a_group():
    keys = {"antibody": {"a": "7", "c": "7", "d": "8", "x": "8"}, "table": {"c": "one", "e": "one"}}
    table = sample_groups.group_samples(IDS, keys, [("g", "e"), ("f", "unknown")])
    assert table["id"].tolist() == IDS
    assert table["group"].tolist() == [0, 1, 0, 2, 0, 3, 0]
    assert table["reason"].tolist() == [
        "antibody",
        "",
        "antibody table",
        "",
        "table duplicate",
        "",
        "duplicate",
    ]


def test_without_links_every_sample_is_a_group():
    assert sample_groups.group_samples(IDS, {})["group"].tolist() == list(range(len(IDS)))


def test_an_id_of_the_atlas_reveals_its_antibody():
    ids = ["10005_921_B9_2", "4109_24_H11_1", "4109_24_H11", "1_2", "000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0"]
    assert sample_groups.antibodies(ids) == {"10005_921_B9_2": "10005", "4109_24_H11_1": "4109"}


def test_a_table_of_groups_keeps_ids_as_text_and_ignores_empty_groups(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("group,id\n1,001\n,NA\n1e5,nan\n")
    assert sample_groups.read_groups(path) == {"001": "1", "nan": "1e5"}
    path.write_text("id,group\na ,1\n b,1 \nc, \n")
    assert sample_groups.read_groups(path) == {"a": "1", "b": "1"}, "spaces are no part of an id or group"
    path.write_text("id,group\na,1\nb,2\na,1\n")
    with pytest.raises(UserError, match=r"line 4: id 'a' is already in line 2.*each id once"):
        sample_groups.read_groups(path)
    path.write_text("id,antibody\na,1\n")
    with pytest.raises(UserError, match="id,group"):
        sample_groups.read_groups(path)


def test_a_table_of_other_ids_is_rejected_and_some_are_a_warning(tmp_path, capsys):
    path, index = tmp_path / "groups.csv", SampleIndex(["b", "c"], [(0,), (1,)], ["d"])
    run = SimpleNamespace(config=SimpleNamespace(data=Data(groups=str(path))))
    with pytest.raises(UserError, match=r"groups\.csv is missing: expected the columns id,group"):
        sample_groups.check_own(run, index)
    for content in ("id,group\n", "id,group\nb,\nc,\n"):
        path.write_text(content)
        with pytest.raises(UserError, match=r"groups\.csv .*expected .*columns id,group"):
            sample_groups.check_own(run, index)
    path.write_text("id,group\nb.png,1\nd.png,1\n")
    with pytest.raises(UserError, match=r"groups\.csv: none of its 2 ids .*'b\.png'.* 'b': .*train\.csv"):
        sample_groups.check_own(run, index)
    path.write_text("id,group\nb,1\nd,1\n")
    sample_groups.check_own(run, index)
    assert capsys.readouterr().err == ""
    path.write_text("id,group\nb,1\nx,1\ny,2\n")
    sample_groups.check_own(run, index)
    (warning,) = capsys.readouterr().err.splitlines()
    assert str(path) in warning and "2 of 3 ids" in warning and "'x'" in warning
    sample_groups.check_own(SimpleNamespace(config=SimpleNamespace(data=Data())), index)


def test_groups_are_reported_and_a_large_one_is_a_warning(capsys):
    ids = [str(number) for number in range(300)]
    sample_groups.report(sample_groups.group_samples(ids, {}))
    assert "none is known" in capsys.readouterr().out
    key_of = {"5": "x", "6": "x"}
    sample_groups.report(sample_groups.group_samples(ids, {"table": key_of}))
    printed = capsys.readouterr()
    assert "2 of 300 samples are in 1 groups" in printed.out and not printed.err
    sample_groups.report(sample_groups.group_samples(ids, {"table": dict.fromkeys(ids[:20], "x")}))
    assert not capsys.readouterr().err, "few samples, although a large share"
    sample_groups.report(sample_groups.group_samples(ids, {"table": dict.fromkeys(ids[:21], "x")}))
    warning = capsys.readouterr().err
    assert "21 of 300" in warning and "linked by table" in warning and "among them 0" in warning


def test_what_was_written_is_read_back_and_other_samples_are_rejected(tmp_path):
    path = tmp_path / "sample_groups.csv"
    table = sample_groups.group_samples(IDS, {"antibody": {"a": "7", "c": "7"}})
    path.write_text(table.to_csv(index=False))
    assert sample_groups.read_sample_groups(path, IDS).tolist() == table["group"].tolist()
    for ids, content in ((IDS[::-1], table), (IDS, table.assign(group="x")), (IDS, table[:3])):
        path.write_text(pd.DataFrame(content).to_csv(index=False))
        with pytest.raises(UserError, match=r"sample_groups.csv is damaged.*00_prepare.py"):
            sample_groups.read_sample_groups(path, ids)
