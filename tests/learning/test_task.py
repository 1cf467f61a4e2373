import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lib import presets
from lib.data.run_data import Fold
from lib.evaluation.predictions import Predictor
from lib.labels import CLASSES
from lib.learning.task import Task, of_all_classes

SINGLE, FIRST, SECOND = (Fold(number, np.array([0, 1]), np.array([2])) for number in (None, 0, 1))


@pytest.fixture
def task(tmp_path):
    """A task of three classes with the settings of the smoke preset."""
    run = SimpleNamespace(
        config=presets.load("smoke", ["training.tta=true"]),
        network=lambda name: tmp_path / "networks" / name,
        predictor=lambda name: tmp_path / "predictions" / name,
    )
    truth_NO = np.zeros((3, 3), bool)
    return Task("baseline", run, None, truth_NO, [SINGLE], ["a", "b", "c"], classes=[4, 7, 2])


def with_settings(task, *settings):
    return replace(
        task, run=SimpleNamespace(**vars(task.run) | {"config": presets.load("smoke", [*settings])})
    )


def test_views_are_one_and_eight_with_test_time_augmentation_of_a_network(task):
    assert task.views == [1, 8]
    assert with_settings(task).views == [1]
    trees = ("training.tta=true", "network.kind=trees", "network.features=ten")
    assert with_settings(task, *trees, "hierarchy.train=none").views == [1]


def test_tables_of_a_predictor_lie_with_the_predictions(task, tmp_path):
    assert task.table("test", 1) == tmp_path / "predictions" / "baseline" / "test.npz"
    assert task.table("test", 8) == tmp_path / "predictions" / "baseline_tta" / "test.npz"
    assert task.fold_table(SINGLE, "test", 8) == task.table("test", 8)
    assert task.folder(SINGLE) == tmp_path / "networks" / "baseline"


def test_tables_of_folds_and_of_parts_of_a_hierarchy_lie_with_the_networks(task, tmp_path):
    networks = tmp_path / "networks" / "baseline"
    assert task.folder(SECOND) == networks / "fold_1"
    assert task.fold_table(SECOND, "validation", 1) == networks / "fold_1" / "validation.npz"
    assert task.fold_table(FIRST, "validation", 8) == networks / "fold_0" / "validation_tta.npz"
    stage_2 = replace(task, classes=None, group_classes=[4, 7])
    assert stage_2.table("test", 1) == networks / "test.npz" == stage_2.fold_table(SINGLE, "test", 1)


def test_outputs_become_classes_where_they_are_classes(task):
    probabilities_NO = np.array([[0.1, 0.2, 0.3]], np.float32)
    table = task.as_table(["x"], probabilities_NO)
    assert task.columns == 28 and table.probabilities_NC.shape == (1, 28)
    assert table.probabilities_NC[0, [4, 7, 2]].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert np.flatnonzero(table.known_C).tolist() == [2, 4, 7]
    within = replace(task, classes=None, group_classes=[4, 7])  # the third output is "other"
    assert within.columns == 28 and within.output_classes == [4, 7]
    assert within.as_table(["x"], probabilities_NO).probabilities_NC.sum() == pytest.approx(0.3)
    groups = replace(task, classes=None)
    assert groups.columns == 3 and groups.output_classes is None
    assert np.array_equal(groups.as_table(["x"], probabilities_NO).probabilities_NC, probabilities_NO)


def test_a_predictor_describes_itself(task, tmp_path):
    task.write_predictors()
    folder = tmp_path / "predictions"
    read = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/predictor.json")}
    assert read == {
        "baseline": {"kind": "network", "network": "baseline", "views": 1},
        "baseline_tta": {"kind": "network", "network": "baseline", "views": 8},
    }


def test_a_network_without_augmentation_removes_its_augmented_predictor(task, tmp_path):
    task.write_predictors()
    predictor = Predictor("external", files=["scores.csv"])
    other = replace(with_settings(task), name="other")
    predictor.write(tmp_path / "predictions" / "other_tta")
    other.write_predictors()
    with_settings(task).write_predictors()
    left = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert left == {"baseline", "other", "other_tta"}, "not one that was added under such a name"


def test_trees_describe_themselves(task, tmp_path):
    trees = with_settings(task, "network.kind=trees", "network.features=ten", "hierarchy.train=none")
    trees.write_predictors()
    (path,) = (tmp_path / "predictions").glob("*/predictor.json")
    assert json.loads(path.read_text()) == {"kind": "trees", "network": "baseline", "views": 1}


def test_networks_that_are_no_predictors_write_none(task, tmp_path):
    replace(task, classes=None, group_classes=[4, 7]).write_predictors()
    assert not list(tmp_path.rglob("predictor.json"))


def test_the_task_of_all_classes_has_those_that_the_run_keeps():
    truth_NC = np.random.default_rng(0).uniform(size=(5, 28)) < 0.3
    data = SimpleNamespace(
        index=SimpleNamespace(truth_NC=truth_NC), classes=[0, 3, 27], folds=(FIRST, SECOND)
    )
    task = of_all_classes("baseline", "the run", SimpleNamespace(data=data))
    assert (task.name, task.run, task.folds) == ("baseline", "the run", [FIRST, SECOND])
    assert np.array_equal(task.truth_NO, truth_NC[:, [0, 3, 27]])
    assert task.classes == task.output_classes == [0, 3, 27]
    assert (
        task.outputs == [CLASSES[0], CLASSES[3], CLASSES[27]] and task.heads is None and not task.start_from
    )
