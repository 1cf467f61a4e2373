"""How processes end: on Ctrl-C, SIGTERM and a lost connection (SIGHUP), and workers with their parent."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOGETHER_SECONDS = 1.0  # signals within it are one: a scheduler's to all processes, and run_all.sh's own
WATCH_SECONDS = 1.0  # between two checks of a worker that its parent still exists

_first = -math.inf  # when the first of such signals was received
_parents: list[int] = []  # the one that this process ends with, if any


def raise_interrupts() -> None:
    """Let SIGTERM and SIGHUP raise a `KeyboardInterrupt`, as SIGINT does; one that nohup ignores stays so."""
    global _first
    _first = -math.inf
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGHUP:  # a lost connection sends it twice
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if not _is_repeated():
        raise KeyboardInterrupt(number)


def _is_repeated() -> bool:
    """Note a signal; return whether it belongs to one that came immediately before."""
    global _first
    now = time.monotonic()
    if now - _first < TOGETHER_SECONDS:
        return True
    _first = now
    return False


@contextmanager
def recorded() -> Iterator[list[int]]:
    """Record the signals `STOP` instead of stopping immediately; a second signal, a second later, does.

    A second SIGHUP does not, since a lost connection sends it twice. Yields a list whose last element is the
    number of the received signal, 0 before.
    """
    signals = [0]

    def record(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        _is_repeated()  # whatever it is, a next one may be
        for known, handler in before.items():
            if known != signal.SIGHUP:
                signal.signal(known, handler)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in STOP}
        before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
        for number in before:
            signal.signal(number, record)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deaf_to_hang_up() -> Iterator[None]:
    """Let processes and threads that are started within the block never receive SIGHUP.

    Among them are those of libraries, which ignore the other signals alone. One that this process receives
    in the meantime is delivered at the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow(parent: int) -> None:
    """Let a worker process leave the signals `STOP` to its parent, and end within seconds of it.

    Signals reach all processes of a terminal or a job, but the parent decides when to stop, and needs its
    workers to finish a step. A parent that is killed cannot end them: they would keep their memory and the
    locks that they inherited.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):  # not on macOS
        signal.signal(signal.SIGTERM, lambda number, frame: None)  # in threads that do not block it
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if not _parents:
        _parents.append(parent)
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """End this process when its parent sends SIGTERM, or has ended."""
    while os.getppid() == parent:
        if not hasattr(signal, "sigtimedwait"):
            time.sleep(WATCH_SECONDS)
        elif (received := signal.sigtimedwait([signal.SIGTERM], WATCH_SECONDS)) and received.si_pid == parent:
            break
    os._exit(0)
