"""What is printed: sizes and times, progress, a stage's first and last lines, and nothing when quiet."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from lib import console
from tests.conftest import ROOT, STAGES, call, run_script

SLOW_WORK = """
import time
from lib import console
console.quiet = {quiet}
with console.Progress(40, "drawing", "samples") as progress:
    for number in range(40):
        time.sleep(0.03)
        if number == 20:
            console.say("half of it")
        progress.update(1, "loss 0.5")
console.say("drawn")
console.warn("the paper is yellow")
"""


def in_a_terminal(code: str, columns: int = 80) -> str:
    """Run Python code in a pseudo terminal; return all that it sent there."""
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


def left_on_the_screen(sent: str) -> list[str]:
    """Return the lines that a terminal shows in the end: what comes behind a carriage return overwrites."""
    lines = []
    for line in sent.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_sizes_and_times_are_for_people():
    assert [console.format_bytes(n) for n in (0, 999, 1000, 45e9, 11.2e15)] == [
        "0 bytes", "999 bytes", "1.0 kB", "45.0 GB", "11200.0 TB",
    ]  # fmt: skip
    assert [console.format_seconds(s) for s in (0, 59.94, 59.96, 3599.6, 3660, 90000)] == [
        "0.0 s", "59.9 s", "1 min 00 s", "1 h 00 min", "1 h 01 min", "25 h 00 min",
    ]  # fmt: skip


def plain_lines(monkeypatch, capsys, units: int, seconds: float) -> list[str]:
    """Return what 120 units, 20 of them done before, print when `units` of them take `seconds`."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: False)
    with console.Progress(120, "drawing", "samples", done=20) as progress:
        for _ in range(0, 100, units):
            now[0] += seconds
            progress.update(units, "loss 0.5")
    return capsys.readouterr().out.splitlines()


def test_plain_progress_says_rate_and_time_left(monkeypatch, capsys):
    # every 10 seconds at most, not in the last 20; the rate counts what this run did, not the 20 before it
    assert plain_lines(monkeypatch, capsys, units=10, seconds=5.0) == [
        "  drawing: 40 of 120 samples, 2.0 a second, 40.0 s left, loss 0.5",
        "  drawing: 60 of 120 samples, 2.0 a second, 30.0 s left, loss 0.5",
        "  drawing: 80 of 120 samples, 2.0 a second, 20.0 s left, loss 0.5",
    ]


def test_plain_progress_says_nothing_of_what_ends_soon(monkeypatch, capsys):
    assert plain_lines(monkeypatch, capsys, units=5, seconds=1.45) == []  # an epoch of 29 seconds
    monkeypatch.setattr(console, "quiet", True)
    assert plain_lines(monkeypatch, capsys, units=10, seconds=5.0) == []


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_a_bar_and_keeps_clean_lines(columns):
    sent = in_a_terminal(SLOW_WORK.format(quiet=False), columns)
    bars = [frame for frame in re.split(r"[\r\n]+", sent) if frame.startswith("drawing: ")]
    # done, total, time so far < time left, rate, figures
    moving = r"drawing:  ?\d+%\|.*\| \d+/40 \[00:0\d<00:0\d, +[\d.]+ samples/s, loss 0.5\]"
    assert sum(bool(re.fullmatch(moving, bar)) for bar in bars) >= 3, bars
    assert max(map(len, bars)) < columns
    assert left_on_the_screen(sent) == ["half of it", "drawn", "warning: the paper is yellow", ""]


def test_a_quiet_terminal_shows_warnings_alone():
    assert in_a_terminal(SLOW_WORK.format(quiet=True)) == "warning: the paper is yellow\r\n"


def test_lines_of_other_processes_are_warnings_when_quiet(monkeypatch, capsys):
    console.pass_on("[stage_1] a line")
    monkeypatch.setattr(console, "quiet", True)
    console.pass_on("[stage_1] warning: a warning")
    assert capsys.readouterr() == ("[stage_1] a line\n", "[stage_1] warning: a warning\n")


# the lines of stages


def size_of(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return console.format_bytes(sum(path.stat().st_size for path in files))


def test_a_stage_says_what_it_does_and_what_it_wrote(smoke):
    source, cache, run = (smoke / name for name in ("data/smoke", "data/cache/smoke", "outputs/smoke"))
    said = {script: (smoke / f"{script}.out").read_text().splitlines() for script in STAGES}
    assert said["00_prepare"][0] == (
        "== 00_prepare: check the images, cache them as arrays, deal the samples to subsets "
        f"(preset smoke, {source} -> {run})"
    )
    last = re.fullmatch(
        rf"00_prepare: done in [\d.]+ s; wrote (.+) in {source}, [\d.]+ MB in {cache}, [\d.]+ MB in {run}",
        said["00_prepare"][-1],
    )
    assert last[1] == size_of(source)
    for script in STAGES:
        assert re.fullmatch(
            rf"== {script}: [a-z].+[a-z] \(preset smoke, {source} -> {run}\)", said[script][0]
        )
        done = said[script][-2 if script == "05_submit" else -1]
        assert re.match(rf"{script}: done in .+ s; wrote .+ [kM]B in ", done)
        assert (str(source) in done) == (script == "00_prepare"), "no other stage touches the images"
        assert (str(cache) in done) == (script in ("00_prepare", "01_features"))


@pytest.mark.parametrize("script", ["00_prepare", "01_features", "02_train_cnn", "03_train_hier"])
def test_a_stage_without_anything_to_do_says_so(smoke, script):
    done = run_script(script, "--preset", "smoke", "--work", smoke)
    assert re.fullmatch(rf"{script}: done in [\d.]+ s; nothing new to write", done.stdout.splitlines()[-1])


@pytest.mark.parametrize("script", STAGES)
def test_quiet_stages_print_nothing_but_the_last_line(smoke, script):
    done = run_script(script, "--preset", "smoke", "--work", smoke, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    last = (smoke / "05_submit.out").read_text().splitlines()[-1:]
    assert done.stdout.splitlines() == (last if script == "05_submit" else [])


def test_quiet_stages_are_quiet_at_work_too(raw, tmp_path, capsys):
    options = ("--preset", "smoke", "--data", raw, "--work", tmp_path, "--quiet", "--network", "baseline")
    tiny = ("--set", "data.sizes=16", "training.size=16", "network.architecture=test_resnet")
    call("00_prepare", *options[:-2], *tiny)
    call("02_train_cnn", *options, *tiny)
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "outputs" / "smoke" / "networks" / "baseline" / "weights.pt").exists()
