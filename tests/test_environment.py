"""environment.sh on machines of many kinds, with a Python, pip and uv that only note how they are called."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

# pip is there once an environment (or a folder of programs) has the file "pip"
PYTHON = """#!/bin/sh
root=$(dirname "$(dirname "$0")")
case "$*" in
    *version_info*) echo {version} ;;
    *_base_executable*) echo {base} ;;
    --version) echo "Python {version}.1" ;;
    "-m venv --without-pip "*)
        echo "$*" >> {notes}
        mkdir -p "$4/bin" "$4/lib/python{version}" && cp "$0" "$4/bin/python" ;;
    "-m ensurepip") [ -e {ensurepip} ] && touch "$root/pip" ;;
    "-m pip --python "*)
        [ -e {base_pip} ] || exit 2
        case "$*" in *--version) ;; *) echo "base $*" >> {notes} ;; esac ;;
    "-m pip"*)
        [ -e "$root/pip" ] || exit 1
        case "$*" in *--version) ;; *) echo "$*" >> {notes}; [ ! -e {no_network} ] ;; esac ;;
    *) echo "stage by $0" ;;
esac
"""
TOOLS = ("bash", "sh", "dirname", "basename", "cat", "cut", "mkdir", "rm", "cp", "touch", "flock")


class Machine:
    """A folder of programs, all that PATH names, and a checkout with one stage."""

    def __init__(self, folder: Path, **pythons: str) -> None:
        self.programs, self.project = folder / "usr" / "bin", folder / "a checkout"
        self.notes, self.venv = folder / "notes", self.project / ".venv"
        self.features = {name: folder / name for name in ("ensurepip", "base_pip", "no_network")}
        self.programs.mkdir(parents=True)
        self.project.mkdir()
        for tool in TOOLS:
            (self.programs / tool).symlink_to(shutil.which(tool))
        for name in ("run_all.sh", "environment.sh"):
            shutil.copy(ROOT / name, self.project)
        (self.project / "00_a.py").touch()
        (self.project / "requirements.txt").write_text("torch==1\n")
        self.notes.touch()

    def has(self, *names: str) -> None:
        for name in names:
            self.features[name].touch()

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def python(self, path: Path | str = "python3", version: str = "3.12") -> Path:
        """Install a Python; an environment's has the folder lib too."""
        path = self.programs / path
        names = self.features | {"base": self.programs / "python3", "notes": self.notes, "version": version}
        self.write(path, PYTHON.format(**names))
        return path

    def environment(self, folder: Path, version: str = "3.12", pip: bool = True) -> Path:
        self.python(folder / "bin" / "python", version)
        (folder / "lib" / f"python{version}" / "site-packages").mkdir(parents=True)
        if pip:
            (folder / "pip").touch()
        return folder

    def run(self, *options: str, **variables: object) -> subprocess.CompletedProcess:
        """Run the stage; return what happened, with the noted calls in `calls`."""
        self.notes.write_text("")
        command = [self.programs / "bash", self.project / "run_all.sh", *options]
        variables = {"PATH": self.programs} | variables
        done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd="/")
        done.calls = self.notes.read_text().replace(str(self.project), "PROJECT").splitlines()
        return done


VENV = "-m venv --without-pip PROJECT/.venv"
PIP = "-m pip install --disable-pip-version-check --quiet -r PROJECT/requirements.txt"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def check_stage(done: subprocess.CompletedProcess, folder: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert (done.stdout.splitlines()[-1], done.stderr) == (f"stage by {folder}/bin/python", "")


def check_error(done: subprocess.CompletedProcess, *texts: object) -> None:
    assert done.returncode == 2 and "stage" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert all(str(text) in line for text in texts), line


def test_an_environment_is_made_filled_and_then_left_alone(machine):
    machine.python()
    machine.has("ensurepip")
    first = machine.run()
    check_stage(first, machine.venv)
    assert first.calls == [VENV, PIP]
    assert first.stdout.splitlines()[0] == f"making {machine.venv}"
    again = machine.run()
    check_stage(again, machine.venv)
    assert again.calls == [] and len(again.stdout.splitlines()) == 1


def test_without_ensurepip_another_program_installs_or_the_line_names_one(machine):
    machine.python()
    for _ in range(2):  # the same, not a state that is worse
        check_error(
            machine.run(), machine.venv, "no pip", "apt install python3.12-venv", "install uv", "same command"
        )
    machine.has("base_pip")
    done = machine.run()
    check_stage(done, machine.venv)
    assert done.calls == [f"base -m pip --python PROJECT/.venv/bin/python {PIP.removeprefix('-m pip ')}"]
    (machine.project / "requirements.txt").write_text("torch==2\n")
    machine.write(machine.programs / "uv", f'#!/bin/sh\necho "uv $*" >> {machine.notes}\n')
    done = machine.run()
    check_stage(done, machine.venv)
    assert done.calls == [
        "uv pip install --python PROJECT/.venv/bin/python --quiet -r PROJECT/requirements.txt"
    ]
    (machine.project / "requirements.txt").write_text("torch==3\n")
    machine.has("ensurepip")  # as the line advises
    assert machine.run().calls == [PIP]


def test_an_active_environment_is_used_and_gets_pip(machine, tmp_path):
    machine.python()
    active = machine.environment(tmp_path / "active", pip=False)
    check_error(machine.run(VIRTUAL_ENV=active), active, "no pip")
    machine.has("ensurepip")
    done = machine.run(VIRTUAL_ENV=active)
    check_stage(done, active)
    assert done.calls == [PIP] and not machine.venv.exists()


def test_a_conda_environment_only_lends_its_python(machine, tmp_path):
    prefix = machine.environment(tmp_path / "conda")
    machine.has("ensurepip")
    machine.python(prefix / "bin" / "python3")
    done = machine.run(CONDA_PREFIX=prefix, PATH=f"{prefix}/bin:{machine.programs}")
    check_stage(done, machine.venv)
    assert done.calls == [VENV, PIP] and not list(prefix.glob("installed-*"))


@pytest.mark.parametrize("damage", ["no python", "dangling", "upgraded", "nothing"])
def test_a_broken_environment_is_made_again(machine, damage):
    machine.python()
    machine.has("ensurepip")
    machine.environment(machine.venv, "3.11" if damage == "upgraded" else "3.12")
    python = machine.venv / "bin" / "python"
    if damage == "nothing":
        shutil.rmtree(machine.venv)
        machine.venv.mkdir()
    elif damage == "upgraded":  # the system's Python became 3.12; packages are those of 3.11
        machine.python(python, "3.12")
        (machine.venv / "installed-requirements.txt").write_text("Python 3.11\ntorch==1\n")
    else:
        python.unlink()
        if damage == "dangling":
            python.symlink_to("/nowhere/python3")
    done = machine.run()
    check_stage(done, machine.venv)
    assert done.calls == [VENV, PIP]
    assert [path.name for path in (machine.venv / "lib").iterdir()] == ["python3.12"]


def test_an_interrupted_installation_is_completed(machine):
    machine.python()
    packages = machine.environment(machine.venv) / "lib" / "python3.12" / "site-packages"
    for name in ("whole", "half made"):
        (packages / f"{name}.dist-info").mkdir()
        (packages / f"{name}.dist-info" / "METADATA").touch()
    (packages / "whole.dist-info" / "INSTALLER").touch()
    assert machine.run().calls == [PIP]
    assert [path.name for path in packages.iterdir()] == ["whole.dist-info"]


def test_a_failed_installation_is_reported_and_tried_again(machine):
    machine.python()
    machine.environment(machine.venv)
    machine.has("no_network")
    for _ in range(2):
        done = machine.run()
        check_error(done, "installing failed; see the lines above")
        assert done.calls == [PIP]


def test_a_newer_python_is_found_by_its_name(machine):
    machine.has("ensurepip")
    check_error(machine.run(), "Python 3.11 or newer is needed; found: none", "uv venv --python 3.12")
    machine.python("python3", "3.9")
    check_error(machine.run(), "Python 3.11 or newer is needed; found: Python 3.9.1")
    assert not machine.venv.exists()
    machine.python("python3.13", "3.13")
    check_stage(machine.run(), machine.venv)
    assert (machine.venv / "lib" / "python3.13").exists()


def test_an_environment_with_an_old_python_is_rejected(machine, tmp_path):
    machine.python()
    active = machine.environment(tmp_path / "active", "3.10")
    check_error(machine.run(VIRTUAL_ENV=active), f"found: Python 3.10 in {active}", "`deactivate`")
    machine.environment(machine.venv, "3.9")
    check_error(machine.run(), f"found: Python 3.9 in {machine.venv}", f"rm -r '{machine.venv}'")
    assert machine.venv.exists()


def test_an_active_environment_that_is_gone_is_rejected(machine, tmp_path):
    machine.python()
    machine.has("ensurepip")
    gone = tmp_path / "gone"
    check_error(machine.run(VIRTUAL_ENV=gone), f"VIRTUAL_ENV={gone}", "unset VIRTUAL_ENV")
    assert not gone.exists()
    (gone / "bin").mkdir(parents=True)
    (gone / "bin" / "python").symlink_to("/nowhere/python3")
    check_error(machine.run(VIRTUAL_ENV=gone), f"VIRTUAL_ENV={gone}", "unset VIRTUAL_ENV")
    check_stage(machine.run(VIRTUAL_ENV=machine.venv), machine.venv)  # .venv itself, which may be made again


def test_a_folder_that_cannot_be_written_is_named(machine):
    machine.python()
    machine.venv.write_text("")  # stands for a file system that is read-only: root may write anywhere else
    check_error(
        machine.run(), machine.venv, "python3 -m venv --without-pip DIR", "source DIR/bin/activate", "--work"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_another_users_environment_that_is_complete_is_used(machine, tmp_path):
    machine.python()
    active = machine.environment(tmp_path / "active")
    active.chmod(0o555)
    check_stage(machine.run(VIRTUAL_ENV=active), active)


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_two_commands_do_not_install_at_once(machine, locks):
    machine.python()
    machine.environment(machine.venv)
    if not locks:
        (machine.programs / "flock").unlink()
        machine.write(machine.programs / "flock", "#!/bin/sh\nexit 1\n")
        check = machine.run()
        assert check.returncode == 0 and check.calls == [PIP]
        return
    command = [machine.programs / "bash", machine.project / "run_all.sh"]
    with (machine.venv / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PATH": machine.programs})
        assert waiting.stdout.readline().startswith("waiting for another command")
        (machine.venv / "installed-requirements.txt").write_text("Python 3.12\ntorch==1\n")
    text = waiting.communicate()[0]
    assert text.splitlines() == [f"stage by {machine.venv}/bin/python"] and machine.notes.read_text() == ""


def test_variables_that_hide_this_folder_or_packages_are_removed(machine, tmp_path):
    machine.environment(machine.venv)
    machine.write(machine.venv / "bin" / "python", "#!/bin/sh\nenv | grep -c '^PYTHON\\|^CDPATH'\n")
    variables = dict.fromkeys(("CDPATH", "PYTHONHOME", "PYTHONSAFEPATH"), str(tmp_path))
    (machine.venv / "lib" / "python0").mkdir()
    (machine.venv / "installed-requirements.txt").write_text("Python 0\ntorch==1\n")
    done = machine.run(**variables | {"PATH": f"{machine.programs}:{os.environ['PATH']}"})
    assert done.stdout == "0\n", done.stderr
