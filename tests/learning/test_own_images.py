"""A user's images are cached, measured and predicted by the networks of a run, once."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.data import kaggle
from lib.errors import UserError
from lib.evaluation import predictions
from lib.figures import data_and_training as figures
from lib.labels import CHANNELS
from lib.learning import models
from lib.learning.own_images import OwnImages, results_folder
from lib.learning.run_tasks import run_tasks
from lib.learning.task import of_all_classes
from lib.learning.training_data import TrainingData
from tests.conftest import write_sample
from tests.learning.tiny import class_task, prepare, reread

CHOSEN = ["t01", "t03", "t04"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two folds with a network, one with features, and trees; without its own arrays and images."""
    settings = ("split.folds=2", "training.tta=true", "data.sizes=16,24", "features.size=16")
    run = prepare(tmp_path_factory.mktemp("own_images"), *settings, train=120, features=True)
    trees = ("network.kind=trees", "network.features=ten", "hierarchy.train=none")
    data = class_task(run).training.data
    tasks = []
    for name, settings in {
        "baseline": (),
        "fused": ("network.features=ten",),
        "features_alone": trees,
        "crops": ("training.array_size=24", "training.crop=16,22", "training.tta_crops=4"),
    }.items():
        own = reread(run, *settings)
        tasks.append(of_all_classes(name, own, TrainingData.read(own, data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "training_curves", lambda *_arguments: None)
        run_tasks(tasks, "02_train_cnn")
    shutil.move(run.source / "test", run.folder.parent / "test")
    shutil.rmtree(run.source)
    for subset in ("train", "test"):
        for size in (16, 24):
            shutil.rmtree(run.array(subset, size))
    return run


@pytest.fixture
def cells(trained, tmp_path):
    """A folder with three of the test samples."""
    folder = tmp_path / "cells"
    folder.mkdir()
    for sample in CHOSEN:
        for channel in CHANNELS:
            shutil.copy(trained.folder.parent / "test" / f"{sample}_{channel}.png", folder)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """The run, whose folder a test may write to."""
    shutil.copytree(trained.folder, tmp_path / "run")
    return replace(trained, folder=tmp_path / "run")


def opened(run, cells):
    return OwnImages.open(run, cells, run.folder / "own_images" / cells.name, [16, 24])


@pytest.mark.parametrize("name", ["baseline", "fused", "crops"])
@pytest.mark.parametrize("views", [1, 8])
def test_a_network_predicts_a_test_sample_as_the_run_did(run, cells, name, views):
    table = opened(run, cells).predict_network(name, views)
    of_run = predictions.load(run.predictor(name + {1: "", 8: "_tta"}[views]) / "test.npz")
    expected_NC = of_run.select(CHOSEN, "test")
    assert table.ids == CHOSEN and np.allclose(table.probabilities_NC, expected_NC, atol=1e-6)
    assert np.abs(expected_NC[0] - expected_NC[1]).max() > 1e-5  # samples differ by more than the tolerance


def test_trees_predict_a_test_sample_as_the_run_did(run, cells):
    images = OwnImages.open(run, cells, run.folder / "own_images" / "cells", [16])
    table = images.predict_trees("features_alone")
    of_run = predictions.load(run.predictor("features_alone") / "test.npz")
    assert table.ids == CHOSEN
    expected_NC = of_run.select(CHOSEN, "test")
    assert np.allclose(table.probabilities_NC, expected_NC, atol=1e-6)
    assert np.abs(expected_NC[0] - expected_NC[1]).max() > 1e-3


def test_images_are_the_runs_test_samples_in_place_of_its_own(run, cells):
    images = opened(run, cells)
    assert images.ids == images.data.ids("test") == CHOSEN
    assert images.data.index.train_ids[0] == "a00" and images.data.has_folds
    array = images.array(16)
    assert len(array) == 3 and array.folder == images.folder / "cells_16"
    assert not (run.cache / "test_16").exists()


def test_features_are_those_that_stage_01_measured(run, cells):
    expected = pd.read_csv(run.features, index_col="id").loc[CHOSEN]
    found = opened(run, cells).features
    assert found.index.tolist() == CHOSEN
    assert np.allclose(found.to_numpy(), expected.to_numpy(), equal_nan=True)


def test_predictions_are_made_once_and_again_for_other_images_or_weights(run, cells, monkeypatch):
    loaded, load = [], models.load
    monkeypatch.setattr(models, "load", lambda folder: loaded.append(folder.name) or load(folder))
    first = opened(run, cells).predict_network("baseline", 1)
    assert loaded == ["fold_0", "fold_1"]
    again = opened(run, cells).predict_network("baseline", 1)
    assert len(loaded) == 2 and np.array_equal(again.probabilities_NC, first.probabilities_NC)
    opened(run, cells).predict_network("baseline", 8)
    assert len(loaded) == 4
    for channel in CHANNELS:  # one more image
        shutil.copy(cells / f"t01_{channel}.png", cells / f"another_{channel}.png")
    more = opened(run, cells).predict_network("baseline", 1)
    assert len(loaded) == 6 and more.ids == ["another", *CHOSEN]
    assert np.allclose(more.probabilities_NC[0], more.probabilities_NC[1], atol=1e-6)
    weights = run.network("baseline") / "fold_1" / "weights.safetensors"
    changed = models.load_weights(weights)
    changed["backbone.fc.bias"] += 1
    models.save_weights(weights, changed)
    other = opened(run, cells).predict_network("baseline", 1)
    assert len(loaded) == 8 and (other.probabilities_NC > more.probabilities_NC).all()


def test_several_runs_may_predict_the_same_images(run, cells):
    images = opened(run, cells)
    other = replace(images, run=replace(run, folder=run.folder.with_name("other")))
    assert images.networks != other.networks and images.networks.parent == other.networks.parent


def test_a_network_that_is_not_trained_names_the_stage(run, cells):
    with pytest.raises(
        UserError, match=r"networks/none holds no trained network: run `python 02_train_cnn\.py`"
    ):
        opened(run, cells).predict_network("none", 1)


def test_tiff_and_coloured_files_are_read_like_grey_png(run, cells):
    others = cells.with_name("others")
    others.mkdir()
    planes = {
        channel: cv2.imread(str(cells / f"t01_{channel}.png"), cv2.IMREAD_UNCHANGED) for channel in CHANNELS
    }
    for channel, plane in planes.items():
        colored = np.zeros((*plane.shape, 3), np.uint8)
        for place in {"red": [2], "green": [1], "blue": [0], "yellow": [1, 2]}[channel]:
            colored[..., place] = plane
        cv2.imwrite(str(others / f"t01_{channel}.tif"), plane if channel == "green" else colored)
    assert np.array_equal(opened(run, others).array(16)[0], opened(run, cells).array(16)[0])


def test_an_image_of_any_size_is_resized(run, tmp_path):
    write_sample(tmp_path, "large", "x", seed=1, size=50)
    write_sample(tmp_path, "large", "y", seed=2, size=16)
    images = opened(run, tmp_path / "large")
    assert [images.array(16)[row].shape for row in (0, 1)] == [(16, 16, 4)] * 2
    assert images.predict_network("baseline", 1).probabilities_NC.shape == (2, 28)


def test_folders_of_the_same_name_have_results_of_their_own(run, cells):
    other = cells.parent / "elsewhere" / "cells"
    shutil.copytree(cells, other)
    parent = run.folder / "own_images"
    for _ in range(2):  # the same folder again is recognised
        for source, name in ((cells, "cells"), (other, "cells_2")):
            folder = results_folder(run, source)
            assert folder == parent / name
            OwnImages.open(run, source, folder, [16])
    (parent / "cells" / "source.json").unlink()
    assert results_folder(run, cells) == parent / "cells_3", "results of an unknown folder are kept"


def test_every_size_that_a_network_needs_is_cached(run, cells):
    images = OwnImages.open(run, cells, run.folder / "own_images" / "cells", [24, 16, 24])
    assert [images.array(size)[2].shape for size in (16, 24)] == [(16, 16, 4), (24, 24, 4)]


def test_bad_images_stop_it_unless_allowed(run, cells):
    (cells / "t01_blue.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 sample .*cells/t01_blue\.png.* is empty.*data\.max_bad_images=1"):
        opened(run, cells)
    images = opened(reread(run, "data.max_bad_images=1"), cells)
    assert images.ids == CHOSEN[1:] and images.rows.tolist() == [1, 2] and len(images.array(16)) == 3
    listed = (images.folder / "bad_images.csv").read_text().splitlines()
    assert listed[1:] == ["cells,t01,t01_blue.png,is empty"]
    rest = opened(run, _without(cells, "t01"))
    assert np.array_equal(images.array(16)[2], rest.array(16)[1])
    for name in ("fused", "features_alone"):
        predict = "predict_trees" if name == "features_alone" else "predict_network"
        found, expected = (getattr(some, predict)(name, *[1] * (name == "fused")) for some in (images, rest))
        assert found.ids == CHOSEN[1:]
        assert np.allclose(found.probabilities_NC, expected.probabilities_NC, atol=1e-6)


def test_a_tolerated_bad_image_leaves_nothing_to_decode_again(run, cells, monkeypatch):
    (cells / "t03_blue.png").write_bytes(b"")
    run = reread(run, "data.max_bad_images=1", "data.shard_rows=1")
    first = opened(run, cells)
    read, original = [], kaggle.read_image
    monkeypatch.setattr(kaggle, "read_image", lambda *a: read.append(a[2]) or original(*a))
    again = opened(run, cells)
    assert set(read) <= {"t03"}, "which may be readable now"
    assert again.ids == first.ids == ["t01", "t04"]
    shutil.copy(cells / "t01_blue.png", cells / "t03_blue.png")
    assert opened(run, cells).ids == CHOSEN and set(read) == {"t03"}


def _without(cells, sample):
    rest = cells.with_name("rest")
    shutil.copytree(cells, rest, ignore=shutil.ignore_patterns(f"{sample}_*"))
    return rest


def test_a_folder_that_cannot_be_used_is_one_line(run, tmp_path):
    for name in ("nowhere", "x" * 300):
        with pytest.raises(UserError, match=rf"{name}: no such folder; expected .*\{{id\}}_green\.png"):
            opened(run, tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: not a folder"):
        opened(run, tmp_path / "file")
    for name, words in (
        ("a\nb", "cannot be displayed"),
        ("\udcff", "cannot be displayed"),
        ("y" * 240, "200"),
    ):
        (tmp_path / name).mkdir()
        with pytest.raises(UserError, match=rf"{words}.*: rename") as error:
            opened(run, tmp_path / name)
        assert str(error.value).isprintable()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty contains no image \{id\}_green\.png"):
        opened(run, tmp_path / "empty")
    (tmp_path / "deep").mkdir()
    for channel in CHANNELS:
        cv2.imwrite(str(tmp_path / "deep" / f"a_{channel}.tif"), np.zeros((8, 8), np.uint16))
    with pytest.raises(UserError, match=r"deep/a_red\.tif.* has 16 bits .* 8"):
        opened(run, tmp_path / "deep")
