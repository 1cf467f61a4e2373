"""Stage 01 as a script, and the stages that need it or run beside it."""

import pandas as pd
import pytest

from lib.errors import UserError
from lib.features import table as feature_table
from lib.features.biological import TEN
from lib.labels import CLASSES
from lib.report import feature_figures
from tests.conftest import call, write_kaggle


def prepared(folder, *settings):
    raw = write_kaggle(folder / "raw", size=32)
    options = ["--preset", "smoke", "--data", raw, "--work", folder, "--set"]
    options += ["training.size=32", "data.sizes=32", "network.architecture=test_resnet", *settings]
    call("00_prepare", *options)
    return options


def test_it_writes_the_features_and_figures_once(tmp_path, capsys):
    options = prepared(tmp_path)
    capsys.readouterr()
    last_line = call("01_features", *options)
    path = tmp_path / "data" / "cache" / "raw" / "features_32_fast_watershed_ten" / "features.csv"
    assert str(path) in f"{capsys.readouterr().out}{last_line}" and path.exists()
    run = tmp_path / "outputs" / "smoke"
    for name in ("features_by_class", "features_by_group", "protein_in_nuclei", "segments"):
        assert (run / "figures" / f"{name}.png").stat().st_size > 5000
    table = pd.read_csv(run / "evaluation" / "features.csv", index_col="class")
    assert list(table.columns) == list(TEN) and CLASSES[0] in table.index
    written = path.stat().st_mtime_ns
    last_line = call("01_features", *options)
    out = capsys.readouterr().out
    assert "up to date" in out and str(path) in f"{out}{last_line}"
    assert path.stat().st_mtime_ns == written


def test_the_segmentation_of_named_samples_is_drawn_from_features_that_are_up_to_date(tmp_path, monkeypatch):
    options = prepared(tmp_path, "features.segmentation=paper")
    drawn = []
    for name in ("protein_in_nuclei", "segments"):
        monkeypatch.setattr(feature_figures.segments, name, lambda *arguments: drawn.append(arguments))
    call("01_features", *options)
    assert len(drawn) == 2 and len(drawn[0][1]) == 4
    assert (tmp_path / "data" / "cache" / "raw" / "features_32_fast_paper_ten" / "features.csv").exists()
    call("01_features", *options)
    assert len(drawn) == 2  # nothing to do
    ids = pd.read_csv(tmp_path / "data" / "cache" / "raw" / "index.csv")["id"]
    call("01_features", *options, "--show", ids.iloc[-1], ids.iloc[3])
    assert [title.splitlines()[0] for title in drawn[-1][2]] == [ids.iloc[-1], ids.iloc[3]]
    assert drawn[-1][1][0].segmentation == "paper"
    with pytest.raises(UserError, match=r"--show 'nobody'.*train.csv"):
        call("01_features", *options, "--show", "nobody")


def test_a_network_with_features_needs_stage_01(tmp_path):
    options = prepared(tmp_path, "network.features=ten", "training.epochs=1")
    with pytest.raises(UserError, match=r"features.csv is missing: run `python 01_features.py"):
        call("02_train_cnn", "--network", "baseline", *options)
    call("01_features", *options)
    call("02_train_cnn", "--network", "baseline", *options)
    assert (tmp_path / "outputs" / "smoke" / "predictions" / "baseline" / "test.npz").exists()


def test_it_is_skipped_where_no_network_uses_features(tmp_path, capsys):
    preset = ("--preset", "hierarchy", "--data", write_kaggle(tmp_path / "raw", size=32))
    options = [*preset, "--work", tmp_path, "--set", "data.sizes=32", "training.size=32"]
    call("01_features", *options)  # before stage 00 has run
    _heading, line = capsys.readouterr().out.splitlines()
    assert "skipped" in line and "--force" in line
    assert not (tmp_path / "data").exists() and not (tmp_path / "outputs").exists()
    with pytest.raises(UserError, match=r"index.csv is missing: run `python 00_prepare.py"):
        call("01_features", *options, "--force")
    with pytest.raises(UserError, match=r"index.csv is missing: run `python 00_prepare.py"):
        call("01_features", *options, "network.features=ten")


def test_an_unknown_network_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"--network base: preset smoke has baseline features_alone"):
        call("02_train_cnn", "--preset", "smoke", "--network", "base", "--work", tmp_path)


@pytest.mark.slow
def test_a_dask_cluster_writes_the_same_arrays_and_features(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    options = ["--preset", "smoke", "--set", "simulation.train_samples=40", "data.shard_rows=8", "--work"]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # the cluster would set them permanently
    # nothing may be measured in this process; the cluster's processes import their own modules
    monkeypatch.setattr(feature_table, "measure", None)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        for script in ("00_prepare", "01_features"):
            call(script, *options, tmp_path / "there", "--dask", cluster.scheduler_address)
    monkeypatch.undo()
    for script in ("00_prepare", "01_features"):
        call(script, *options, tmp_path / "here")
    cache = "data/cache/smoke"
    for name in ("train_64/00003.npy", "test_64/00002.npy", "features_64_fast_watershed_ten/features.csv"):
        here, there = ((tmp_path / side / cache / name).read_bytes() for side in ("here", "there"))
        assert here == there, name
