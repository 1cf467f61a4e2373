"""What the README says is so: its commands run, its pieces of code do what they say."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from matplotlib.figure import Figure

from lib import location_groups, presets
from lib.config import PARTS
from lib.evaluation import predictions
from lib.labels import CLASSES, GROUPS, parse_target, target_matrix
from tests.conftest import ROOT, STAGES, call

README = (ROOT / "README.md").read_text()
COMMAND = ("bash", "python", "torchrun")


def section(title: str) -> str:
    """Return what stands under a heading."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, flags=re.DOTALL | re.MULTILINE)
    return text


def blocks(text: str) -> list[list[str]]:
    """Return the commands of every block for the shell."""
    found = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    return [[line for line in block.splitlines() if line.strip()] for block in found]


OWN = section("Making it yours")
BLOCKS = blocks(README.replace(OWN, ""))
COMMANDS = {line: shlex.split(line, comments=True) for block in BLOCKS for line in block}
INLINE = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", README)
INLINE_COMMANDS = [shlex.split(code) for code in INLINE if re.match(r"python \d\d_|bash run_all", code)]
# of commands in blocks, those that are not run here, and why
NOT_RUN = {
    "bash run_tests.sh": "these are the tests",
    "torchrun --nproc_per_node=2 02_train_cnn.py --preset strong": "test_pipeline starts two processes",
    "python 03_train_hier.py --parallel 2": "test_pipeline trains two networks at once",
    "python 05_submit.py --upload -m 'first try'": "needs Kaggle; test_submission stands in for it",
}
# what makes a new run short and small
SMALL = (
    "data.sizes=64", "data.shard_rows=32", "training.size=64", "training.batch_size=16", "training.epochs=1",
    "training.cycle_epochs=1", "network.architecture=resnet10t", "network.pretrained=false",
)  # fmt: skip
# and for some of the commands, even more so
SMALLER = {
    "--find-lr": ("training.batch_size=2",),  # a hundred batches
    "--run": ("hierarchy.train=none",),
    "hoogenboom_small": ("hierarchy.train=stages", "hierarchy.stage_1=multi_label", "hierarchy.other=with"),
}


@pytest.mark.parametrize("command", [*COMMANDS.values(), *INLINE_COMMANDS], ids=" ".join)
def test_commands_are_understood(command):
    assert command[0] in COMMAND
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
    parts = [f"stage_2_{location_groups.short(group)}" for group in GROUPS]
    assert set(named) <= {*known.networks, *PARTS, *parts}


def test_presets_and_settings_in_the_text_exist():
    for name in re.findall(r"`(\w+)` preset|preset `(\w+)`|--preset (\w+)", README.replace(OWN, "")):
        assert "".join(name) in presets.PRESETS, name
    for setting in re.findall(r"`--set ([^`]+)`", README):
        presets.load("demo", setting.split())
    for setting in re.findall(r"`(\w+\.\w+=\w+)`", README):
        presets.load("demo", ["features.columns=all", setting])
    for preset in presets.PRESETS:
        assert preset in README


def test_the_presets_are_those_of_the_code():
    rows = (f"| `{p.name}` | {p.purpose} | {p.cost} | {p.score} |" for p in presets.PRESETS.values())
    assert "\n".join(rows) in README


def test_options_in_the_text_exist(capsys):
    for script in STAGES:
        with pytest.raises(SystemExit):
            call(script, "--help")
    of_stages = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out + (ROOT / "run_all.sh").read_text()))
    of_benchmark = {
        f"benchmarks/{path.name}": set(re.findall(r'"(--[a-z][\w-]*)"', path.read_text()))
        for path in (ROOT / "benchmarks").glob("*.py")
    }
    anywhere = of_stages.union(*of_benchmark.values())
    for code in INLINE:
        words = code.split()
        named = re.match(r"(?:python|bash) (\S+)", code)
        known = of_benchmark.get(named[1], of_stages) if named else anywhere
        for option in (word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)):
            assert option in known, code


def texts() -> list[str]:
    """Return what the code can print: strings, and lines of the shell files, with \\0 for what varies."""
    found = []
    for path in [*ROOT.glob("*.py"), *ROOT.glob("lib/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    for path in ROOT.glob("*.sh"):
        found += re.sub(r"\$\([^)]*\)|\$\w+", "\0", path.read_text()).splitlines()
    return found


def test_messages_in_the_text_are_printed():
    rows = re.findall(r"^\| (`+)(.*?)\1 \|", section("When something goes wrong"), flags=re.MULTILINE)
    assert len(rows) > 10
    code = texts()
    for _, message in rows:
        literal = message.strip(".").replace("...", "\0")
        assert any(literal in text for text in code), message


def test_files_in_the_text_exist():
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        for name in re.findall(r"\b(?:lib|tests|benchmarks)/[\w/]+\.\w+", text):
            assert (ROOT / name).exists(), name


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


# the commands, run on simulated cells


def stages_of(command: list[str], folder: Path) -> list[tuple[str, list[str]]]:
    """Return the stages that a command calls, each with its options.

    The shell's part is run as it is, with an interpreter that only notes what it is asked.
    """
    if command[:2] != ["bash", "run_all.sh"]:
        return [(command[1].removesuffix(".py"), command[2:])]
    python, notes = folder / "env" / "bin" / "python", folder / "env" / "notes"
    if not python.exists():
        python.parent.mkdir(parents=True)
        python.write_text(f"""#!/bin/sh\nprintf '%s\\0' "$@" >> {notes}\necho >> {notes}\n""")
        python.chmod(0o755)
        shutil.copy(ROOT / "requirements.txt", folder / "env" / "installed-requirements.txt")
    notes.write_text("")
    # two folds will do
    given = [{"--folds": "2"}.get(before, word) for before, word in pairwise(command[1:])]
    variables = {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": str(folder / "env")}
    subprocess.run(["bash", str(ROOT / "run_all.sh"), *given], env=variables, check=True)
    calls = [line.split("\0")[:-1] for line in notes.read_text().splitlines()]
    return [(Path(script).stem, options) for script, *options in calls]


def on_smoke(options: list[str]) -> list[str]:
    """Return a stage's options so that it works on the smoke preset's cells, in this folder."""
    options = list(options)
    if "--preset" not in options:
        options += ["--preset", "smoke"]
    elif "--data" not in options:
        options[options.index("--preset") + 1] = "smoke"
    if "--data" in options and "--run" not in options:
        options += ["--run", options[options.index("--data") + 1]]
    new = ("--run", "--find-lr")
    small = [setting for word in options for setting in SMALLER.get(word, ())]
    return [*options, "--work", ".", *(["--set", *SMALL, *small] if set(new) & set(options) else ())]


@pytest.fixture(scope="module")
def work(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in with what the README's commands expect: runs, cells, scores made elsewhere."""
    folder = tmp_path_factory.mktemp("readme")
    run = smoke / "outputs" / "smoke"
    shutil.copytree(smoke / "data" / "cache", folder / "data" / "cache")
    for name in ("smoke", "one", "another"):
        shutil.copytree(run, folder / "outputs" / name)
    for name in ("smoke", "demo"):  # arrays know the folder that they are of
        (folder / "data" / name).symlink_to(smoke / "data" / "smoke")
    (folder / "labels").mkdir()
    for name in ("train.csv", "sample_submission.csv"):
        shutil.copy(smoke / "data" / "smoke" / name, folder / "labels")
    shutil.copy(run / "submission.csv", folder / "other.csv")
    (folder / "my_cells").mkdir()
    for path in sorted((smoke / "data" / "smoke" / "test").iterdir())[:8]:  # two images of four channels
        shutil.copy(path, folder / "my_cells")
    tables = {
        subset: predictions.load(run / "predictions" / "baseline" / f"{subset}.npz")
        for subset in ("train", "validation", "holdout", "test")
    }
    scores = {
        subset: pd.DataFrame(table.probabilities_NC, pd.Index(table.ids, name="id"), CLASSES)
        for subset, table in tables.items()
    }
    pd.concat([scores["validation"], scores["holdout"]]).to_csv(folder / "val.csv")
    pd.concat([scores["train"], scores["validation"], scores["holdout"]]).to_csv(folder / "labelled.csv")
    scores["test"].to_csv(folder / "test.csv")
    np.save(folder / "test.npy", tables["test"].probabilities_NC)
    get_reusable_executor().shutdown(wait=True)  # processes that wait for work keep the folder they began in
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # the drawing of figures is tested elsewhere, and takes most of the time here
        patch.setattr(Figure, "savefig", lambda self, path, **options: Path(path).write_bytes(DOT))
        yield folder


DOT = cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()  # in place of a figure
DONE: set[str] = set()  # a stage that was called is not called again in the same way


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[0].partition("#")[0].strip())
def test_commands_run(block, work):
    for line in block:
        command = COMMANDS[line]
        if shlex.join(command) in NOT_RUN:
            continue
        for script, options in stages_of(command, work):
            options = on_smoke(options)
            wanted = shlex.join([script, *options])
            if wanted in DONE:
                continue
            DONE.add(wanted)
            try:
                call(script, *options)
            except BaseException as end:
                if not (isinstance(end, SystemExit) and not end.code):  # of --help and --settings
                    end.add_note(f"the README's {line}\nas {wanted}")
                    raise


def test_commands_that_are_not_run_are_in_the_text():
    assert set(NOT_RUN) <= {shlex.join(command) for command in COMMANDS.values()}


# the pieces of code, put into a copy of the project

# calls stages with options, all in one process
CALLS = """
import importlib, json, sys
for script, options in json.loads(sys.argv[1]):
    try:
        importlib.import_module(script).main(options)
    except SystemExit as end:
        assert not end.code, options
"""


def put_in(text: str, piece: str) -> str:
    """Return a file with a piece of code: entries at the end of what holds them, all else before that."""
    entry = re.search(r"^(\w[^\n]*[{(])\n    \.\.\.\n(.*?)^([})])\n", piece, flags=re.DOTALL | re.MULTILINE)
    if not entry:
        return f"{text.rstrip()}\n\n\n{piece}"
    holder, entries, end = entry.groups()
    assert text.count(f"\n{holder}\n") == 1, holder
    before, inside = text.split(f"\n{holder}\n")
    held, _, after = inside.partition(f"\n{end}\n")
    comments = re.search(r"(\n#.*)*\Z", before)[0]  # belong to what holds the entries
    before, needed = before.removesuffix(comments), piece[: entry.start()].strip()
    if needed:
        before = f"{before.rstrip()}\n\n\n{needed}\n\n"
    return f"{before}{comments}\n{holder}\n{held}\n{entries}{end}\n{after}"


@pytest.fixture(scope="module")
def own(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the pieces put in, where their commands are understood and MINE was run."""
    house = tmp_path_factory.mktemp("own")
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml"]:
        shutil.copy(path, house)
    shutil.copytree(ROOT / "lib", house / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(smoke / "data" / "cache", house / "data" / "cache")
    (house / "data" / "demo").symlink_to(smoke / "data" / "smoke")
    changed = set()
    for name, piece in re.findall(r"```python\n# (\S+)\n(.*?)```", OWN, flags=re.DOTALL):
        path = house / name
        path.write_text(put_in(path.read_text(), piece))
        changed.add(str(path))
    assert len(changed) == 6
    for way in (("check",), ("format", "--check")):  # they are written as the rest is
        done = subprocess.run([sys.executable, "-m", "ruff", *way, *changed], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    commands = [shlex.split(line) for block in blocks(OWN) for line in block]
    calls = [
        (script, [*options, "--settings"])
        for command in commands
        for script, options in stages_of(command, house)[:1]
    ]
    assert commands[-1] == ["bash", "run_all.sh", "--preset", "mine"]
    small = [setting for setting in SMALL if not setting.startswith("network.")]
    options = ["--preset", "mine", "--data", "data/demo", "--workers", "1", "--set", *small]
    calls += [(script, options) for script in STAGES[:4]]
    command = [sys.executable, "-c", CALLS, json.dumps(calls)]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return house


def weights(house: Path, network: str) -> dict[str, torch.Tensor]:
    """Return the weights of a network of the run."""
    path = house / "outputs" / "mine" / "networks" / network / "weights.pt"
    return torch.load(path, map_location="cpu", weights_only=True)


def test_the_feature_is_measured_and_learnt_from(own, smoke):
    table = pd.read_csv(own / "data" / "cache" / "smoke" / "features_64_fast_all" / "features.csv")
    assert len(table) == 120 and table.columns[-1] == "brightness"
    for row in (0, 77, 119):
        folder = smoke / "data" / "smoke" / ("train" if row < 96 else "test")
        image_HW = cv2.imread(str(folder / f"{table['id'][row]}_green.png"), cv2.IMREAD_GRAYSCALE)
        assert table["brightness"][row] == pytest.approx(image_HW.mean(), rel=1e-6)
    learnt = weights(own, "plain")
    assert learnt["fusion.scaler.weight"].shape == (21,) and learnt["fusion.scaler.weight"][-1] == 1
    split = pd.read_csv(own / "outputs" / "mine" / "split.csv")
    train = table.set_index("id").loc[split["id"][split["subset"] == "train"], "brightness"]
    assert learnt["fusion.scaler.span"][-1].item() == pytest.approx(train.max() - train.min(), rel=1e-5)


def test_the_network_and_one_of_timms_are_trained(own):
    assert weights(own, "plain")["backbone.body.0.weight"].shape == (32, 4, 5, 5)
    assert weights(own, "convnext")["backbone.stem.0.weight"].shape == (40, 4, 4, 4)


def test_the_loss_is_trained_with(own):
    run = own / "outputs" / "mine"
    (history,) = pd.read_csv(run / "networks" / "convnext" / "history.csv").to_dict("records")
    table = predictions.load(run / "predictions" / "convnext" / "validation.npz")
    labels = pd.read_csv(own / "data" / "demo" / "train.csv", index_col="Id").loc[table.ids, "Target"]
    truth_NC = target_matrix([parse_target(text) for text in labels])
    # the mean over samples and classes, to the precision in which the network computes
    assert history["validation_loss"] == pytest.approx(
        ((table.probabilities_NC - truth_NC) ** 2).mean(), rel=0.02
    )


def test_the_groups_have_networks(own):
    networks = own / "outputs" / "mine" / "networks"
    assert {path.name for path in networks.iterdir()} == {
        "plain", "convnext", "stage_1", "stage_2_cytoskeleton", "stage_2_elsewhere"
    }  # fmt: skip
    assert predictions.load(networks / "stage_1" / "test.npz", 2).probabilities_NC.shape == (24, 2)
    table = predictions.load(own / "outputs" / "mine" / "predictions" / "hierarchy_soft" / "test.npz")
    assert table.probabilities_NC.shape == (24, 28)
