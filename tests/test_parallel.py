"""Tasks run once each, in this process or in several; a killed worker and a missing cluster are one line."""

import os
import signal
import sys
import types

import pytest

from lib import parallel, signals
from lib.console import Progress
from lib.errors import UserError


def double(task):
    return task * 2


def process_number(_task):
    return os.getpid()


def fail(task):
    if task == 2:
        raise UserError("task 2 failed")
    return task


def kill_itself(_task):
    os.kill(os.getpid(), signal.SIGKILL)


def ignored_signals(_task):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return signal.getsignal(signal.SIGINT), signal.SIGHUP in blocked, signals._parents


def run(function, tasks, workers):
    progress = Progress(len(tasks), "doubling", "tasks")
    return list(parallel.run(function, tasks, workers, progress)), progress


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(workers):
    results, progress = run(double, [1, 2, 3, 4, 5], workers)
    assert sorted(results) == [2, 4, 6, 8, 10] and progress.done == 5


def test_one_worker_is_this_process_and_keeps_the_order():
    results, _ = run(process_number, [1, 2], workers=1)
    assert results == [os.getpid()] * 2
    assert run(double, [3, 1, 2], workers=1)[0] == [6, 2, 4]


def test_several_workers_are_other_processes():
    assert os.getpid() not in run(process_number, [1, 2, 3], workers=2)[0]


def test_workers_leave_signals_to_this_process_and_end_with_it():
    assert run(ignored_signals, [1], workers=1)[0] == [(signal.getsignal(signal.SIGINT), False, [])]
    for interrupt, is_deaf, parents in run(ignored_signals, [1, 2], workers=2)[0]:
        assert interrupt == signal.SIG_IGN and is_deaf and parents == [os.getpid()]


def test_progress_counts_the_units_of_a_task():
    results, progress = run(double, ["aa", "b", ""], workers=1)
    assert results == ["aaaa", "bb", ""] and progress.done == 3
    assert run(double, [], workers=4)[0] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_is_raised_unchanged(workers):
    with pytest.raises(UserError, match=r"^task 2 failed$"):
        run(fail, [1, 2, 3], workers)


def test_a_killed_worker_names_the_work_and_the_remedy():
    with pytest.raises(UserError, match=r"doubling: .*memory.*--workers 2") as error:
        run(kill_itself, [1, 2, 3, 4], workers=4)
    assert "\n" not in str(error.value)


def test_without_an_address_there_is_no_cluster():
    with parallel.dask(None):
        assert run(process_number, [1], workers=1)[0] == [os.getpid()]


def test_a_cluster_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"--dask .*pip install dask distributed"):
        parallel.dask("tcp://localhost:8786").__enter__()


def test_a_scheduler_that_does_not_answer_names_the_address(monkeypatch):
    def refuse(address, timeout):
        raise OSError(f"no connection to {address} within {timeout} s")

    monkeypatch.setitem(sys.modules, "distributed", types.SimpleNamespace(Client=refuse))
    with pytest.raises(UserError, match=r"--dask tcp://here:1: .*10 s.*tcp://host:8786"):
        parallel.dask("tcp://here:1").__enter__()
