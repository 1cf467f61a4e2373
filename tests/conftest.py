"""What tests share: small folders in Kaggle's layout, stages called in this process, one run, real files."""

import contextlib
import importlib
import io
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib import console, files
from lib.figures import data_and_training
from tests.call_scripts import save_one_pixel

ROOT = Path(__file__).resolve().parent.parent
# real labels and images, where somebody has put them; tests that need them are skipped elsewhere
REAL = Path(os.environ.get("HPA_REAL", ROOT.parent / "shared" / "real"))
needs_real = pytest.mark.skipif(not REAL.exists(), reason="no real files (folder named by HPA_REAL)")
PAPERS = REAL.parent / "papers"  # their texts
needs_papers = pytest.mark.skipif(not PAPERS.exists(), reason="no texts of the papers")
CHANNELS = ("red", "green", "blue", "yellow")
STAGES = ("00_prepare", "01_features", "02_train_cnn", "03_train_hier", "04_threshold", "05_submit")
# makes a run on the folders of `write_kaggle` as small as possible
TINY = (
    "--set", "data.sizes=16", "data.shard_rows=8", "training.size=16", "training.epochs=1",
    "network.architecture=test_resnet",
)  # fmt: skip
SAVEFIG = Figure.savefig
# files in the order of their duration, which start first: so that two test processes end at about the same
# time. The second does not need the run `smoke`, which the first makes.
LONGEST = ("tests/test_pipeline.py", "tests/learning/test_fit.py", "tests/test_docs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""

    def position(item: pytest.Item) -> int:
        name = item.nodeid.partition("::")[0]
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=position)


def write_sample(folder: Path, subset: str, sample: str, seed: int, size: int = 20) -> None:
    """Write four channels of random grey levels."""
    image_HWK = np.random.default_rng(seed).integers(0, 256, (size, size, 4), dtype=np.uint8)
    (folder / subset).mkdir(parents=True, exist_ok=True)
    for channel, name in enumerate(CHANNELS):
        cv2.imwrite(str(folder / subset / f"{sample}_{name}.png"), image_HWK[..., channel])


def write_kaggle(folder: Path, train: int = 20, test: int = 5, size: int = 20) -> Path:
    """Write a folder in Kaggle's layout: samples a00, a01 ... and t00, t01 ...; classes 0 to 3."""
    for row in range(train):
        write_sample(folder, "train", f"a{row:02d}", row, size)
    for row in range(test):
        write_sample(folder, "test", f"t{row:02d}", 1000 + row, size)
    rows = [f"a{row:02d},{row % 4}" + (" 25" if row % 5 == 0 else "") for row in range(train)]
    (folder / "train.csv").write_text("\n".join(["Id,Target", *rows]) + "\n")
    rows = [f"t{row:02d},0" for row in range(test)]
    (folder / "sample_submission.csv").write_text("\n".join(["Id,Predicted", *rows]) + "\n")
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder in Kaggle's layout with 20 labelled and 5 test samples of 20 px."""
    return write_kaggle(tmp_path / "raw")


def call(script: str, *options: object) -> str | None:
    """Call a script's main in this process, without further processes; return its last line."""
    return importlib.import_module(script).main(["--workers", "1", *map(str, options)])


def paper_table(paper: str) -> pd.DataFrame:
    """Return the table of docs/papers.md in a paper's section: where, written, here, differs."""
    page = (ROOT / "docs" / "papers.md").read_text()
    lines = page.partition(f"## {paper}\n")[2].partition("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")]
    return pd.DataFrame(rows[2:], columns=["where", "written", "here", "differs"])


def missing_of_paper(paper: str, run: Path) -> list[str]:
    """Return the files, networks and predictors that a paper's table names and a run lacks."""
    here = " ".join(paper_table(paper)["here"])
    files = re.findall(r"`((?:figures|evaluation)/\w+\.\w+)`", here)
    assert len(files) > 5
    names = re.findall(r"`((?:baseline|hierarchy|joint|stage|zero|copied|rgb)\w*)`", here)
    found = {path.name for folder in ("networks", "predictions") for path in (run / folder).iterdir()}
    known = found | {name.removesuffix("_hard") for name in found}  # hierarchies
    return [name for name in names if name not in known] + [n for n in files if not (run / n).exists()]


def run_script(script: str, *options: object) -> subprocess.CompletedProcess:
    """Run a script as a user would, but in this process, where everything is imported already."""
    command, before = [str(ROOT / f"{script}.py"), *map(str, options)], sys.argv
    handler, code = signal.getsignal(signal.SIGTERM), 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            sys.argv = command
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.argv = before
            signal.signal(signal.SIGTERM, handler)
            console.quiet = False
    return subprocess.CompletedProcess(command, code, out.getvalue(), error.getvalue())


def call_in_process(
    calls: list[tuple[str, list[object]]], *python: str, cwd: Path = ROOT
) -> subprocess.CompletedProcess:
    """Call scripts one after another in a single new process, which saves no figures.

    Parameters
    ----------
    calls : list of (str, list)
        Scripts and their options; ``--help`` and ``--settings`` may end one.
    python : str
        Arguments of the interpreter, for example those that start torchrun.
    cwd : Path
        Folder that holds the scripts.
    """
    texts = json.dumps([(script, [str(option) for option in options]) for script, options in calls])
    command = [sys.executable, *python, str(ROOT / "tests" / "call_scripts.py"), texts]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(cwd)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(autouse=True)
def not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test be quiet because one before it called a stage so."""
    monkeypatch.setattr(console, "quiet", False)


@pytest.fixture(autouse=True, scope="session")
def coarse_figures() -> Iterator[None]:
    """Draw all figures at low resolution."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(data_and_training.STYLE, "figure.dpi", 25)
        yield


@contextlib.contextmanager
def blank_figures() -> Iterator[None]:
    """Save one pixel in place of every figure: for tests that call stages, not of what these draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_one_pixel)
        yield


@pytest.fixture
def no_figures() -> Iterator[None]:
    """Save one pixel in place of every figure."""
    with blank_figures():
        yield


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The preset smoke run through all stages, once for all test processes; the folder named by --work.

    What each stage printed is in ``<stage>.out``. Tests only read the folder, which is checked in the end:
    those that call a stage or change a file do it in `smoke_copy`.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    work = shared / "smoke"
    with files.waiting_lock(shared / "smoke.lock"), pytest.MonkeyPatch.context() as monkeypatch:
        if not (shared / "smoke.done").exists():
            monkeypatch.setattr(Figure, "savefig", SAVEFIG)  # a test module may have replaced it
            for script in STAGES:
                done = run_script(script, "--preset", "smoke", "--work", work, "--workers", "1")
                assert done.returncode == 0, done.stderr
                (work / f"{script}.out").write_text(done.stdout)
            (shared / "smoke.done").touch()
    before = _times(work)
    yield work
    after = _times(work)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    assert not changed, f"a test changed the run that all share; it needs smoke_copy: {changed[:3]}"


def _times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def copy_run(source: Path, goal: Path) -> Path:
    """Copy a folder named by --work; large files are linked, as the stages only replace them."""

    def copy(old: str, new: str) -> None:
        large = Path(old).stat().st_size > 1_000_000
        (os.link if large else shutil.copy2)(old, new)

    return shutil.copytree(source, goal, copy_function=copy)


@pytest.fixture
def smoke_copy(smoke: Path, tmp_path: Path) -> Path:
    """A copy of the run `smoke` for one test; replace large files such as weights, never write into them."""
    return copy_run(smoke, tmp_path / "smoke")
