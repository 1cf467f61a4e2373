"""Errors of `lib.parallel.dask`, which stages 00 and 01 use with --dask."""

import sys

import pytest

from lib import parallel
from lib.errors import UserError


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError) as error, parallel.dask("tcp://127.0.0.1:9"):
        pass
    message = str(error.value)
    assert "--dask tcp://127.0.0.1:9" in message and "expected an address" in message
    assert "\n" not in message


def test_without_the_package_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install dask distributed"), parallel.dask("tcp://host:1"):
        pass
