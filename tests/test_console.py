"""Lines, progress bars, sizes and durations, silence when quiet, and output that cannot be written."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lib import console
from tests.conftest import ROOT

SLOW_WORK = """
import time
from lib import console
console.quiet = {quiet}
with console.Progress(30, "drawing", "samples") as progress:
    for number in range(30):
        time.sleep(0.03)
        if number == 20:
            console.info("half of it")
        progress.update(1, "loss 0.5")
console.info("drawn")
console.warn("the paper is thin")
"""


def in_a_terminal(code: str, columns: int = 80) -> str:
    """Run Python code in a pseudo terminal and return everything that it sent there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        sent = b""
        while chunk := _read(ours):
            sent += chunk
    os.close(ours)
    assert process.returncode == 0, sent
    return sent.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def final_screen(sent: str) -> list[str]:
    """Return the lines that a terminal shows in the end; text after a carriage return overwrites."""
    lines = []
    for line in sent.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_sizes_and_durations_are_readable():
    assert [console.format_bytes(n) for n in (0, 999, 1000, 45e9, 11.2e15)] == [
        "0 bytes", "999 bytes", "1.0 kB", "45.0 GB", "11200.0 TB",
    ]  # fmt: skip
    assert [console.format_seconds(s) for s in (0, 59.94, 59.96, 3599.6, 3660, 90000)] == [
        "0.0 s", "59.9 s", "1 min 00 s", "1 h 00 min", "1 h 01 min", "25 h 00 min",
    ]  # fmt: skip


def plain_lines(monkeypatch, capsys, units: int, seconds: float) -> list[str]:
    """Return the lines printed for 120 units, 20 of them done before, if `units` of them take `seconds`."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: False)
    with console.Progress(120, "drawing", "samples", done=20) as progress:
        for _ in range(0, 100, units):
            now[0] += seconds
            progress.update(units, "loss 0.5")
    return capsys.readouterr().out.splitlines()


def test_plain_progress_states_rate_and_remaining_time(monkeypatch, capsys):
    # at most every 10 seconds, not in the last 20; the rate counts only what this run has done
    assert plain_lines(monkeypatch, capsys, units=10, seconds=5.0) == [
        "  drawing: 40 of 120 samples, 2.0 per second, 40.0 s left, loss 0.5",
        "  drawing: 60 of 120 samples, 2.0 per second, 30.0 s left, loss 0.5",
        "  drawing: 80 of 120 samples, 2.0 per second, 20.0 s left, loss 0.5",
    ]


def test_plain_progress_is_silent_when_it_ends_soon(monkeypatch, capsys):
    assert plain_lines(monkeypatch, capsys, units=5, seconds=1.45) == []  # an epoch of 29 seconds
    monkeypatch.setattr(console, "quiet", True)
    assert plain_lines(monkeypatch, capsys, units=10, seconds=5.0) == []


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_a_bar_and_keeps_clean_lines(columns):
    sent = in_a_terminal(SLOW_WORK.format(quiet=False), columns)
    bars = [frame for frame in re.split(r"[\r\n]+", sent) if frame.startswith("drawing: ")]
    # done, total, elapsed < remaining time, rate, metrics
    moving = r"drawing:  ?\d+%\|.*\| \d+/30 \[00:0\d<00:0\d, +[\d.]+ samples/s, loss 0.5\]"
    assert sum(bool(re.fullmatch(moving, bar)) for bar in bars) >= 3, bars
    assert max(map(len, bars)) < columns
    assert final_screen(sent) == ["half of it", "drawn", "warning: the paper is thin", ""]


def test_a_quiet_terminal_shows_only_warnings():
    assert in_a_terminal(SLOW_WORK.format(quiet=True)) == "warning: the paper is thin\r\n"


def test_only_the_primary_process_prints(monkeypatch, capsys):
    console.info("information")
    console.warn("careful")
    assert capsys.readouterr() == ("information\n", "warning: careful\n")
    monkeypatch.setattr(console, "is_primary", lambda: False)
    console.info("information")
    console.warn("careful")
    assert capsys.readouterr() == ("", "")


# output that cannot be written


def test_a_pipe_that_nobody_reads_interrupts(monkeypatch, capsys):
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(console, "unread", False)
    try:
        with os.fdopen(writer, "w") as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            console.info("information")
            console.info("more")  # only the first interrupts; closing the stream does not fail either
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM] and console.unread
    assert capsys.readouterr().err == ""


def test_a_full_disk_loses_lines_but_no_work(monkeypatch, capsys):
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        console.info("information")
        console.info("more")
    (line,) = capsys.readouterr().err.splitlines()
    assert "standard output" in line and "No space left on device" in line


def test_an_error_that_cannot_be_printed_is_not_another_error(monkeypatch):
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        console.error("file.csv is missing")
        console.warn("careful")


def test_text_that_cannot_be_encoded_is_escaped(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), "ascii"))
    console.prepare_streams()
    console.info("n\xf6ne")
    console.warn("a name that is not text: \udcff")  # as Python decodes the byte 255 of a file's name
    assert sys.stdout.buffer.getvalue() == b"n\\xf6ne\n"
    assert sys.stderr.buffer.getvalue() == b"warning: a name that is not text: \\udcff\n"


def test_closed_streams_are_replaced(tmp_path):
    code = f"""import os
from lib import console
console.prepare_streams()
with open({str(tmp_path / "data")!r}, "w"), console.Progress(1, "drawing", "samples"):
    console.info("information")
    console.warn("careful")
    assert os.system("true 3<&0 4>&1 5>&2") == 0  # they are open in programs that it starts, too
open({str(tmp_path / "done")!r}, "w")"""
    command = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    assert (tmp_path / "done").exists() and (tmp_path / "data").read_text() == ""
