import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lib.data.cache import ShardedArray
from lib.data.run_data import RunData
from lib.errors import UserError
from lib.learning.training_data import SampleSource, TrainingData
from tests.conftest import ROOT, write_sample
from tests.learning.tiny import prepare, reread

TEN = "network.features=ten"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("training_data"), "split.folds=2", features=True)


def read(run):
    return TrainingData.read(run, RunData.read(run))


def test_images_are_those_of_the_index_row_by_row(run):
    training = read(run)
    assert training.labelled.ids[:2] == ["a00", "a01"] and training.test.ids[0] == "t00"
    assert len(training.labelled.images) == 40 and len(training.test.images) == 5
    array = ShardedArray(run.array("train", 16))
    assert np.array_equal(training.labelled.images[7], array[7])
    assert training.labelled.truth_NC is None and training.labelled.features is None
    assert training.labelled.features_NF.shape == (40, 0)


def test_channel_statistics_are_those_of_each_folds_training_rows(run):
    training, array = read(run), ShardedArray(run.array("train", 16))
    assert len(training.channels) == 2
    for fold, channels in zip(training.data.folds, training.channels, strict=True):
        pixels_PK = np.stack([array[row] for row in fold.train]).reshape(-1, 4)
        assert channels["mean"] == pytest.approx(pixels_PK.mean(axis=0), rel=1e-4)
        assert channels["std"] == pytest.approx(pixels_PK.std(axis=0), rel=1e-4)
    assert training.channels[0] != training.channels[1]


def test_features_are_matched_to_the_samples(run):
    training = read(reread(run, TEN))
    table = pd.read_csv(run.features, index_col="id")
    assert training.labelled.features.index.tolist() == training.labelled.ids
    assert training.labelled.features.loc["a03"].tolist() == pytest.approx(
        table.loc["a03"].tolist(), nan_ok=True
    )
    assert training.test.features.index.tolist() == training.test.ids
    features_NF = training.test.features_NF
    assert features_NF.shape == (5, 10) and features_NF.dtype == np.float32
    assert features_NF[2] == pytest.approx(table.loc["t02"].to_numpy(np.float32), nan_ok=True)


def test_inputs_cover_everything_that_a_network_is_trained_on(run):
    plain, fused = read(run), read(reread(run, TEN))
    assert {name.split("/")[-1] for name in plain.inputs} == {
        "index.csv", "split.csv", "statistics.json", "train_16", "test_16"
    }  # fmt: skip
    assert set(fused.inputs) - set(plain.inputs) == {"features.csv"}
    assert all(fused.inputs[name] == value for name, value in plain.inputs.items())


def test_an_image_that_changes_changes_the_fingerprint(tmp_path):
    run = prepare(tmp_path)
    before = read(run).inputs
    write_sample(tmp_path / "raw", "train", "a03", seed=77)
    prepare(tmp_path, "split.seed=1", "--force")
    after = read(run).inputs
    assert before["train_16"] != after["train_16"] and before["test_16"] == after["test_16"]


def test_missing_input_names_the_stage_that_creates_it(run, tmp_path):
    with pytest.raises(
        UserError, match=r"statistics\.json has the sizes 16, not 32: run `python 00_prepare\.py`"
    ):
        read(reread(run, "training.size=32", "data.sizes=32"))
    hidden = tmp_path / "hidden"
    for path, maker in ((run.array("test", 16), "00_prepare.py"), (run.features, "01_features.py")):
        shutil.move(path, hidden)
        try:
            with pytest.raises(UserError, match=rf"{path}.* is missing: run `python {maker}`"):
                read(reread(run, TEN))
        finally:
            shutil.move(hidden, path)


def test_a_source_without_features_has_none():
    assert SampleSource([], ["a", "b"]).features_NF.shape == (2, 0)


def test_what_networks_are_trained_on_does_not_need_torch():
    code = "import sys, lib.learning.task, lib.learning.run_tasks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
