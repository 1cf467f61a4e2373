"""The shell around the stages, on stages that only say what they were given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

STAGE = """import sys
print("stage", sys.argv[0][-7:-5], *sys.argv[1:])
sys.exit(7 if "--break" in sys.argv and sys.argv[0].endswith("02_b.py") else 0)
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
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


def run_all(house: Path, *options: str, active: bool = True, **arguments) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    if active:
        environment["VIRTUAL_ENV"] = str(house / "env")
    command = ["bash", str(house / "run_all.sh"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment | arguments.pop("env", {}),
                          **arguments)  # fmt: skip


def test_all_stages_run_in_order_with_the_options(house):
    done = run_all(house, "--preset", "smoke", "--set", "a.b=1 2")
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
        (("--to",), None),
    ],
)
def test_a_sub_range_of_stages(house, options, stages):
    done = run_all(house, *options)
    if stages is None:
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("run_all: ") and len(done.stderr.splitlines()) == 1
    else:
        lines = [line for line in done.stdout.splitlines() if not line.startswith("next: ")]
        assert [line.split()[1] for line in lines] == stages


def test_after_some_of_the_stages_it_says_how_to_go_on(house):
    command = f"next: bash {house / 'run_all.sh'} --from"
    for options, last in (
        (("--to", "02"), f"{command} 05"),
        (("--from", "00", "--to", "00", "--set", "a.b=1 2"), rf"{command} 02 --set a.b=1\ 2"),
        (("--to", "02", "--run", "mine", "--folds", "2"), f"{command} 05 --run mine --folds 2"),
        (("--to", "05"), "stage 05"),
        (("--from", "02"), "stage 05"),
        (("--to", "00", "--settings"), "stage 00 --settings"),
    ):
        assert run_all(house, *options).stdout.splitlines()[-1] == last


def test_folds_are_runs_of_their_own_that_are_joined(house):
    (house / "04_j.py").write_text(STAGE)
    done = run_all(house, "--preset", "smoke", "--folds", "2", "--run", "mine")
    assert done.returncode == 0, done.stderr
    own = "--preset smoke --run mine"
    assert done.stdout.splitlines() == [
        f"stage 00 {own} --run mine_fold_0 --set split.folds=2 split.fold=0",
        f"stage 02 {own} --run mine_fold_0 --set split.folds=2 split.fold=0",
        f"stage 00 {own} --run mine_fold_1 --set split.folds=2 split.fold=1",
        f"stage 02 {own} --run mine_fold_1 --set split.folds=2 split.fold=1",
        f"stage 04 {own} --run mine --join mine_fold_0 mine_fold_1",
        f"stage 05 {own} --run mine",
    ]
    done = run_all(house, "--folds", "two")
    assert done.returncode == 2 and done.stderr == "run_all: --folds takes how many, for example 5\n"


def test_the_first_failure_stops_with_its_exit_code(house):
    done = run_all(house, "--break")
    assert done.returncode == 7
    assert done.stdout.splitlines() == ["stage 00 --break", "stage 02 --break"]
    assert done.stderr == "run_all: stopped in 02_b.py (exit code 7)\n"


def test_help_and_another_working_folder(house, tmp_path):
    done = run_all(house, "--help", cwd="/")
    assert done.returncode == 0
    assert done.stdout.startswith("All stages in order") and "--from 02 --to 04" in done.stdout
    assert run_all(house, cwd="/").returncode == 0


def fake_pip(house: Path, code: str) -> dict[str, str]:
    """Let the environment's pip run this code; return the variables that make it so."""
    folder = house / "modules" / "pip"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "__main__.py").write_text(code)
    return {"PYTHONPATH": str(folder.parent)}


def test_changed_requirements_are_installed_and_then_left_alone(house):
    variables = fake_pip(house, "import sys; print('pip', *sys.argv[1:])")
    (house / "requirements.txt").write_text("# changed\n")
    first = run_all(house, env=variables)
    assert f"-r {house}/requirements.txt" in first.stdout and first.returncode == 0
    assert "pip install" not in run_all(house, env=variables).stdout


def test_quiet_is_passed_on_and_hides_the_installation(house):
    variables = fake_pip(house, "import sys; print('pip')")
    (house / "requirements.txt").write_text("# changed\n")
    done = run_all(house, "--quiet", "--to", "00", env=variables)
    next_line = f"next: bash {house / 'run_all.sh'} --from 02 --quiet"
    assert (done.stdout.splitlines(), done.stderr) == (["stage 00 --quiet", next_line], "")


def test_a_failed_installation_is_said_and_tried_again(house):
    variables = fake_pip(house, "raise SystemExit('no network')")
    (house / "requirements.txt").write_text("# changed\n")
    for _ in range(2):
        done = run_all(house, env=variables)
        assert done.returncode == 2 and "stage" not in done.stdout
        assert done.stderr.splitlines()[-1].startswith("installing failed; see the lines above")


def test_an_old_python_is_refused(house):
    fake = house / "fake"
    fake.mkdir()
    (fake / "python3").write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n')
    (fake / "python3").chmod(0o755)
    done = run_all(house, active=False, env={"PATH": f"{fake}:{os.environ['PATH']}"})
    assert done.returncode == 2
    assert done.stderr == "Python 3.11 or newer is needed; found: Python 3.9.2\n"
    assert not (house / ".venv").exists()
