"""run_all.sh, run_tests.sh and environment.sh, with stages that only print their arguments."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONGEST, ROOT

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
    (tmp_path / "env" / "installed-requirements.txt").write_text("# nothing\n")
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


def fake_pip(project: Path, code: str) -> dict[str, str]:
    """Let the environment's pip run this code; return the variables that make it so."""
    folder = project / "modules" / "pip"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "__main__.py").write_text(code)
    return {"PYTHONPATH": str(folder.parent)}


def test_changed_requirements_are_installed_and_then_left_alone(project):
    variables = fake_pip(project, "import sys; print('pip', *sys.argv[1:])")
    (project / "requirements.txt").write_text("# changed\n")
    first = run_all(project, env=variables)
    assert f"-r {project}/requirements.txt" in first.stdout and first.returncode == 0
    assert "pip install" not in run_all(project, env=variables).stdout


def test_quiet_is_passed_on_and_hides_the_installation(project):
    variables = fake_pip(project, "import sys; print('pip')")
    (project / "requirements.txt").write_text("# changed\n")
    done = run_all(project, "--quiet", "--to", "00", env=variables)
    next_line = f"next: bash {project / 'run_all.sh'} --from 02 --quiet"
    assert (done.stdout.splitlines(), done.stderr) == (["stage 00 --quiet", next_line], "")


def test_a_failed_installation_is_reported_and_tried_again(project):
    variables = fake_pip(project, "raise SystemExit('no network')")
    (project / "requirements.txt").write_text("# changed\n")
    for _ in range(2):
        done = run_all(project, env=variables)
        assert done.returncode == 2 and "stage" not in done.stdout
        assert done.stderr.splitlines()[-1].startswith("installing failed; see the lines above")


def test_an_old_python_is_rejected(project):
    fake = project / "fake"
    fake.mkdir()
    (fake / "python3").write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n')
    (fake / "python3").chmod(0o755)
    done = run_all(project, active=False, env={"PATH": f"{fake}:{os.environ['PATH']}"})
    assert done.returncode == 2
    assert done.stderr == "Python 3.11 or newer is needed; found: Python 3.9.2\n"
    assert not (project / ".venv").exists()


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
    (project / "env" / "installed-requirements.txt+requirements-dev.txt").write_text("# nothing\n")
    python = project / "env" / "bin" / "python"
    python.unlink()
    python.write_text("""#!/bin/sh\nprintf '%s|' "OMP=$OMP_NUM_THREADS" "$@"\necho\n""")
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


def test_the_longest_test_files_exist():
    assert all((ROOT / name).exists() for name in LONGEST)


def test_continuous_integration_runs_everything():
    assert (ROOT / ".ci" / "run").read_text().endswith("\nbash run_tests.sh --all\n")
