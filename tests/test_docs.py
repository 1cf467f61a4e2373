"""The README and docs/: commands run, code works, and settings, messages, files and links exist."""

import ast
import re
import runpy
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

from lib import location_groups, presets
from lib.config import SECTIONS, list_settings
from lib.evaluation import predictions
from lib.features import biological
from lib.labels import CLASSES, LOCATION_GROUPS, parse_target, target_matrix
from lib.learning import lr_finder
from lib.learning.augment import KINDS
from lib.names import HIERARCHY_NETWORKS
from lib.overrides import parse
from lib.report import hoogenboom_tables, liu_tables
from tests.conftest import (
    PAPERS,
    ROOT,
    STAGES,
    blank_figures,
    call,
    call_in_process,
    copy_run,
    needs_papers,
    paper_table,
)

PAGES = {path: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
README, EXTENDING = PAGES[ROOT / "README.md"], PAGES[ROOT / "docs" / "extending.md"]
# settings of the demo that contradict others in the text
DEMO_WITHOUT = [
    "features.columns=all",
    "all:training.ema_decay=0",
    "all:training.epochs=8",
]
TEXT = "\n".join(text for text in PAGES.values() if text != EXTENDING)
LARGEST_README = 9000  # bytes
PRESETS_OF_PAPERS = {"Hoogenboom 2019": "hoogenboom", "Liu, Zhang, Zhou 2018": "liu"}  # by heading


def blocks(text: str) -> list[list[str]]:
    """Return the commands of every bash block."""
    found = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    return [[line for line in block.splitlines() if line.strip()] for block in found]


BLOCKS = blocks(TEXT)
COMMANDS = {line: shlex.split(line, comments=True) for block in BLOCKS for line in block}
INLINE = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", TEXT)
INLINE_COMMANDS = [
    shlex.split(code) for code in INLINE if re.match(r"python \d\d_|python predict|bash run_", code)
]
PARSED = list({shlex.join(command): command for command in [*COMMANDS.values(), *INLINE_COMMANDS]}.values())
# commands in blocks that are not run here, and why
NOT_RUN = {
    "bash run_tests.sh": "these are the tests",
    "torchrun --nproc_per_node=2 02_train_cnn.py --preset strong": "test_pipeline starts two processes",
    "python 05_submit.py --upload -m 'first attempt'": "needs Kaggle; test_submission covers it",
    "bash run_all.sh --set training.seed=1 --run other": "as --run small, with another setting",
    "bash run_all.sh --set baseline:training.epochs=20 --run long": "as --run small, with another setting",
    "bash run_all.sh --set split.folds=1 --run quick": "as --run small, with another setting",
    "bash run_all.sh --gpus 2 --folds 5 --run shared": "needs two GPUs; test_pipeline starts two processes",
    "bash run_all.sh --preset strong_ensemble": "as strong, with another network",
    "bash run_all.sh --run grouped --set hierarchy.train=all": "the preset smoke trains such a hierarchy",
}
# settings that make a new run short and small
SMALL = (
    "data.sizes=64", "data.shard_rows=32", "all:training.size=64", "training.batch_size=16",
    "all:training.epochs=1", "training.cycle_epochs=1", "all:network.architecture=resnet10t",
    "network.pretrained=false",
)  # fmt: skip
# further settings for commands with one of these words
SMALLER = {
    "--find-lr": ("training.batch_size=2",),  # a hundred batches
    "--run": ("hierarchy.train=none",),
    "hoogenboom_small": ("hierarchy.train=none",),  # a test of the preset trains all
    "speed": ("simulation.size=64",),
}
# one network of a preset is enough
NETWORK = {"smoke": "baseline", "hoogenboom": "baseline", "liu": "copied"}


# what the text says, without running a stage


def test_the_readme_is_short_and_leads_to_every_page():
    assert len((ROOT / "README.md").read_bytes()) <= LARGEST_README
    linked = set(re.findall(r"\]\((docs/\w+\.md)", README))
    assert linked == {f"docs/{path.name}" for path in PAGES if path.parent.name == "docs"}


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_and_pictures_lead_somewhere():
    shown = set()
    for path, text in PAGES.items():
        for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
            goal = (path.parent / target).resolve() if target else path
            assert goal.exists(), f"{path.name}: {target}"
            assert not anchor or anchor in headings(PAGES[goal]), f"{path.name}: {target}#{anchor}"
            shown.add(goal)
    assert shown >= {path for path in (ROOT / "docs").iterdir() if path.suffix != ".md"}


def test_files_in_the_text_exist():
    for text in (*PAGES.values(), (ROOT / "CONTRIBUTING.md").read_text()):
        for name in re.findall(r"\b(?:lib|tests|benchmarks|docs)/[\w/]+\.\w+", text):
            assert (ROOT / name).exists(), name


def test_the_results_of_the_readme_are_in_the_pages():
    (results,) = re.findall(r"^## Results\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
    pages = TEXT.replace(README, "")
    numbers = re.findall(r"[+-]?0\.\d{3}\b", results)
    assert len(numbers) > 8
    for number in numbers:
        assert number in pages, number
    for commit in re.findall(r"\| ([0-9a-f]{7}) \|", results):
        assert f"commit {commit}" in pages, commit


def test_presets_and_settings_in_the_text_exist():
    for name in re.findall(r"`(\w+)` preset|preset `(\w+)`|--preset ([a-z]\w*)", TEXT):
        assert "".join(name) in presets.PRESETS, name
    for settings in re.findall(r"`--set ([a-z][^`]+)`", TEXT):
        presets.load("demo", settings.split())
    # that of the papers has the settings of their presets
    elsewhere = TEXT.replace(PAGES[ROOT / "docs" / "papers.md"], "")
    for setting in re.findall(r"`(\w+\.\w+=\w+)`", elsewhere):
        own = setting.split(".")[0] in ("network", "training")  # of networks, some of which have their own
        more = ["hierarchy.train=none", f"all:{setting}"] if own else [setting]
        presets.load("demo", [*DEMO_WITHOUT, *more])
    for section, field in re.findall(r"`(\w+)\.(\w+)`", TEXT):
        if section in SECTIONS and field != "csv":
            assert hasattr(getattr(presets.PRESETS["demo"], section), field), f"{section}.{field}"


def test_the_table_of_presets_is_that_of_the_code():
    rows = [f"| `{p.name}` | {p.purpose} | {p.cost} | {p.score} |" for p in presets.PRESETS.values()]
    table = "\n".join(rows)
    assert table in TEXT, f"docs/presets_and_settings.md: expected\n{table}"


def test_the_recipe_states_the_settings_of_strong():
    page = PAGES[ROOT / "docs" / "recipe.md"]
    (recipe,) = re.findall(r"^\| step \| setting .*\n((?:\|.*\n)+)", page, flags=re.MULTILINE)
    stated = dict(re.findall(r"`(\w+\.\w+)=([^`]+)`", recipe))
    strong = {row.name: row.value.lower() for row in list_settings(presets.PRESETS["strong"])}
    assert len(stated) > 12 and stated == {name: strong[name] for name in stated}
    # whatever else differs from the defaults says nothing about the recipe
    differing = {row.name for row in list_settings(presets.PRESETS["strong"]) if not row.is_default}
    assert differing <= set(stated)


@pytest.mark.parametrize(("paper", "preset"), PRESETS_OF_PAPERS.items())
def test_the_table_of_a_paper_has_every_setting_of_its_preset(paper, preset):
    config = presets.PRESETS[preset]
    settings = {"": config, **config.for_all_targets()}
    stated: dict[str, dict] = {name: {} for name in settings}
    for here in paper_table(paper)["here"]:
        target = re.match(r"`(\w+)`: ", here)
        name = target[1] if target and target[1] in settings else ""
        for base in re.findall(r"\bas `(\w+)`", here):
            stated[name] |= stated[base]
        for text in re.findall(r"`(\w+\.\w+=[^`]+)`", here):
            one = parse(text, f"{paper}: ", SECTIONS)
            stated[name][one.path] = one.value
    for name, own in settings.items():
        for path, value in stated[name].items():
            section, field = path.split(".")
            assert getattr(getattr(own, section), field) == value, f"{paper}: {name} {path}"
        differing = {
            row.name
            for row in list_settings(own)
            if (row not in list_settings(config) if name else not row.is_default)
        }
        assert differing <= stated[name].keys(), f"{paper}: {name}"


def test_the_tables_of_the_papers_have_the_values_of_the_code():
    hoogenboom, liu = map(paper_table, PRESETS_OF_PAPERS)
    averages = [f"{value:.4f}".replace(".", ",") for value in hoogenboom_tables.PRINTED_AVERAGES.values()]
    assert hoogenboom["written"].str.contains("precision {}, recall {}, F1 {}".format(*averages)).sum() == 1
    rows = dict(zip(liu["here"].str.extract(r"`(\w+)`")[0], liu["written"], strict=True))
    for row in liu_tables.PRINTED:
        values = f"{row.train_loss:.4f}, {row.validation_loss:.4f}, {row.score:.3f}"
        assert rows[row.predictor].endswith(values)
    for row in liu_tables.SECTION_6_3[:2]:
        assert rows[row.network].endswith(f"{row.score:.4f} in epoch {row.epoch}")
    features = liu[liu["where"].str.contains(r"feature \d+$")]["here"].str.extract(r"`(\w+)`")[0]
    assert features.tolist() == list(biological.TEN)
    affine = KINDS["flips_affine"][1]
    text = " ".join(liu.to_numpy().ravel())
    for words in (
        "scale {} to {} (aspect".format(*affine.scale["x"]),
        f"translation {affine.translate_percent['x'][1]:.0%}".replace("%", " %"),
        f"rotation {affine.rotate[1]:g}°, with probability {affine.p}",
        "segments of {:,} to {:,} px".format(*biological.SEGMENT_AREA),
        f"strength {biological.DENOISE_STRENGTH} and the windows of {biological.DENOISE_WINDOW} and 21 px",
        f"above {biological.BACKGROUND:.0%}".replace("%", " %"),
        "[{}] respectively".format(", ".join(f"{weight:g}" for weight in biological.WEIGHTS)),
        f"100 steps from {lr_finder.LOWEST:g} to {lr_finder.HIGHEST:g}",
    ):
        assert words in text, words


@needs_papers
@pytest.mark.parametrize("paper", PRESETS_OF_PAPERS)
def test_quotes_are_the_papers_words(paper):
    file = PAPERS / f"{'_'.join(re.findall(r'[a-z0-9]+', paper.lower()))}.txt"

    def words(text: str) -> str:
        return " ".join(re.sub(r"-\n*", "", text).split())  # words are broken at the ends of lines

    text = words(file.read_text())
    quotes = re.findall(r'"([^"]+)"', " ".join(paper_table(paper)["written"]))
    assert len(quotes) > 20
    assert [quote for quote in quotes if words(quote) not in text] == []


def texts() -> list[str]:
    """Return what the code can print: strings, and lines of the shell files, with \\0 for what varies."""
    found = []
    for path in [*ROOT.glob("*.py"), *ROOT.glob("lib/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                pieces = (piece.value if isinstance(piece, ast.Constant) else "\0" for piece in node.values)
                found.append("".join(pieces))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    for path in ROOT.glob("*.sh"):
        found += re.sub(r"\$\([^)]*\)|\$\w+", "\0", path.read_text()).splitlines()
    return found


def test_messages_in_the_text_are_printed():
    page = PAGES[ROOT / "docs" / "troubleshooting.md"]
    rows = re.findall(r"^\| (`+)(.*?)\1 \|", page, flags=re.MULTILINE)
    assert len(rows) > 10
    code = "\n".join(texts())
    missing = [message for _, message in rows if message.strip(".").replace("...", "\0") not in code]
    assert not missing


@pytest.mark.parametrize("command", PARSED, ids=" ".join)
def test_commands_are_understood(command):
    assert command[0] in ("bash", "python", "torchrun")
    command = [word for word in command if not word.startswith("--nproc_per_node")]  # torchrun's own
    assert (ROOT / command[1]).exists()
    script, options = command[1].removesuffix(".py"), command[2:]
    if script == "run_tests.sh" or script.startswith("benchmarks/") or "--help" in options:
        return
    if script == "run_all.sh":
        script = "00_prepare"
        for name in {"--from", "--to", "--folds", "--gpus"} & set(options):
            place = options.index(name)
            assert name in ("--folds", "--gpus") or list(ROOT.glob(f"{options[place + 1]}_*.py"))
            del options[place : place + 2]
    with pytest.raises(SystemExit) as end:  # it is understood, and ends before it does anything
        call(script, *options, "--settings")
    assert not end.value.code
    named = options[options.index("--network") + 1 :] if "--network" in options else []
    stage_2 = [f"stage_2_{location_groups.short(group)}" for group in LOCATION_GROUPS]
    preset = options[options.index("--preset") + 1] if "--preset" in options else "demo"
    assert set(named) <= {*presets.PRESETS[preset].networks, *HIERARCHY_NETWORKS, *stage_2}


def test_options_in_the_text_exist(capsys):
    for script in (*STAGES, "predict"):
        with pytest.raises(SystemExit):
            call(script, "--help")
    of_stages = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    of_stages |= set(re.findall(r"--[a-z][\w-]*", (ROOT / "run_all.sh").read_text()))
    texts = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    of_benchmark = {
        f"benchmarks/{name}.py": {
            option
            for one, content in texts.items()
            # its own, and those of a module that benchmarks share
            if one == name or re.search(rf"^(?:from|import) {one}\b", text, flags=re.MULTILINE)
            for option in re.findall(r'"(--[a-z][\w-]*)"', content)
        }
        for name, text in texts.items()
    }
    anywhere = of_stages.union(*of_benchmark.values())
    for code in INLINE:
        named = re.match(r"(?:python|bash) (\S+)", code)
        known = of_benchmark.get(named[1], of_stages) if named else anywhere
        for option in (word.partition("=")[0] for word in code.split() if re.match(r"--[a-z]", word)):
            assert option in known, code


def test_commands_that_are_not_run_are_in_the_text():
    assert set(NOT_RUN) <= {shlex.join(command) for command in COMMANDS.values()}


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "benchmarks").glob("*.py")))
def test_benchmarks_start_and_explain_themselves(name, monkeypatch, capsys):
    path = ROOT / "benchmarks" / name
    assert f"python benchmarks/{name}" in path.read_text()
    monkeypatch.syspath_prepend(path.parent)  # they import each other
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    content = runpy.run_path(str(path))  # finds everything that it imports
    if "main" in content:
        with pytest.raises(SystemExit) as end:
            content["main"]()
        assert not end.value.code
        assert content["__doc__"].splitlines()[0] in capsys.readouterr().out


def test_shell_files_are_well_formed():
    for path in [*ROOT.glob("*.sh"), ROOT / ".ci" / "run"]:
        subprocess.run(["bash", "-n", str(path)], check=True)


# the commands, run on simulated cells


def stages_of(command: list[str], folder: Path) -> list[tuple[str, list[str]]]:
    """Return the scripts that a command calls, each with its options.

    A shell file is run as it is, with an interpreter that only notes what it is called with.
    """
    if command[:2] != ["bash", "run_all.sh"]:
        return [(command[1].removesuffix(".py"), command[2:])]
    python, notes = folder / "env" / "bin" / "python", folder / "env" / "notes"
    if not python.exists():
        python.parent.mkdir(parents=True)
        note = f"""printf '%s\\0' "$@" >> {notes}; echo >> {notes}"""
        python.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo 3.12; else {note}; fi\n')
        python.chmod(0o755)
        installed = "Python 3.12\n" + (ROOT / "requirements.txt").read_text()
        (folder / "env" / "installed-requirements.txt").write_text(installed)
    notes.write_text("")
    given = [{"--folds": "2"}.get(before, word) for before, word in pairwise(command[1:])]  # two are enough
    variables = {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": str(folder / "env")}
    subprocess.run(["bash", str(ROOT / "run_all.sh"), *given], env=variables, check=True)
    calls = [line.split("\0")[:-1] for line in notes.read_text().splitlines()]
    return [(Path(script).stem, options) for script, *options in calls]


def on_smoke(script: str, options: list[str]) -> list[str]:
    """Return a script's options so that it works on the smoke preset's cells, in this folder."""
    options = list(options)
    if script == "predict":  # of a finished run
        return [*options, "--work", "."]
    if "--preset" not in options:
        options += ["--preset", "smoke"]
    elif "--data" not in options:
        options[options.index("--preset") + 1] = "smoke"
    if "--data" in options and "--run" not in options:
        options += ["--run", options[options.index("--data") + 1]]
    options += ["--work", "."]
    if "--merge" in options or not {"--run", "--find-lr"} & set(options) or "merged" in options:
        return options
    if "--find-lr" not in options and script == "02_train_cnn" and "--network" not in options:
        options += ["--network", NETWORK[options[options.index("--preset") + 1]]]
    if script == "05_submit":
        options.append("--no-report")  # that of the run smoke is made anew by another command
    more = [setting for word in options for setting in SMALLER.get(word, ())]
    return [*options, "--set", *SMALL, *more]


@pytest.fixture(scope="module")
def work(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder to work in, with what the commands expect: runs, cells, external scores."""
    folder = copy_run(smoke, tmp_path_factory.mktemp("docs") / "work")
    run = folder / "outputs" / "smoke"
    copy_run(run, folder / "outputs" / "demo")
    (folder / "data" / "demo").symlink_to(folder / "data" / "smoke")
    (folder / "labels").mkdir()
    for name in ("train.csv", "sample_submission.csv"):
        shutil.copy(smoke / "data" / "smoke" / name, folder / "labels")
    shutil.copy(run / "submission.csv", folder / "other.csv")
    (folder / "my_cells").mkdir()
    for path in sorted((smoke / "data" / "smoke" / "test").iterdir())[:8]:  # two samples of four channels
        shutil.copy(path, folder / "my_cells")
    write_scores(run / "predictions" / "baseline", folder)
    test_id = pd.read_csv(folder / "labels" / "sample_submission.csv", dtype=str)["Id"][0]
    (folder / "groups.csv").write_text(f"id,group\n{test_id},1\n")
    (folder / "answers.csv").write_text(f"Id,Target\n{test_id},0\n")
    with pytest.MonkeyPatch.context() as patch, blank_figures():
        patch.chdir(folder)
        yield folder


def write_scores(predictor: Path, folder: Path) -> None:
    """Write a predictor's probabilities as external scores, in the files that the commands name."""
    tables = {path.stem: predictions.load(path) for path in predictor.glob("*.npz")}
    scores = {
        subset: pd.DataFrame(table.probabilities_NC, pd.Index(table.ids, name="id"), CLASSES)
        for subset, table in tables.items()
    }
    scores.pop("test").to_csv(folder / "test.csv")
    pd.concat(scores.values()).to_csv(folder / "labelled.csv")
    scores.pop("train")
    pd.concat(scores.values()).to_csv(folder / "validation.csv")
    np.save(folder / "test.npy", tables["test"].probabilities_NC)


DONE: set[str] = set()  # calls that are not repeated


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[0].partition("#")[0].strip())
def test_commands_run(block, work):
    for line in block:
        command = COMMANDS[line]
        if shlex.join(command) in NOT_RUN:
            continue
        for script, given in stages_of(command, work):
            options = on_smoke(script, given)
            wanted = shlex.join([script, *options])
            if wanted in DONE:
                continue
            DONE.add(wanted)
            try:
                call(script, *options)
            except (Exception, SystemExit) as end:
                if not (isinstance(end, SystemExit) and not end.code):  # of --help and --settings
                    end.add_note(f"from the docs: {line}\ncalled as {wanted}")
                    raise


def test_a_network_is_loaded_as_the_page_shows(smoke, monkeypatch):
    (piece,) = re.findall(r"```python\n(.*?)```", PAGES[ROOT / "docs" / "own_images.md"], flags=re.DOTALL)
    run = smoke / "outputs" / "smoke"
    piece = piece.replace("outputs/demo", str(run)).replace("128, 128", "64, 64")
    found: dict = {}
    exec(piece, found)
    assert found["logits"].shape == (2, 28) and found["logits"].isfinite().all()


# the pieces of code of docs/extending.md, put into a copy of the project


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


def pieces() -> list[tuple[str, str]]:
    """Return the pieces of code of docs/extending.md, each with the file that it belongs in."""
    return re.findall(r"```python\n# (\S+)\n(.*?)```", EXTENDING, flags=re.DOTALL)


def test_the_pieces_of_code_fit_into_their_files():
    changed = {name: (ROOT / name).read_text() for name, _ in pieces()}
    assert len(changed) == 6
    for name, piece in pieces():
        changed[name] = put_in(changed[name], piece)
        compile(changed[name], name, "exec")


@pytest.fixture(scope="module")
def own(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with the pieces put in, after the preset MINE was trained there."""
    project = tmp_path_factory.mktemp("own")
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml"]:
        shutil.copy(path, project)
    shutil.copytree(ROOT / "lib", project / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    copy_run(smoke / "data", project / "data")
    (project / "data" / "demo").symlink_to(project / "data" / "smoke")
    for name, piece in pieces():
        (project / name).write_text(put_in((project / name).read_text(), piece))
    changed = [str(project / name) for name, _ in pieces()]
    for way in (("check",), ("format", "--check")):  # they are written as the rest is
        done = subprocess.run([sys.executable, "-m", "ruff", *way, *changed], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    commands = [shlex.split(line) for block in blocks(EXTENDING) for line in block]
    calls = [
        (script, [*options, "--settings"])
        for command in commands
        for script, options in stages_of(command, project)[:1]
    ]
    assert commands[-1] == ["bash", "run_all.sh", "--preset", "mine"]
    small = [setting for setting in SMALL if "network." not in setting]
    options = ["--preset", "mine", "--data", "data/demo", "--workers", "1", "--set", *small]
    calls += [(script, options) for script in STAGES[:4]]
    call_in_process(calls, cwd=project)
    return project


def weights(project: Path, network: str) -> dict:
    """Return the weights of a network of the run."""
    from safetensors.torch import load_file

    return load_file(project / "outputs" / "mine" / "networks" / network / "weights.safetensors")


@pytest.mark.slow
def test_the_feature_is_computed_and_learnt_from(own, smoke):
    table = pd.read_csv(own / "data" / "cache" / "smoke" / "features_64_fast_watershed_all" / "features.csv")
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


@pytest.mark.slow
def test_the_network_and_one_of_timm_are_trained(own):
    assert weights(own, "plain")["backbone.body.0.weight"].shape == (32, 4, 5, 5)
    assert weights(own, "convnext")["backbone.stem.0.weight"].shape == (40, 4, 4, 4)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_location_groups_have_networks(own):
    networks = own / "outputs" / "mine" / "networks"
    assert {path.name for path in networks.iterdir()} == {
        "plain", "convnext", "stage_1", "stage_2_cytoskeleton", "stage_2_elsewhere"
    }  # fmt: skip
    table = predictions.load(own / "outputs" / "mine" / "predictions" / "hierarchy_soft" / "test.npz")
    assert table.probabilities_NC.shape == (24, 28)
