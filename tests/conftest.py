"""What tests share: small folders in Kaggle's layout, stages called in this process, real files."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib import console

ROOT = Path(__file__).resolve().parent.parent
# real labels and images, where somebody has put them; tests that need them are skipped elsewhere
REAL = Path(os.environ.get("HPA_REAL", ROOT.parent / "shared" / "real"))
needs_real = pytest.mark.skipif(not REAL.exists(), reason="no real files (folder named by HPA_REAL)")
CHANNELS = ("red", "green", "blue", "yellow")


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
    """Call a stage's main in this process; return what it would end with."""
    return importlib.import_module(script).main([str(option) for option in options])


def run_script(script: str, *options: object, **arguments: object) -> subprocess.CompletedProcess:
    """Run a stage as a user would."""
    command = [sys.executable, str(ROOT / f"{script}.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **arguments)


@pytest.fixture(autouse=True)
def not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test be quiet because one before it called a stage so."""
    monkeypatch.setattr(console, "quiet", False)


STAGES = ("00_prepare", "01_features", "02_train_cnn", "03_train_hier", "04_threshold", "05_submit")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke preset run through all stages once; the folder named by --work."""
    work = tmp_path_factory.mktemp("smoke")
    for script in STAGES:
        done = run_script(script, "--preset", "smoke", "--work", work)
        (work / f"{script}.out").write_text(done.stdout)
        assert done.returncode == 0, done.stderr
    return work
