"""Signals end a script or a step as promised, and no worker outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib import signals
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def handlers():
    """Restore the handlers of all signals."""
    before = {number: signal.getsignal(number) for number in signals.STOP}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_unless_it_is_ignored(number):
    signals.raise_interrupts()
    with pytest.raises(KeyboardInterrupt) as interrupt:
        os.kill(os.getpid(), number)
    assert interrupt.value.args == (number,)
    signal.signal(number, signal.SIG_IGN)  # as nohup does
    signals.raise_interrupts()
    os.kill(os.getpid(), number)
    with signals.recorded() as received:
        os.kill(os.getpid(), number)
        assert received == [0]


def test_a_lost_connection_interrupts_once_although_it_signals_twice():
    signals.raise_interrupts()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)


def test_signals_are_recorded_and_a_second_one_acts_at_once_except_sighup(monkeypatch):
    monkeypatch.setattr(signals, "TOGETHER_SECONDS", 0.0)  # test_cli tests those that arrive together
    signals.raise_interrupts()
    for first in (signal.SIGTERM, signal.SIGHUP):
        with pytest.raises(KeyboardInterrupt) as second, signals.recorded() as received:
            os.kill(os.getpid(), first)
            assert received == [0, first]
            os.kill(os.getpid(), signal.SIGHUP)
            assert received[-1] == signal.SIGHUP
            os.kill(os.getpid(), signal.SIGTERM)
        assert second.value.args == (signal.SIGTERM,)


PARENT = """
import os, signal, subprocess, sys, time
follower = "import os, time; from lib import signals; signals.follow(os.getppid()); print(1, flush=True)"
child = subprocess.Popen([sys.executable, "-c", follower + "; time.sleep(60)"], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
how = sys.argv[1]
if how == "terminates":
    child.terminate()
    print(child.wait(20), flush=True)
time.sleep(60)
"""


def has_ended(process: int) -> bool:
    try:
        # in a container there may be no process that waits for it
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_leaves_signals_to_its_parent_and_ends_with_it():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, "killed"], stdout=subprocess.PIPE, cwd=ROOT)
    worker = int(parent.stdout.readline())
    for number in signals.STOP:
        os.kill(worker, number)
    time.sleep(0.3)
    assert not has_ended(worker)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while not has_ended(worker):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tell who sent a signal")
def test_a_parent_can_end_its_worker():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, "terminates"], stdout=subprocess.PIPE, cwd=ROOT)
    parent.stdout.readline()
    assert parent.stdout.readline() == b"0\n"
    parent.kill()
    parent.wait()
