import os
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from lib import parallel
from lib.config import Features
from lib.data import cache
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.features import class_separation
from lib.features import table as feature_table
from lib.features.additional import COLUMNS
from lib.features.biological import TEN, measure
from lib.labels import CLASSES
from tests.conftest import ROOT, call, run_script, write_kaggle, write_sample

SETTINGS = Features(size=32)


@pytest.fixture
def built(tmp_path):
    """Arrays of 20 labelled and 5 test samples in shards of 8 rows, and their index."""
    return build_arrays(tmp_path, train=20, test=5)


def build_arrays(folder, train, test, size=32):
    raw = write_kaggle(folder / "raw", train=train, test=test, size=size)
    ids = {"train": [f"a{row:02d}" for row in range(train)], "test": [f"t{row:02d}" for row in range(test)]}
    for part, names in ids.items():
        cache.build(raw, folder / "cache", part, names, (size,), 8, workers=1)
    opened = {part: cache.ShardedArray(folder / "cache" / f"{part}_{size}") for part in ids}
    return opened, Index(ids["train"], [(0,)] * train, ids["test"])


def build(built, folder, settings=SETTINGS, workers=1, force=False):
    return feature_table.build(*built, folder, settings, workers, force)


@pytest.mark.parametrize("columns", ["ten", "all"])
def test_the_table_holds_every_sample_in_order(built, tmp_path, columns):
    opened, index = built
    table = build(built, tmp_path / "features", Features(size=32, columns=columns))
    assert list(table.index) == index.train_ids + index.test_ids
    assert list(table.columns) == list(COLUMNS[columns])
    for row, part, place in ((0, "train", 0), (19, "train", 19), (22, "test", 2)):
        wanted = measure(opened[part][place], "fast", COLUMNS[columns])
        assert table.iloc[row].to_numpy() == pytest.approx(wanted, rel=1e-6, nan_ok=True)
    written = pd.read_csv(tmp_path / "features" / "features.csv")
    assert list(written.columns) == ["id", *COLUMNS[columns]] and len(written) == 25
    narrow = feature_table.read(tmp_path / "features" / "features.csv", index, "ten")
    assert list(narrow.columns) == list(TEN)


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


def test_finished_shards_are_not_measured_again(built, tmp_path, monkeypatch):
    folder = tmp_path / "features"
    build(built, folder)
    whole = (folder / "features.csv").read_bytes()
    shards = sorted(folder.glob("t*_*.csv"))
    assert [path.name[:11] for path in shards] == ["test_00000_", "train_00000", "train_00001", "train_00002"]
    shards[2].unlink()
    (folder / "features.csv").unlink()
    measured = []
    original = feature_table.measure
    monkeypatch.setattr(feature_table, "measure", lambda *given: measured.append(1) or original(*given))
    build(built, folder)
    assert len(measured) == 8  # the rows of the one shard
    assert (folder / "features.csv").read_bytes() == whole
    build(built, folder, force=True)
    assert len(measured) == 8 + 25


def test_mended_images_change_only_their_shard(built, tmp_path, monkeypatch):
    folder = tmp_path / "features"
    before = build(built, folder)
    write_sample(tmp_path / "raw", "train", "a09", seed=77, size=32)
    ids = built[1].train_ids
    cache.build(tmp_path / "raw", tmp_path / "cache", "train", ids, (32,), 8, workers=1)
    built[0]["train"] = cache.ShardedArray(tmp_path / "cache" / "train_32")
    measured = []
    original = feature_table.measure
    monkeypatch.setattr(feature_table, "measure", lambda *given: measured.append(1) or original(*given))
    after = build(built, folder)
    assert len(measured) == 8
    changed = (before != after) & ~(before.isna() & after.isna())
    assert list(after.index[changed.any(axis=1)]) == ["a09"]
    assert len(list(folder.glob("train_00001_*.csv"))) == 1


def test_a_feature_more_is_measured(built, tmp_path, monkeypatch):
    folder = tmp_path / "features"
    before = build(built, folder)
    more = TEN | {"mean": lambda sample: sample.image_HWK.mean()}
    monkeypatch.setitem(COLUMNS, "ten", more)
    after = build(built, folder)
    assert list(after.columns) == [*TEN, "mean"] and after[list(TEN)].equals(before)
    assert after["mean"].iloc[9] == pytest.approx(built[0]["train"][9].mean(), rel=1e-6)
    assert len(list(folder.glob("t*_*.csv"))) == 4  # those with ten columns are gone


def test_a_table_of_other_samples_is_refused(built, tmp_path):
    path = tmp_path / "features" / "features.csv"
    build(built, path.parent)
    index = Index(built[1].train_ids[:-1], [(0,)] * 19, built[1].test_ids)
    with pytest.raises(UserError, match=r"features.csv holds the id a19, which index.csv does not expect"):
        feature_table.read(path, index)
    path.write_text("id,nuclear_ratio\na00,much\n")
    with pytest.raises(UserError, match=r"features.csv is no table of id and features \(could not convert"):
        feature_table.read(path, index)
    with pytest.raises(UserError, match=r"missing: run `python 01_features.py` first"):
        feature_table.read(tmp_path / "none.csv", index)


def test_memory_does_not_grow_with_the_samples(tmp_path):
    peaks = []
    for rows in (16, 96):
        opened, index = build_arrays(tmp_path / str(rows), train=rows, test=8, size=96)
        tracemalloc.start()
        feature_table.build(opened, index, tmp_path / f"features{rows}", SETTINGS, 1, False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


def test_a_dask_cluster_gives_the_same_arrays_and_table(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    options = ["--preset", "smoke", "--set", "simulation.train_samples=40", "data.shard_rows=8", "--work"]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # the cluster would set them for good
    # in this process nothing may be measured; the cluster's have modules of their own
    monkeypatch.setattr(feature_table, "measure", None)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        for script in ("00_prepare", "01_features"):
            call(script, *options, tmp_path / "there", "--dask", cluster.scheduler_address)
    monkeypatch.undo()
    for script in ("00_prepare", "01_features"):
        call(script, *options, tmp_path / "here")
    cache = "data/cache/smoke"
    for name in ("train_64/00003.npy", "test_64/00002.npy", "features_64_fast_ten/features.csv"):
        here, there = ((tmp_path / side / cache / name).read_bytes() for side in ("here", "there"))
        assert here == there, name


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr(parallel, "ANSWER_SECONDS", 1)
    with (
        pytest.raises(
            UserError, match=r"--dask tcp://127.0.0.1:9: no scheduler answers \(.*\); expected an address"
        ),
        parallel.dask("tcp://127.0.0.1:9"),
    ):
        pass


def test_without_the_package_dask_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install dask distributed"), parallel.dask("tcp://host:1"):
        pass


# the stage


def prepared(tmp_path, *sets, rows=20):
    raw = write_kaggle(tmp_path / "raw", train=rows, size=32)
    options = ["--preset", "smoke", "--data", raw, "--work", tmp_path, "--set"]
    options += ["training.size=32", "data.sizes=32", "network.architecture=test_resnet", *sets]
    call("00_prepare", *options)
    return options


def test_the_stage_prints_the_path_and_draws(tmp_path, capsys):
    options = prepared(tmp_path)
    capsys.readouterr()
    call("01_features", *options)
    path = tmp_path / "data" / "cache" / "raw" / "features_32_fast_ten" / "features.csv"
    assert capsys.readouterr().out.splitlines()[-1] == f"features: {path}" and path.exists()
    run = tmp_path / "outputs" / "smoke"
    assert all(
        (run / "figures" / f"features_by_{what}.png").stat().st_size > 5000 for what in ("class", "group")
    )
    table = pd.read_csv(run / "evaluation" / "features.csv", index_col="class")
    assert list(table.columns) == list(TEN) and CLASSES[0] in table.index
    call("01_features", *options)
    out = capsys.readouterr().out.splitlines()
    assert "features of 25 samples are up to date" in out and out[-1] == f"features: {path}"


def test_a_network_with_features_needs_stage_01_and_says_so(tmp_path):
    options = prepared(tmp_path, "network.features=ten", "training.epochs=1")
    with pytest.raises(UserError, match=r"features.csv is missing: run `python 01_features.py` first"):
        call("02_train_cnn", "--network", "baseline", *options)
    call("01_features", *options)
    call("02_train_cnn", "--network", "baseline", *options)
    assert (tmp_path / "outputs" / "smoke" / "predictions" / "baseline" / "test.npz").exists()


def test_unknown_networks_name_the_known(tmp_path):
    with pytest.raises(UserError, match=r"--network base: preset smoke has baseline features_alone"):
        call("02_train_cnn", "--preset", "smoke", "--network", "base", "--work", tmp_path)


def test_killed_while_measuring_it_goes_on_to_the_same_bytes(tmp_path):
    options = [str(option) for option in prepared(tmp_path, "data.shard_rows=4", rows=90)]
    folder = tmp_path / "data" / "cache" / "raw" / "features_32_paper_ten"
    command = [sys.executable, str(ROOT / "01_features.py"), *options, "features.denoise=paper"]
    process = subprocess.Popen([*command, "--workers", "1"], cwd=ROOT, start_new_session=True)
    while len(list(folder.glob("t*_*.csv"))) < 3:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    made = {path: path.stat().st_mtime_ns for path in folder.glob("t*_*.csv")}
    assert len(made) < 24 and not (folder / "features.csv").exists()
    assert run_script("01_features", *options, "features.denoise=paper").returncode == 0
    assert all(path.stat().st_mtime_ns == then for path, then in made.items())
    cut = (folder / "features.csv").read_bytes()
    assert run_script("01_features", *options, "features.denoise=paper", "--force").returncode == 0
    assert (folder / "features.csv").read_bytes() == cut


# what features tell


def test_separation_is_the_area_under_the_curve():
    random = np.random.default_rng(0)
    values = random.integers(0, 12, 80).astype(float)  # with ties
    values[:5] = np.nan
    values[5] = np.inf
    truth_NC = np.zeros((80, 28), bool)
    truth_NC[:, 3] = random.uniform(size=80) < 0.3
    truth_NC[:, 5] = True
    table = class_separation.by_class(pd.DataFrame({"x": values, "unsaid": np.full(80, np.nan)}), truth_NC)
    assert list(table.index) == [CLASSES[3], CLASSES[5]]
    said = ~np.isnan(values)
    inside, outside = values[said & truth_NC[:, 3]], values[said & ~truth_NC[:, 3]]
    wanted = mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside))
    assert table.loc[CLASSES[3], "x"] == pytest.approx(wanted)
    assert np.isnan(table.loc[CLASSES[5], "x"]) and table["unsaid"].isna().all()
    perfect = class_separation.by_class(pd.DataFrame({"x": truth_NC[:, 3] * 1.0}), truth_NC)
    assert perfect.loc[CLASSES[3], "x"] == 1.0
