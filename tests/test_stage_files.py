"""Whatever happens to a file that a stage wrote: one line, or the stage does its work."""

import io
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib import stage_files
from lib.errors import UserError
from lib.report import html
from lib.stage_files import read_json, read_results, reading, require
from tests.call_scripts import save_one_pixel
from tests.conftest import STAGES, call

SCRIPT = "04_threshold.py"
REMEDY = f"delete it and run `python {SCRIPT}` to write it again"


def message_of(read, *arguments):
    with pytest.raises(UserError) as error:
        read(*arguments)
    assert str(error.value).isprintable(), "one line, without control characters"
    return str(error.value)


def test_missing_input_names_the_script_that_creates_it(tmp_path):
    path = tmp_path / "split.csv"
    assert message_of(require, path, SCRIPT) == f"{path} is missing: run `python {SCRIPT}` first"
    assert require(tmp_path, SCRIPT) == tmp_path
    assert message_of(read_json, path, SCRIPT) == f"{path} is missing: run `python {SCRIPT}` first"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000, b"[NaN]", b"[-Infinity]"]
)
def test_json_that_is_damaged_names_file_and_remedy(tmp_path, content):
    path = tmp_path / "step.json"
    path.write_bytes(content)
    message = message_of(read_json, path, SCRIPT)
    assert message.startswith(f"{path} is damaged (") and message.endswith(REMEDY) and len(message) < 500


def test_json_from_an_editor_that_adds_a_mark_is_read(tmp_path):
    (tmp_path / "run.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "run.json", SCRIPT, list[int]) == [1]


def test_what_is_not_a_file_is_not_waited_for(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert "it is a folder" in message_of(read_json, tmp_path / "folder", SCRIPT)
    assert "not a regular file" in message_of(read_json, tmp_path / "pipe", SCRIPT)


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")]
)
def test_nobody_is_told_to_delete_what_may_be_whole(tmp_path, error):
    (tmp_path / "x").touch()

    def read():
        with reading(tmp_path / "x", SCRIPT):
            raise error

    message = message_of(read)
    assert str(tmp_path / "x") in message and error.strerror in message and "delete it" not in message


def test_a_lack_of_memory_is_no_damage(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(MemoryError), reading(tmp_path / "x", SCRIPT):
        raise MemoryError


# tables


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def read_scores(path: Path, **options) -> pd.DataFrame:
    return read_results(path, SCRIPT, ("subset",), {"f1": (0, 1), "samples": (0, np.inf)}, **options)


def test_results_are_read_as_they_were_written(tmp_path):
    table = pd.DataFrame(
        {"subset": ["NA", "test"], "f1": [0.25, np.nan], "samples": [3, 4], "more": [1.5, -2]}
    )
    path = write(tmp_path / "a.csv", table.to_csv(index=False))
    pd.testing.assert_frame_equal(read_scores(path), table.astype({"subset": object}))
    empty = write(tmp_path / "a.csv", "subset,f1,samples\n")
    assert list(read_scores(empty, may_be_empty=True)) == ["subset", "f1", "samples"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("subset,f1,samples\n", "no rows"),
        ("subset,f1\na,0.5\n", "has the columns"),
        ("subset,f1,samples\na,0.5\n", "line 2"),
        ("subset,f1,samples\na,0.5,1\na,0.5,1\n", "line 3 repeats a"),
        ("subset,f1,samples\na,1.5,1\n", "line 2: f1 is '1.5', expected a number from 0 to 1"),
        ("subset,f1,samples\na,nan,1\n", "line 2: f1 is 'nan'"),
        ("subset,f1,samples\na,inf,1\n", "line 2: f1 is 'inf'"),
        ("subset,f1,samples\na,x,1\n", "line 2: f1 is 'x'"),
        ("subset,f1,samples\na,0.5,-1\n", "line 2: samples is '-1'"),
        ("subset,f1,samples\na,0.5,\x00\n", "control character"),
    ],
)
def test_damaged_results_name_line_value_and_remedy(tmp_path, text, reason):
    path = write(tmp_path / "a.csv", text)
    message = message_of(read_scores, path)
    assert str(path) in message and reason in message and message.endswith(REMEDY)


# arrays


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path(HARM),))


HARM = "harm_was_done"


def npy(array) -> bytes:
    with io.BytesIO() as file:
        np.save(file, array, allow_pickle=True)
        return file.getvalue()


def archive(path: Path, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def read_a(path: Path) -> np.ndarray:
    with reading(path, SCRIPT):
        return stage_files.read_arrays(path, ("a",))["a"]


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.arange(6, dtype=">f4"), np.asfortranarray(np.eye(3))]
)
def test_arrays_of_any_order_are_read(tmp_path, array):
    assert np.array_equal(read_a(archive(tmp_path / "a.npz", a=npy(array))), array)


def large(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 64


@pytest.mark.parametrize(
    "content",
    [b"", b"text", npy(np.eye(3))[:-1], npy(np.eye(3))[:20], large("(1000000000000, 28)"), large("(-1, 28)"),
     large("x"), npy(np.array([Harmful()], object)), pickle.dumps(Harmful())],
)  # fmt: skip
def test_damaged_arrays_are_one_line_and_execute_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    message = message_of(read_a, archive(tmp_path / "a.npz", a=content))
    assert message.startswith(f"{tmp_path / 'a.npz'} is damaged (") and message.endswith(REMEDY)
    assert not (tmp_path / HARM).exists()


def test_what_would_unpack_to_more_than_it_is_is_not_unpacked(tmp_path):
    bomb = archive(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, a=npy(np.zeros(10_000_000)))
    assert "unpack to 80,000,128 bytes" in message_of(read_a, bomb)


def test_an_archive_of_folders_or_without_the_array_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a/", "")
    assert "KeyError" in message_of(read_a, tmp_path / "a.npz")


# a whole run


RUN, CACHE = "outputs/smoke/", "data/cache/smoke/"
# files of the run `smoke` by pattern, and the stage that reads them; SUBMITTED is the predictor it submits
READERS = {
    "data/smoke/simulation.json": "00_prepare",
    CACHE + "index.csv": "04_threshold",
    CACHE + "features_*/features.csv": "02_train_cnn",
    RUN + "run.json": "04_threshold",
    RUN + "split.csv": "04_threshold",
    RUN + "statistics.json": "02_train_cnn",
    RUN + "manifests/02_train_cnn_baseline.json": "02_train_cnn",
    RUN + "manifests/04_threshold_baseline.json": "04_threshold",
    RUN + "networks/baseline/model.json": "05_submit",
    RUN + "networks/stage_1/validation.npz": "03_train_hier",
    RUN + "networks/stage_2_nucleus/test.npz": "03_train_hier",
    RUN + "predictions/baseline/holdout.npz": "04_threshold",
    RUN + "predictions/SUBMITTED/test.npz": "05_submit",
    RUN + "predictions/joint/predictor.json": "05_submit",
    RUN + "predictions/ensemble/predictor.json": "05_submit",
    RUN + "thresholds/SUBMITTED.json": "05_submit",
    RUN + "evaluation/baseline_summary.csv": "05_submit",
    RUN + "evaluation/joint_classes.csv": "05_submit",
    RUN + "evaluation/predictors.csv": "05_submit",
    RUN + "evaluation/confusions.csv": "05_submit",
    RUN + "examples/examples.json": "05_submit",
    RUN + "examples/0000.webp": "05_submit",
    RUN + "figures/predictors.png": "05_submit",
    RUN + "submission.csv": "05_submit",
}
DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "rubbish": lambda content: np.random.default_rng(0).bytes(500),
    "null": lambda content: b"null",
    "list": lambda content: b"[" + content + b"]",
    "nothing": lambda content: b"{}",
    "nan": lambda content: re.sub(rb"(?<=[ ,\[])0\.\d+", b"NaN", content),
    "negative": lambda content: re.sub(rb"\b(\d+)\b", rb"-\1", content),
    "text": lambda content: re.sub(rb"\b\d+\b", b'"x"', content),
    "longer": lambda content: content + content[-40:],
}


def find(work: Path) -> dict[Path, str]:
    """Return the files of `READERS`."""
    submitted = read_json(work / RUN / "examples" / "examples.json")["predictor"]
    return {
        next(iter(work.glob(pattern.replace("SUBMITTED", submitted)))): script
        for pattern, script in READERS.items()
    }


def read_again(script: str, work: Path) -> str:
    """Call a stage of the run that is complete; return its error, empty if there is none."""
    try:
        call(script, "--run", "smoke", "--work", work)
    except UserError as error:
        return str(error)
    return ""


ROUNDS = [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, len(DAMAGES)))]


@pytest.mark.parametrize("round_", ROUNDS)
def test_a_damaged_file_of_a_run_is_one_line_that_names_it(smoke_copy, monkeypatch, round_):
    """Each file is damaged in every way, one way per round: in the fast suite, each in one way."""
    monkeypatch.setattr(html, "render", lambda path, template, **context: None)
    for number, (path, script) in enumerate(find(smoke_copy).items()):
        kind = list(DAMAGES)[(number + round_) % len(DAMAGES)]
        content = path.read_bytes()
        damaged = DAMAGES[kind](content)
        path.unlink()  # large files are links to those that all tests share
        path.write_bytes(damaged)
        is_picture = path.suffix in (".png", ".webp")
        message = read_picture(path) if is_picture else read_again(script, smoke_copy)
        harmless = damaged == content or (path.suffix == ".npz" and kind == "list")  # zip archives allow more
        if not harmless and kind != "longer":
            assert str(path) in message and "`python 0" in message, (path, kind, message)
        assert message.isprintable(), (path, kind)
        path.unlink(missing_ok=True)
        path.write_bytes(content)


def read_picture(path: Path) -> str:
    try:
        html.data_uri(path)
    except UserError as error:
        return str(error)
    return ""


ADVISED = (
    RUN + "split.csv",
    RUN + "statistics.json",
    RUN + "run.json",
    CACHE + "index.csv",
    CACHE + "features_*/features.csv",
    RUN + "manifests/04_threshold_baseline.json",
    RUN + "manifests/02_train_cnn_baseline.json",
    RUN + "networks/baseline/model.json",
    RUN + "networks/stage_1/validation.npz",
    RUN + "predictions/baseline/holdout.npz",
    RUN + "predictions/joint/predictor.json",
    RUN + "predictions/ensemble/predictor.json",
    RUN + "thresholds/SUBMITTED.json",
    RUN + "evaluation/predictors.csv",
    RUN + "evaluation/joint_classes.csv",
    RUN + "examples/examples.json",
    RUN + "submission.csv",
)


@pytest.mark.slow
def test_the_advice_restores_the_run(smoke_copy, monkeypatch):
    """Damage one file after another, and do what the message says; in the end the run is as before."""
    monkeypatch.setattr(Figure, "savefig", save_one_pixel)
    files = {path: script for path, script in find(smoke_copy).items() if is_advised(path, smoke_copy)}
    files[smoke_copy / RUN / "networks/baseline/weights.safetensors"] = "predict"
    before = (smoke_copy / RUN / "submission.csv").read_bytes()
    assert len(files) == len(ADVISED) + 1
    for path, script in files.items():
        path.unlink()
        path.write_bytes(b"\xff")
        message = message_of(load, path.parent) if script == "predict" else read_again(script, smoke_copy)
        assert str(path) in message, message
        if "delete it" in message:
            path.unlink()
        stage, options = re.search(r"`python (\d\d_\w+)\.py(.*?)`", message).groups()
        run = ("--run", "smoke", "--work", smoke_copy)
        call(stage, *options.replace("PRESET", "smoke").split(), *run)
        assert path.exists() and not (script != "predict" and read_again(script, smoke_copy)), path
    for stage in STAGES:
        call(stage, "--run", "smoke", "--work", smoke_copy)
    assert (smoke_copy / RUN / "submission.csv").read_bytes() == before


def is_advised(path: Path, work: Path) -> bool:
    return any(path.relative_to(work).match(pattern.replace("SUBMITTED", "*")) for pattern in ADVISED)


def load(folder: Path):
    from lib.learning import models

    return models.load(folder)
