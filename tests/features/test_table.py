import os
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from lib.data import cache
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.features import table as feature_table
from lib.features.additional import COLUMNS
from lib.features.biological import TEN, measure
from lib.sections import Features
from tests.conftest import ROOT, write_kaggle, write_sample

SETTINGS = Features(size=32)
SHARD_ROWS = 8


@pytest.fixture
def built(tmp_path):
    """Arrays of 20 labelled and 5 test samples in shards of 8 rows, and their index."""
    return build_arrays(tmp_path, train=20, test=5)


def build_arrays(folder, train, test, size=32):
    raw = write_kaggle(folder / "raw", train=train, test=test, size=size)
    ids = {"train": [f"a{row:02d}" for row in range(train)], "test": [f"t{row:02d}" for row in range(test)]}
    for subset, names in ids.items():
        cache.build(raw, folder / "cache", subset, names, (size,), SHARD_ROWS, workers=1)
    return open_arrays(folder, size), SampleIndex(ids["train"], [(0,)] * train, ids["test"])


def open_arrays(folder, size=32):
    return {name: cache.ShardedArray(folder / "cache" / f"{name}_{size}") for name in ("train", "test")}


def build(built, folder, settings=SETTINGS, workers=1, force=False):
    return feature_table.build(*built, folder, settings, workers, force)


@pytest.fixture
def measured(monkeypatch):
    """A list that grows by one with every sample that is measured in this process."""
    calls, original = [], feature_table.measure
    monkeypatch.setattr(feature_table, "measure", lambda *values: calls.append(1) or original(*values))
    return calls


@pytest.mark.parametrize("columns", ["ten", "all"])
def test_the_table_holds_every_sample_in_order(built, tmp_path, columns):
    arrays, index = built
    table = build(built, tmp_path / "features", Features(size=32, columns=columns))
    assert list(table.index) == index.train_ids + index.test_ids
    assert list(table.columns) == list(COLUMNS[columns])
    for row, subset, array_row in ((0, "train", 0), (19, "train", 19), (22, "test", 2)):
        expected = measure(arrays[subset][array_row], "fast", COLUMNS[columns])
        assert table.iloc[row].to_numpy() == pytest.approx(expected, rel=1e-6, nan_ok=True)
    written = pd.read_csv(tmp_path / "features" / "features.csv")
    assert list(written.columns) == ["id", *COLUMNS[columns]] and len(written) == 25
    ten = feature_table.read(tmp_path / "features" / "features.csv", index, "ten")
    assert list(ten.columns) == list(TEN)


def test_the_number_of_processes_changes_nothing(built, tmp_path):
    for workers in (1, 2):
        build(built, tmp_path / str(workers), workers=workers)
    one, two = ((tmp_path / name / "features.csv").read_bytes() for name in "12")
    assert one == two


def test_the_papers_denoising_gives_other_values(built, tmp_path):
    fast = build(built, tmp_path / "fast")
    paper = build(built, tmp_path / "paper", Features(size=32, denoise="paper"))
    assert np.allclose(fast["protein_over_er"], paper["protein_over_er"])  # of channels as recorded
    assert not np.allclose(fast["ssim_er"], paper["ssim_er"])


def test_finished_shards_are_not_measured_again(built, tmp_path, measured):
    folder = tmp_path / "features"
    build(built, folder)
    complete = (folder / "features.csv").read_bytes()
    shards = sorted(folder.glob("t*_*.csv"))
    assert [path.name[:11] for path in shards] == ["test_00000_", "train_00000", "train_00001", "train_00002"]
    assert shards == sorted(shard.path for shard in feature_table.feature_shards(built[0], folder, SETTINGS))
    shards[2].unlink()
    (folder / "features.csv").unlink()
    measured.clear()
    build(built, folder)
    assert len(measured) == SHARD_ROWS  # the rows of the missing shard
    assert (folder / "features.csv").read_bytes() == complete
    build(built, folder, force=True)
    assert len(measured) == SHARD_ROWS + 25


def test_replaced_images_change_only_their_shard(built, tmp_path, measured):
    folder = tmp_path / "features"
    before = build(built, folder)
    write_sample(tmp_path / "raw", "train", "a09", seed=77, size=32)
    index = built[1]
    cache.build(tmp_path / "raw", tmp_path / "cache", "train", index.train_ids, (32,), SHARD_ROWS, workers=1)
    measured.clear()
    after = build((open_arrays(tmp_path), index), folder)
    assert len(measured) == SHARD_ROWS
    changed = (before != after) & ~(before.isna() & after.isna())
    assert list(after.index[changed.any(axis=1)]) == ["a09"]
    assert len(list(folder.glob("train_00001_*.csv"))) == 1


def test_an_added_feature_is_measured(built, tmp_path, monkeypatch):
    folder = tmp_path / "features"
    before = build(built, folder)
    monkeypatch.setitem(COLUMNS, "ten", TEN | {"mean": lambda sample: sample.image_HWK.mean()})
    after = build(built, folder)
    assert list(after.columns) == [*TEN, "mean"] and after[list(TEN)].equals(before)
    assert after["mean"].iloc[9] == pytest.approx(built[0]["train"][9].mean(), rel=1e-6)
    assert len(list(folder.glob("t*_*.csv"))) == 4  # those with ten columns are removed


def test_ids_are_text_and_empty_fields_undefined(tmp_path):
    ids = ["NA", "null", "nan", "None", "001", "1e5", "inf", "True", "#N/A", " a"]
    lines = [f"{sample}{',' * len(TEN)}\n" for sample in ids]
    (tmp_path / "f.csv").write_text(",".join(["id", *TEN]) + "\n" + "".join(lines))
    table = feature_table.read(tmp_path / "f.csv", SampleIndex([], [], ids))
    assert list(table.index) == ids and table["compactness"].isna().all()


def test_a_table_with_other_ids_or_contents_is_rejected(built, tmp_path):
    path = tmp_path / "features" / "features.csv"
    table, index = build(built, path.parent), built[1]
    for ids, problem in (
        (index.train_ids[:-1], "a19"),
        ([*index.train_ids[::-1]], "ordered differently"),
    ):
        other = SampleIndex(ids, [(0,)] * len(ids), index.test_ids)
        with pytest.raises(UserError) as error:
            feature_table.read(path, other)
        for text in (str(path), problem, "index.csv", "01_features.py`"):
            assert text in str(error.value)
    for content in ("id,nuclear_ratio\na00,much\n", "sample,nuclear_ratio\na00,1\n"):
        path.write_text(content)
        with pytest.raises(UserError) as error:
            feature_table.read(path, index)
        assert str(path) in str(error.value) and "01_features.py`" in str(error.value)
    with pytest.raises(UserError, match=r"none.csv is missing: run `python 01_features.py`"):
        feature_table.read(tmp_path / "none.csv", index)
    assert len(table) == 25


def test_memory_does_not_grow_with_the_samples(tmp_path):
    peaks = []
    for rows in (16, 64):
        arrays, index = build_arrays(tmp_path / str(rows), train=rows, test=8, size=96)
        tracemalloc.start()
        feature_table.build(arrays, index, tmp_path / f"features{rows}", SETTINGS, 1, False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


# measures 14 samples, then hangs until it is killed
HANGING = """
import sys, time
from pathlib import Path
from tests.features import test_table
from lib.features import table

original, calls = table.measure, []

def measure(*values):
    calls.append(1)
    if len(calls) > 14:
        time.sleep(600)
    return original(*values)

table.measure = measure
folder = Path(sys.argv[1])
arrays = test_table.open_arrays(folder)
table.build(arrays, None, folder / "features", test_table.SETTINGS, 1, False)
"""


def test_a_killed_run_resumes_to_the_same_bytes(built, tmp_path, measured):
    folder = tmp_path / "features"
    process = subprocess.Popen([sys.executable, "-c", HANGING, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not list(folder.glob("train_00000_*.csv")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("t*_*.csv")}
    assert len(finished) == 1 and not (folder / "features.csv").exists()
    build(built, folder)
    assert len(measured) == 25 - SHARD_ROWS
    assert all(path.stat().st_mtime_ns == modified for path, modified in finished.items())
    resumed = (folder / "features.csv").read_bytes()
    build(built, folder, force=True)
    assert (folder / "features.csv").read_bytes() == resumed
