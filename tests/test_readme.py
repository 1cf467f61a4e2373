"""What the README says is so: its tree is the tree, its commands are understood, its links lead somewhere."""

import re
import shlex
import subprocess

import pytest

from lib import grouping, presets
from lib.config import PARTS
from lib.labels import GROUPS
from tests.conftest import ROOT, call

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines() if line.strip()
]


def tree_shown() -> set[str]:
    """Return the files and folders of the tree in the README, paths from the project's folder."""
    (block,) = re.findall(r"## The tree\n\n```\n(.*?)```", README, flags=re.DOTALL)
    shown, folders = set(), []
    for line in block.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        path = "/".join([*folders[:depth], name.rstrip("/")])
        if name.endswith("/"):
            folders[depth:] = [name.rstrip("/")]
        shown.add(path)
    return shown


def test_the_tree_shown_is_the_tree():
    shown = tree_shown()
    assert all((ROOT / path).exists() for path in shown), [p for p in shown if not (ROOT / p).exists()]
    there = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("*.py"), *ROOT.glob("*.sh"), *ROOT.glob("lib/**/*.py")]
    }
    assert {path for path in there if not path.endswith("__init__.py")} <= shown


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_are_understood(command):
    assert command[0] in ("bash", "python", "torchrun")
    command = [word for word in command if not word.startswith("--nproc_per_node")]  # torchrun's own
    assert (ROOT / command[1]).exists()
    if command[1] == "run_tests.sh":
        return
    options = command[2:]
    script = command[1].removesuffix(".py")
    if script == "run_all.sh":
        script = "00_prepare"
        for name in ("--from", "--to", "--folds"):
            if name in options:
                place = options.index(name)
                assert name == "--folds" or list(ROOT.glob(f"{options[place + 1]}_*.py"))
                del options[place : place + 2]
    if script.startswith("benchmarks/") or "--help" in options:
        return
    with pytest.raises(SystemExit) as end:  # it is understood, and ends before it does anything
        call(script, *options, "--settings")
    assert not end.value.code
    named = options[options.index("--network") + 1 :] if "--network" in options else []
    known = presets.PRESETS["demo"]
    parts = [f"stage_2_{grouping.short(group)}" for group in GROUPS]
    assert set(named) <= {*known.networks, *PARTS, *parts}


def test_presets_and_settings_in_the_text_exist():
    for name in re.findall(r"`(\w+)` preset", README):
        assert name in presets.PRESETS
    for setting in re.findall(r"`--set ([^`]+)`", README):
        presets.load("demo", setting.split())
    for setting in re.findall(r"`(\w+\.\w+=\w+)`", README):
        presets.load("demo", ["features.columns=all", setting])
    for preset in presets.PRESETS:
        assert preset in README


def test_links_and_pictures_lead_somewhere():
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets and all((ROOT / target).exists() for target in targets)


def test_benchmarks_explain_themselves():
    for path in (ROOT / "benchmarks").glob("*.py"):
        text = path.read_text()
        assert f"python benchmarks/{path.name}" in text
        compile(text, str(path), "exec")


def test_shell_files_are_well_formed():
    for path in [*ROOT.glob("*.sh"), ROOT / ".ci" / "run"]:
        subprocess.run(["bash", "-n", str(path)], check=True)
