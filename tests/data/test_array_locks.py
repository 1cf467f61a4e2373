"""Readers and writers of an array exclude each other across processes, and none excludes its own kind."""

import subprocess
import sys

import pytest

from lib.data import array_locks
from lib.errors import UserError
from tests.conftest import ROOT

SIDES = ("readers", "writers")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(array_locks, "PATIENCE", 0.0)


@pytest.mark.parametrize("side", SIDES)
def test_one_side_excludes_the_other_and_not_itself(tmp_path, side):
    (other,) = set(SIDES) - {side}
    with array_locks.hold(tmp_path, side), array_locks.hold(tmp_path, side):
        with pytest.raises(UserError) as error, array_locks.hold(tmp_path, other):
            pass
        message = str(error.value)
        assert str(tmp_path) in message and "by another process" in message and "--work FOLDER" in message
    with array_locks.hold(tmp_path, other):
        pass


def test_another_process_holds_it_until_it_ends(tmp_path, monkeypatch):
    program = (
        "import sys, pathlib; from lib.data import array_locks\n"
        "with array_locks.hold(pathlib.Path(sys.argv[1]), 'readers'): print('held', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=rf"read by another process \({process.pid}\)"):
        array_locks.hold(tmp_path, "writers").__enter__()
    process.kill()
    process.communicate()
    with array_locks.hold(tmp_path, "writers"):
        pass


def test_it_waits_for_a_process_that_is_about_to_finish(tmp_path, monkeypatch):
    monkeypatch.setattr(array_locks, "PATIENCE", 60.0)
    reader = array_locks.hold(tmp_path, "readers")
    reader.__enter__()
    monkeypatch.setattr(array_locks.time, "sleep", lambda _: reader.__exit__(None, None, None))
    with array_locks.hold(tmp_path, "writers"):
        pass


def test_what_cannot_be_written_is_read_without_a_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(array_locks.os, "access", lambda *_: False)
    with array_locks.hold(tmp_path, "readers"):
        assert not list(tmp_path.iterdir())
