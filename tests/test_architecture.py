"""Imports point one way, scripts stay thin, nothing heavy is loaded for nothing, words are the field's."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, STAGES, run_script

# a module imports only from its own package and from those on lines before; "lib": modules directly in lib/
LAYERS = (
    ("lib",),
    ("data",),
    ("simulation", "features", "evaluation"),
    ("figures",),
    ("learning",),
    ("hierarchy",),
    ("report",),
)
# third-party packages that a package never imports
EXCLUDED = {
    "lib": {"timm", "cv2", "matplotlib", "sklearn"},
    "data": {"torch", "timm", "matplotlib"},
    "simulation": {"torch", "timm", "matplotlib"},
    "features": {"torch", "timm", "matplotlib"},
    "evaluation": {"torch", "timm", "cv2", "albumentations", "matplotlib"},
    "figures": {"torch", "timm", "albumentations"},
    "learning": {"matplotlib"},
    "hierarchy": {"timm", "cv2", "albumentations", "matplotlib"},
    "report": {"timm", "cv2", "albumentations", "matplotlib"},
}
STAGE_PATHS = sorted(ROOT.glob("[0-9][0-9]_*.py"))
SCRIPTS = [*STAGE_PATHS, ROOT / "predict.py"]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "lib").rglob("*.py"))
    if path.name != "__init__.py"
}
MAX_SCRIPT_LINES, MAX_SCRIPT_FUNCTION, MAX_COMPLEXITY, MAX_FUNCTION = 80, 40, 10, 50
# functions in lib/ that may be longer, by "path:name", each with a comment that gives the reason
LONG_FUNCTIONS: set[str] = set()
# modules without a test file of their name, with the reason
UNTESTED: set[str] = set()
# words of a former private vocabulary, which the field's standard English has replaced
FORBIDDEN_WORDS = re.compile(
    r"\b(?:Material|Tally|Outcome|LEADS|(?i:workshop|carry_out|carr(?:y|ies|ied) out|jud(?:ge[sd]?|ging)|"
    r"said|say_of|says? of|chances|foreign|reckon(?:s|ed|ing)?|mend(?:s|ed|ing)?|dealt?|looker|as given|"
    r"95 % certain|not to be had|(?:go|goes|going|gone) on|made elsewhere|joining|refuse[sd]?|"
    r"tells? apart|whoever))\b"
)


def package(module: str) -> str:
    """Return the package that a dotted module name lies in; "lib" for the modules directly in lib/."""
    part = module.split(".")[1]
    return part if (ROOT / "lib" / part).is_dir() else "lib"


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
    return found


def functions(path: Path) -> list[tuple[str, int]]:
    """Return the name of every function in a file, and its number of lines without the docstring."""
    found = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node):
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            found.append((node.name, lines))
    return found


def test_every_package_has_a_place_in_the_order():
    packages = {package(module) for module in MODULES}
    assert packages == {name for layer in LAYERS for name in layer} == set(EXCLUDED)


@pytest.mark.parametrize("name", EXCLUDED)
def test_packages_import_only_what_stands_before_them(name):
    (place,) = (number for number, layer in enumerate(LAYERS) if name in layer)
    allowed = {name}.union(*LAYERS[:place])
    for module, path in MODULES.items():
        if package(module) == name:
            for imported in imports(path):
                top = imported.split(".")[0]
                assert top not in EXCLUDED[name], f"{module} imports {imported}"
                if top == "lib":
                    assert imported in MODULES or (ROOT / imported.replace(".", "/")).is_dir(), imported
                    if imported in MODULES:
                        assert package(imported) in allowed, f"{module} imports {imported}"


def test_there_are_no_import_cycles():
    graph = {module: imports(path) & set(MODULES) for module, path in MODULES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises a CycleError that shows the cycle


def test_nothing_imports_a_script_and_packages_are_empty():
    names = {path.stem for path in SCRIPTS}
    for path in MODULES.values():
        assert not names & imports(path), path
    # figures chooses a backend before any of its modules imports matplotlib
    for path in {*(ROOT / "lib").rglob("__init__.py")} - {ROOT / "lib" / "figures" / "__init__.py"}:
        assert not imports(path) and len(path.read_text().splitlines()) <= 3, path


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin(path):
    assert len(path.read_text().splitlines()) <= MAX_SCRIPT_LINES
    assert not [node for node in parse(path).body if isinstance(node, ast.ClassDef)]
    for name, lines in functions(path):
        assert lines <= MAX_SCRIPT_FUNCTION, f"{name}: {lines} lines"
    docstring = ast.get_docstring(parse(path))
    assert path.name == "predict.py" or docstring.startswith(f"Stage {path.name[:2]}: ")
    for word in ("Reads", "Writes", "Run"):
        assert f"\n{word} " in docstring


def test_functions_are_short_and_simple():
    long = {
        f"{path.relative_to(ROOT)}:{name}"
        for path in MODULES.values()
        for name, lines in functions(path)
        if lines > MAX_FUNCTION
    }
    assert long == LONG_FUNCTIONS
    options = ["--select", "C901", "--config", f"lint.mccabe.max-complexity={MAX_COMPLEXITY}", "--no-cache"]
    command = [sys.executable, "-m", "ruff", "check", *options, "lib", *map(str, SCRIPTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_lib_is_tracked_and_has_no_module_for_everything():
    assert not [path for path in MODULES.values() if re.search(r"util|helper|misc|common", path.name)]
    listed = subprocess.run(["git", "ls-files", "lib"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:  # else the tree came without its history
        assert "lib/data/cache.py" in listed.stdout.splitlines()


def test_every_module_has_a_test_file_of_its_name():
    missing = set()
    for path in MODULES.values():
        inside = path.relative_to(ROOT / "lib")
        if not (ROOT / "tests" / inside.with_name(f"test_{inside.name}")).exists():
            missing.add(f"lib/{inside}")
    assert missing == UNTESTED


def test_every_test_file_has_a_module_or_covers_more():
    names = ("architecture", "benchmarks", "docs", "environment", "fuzz", "pipeline", "run_all")
    more = {f"test_{name}.py" for name in names}
    more |= {"features/test_stage.py", "features/test_dask.py"}
    for path in (ROOT / "tests").rglob("test_*.py"):
        inside = path.relative_to(ROOT / "tests")
        module = ROOT / "lib" / inside.with_name(inside.name.removeprefix("test_"))
        assert module.exists() or str(inside) in more, inside


def test_words_are_those_of_the_field():
    files = [*MODULES.values(), *ROOT.glob("*.py"), *ROOT.glob("*.sh"), *ROOT.glob("*.md")]
    files += [*(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.py")]
    files += [path for path in (ROOT / "lib").rglob("*") if path.suffix in (".html", ".css")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for match in FORBIDDEN_WORDS.finditer(line)
    ]
    assert not found, "\n".join(found)


# what is loaded


def run_watched(calls: str, heavy: set[str], *arguments: object) -> subprocess.CompletedProcess:
    """Run code in a new process, and check that it loads none of the packages."""
    code = f"{calls}\nheavy = {heavy} & set(sys.modules)\nassert not heavy, heavy"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_help_is_quick_and_shows_the_presets():
    code = """import importlib, sys, time
for script in sys.argv[1:]:
    started = time.process_time()
    try:
        sys.argv = [script]
        importlib.import_module(script).main(["--help"])
    except SystemExit:
        print("END OF HELP")
print(time.process_time())"""
    heavy = {"torch", "cv2", "matplotlib", "sklearn", "albumentations"}
    done = run_watched(code, heavy, *(path.stem for path in SCRIPTS))
    *helps, seconds = done.stdout.split("END OF HELP\n")
    assert len(helps) == len(SCRIPTS)
    for text in helps:
        for word in ("demo", "smoke", "strong", "cost:", "score:", "--set", "--run"):
            assert word in text
    assert float(seconds) < 2 * len(SCRIPTS)


def test_stages_on_prediction_tables_load_no_torch(smoke_copy):
    run = smoke_copy / "outputs" / "smoke"
    (run / "manifests" / "04_threshold_hierarchy_soft.json").unlink()  # evaluated again, and compared again
    (run / "evaluation" / "predictors.csv").unlink()
    (run / "submission.csv").unlink()
    code = """import importlib, sys
from matplotlib.figure import Figure
Figure.savefig = lambda self, path, **options: open(path, "wb").close()
leak = "--no-report", "--force", "--set", "submit.duplicates=label"
for script, *more in (("04_threshold",), *2 * [("05_submit", "--no-report")], ("05_submit", *leak)):
    importlib.import_module(script).main(["--preset", "smoke", "--work", sys.argv[1], *more])"""
    done = run_watched(code, {"torch", "timm", "cv2", "albumentations"}, smoke_copy)
    assert "hierarchy_soft are up to date" not in done.stdout
    assert (run / "submission.csv").exists() and (run / "evaluation" / "predictors.csv").exists()


def test_settings_are_listed_without_a_run(tmp_path):
    done = run_script("02_train_cnn", "--settings", "--preset", "smoke", "--work", tmp_path)
    assert done.returncode == 0 and "training.epochs=2 " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_stages_are_those_of_the_folder():
    assert [path.stem for path in STAGE_PATHS] == list(STAGES)
