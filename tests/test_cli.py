"""Options, the start of a run, the first and last lines of a script, its errors, and silence with --quiet."""

import errno
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from lib import cli, console, files, signals
from lib.errors import UserError
from tests.conftest import STAGES, TINY, call, run_script


def start(*options: object, description: str = "Stage 00: do something.\n") -> cli.Run:
    return cli.start(cli.parser(description), [str(option) for option in options])


# the start of a run


def test_a_run_without_data_is_the_demo_on_its_own_cells(tmp_path, capsys):
    run = start("--work", tmp_path)
    assert run.config.name == "demo" and run.generates_data
    assert run.source == tmp_path / "data" / "demo" and run.folder == tmp_path / "outputs" / "demo"
    assert run.cache == tmp_path / "data" / "cache" / "demo"
    assert f": do something (preset demo, {run.source} -> {run.folder})\n" in capsys.readouterr().out


def test_kaggles_files_select_the_preset_strong(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("Id,Target\n")
    run = start("--work", tmp_path)
    assert run.config.name == "strong" and not run.generates_data
    assert run.source == tmp_path / "data" and run.cache.name == "kaggle"


def test_a_folder_of_data_names_its_cache(tmp_path):
    run = start("--work", tmp_path, "--preset", "smoke", "--data", tmp_path / "mine", "--run", "first")
    assert run.cache.name == "mine" and run.folder.name == "first" and not run.generates_data


def test_a_run_continues_with_the_settings_it_was_started_with(tmp_path):
    options = ("--work", tmp_path, "--run", "mine")
    run = start(
        *options, "--preset", "smoke", "--data", tmp_path / "raw", "--set", "split.seed=3", "training.seed=4"
    )
    run.save_invocation()
    again = start(*options, "--set", "training.seed=5")
    assert again.config.name == "smoke" and again.source == tmp_path / "raw"
    assert again.config.split.seed == 3 and again.config.training.seed == 5
    # a preset that is named starts from its own values
    named = start(*options, "--preset", "demo")
    assert named.config.name == "demo" and named.config.split.seed == 0 and named.generates_data


def test_a_run_finds_its_data_where_the_project_was_moved(tmp_path):
    options = ("--run", "mine")
    (tmp_path / "old").mkdir()
    data = ("--data", tmp_path / "old" / "raw", "--preset", "smoke")
    start("--work", tmp_path / "old", *options, *data).save_invocation()
    (tmp_path / "old").rename(tmp_path / "new")
    assert start("--work", tmp_path / "new", *options).source == tmp_path / "new" / "raw"


def test_a_data_set_keeps_the_cache_that_stage_00_found(tmp_path):
    options = ("--work", tmp_path, "--preset", "smoke", "--data")
    first, second = (start(*options, tmp_path / name / "cells") for name in ("a", "b"))
    assert first.with_cache("1").cache.name == "cells"
    other = second.with_cache("2")
    assert other.cache.name == "cells-2" and other.index == other.cache / "index.csv"
    assert start(*options, tmp_path / "b" / "cells").cache == other.cache
    assert start(*options, tmp_path / "a" / "cells").cache.name == "cells"


def test_paths_inside_the_working_folder_are_printed_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert start("--work", tmp_path / "here").folder == Path("here/outputs/demo")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "dmeo"), "unknown preset 'dmeo' (did you mean demo?); there are "),
        (("--preset", "smoke", "--set", "training.epoch=3"), "no field 'epoch' (did you mean epochs?)"),
        (("--run", "../x"), "--run '../x' cannot be a name: expected at most 80 letters, digits and . _ -"),
        (("--preset", "../x"), "unknown preset '../x'"),
        (("--workers", "0"), "--workers 0: expected at least 1"),
        (("--preset", "smoke", "--data", "/nowhere"), "/nowhere/train.csv is missing: put Kaggle's files in"),
    ],
)
def test_bad_options_are_one_line(tmp_path, options, message):
    done = run_script("00_prepare", *options, "--work", tmp_path)
    assert (done.returncode, done.stdout.count("done in")) == (2, 0)
    (line,) = done.stderr.splitlines()
    assert line.startswith("00_prepare: ") and message in line


def test_far_more_processes_than_cores_are_not_started(tmp_path, capsys):
    assert start("--work", tmp_path, "--workers", 10**30).workers == cli.MAX_WORKERS
    assert f"{cli.MAX_WORKERS} processes" in capsys.readouterr().err
    assert start("--work", tmp_path, "--workers", 3).workers == 3 and not capsys.readouterr().err


def test_options_are_not_abbreviated(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        start("--work", tmp_path, "--pre", "smoke")
    assert end.value.code == 2 and "unrecognized arguments: --pre smoke" in capsys.readouterr().err


def test_settings_are_printed_and_end_the_script(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        start("--work", tmp_path, "--preset", "smoke", "--set", "training.epochs=7", "--settings")
    assert end.value.code == 0 and "training.epochs=7 " in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


# how a script ends


@pytest.fixture
def script(monkeypatch):
    """Let `cli.run` believe that it is a script's; restore the signal handlers that it sets."""
    monkeypatch.setattr(sys, "argv", ["03_some_stage.py"])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_last_line_comes_after_the_duration(script, capsys):
    cli.run(lambda: "report: here")
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"03_some_stage: done in \d+\.\d s", first) and last == "report: here"


def test_the_last_line_is_printed_even_if_quiet(script, capsys, monkeypatch):
    monkeypatch.setattr(console, "quiet", True)
    cli.run(lambda: "report: here")
    assert capsys.readouterr().out == "report: here\n"


def test_a_user_error_is_one_line_and_others_keep_their_traceback(script, capsys, monkeypatch):
    def fail():
        raise UserError("file.csv is missing")

    with pytest.raises(SystemExit) as end:
        cli.run(fail)
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "03_some_stage: file.csv is missing\n")
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EIO, "Input/output error", "data/split.csv"), "data/split.csv: Input/output error; "),
        (MemoryError(), "memory ran out"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "--workers"),
    ],
)
def test_a_failure_of_the_machine_is_one_line(script, capsys, error, remedy):
    def fail():
        raise error

    with pytest.raises(SystemExit) as end:
        cli.run(fail)
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and line.startswith("03_some_stage: ") and remedy in line


def test_an_error_names_the_rank_that_it_occurs_on(script, capsys, monkeypatch):
    monkeypatch.setattr(cli, "WORLD", 2)
    monkeypatch.setattr(cli, "RANK", 1)

    def fail():
        raise UserError("file.csv is missing")

    with pytest.raises(SystemExit):
        cli.run(fail)
    assert capsys.readouterr().err == "03_some_stage (rank 1): file.csv is missing\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_is_one_line(script, capsys, number, code):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # may be ignored in the background
    try:
        with pytest.raises(SystemExit) as end:
            cli.run(lambda: os.kill(os.getpid(), number))
    finally:
        signal.signal(signal.SIGINT, before)
    assert end.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("03_some_stage: interrupted") and "same command resumes" in line


def test_what_is_interrupted_with_force_resumes_without_it(script, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["03_some_stage.py", "--force"])

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        cli.run(interrupted)
    assert "the same command without --force resumes" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "saves"), [(1.0, True), (0.0, False)])
def test_signals_that_arrive_together_are_one(script, monkeypatch, seconds, saves):
    saved = []

    def main():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # to the group, after the one to this process
            saved.append(True)

    monkeypatch.setattr(signals, "TOGETHER_SECONDS", seconds)
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert (end.value.code, bool(saved)) == (143, saves)


@pytest.mark.parametrize("options", [["--help"], ["--settings"], []])
def test_a_pipe_that_nobody_reads_ends_a_script_silently(script, tmp_path, monkeypatch, capsys, options):
    monkeypatch.setattr(console, "unread", False)
    parser = cli.parser("Stage 00: do something.\n")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1 << 20) as stream, pytest.raises(SystemExit) as end:
        monkeypatch.setattr(sys, "stdout", stream)
        cli.run(lambda: cli.start(parser, [*options, "--work", str(tmp_path)]) and None)
    assert end.value.code == 128 + signal.SIGPIPE and capsys.readouterr().err == ""


# what the stages print


def test_a_stage_states_what_it_does_and_how_long_it_took(smoke):
    source, run = smoke / "data" / "smoke", smoke / "outputs" / "smoke"
    for script in STAGES:
        text = (smoke / f"{script}.out").read_text()
        lines = text.splitlines()
        assert re.fullmatch(rf"== {script}: .+ \(preset smoke, {source} -> {run}\)", lines[0])
        assert re.match(rf"{script}: done in .+ (s|min)", lines[-2 if script == "05_submit" else -1])
        # plain lines where the output is not a terminal
        assert "\r" not in text and text.endswith("\n") and all(line.strip() for line in lines)


def test_quiet_stages_print_nothing_but_the_last_line(smoke_copy):
    for script in STAGES:
        done = run_script(script, "--preset", "smoke", "--work", smoke_copy, "--quiet", "--workers", "1")
        assert done.returncode == 0
        # smoke has too few samples for a plausible result, which is a warning
        assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
        lines = done.stdout.splitlines()
        assert len(lines) == (script == "05_submit") and (not lines or lines[0].startswith("submission: "))


def test_quiet_stages_are_quiet_while_they_train_too(raw, tmp_path, capsys, no_figures):
    options = ("--preset", "smoke", "--data", raw, "--work", tmp_path, "--quiet", *TINY)
    call("00_prepare", *options)
    call("02_train_cnn", *options, "hierarchy.train=none", "--network", "baseline")
    output = capsys.readouterr()
    assert output.out == "" and all(line.startswith("warning: only") for line in output.err.splitlines())
    assert (tmp_path / "outputs" / "smoke" / "networks" / "baseline" / "weights.safetensors").exists()
    assert files.read_json(tmp_path / "outputs" / "smoke" / "run.json")["preset"] == "smoke"
