"""Imports point one way, scripts stay thin, nothing heavy is loaded for nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_script

# what the modules of a package, or those directly in lib/ ("lib"), never import
FOREIGN = {
    "lib": {"timm", "cv2", "matplotlib", "sklearn"},
    "data": {"torch", "timm", "matplotlib"},
    "simulation": {"torch", "timm", "matplotlib"},
    "features": {"torch", "timm", "matplotlib"},
    "evaluation": {"torch", "timm", "cv2", "albumentations", "matplotlib"},
    "figures": {"torch", "timm", "albumentations"},
    "learning": {"matplotlib"},
    "hierarchy": {"timm", "cv2", "albumentations", "matplotlib"},
    "report": {"timm", "cv2", "albumentations"},
}
SCRIPTS = sorted(ROOT.glob("[0-9][0-9]_*.py"))
MODULES = sorted((ROOT / "lib").rglob("*.py"))


def place(module: str) -> str:
    """Return the package that a dotted module name lies in; "lib" for the modules directly in lib/."""
    parts = module.split(".")
    return parts[1] if (ROOT / "lib" / parts[1]).is_dir() else "lib"


def imports(path: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = (ROOT / name.replace(".", "/")).with_suffix(".py").exists()
                found.add(name if is_module else node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_import_only_the_libraries_they_may(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if path.name == "__init__.py":
        assert not imports(path)
        return
    for name in imports(path):
        assert name.split(".")[0] not in FOREIGN[place(module)], f"{module} imports {name}"


def test_no_module_imports_itself_by_way_of_others():
    graph = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): {
            n for n in imports(path) if n.startswith("lib.")
        }
        for path in MODULES
    }

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"cycle: {' -> '.join((*way, module))}"
        for name in graph.get(module, ()):
            visit(name, (*way, module))

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin(path):
    tree = ast.parse(path.read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert names == ["main"]
    assert len(path.read_text().splitlines()) <= 102
    docstring = ast.get_docstring(tree)
    assert docstring.startswith(f"Stage {path.name[:2]}: ")
    assert all(f"\n{word} " in docstring for word in ("Reads", "Writes", "Run"))


def test_lib_is_tracked_and_has_no_drawer_for_everything():
    assert not list((ROOT / "lib").rglob("utils.py"))
    listed = subprocess.run(["git", "ls-files", "lib"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:  # else the tree came without its history
        assert "lib/data/cache.py" in listed.stdout.splitlines()


@pytest.mark.parametrize("script", [path.stem for path in SCRIPTS])
def test_help_is_quick_and_shows_the_presets(script):
    code = (
        "import sys, runpy; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'cv2', 'matplotlib', 'sklearn', 'albumentations'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", code, f"{script}.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in ("demo", "smoke", "strong", "cost:", "score:", "--set", "--run"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("04_threshold", ["--force"]),
        ("05_submit", ["--force", "--no-report"]),
        ("05_submit", ["--no-report"]),
    ],
)
def test_stages_on_prediction_tables_load_no_torch(script, options, smoke):
    code = (
        "import sys, runpy; sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "heavy = {'torch', 'timm', 'cv2', 'albumentations'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [
        sys.executable,
        "-c",
        code,
        f"{script}.py",
        "--preset",
        "smoke",
        "--work",
        str(smoke),
        *options,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_settings_are_listed_without_a_run(tmp_path):
    done = run_script("02_train_cnn", "--settings", "--preset", "smoke", "--work", tmp_path)
    assert done.returncode == 0 and "training.epochs=2 " in done.stdout
    assert list(tmp_path.iterdir()) == []
