"""Readers give results or one-line errors for files changed at random: users' tables, images, our own files.

``HPA_FUZZ_CASES=2000`` sets the number of changed files of each of the three kinds.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lib import location_groups
from lib.data import image_files, kaggle, run_data, sample_index
from lib.data.sample_index import SampleIndex
from lib.data.sharded_array import ShardedArray
from lib.errors import UserError
from lib.evaluation import external_scores, predictions, predictor_scores, submission, thresholds
from lib.evaluation.predictions import Predictor
from lib.features import table as feature_table
from lib.learning import models
from lib.learning.network_spec import NetworkSpec
from lib.report.example_images import ExampleList
from lib.run import Invocation
from lib.steps import Manifest

CASES = int(os.environ.get("HPA_FUZZ_CASES", 100))
INDEX = SampleIndex(["a", "NA"], [(0,)] * 2, ["t1", "001", "null"])
DECISION_NC = np.zeros((3, 28), bool)
SUBMISSION = 'Id,Predicted\r\nt1,0 25\n001,"3"\nnull,27\n'
# pieces that are exchanged for others, beside changed bytes
PIECES = (
    b",", b";", b"\t", b"\n", b"\r", b"\r\n", b'"', b'""', b" ", b"\0", b"\xff", b"\xe4", b"\xef\xbb\xbf",
    b"\xff\xfe", b"0", b"-1", b"28", b"1.0", b"1e5", b"1e999", b"nan", b"inf", b"NA", b"Id", b"=1+1",
    b"9" * 5000, b"x" * 140_000, "é".encode(), "\u2028".encode(), b"a", b"t1", b"0 0", b"", b"\x1a",
    b"../..", b"0_1",
)  # fmt: skip


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file's content with some pieces or bytes exchanged, cut off, repeated or encoded otherwise."""
    for _ in range(rng.integers(1, 4)):
        start, end = sorted(rng.integers(len(content) + 1, size=2))
        match rng.integers(6):
            case 0 | 1:
                length = rng.integers(3)
                content = content[:start] + PIECES[rng.integers(len(PIECES))] + content[start + length :]
            case 2:
                content = content[:start]
            case 3:
                content = content[:start] + content[start:end] * 2 + content[end:]
            case 4:
                content = content[:start] + rng.bytes(2) + content[start + 2 :]
            case 5:
                encoding = ("utf-16", "utf-16-le", "utf-16-be", "latin-1")[rng.integers(4)]
                content = content.decode("utf-8", "replace").encode(encoding, "replace")
    return content


def npy(folder):
    np.save(folder / "scores.npy", np.full((3, 28), 0.5))
    return (folder / "scores.npy").read_bytes()


READERS = {
    "train.csv": (b"Id,Target\na,16 0\n\nNA,25\n", lambda path: kaggle.read_tables(path.parent)),
    "sample_submission.csv": (
        b"Id,Predicted\nt1,0\n001,0\nnull,0\n",
        lambda path: kaggle.read_tables(path.parent),
    ),
    "submission.csv": (SUBMISSION.encode(), lambda path: submission.check(path, INDEX.test_ids)),
    "other.csv": (SUBMISSION.encode(), lambda path: submission.read_other(path, INDEX.test_ids)),
    "solution.csv": (
        b"Id,Target,Usage\nt1,1,Public\n001,0,Private\nnull,2,Public\n",
        lambda path: submission.score(INDEX.test_ids, DECISION_NC, path),
    ),
    "scores.csv": (
        b"Id,0,Cytosol\na,0.5,1e-3\nNA,1,0\n",
        lambda path: external_scores.read(path, INDEX),
    ),
    "scores.npy": (npy, lambda path: external_scores.read(path, INDEX)),
    "groups.csv": (
        ("group,label\n" + "".join(f"{'AB'[label % 2]},{label}\n" for label in range(28))).encode(),
        lambda path: location_groups.read(str(path)),
    ),
    "frequencies.csv": (
        b"class,frequency\nCytosol,0.25\n3,1e-2\n",
        lambda path: thresholds.read_frequencies(str(path), np.full(28, 0.1)),
    ),
}


def check(path: Path, read: Callable[[Path], object], whole: bytes, cases: int) -> int:
    """Read a file that is changed at random, again and again; return the number of errors."""
    errors = 0
    for seed in range(cases):
        path.write_bytes(changed(whole, np.random.default_rng(seed)))
        try:
            read(path)
        except UserError as error:
            message = str(error)
            assert str(path) in message and message.isprintable() and len(message) < 700, (seed, message)
            errors += 1
    return errors


@pytest.mark.parametrize("name", READERS)
def test_tables_of_users(tmp_path, name):
    (tmp_path / "train.csv").write_bytes(READERS["train.csv"][0])
    (tmp_path / "sample_submission.csv").write_bytes(READERS["sample_submission.csv"][0])
    whole, read = READERS[name]
    whole = whole(tmp_path) if callable(whole) else whole
    (tmp_path / name).write_bytes(whole)
    read(tmp_path / name)
    cases = -(-CASES // len(READERS))
    assert check(tmp_path / name, read, whole, cases) > cases / 4


def pillow(image: np.ndarray, kind: str, **options: object) -> bytes:
    """Return an image file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def image_contents() -> dict[str, bytes]:
    """Return image files of many kinds by name."""
    gray_HW = np.random.default_rng(0).integers(0, 256, (24, 20), dtype=np.uint8)
    green_HWK = np.stack([np.zeros_like(gray_HW), gray_HW, np.zeros_like(gray_HW)], axis=2)
    palette, pages = io.BytesIO(), io.BytesIO()
    Image.fromarray(green_HWK).quantize(16).save(palette, "PNG")
    Image.fromarray(gray_HW).save(pages, "TIFF", save_all=True, append_images=[Image.fromarray(gray_HW)] * 2)
    return {
        "gray.png": pillow(gray_HW, "PNG"),
        "green.png": pillow(green_HWK, "PNG"),
        "palette.png": palette.getvalue(),
        "deep.png": cv2.imencode(".png", gray_HW.astype(np.uint16) * 257)[1].tobytes(),
        "raw.tif": pillow(gray_HW, "TIFF"),
        "lzw.tif": pillow(gray_HW, "TIFF", compression="tiff_lzw"),
        "deflate.tiff": pillow(green_HWK, "TIFF", compression="tiff_adobe_deflate"),
        "pages.tif": pages.getvalue(),
        "gray.jpg": pillow(gray_HW, "JPEG"),
        "green.jpeg": pillow(green_HWK, "JPEG", quality=95),
    }


IMAGES = image_contents()


@pytest.mark.parametrize("name", IMAGES)
def test_images(tmp_path, capfd, name):
    def read(path: Path) -> None:
        try:
            plane_HW = image_files.read_plane(path, projection="max")
        except ValueError as error:  # a phrase that is said of the file
            raise UserError(f"{path} {error}") from None
        assert plane_HW.dtype == np.uint8 and plane_HW.ndim == 2

    cases = -(-CASES // len(IMAGES))
    assert check(tmp_path / name, read, IMAGES[name], cases) > cases / 4
    assert capfd.readouterr() == ("", ""), "libraries print nothing"


RUN, CACHE = Path("outputs/smoke"), Path("data/cache/smoke")
SMOKE_READERS = {  # by file of the run; they take its path and the run's index
    RUN / "run.json": lambda path, index: Invocation.read(path.parent),
    RUN / "split.csv": run_data.read_split,
    RUN / "statistics.json": lambda path, index: run_data.Statistics.read(path),
    RUN / "manifests/00_prepare.json": lambda path, index: Manifest.read(path, "00_prepare.py"),
    RUN / "networks/baseline/model.json": lambda path, index: NetworkSpec.read(path.parent),
    RUN / "networks/baseline/weights.safetensors": lambda path, index: models.load_weights(path),
    RUN / "predictions/baseline/predictor.json": lambda path, index: Predictor.read(path.parent),
    RUN / "predictions/baseline/test.npz": lambda path, index: predictions.load(path),
    RUN / "thresholds/baseline.json": lambda path, index: thresholds.load(path, "test", 1),
    RUN / "evaluation/baseline_summary.csv": lambda path, index: predictor_scores.read_summary(path),
    RUN / "examples/examples.json": lambda path, index: ExampleList.read(path.parent, list(range(28)), "05"),
    CACHE / "index.csv": lambda path, index: sample_index.read_index(path),
    CACHE / "features_64_fast_watershed_ten/features.csv": feature_table.read,
}


@pytest.mark.parametrize("file", SMOKE_READERS, ids=lambda file: file.name)
def test_files_of_a_run(smoke, tmp_path, file):
    index, read = sample_index.read_index(smoke / CACHE / "index.csv"), SMOKE_READERS[file]
    path, whole = tmp_path / file.name, (smoke / file).read_bytes()
    path.write_bytes(whole)
    read(path, index)
    check(path, lambda path: read(path, index), whole, -(-CASES // len(SMOKE_READERS)))


@pytest.mark.parametrize("name", ["array.json", "00000.json", "00000.npy", "verified.json"])
def test_cached_arrays(smoke, tmp_path, name):
    folder = tmp_path / "train_64"
    folder.mkdir()
    for path in filter(Path.is_file, (smoke / CACHE / "train_64").iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    whole, array = (folder / name).read_bytes(), ShardedArray(folder)[0].copy()

    def read(path: Path) -> None:
        try:
            assert np.array_equal(ShardedArray(folder)[0], array), "damage is found"
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    check(folder / name, read, whole, -(-CASES // 20))
