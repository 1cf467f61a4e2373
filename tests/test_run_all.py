"""run_all.sh and run_tests.sh, with stages that only print their arguments."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import LONGEST, ROOT

VERSION = "Python {}.{}\n".format(*sys.version_info[:2])

STAGE = """import sys
print("stage", sys.argv[0][-7:-5], *sys.argv[1:])
sys.exit(7 if "--break" in sys.argv and sys.argv[0].endswith("02_b.py") else 0)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the real shell files, three stages, and a virtual environment that is ready."""
    for name in ("run_all.sh", "environment.sh"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("00_a.py", "02_b.py", "05_c.py"):
        (tmp_path / name).write_text(STAGE)
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "env" / "installed-requirements.txt").write_text(VERSION + "# nothing\n")
    return tmp_path


def run_all(project: Path, *options: str, active: bool = True, **arguments) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    if active:
        environment["VIRTUAL_ENV"] = str(project / "env")
    command = ["bash", str(project / "run_all.sh"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment | arguments.pop("env", {}),
                          **arguments)  # fmt: skip


def test_all_stages_run_in_order_with_the_options(project):
    done = run_all(project, "--preset", "smoke", "--set", "a.b=1 2")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"stage {number} --preset smoke --set a.b=1 2" for number in ("00", "02", "05")
    ]


def test_settings_are_printed_once(project):
    assert run_all(project, "--settings").stdout.splitlines() == ["stage 00 --settings"]


def test_the_next_command_can_be_pasted_from_a_folder_with_spaces(project, tmp_path_factory):
    moved = project.rename(tmp_path_factory.mktemp("parent") / "my project")
    *_, last = run_all(moved, "--to", "02").stdout.splitlines()
    assert shlex.split(last.removeprefix("next: ")) == ["bash", str(moved / "run_all.sh"), "--from", "05"]


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        (("--from", "02"), ["02", "05"]),
        (("--to", "02"), ["00", "02"]),
        (("--from", "02", "--to", "04"), ["02"]),
        (("--to", "07"), ["00", "02", "05"]),
        (("--from", "08"), None),
        (("--from", "two"), None),
        (("--from", "2"), None),
        (("--to",), None),
    ],
)
def test_a_sub_range_of_stages(project, options, stages):
    done = run_all(project, *options)
    if stages is None:
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("run_all: ") and len(done.stderr.splitlines()) == 1
    else:
        lines = [line for line in done.stdout.splitlines() if not line.startswith("next: ")]
        assert [line.split()[1] for line in lines] == stages


def test_after_some_of_the_stages_the_next_command_is_printed(project):
    command = f"next: bash {project / 'run_all.sh'} --from"
    for options, last in (
        (("--to", "02"), f"{command} 05"),
        (("--from", "00", "--to", "00", "--set", "a.b=1 2"), rf"{command} 02 --set a.b=1\ 2"),
        (("--to", "02", "--run", "mine", "--folds", "2"), f"{command} 05 --run mine --set split.folds=2"),
        (("--to", "05"), "stage 05"),
        (("--from", "02"), "stage 05"),
        (("--to", "00", "--settings"), "stage 00 --settings"),
    ):
        assert run_all(project, *options).stdout.splitlines()[-1] == last


def test_folds_are_short_for_a_setting(project):
    done = run_all(project, "--preset", "smoke", "--folds", "2", "--set", "a.b=1")
    assert done.returncode == 0, done.stderr
    options = "--preset smoke --set split.folds=2 --set a.b=1"
    assert done.stdout.splitlines() == [f"stage {number} {options}" for number in ("00", "02", "05")]


@pytest.mark.parametrize("number", [("two",), ("0",), ("-1",), ("2.5",), ()])
def test_the_number_of_folds_is_validated(project, number):
    done = run_all(project, "--folds", *number)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"run_all: --folds {''.join(number)}: ") and "for example 5" in line


SHARING_STAGE = """import os, sys
which = [os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_WORLD_SIZE")]
sys.stdout.write(" ".join(["stage", sys.argv[0][-7:-5], *sys.argv[1:], "on", *which]) + "\\n")
sys.exit(7 if "--break" in sys.argv and which[0] == "1" else 0)
"""


@pytest.fixture
def two_gpus(project: Path) -> dict[str, str]:
    """Variables of a machine with two GPUs, as far as the program tells that lists them."""
    programs = project / "programs"
    programs.mkdir()
    (programs / "nvidia-smi").write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    (programs / "nvidia-smi").chmod(0o755)
    for name in ("00_a.py", "02_b.py", "05_c.py"):
        (project / name).write_text(SHARING_STAGE)
    return {"PATH": f"{programs}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("visible", "used"), [(None, "01"), ("3,5,7", "35"), ("GPU-a, GPU-b", ("GPU-a", "GPU-b"))]
)
def test_a_process_on_each_gpu_trains(project, two_gpus, visible, used):
    given = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    done = run_all(project, "--gpus", "2", "--folds", "2", "--to", "02", env=two_gpus | given)
    assert done.returncode == 0, done.stderr
    first, *training, last = done.stdout.splitlines()
    options = "--set split.folds=2"
    assert first.startswith(f"stage 00 {options} on {visible or ''}")
    assert sorted(training) == [
        f"stage 02 --quiet {options} on {used[1]} 2",
        f"stage 02 {options} on {used[0]} 2",
    ]
    assert last == f"next: bash {project / 'run_all.sh'} --from 05 --gpus 2 {options}"


def test_one_gpu_is_the_default(project, two_gpus):
    for options in ((), ("--gpus", "1")):
        done = run_all(project, *options, env=two_gpus)
        assert [line.split()[:2] for line in done.stdout.splitlines()] == [
            ["stage", number] for number in ("00", "02", "05")
        ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--gpus", "3"), "--gpus 3: .* is 2"),
        (("--gpus", "0"), "--gpus 0: .*for example 2"),
        (("--gpus",), "--gpus : .*for example 2"),
        (("--gpus", "2", "--force"), "--gpus with --force: .*--run NAME"),
    ],
)
def test_gpus_that_cannot_be_used(project, two_gpus, options, message):
    done = run_all(project, *options, env=two_gpus)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.match(f"run_all: {message}", line)


@pytest.mark.parametrize("visible", ["", "0"])
def test_hidden_gpus_are_not_used(project, two_gpus, visible):
    done = run_all(project, "--gpus", "2", env=two_gpus | {"CUDA_VISIBLE_DEVICES": visible})
    assert done.returncode == 2 and f"is {len(visible)}" in done.stderr


def test_a_failure_on_one_gpu_stops_after_the_others_have_ended(project, two_gpus):
    done = run_all(project, "--gpus", "2", "--break", env=two_gpus)
    assert done.returncode == 7 and len(done.stdout.splitlines()) == 3
    assert done.stderr == "run_all: stopped in 02_b.py (exit code 7)\n"


def test_the_first_failure_stops_with_its_exit_code(project):
    done = run_all(project, "--break")
    assert done.returncode == 7
    assert done.stdout.splitlines() == ["stage 00 --break", "stage 02 --break"]
    assert done.stderr == "run_all: stopped in 02_b.py (exit code 7)\n"


def test_help_and_another_working_folder(project, tmp_path):
    done = run_all(project, "--help", cwd="/")
    assert done.returncode == 0
    assert done.stdout.startswith("Run all stages in order") and "--from 02 --to 04" in done.stdout
    assert run_all(project, cwd="/").returncode == 0


def test_quiet_is_passed_on_and_hides_the_installation(project):
    (project / "modules" / "pip").mkdir(parents=True)
    (project / "modules" / "pip" / "__init__.py").touch()
    (project / "modules" / "pip" / "__main__.py").write_text("print('pip')")
    (project / "requirements.txt").write_text("# changed\n")
    done = run_all(project, "--quiet", "--to", "00", env={"PYTHONPATH": str(project / "modules")})
    next_line = f"next: bash {project / 'run_all.sh'} --from 02 --quiet"
    assert (done.stdout.splitlines(), done.stderr) == (["stage 00 --quiet", next_line], "")


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ((), ["-m", "not slow"]),
        (("--all",), []),
        (("tests/data", "-k", "a b"), ["-m", "not slow", "tests/data", "-k", "a b"]),
        (("-x", "--all", "tests/data"), ["-x", "tests/data"]),
    ],
)
def test_the_fast_suite_is_the_default(project, given, passed):
    shutil.copy(ROOT / "run_tests.sh", project)
    (project / "requirements-dev.txt").write_text("")
    (project / "env" / "installed-requirements.txt+requirements-dev.txt").write_text(
        "Python 3.12\n# nothing\n"
    )
    python = project / "env" / "bin" / "python"
    python.unlink()
    python.write_text("""#!/bin/sh
        if [ "$1" = -c ]; then echo 3.12; else printf '%s|' "OMP=$OMP_NUM_THREADS" "$@"; echo; fi\n""")
    python.chmod(0o755)
    variables = {**os.environ, "VIRTUAL_ENV": str(project / "env")}
    command = ["bash", str(project / "run_tests.sh"), *given]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    lines = [line.split("|")[:-1] for line in done.stdout.splitlines()]
    assert [line[:4] for line in lines[:2]] == [
        ["OMP=1", "-m", "ruff", "check"], ["OMP=1", "-m", "ruff", "format"]
    ]  # fmt: skip
    parallel = ["--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    assert lines[2] == ["OMP=1", "-m", "pytest", *parallel, *passed]


SAVING_STAGE = """import os, signal, sys, time
received = []
def record(number, frame):
    received.append(number)
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, record)
def say(line):  # in one piece, beside what other processes write
    os.write(1, line.encode() + b"\\n")
say("started")
while not received:
    time.sleep(0.01)
time.sleep(0.3)
say(" ".join(map(str, ["saved after", *received])))
sys.exit(128 + received[0])
"""


@pytest.fixture
def saving(project: Path) -> Path:
    """The project with a first stage that saves when it receives a signal, and ends with its code."""
    (project / "00_a.py").write_text(SAVING_STAGE)
    return project


def interrupt(
    project: Path, send: Callable[[int], None], *more: str, processes: int = 1, **variables: str
) -> tuple[int, list[str]]:
    """Start run_all.sh, call `send` with its process id; return its exit code and the lines that follow."""
    command = ["bash", str(project / "run_all.sh"), *more]
    variables = os.environ | {"VIRTUAL_ENV": str(project / "env")} | variables
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    options = {"start_new_session": True, "preexec_fn": heed_signals}
    with subprocess.Popen(command, env=variables, **streams, **options) as process:
        try:
            assert [process.stdout.readline() for _ in range(processes)] == ["started\n"] * processes
            send(process.pid)
            out, _ = process.communicate(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out.splitlines()


def heed_signals() -> None:
    """Reset signals: where the tests run in the background they are ignored, and bash could not trap them."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("number", "passed_on"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGHUP), (signal.SIGINT, signal.SIGTERM)],
)
def test_a_signal_reaches_the_stage_once_and_its_code_is_returned(saving, number, passed_on):
    code, lines = interrupt(saving, lambda process: os.kill(process, number))
    last = f"run_all: stopped in 00_a.py (exit code {128 + number})"  # after the stage has ended
    assert (code, lines) == (128 + number, [f"saved after {passed_on:d}", last])


def test_an_interrupt_of_a_terminal_reaches_the_stage_once(saving):
    code, lines = interrupt(saving, lambda process: os.killpg(process, signal.SIGINT))
    assert (code, lines[:-1]) == (130, [f"saved after {signal.SIGTERM:d}"])


def test_a_signal_reaches_the_processes_of_all_gpus(saving):
    saving.joinpath("02_b.py").write_text(SAVING_STAGE)
    (saving / "00_a.py").unlink()
    options = {"processes": 2, "CUDA_VISIBLE_DEVICES": "0,1"}
    code, lines = interrupt(
        saving, lambda process: os.kill(process, signal.SIGTERM), "--gpus", "2", **options
    )
    last = "run_all: stopped in 02_b.py (exit code 143)"
    assert (code, lines) == (143, [*[f"saved after {signal.SIGTERM:d}"] * 2, last])


def test_a_stage_that_ends_well_after_a_signal_is_the_last(saving):
    text = SAVING_STAGE.replace("sys.exit(128 + received[0])", "")
    (saving / "00_a.py").write_text(text)
    code, lines = interrupt(saving, lambda process: os.kill(process, signal.SIGTERM))
    assert (code, len(lines)) == (143, 2)


def test_a_stage_keeps_the_standard_input(project):
    (project / "00_a.py").write_text("print(input())")
    assert run_all(project, "--to", "00", input="typed\n").stdout.splitlines()[0] == "typed"


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", "> /dev/full", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(project, streams):
    (project / "00_a.py").write_text("import os; [os.fstat(number) for number in range(3)]")
    command = f"bash '{project}/run_all.sh' --to 00 {streams}"
    variables = os.environ | {"VIRTUAL_ENV": str(project / "env")}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("next: ") == (streams in ("2>&-", "<&-"))


def test_it_may_be_called_with_sh(project):
    done = subprocess.run(
        ["sh", str(project / "run_all.sh"), "--to", "00"],
        capture_output=True, text=True, env=os.environ | {"VIRTUAL_ENV": str(project / "env")},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("stage 00")


def test_a_checkout_keeps_the_line_ends_of_shell_files(tmp_path):
    """As Git for Windows checks out by default, where WSL then runs the files."""
    for name in (".gitattributes", "run_all.sh", ".ci/run", "docs/report.webp", "docs/simulated_cells.png"):
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "a" / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a", "-c", "core.autocrlf=true"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"], ["clone", "-q", ".", "../b"]):
        subprocess.run([*git, *command], cwd=tmp_path / "a", check=True, capture_output=True)
    for path in (path for path in (tmp_path / "a").rglob("*") if path.is_file() and ".git/" not in str(path)):
        assert (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes() == path.read_bytes(), path


def test_the_longest_test_files_exist():
    assert all((ROOT / name).exists() for name in LONGEST)


def test_continuous_integration_runs_everything():
    assert (ROOT / ".ci" / "run").read_text().endswith("\nbash run_tests.sh --all\n")
