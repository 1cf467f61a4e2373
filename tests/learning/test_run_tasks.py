"""Tasks are run once, fold by fold; a killed one resumes; every sample is predicted by the right networks."""

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import distributed, files
from lib.errors import InUseError, UserError
from lib.evaluation import predictions
from lib.figures import data_and_training as figures
from lib.learning import fit, models, run_tasks, train_and_predict
from lib.learning.loader import make_loader
from lib.learning.train_and_predict import predict_with
from lib.learning.train_state import TrainState
from tests.learning.tiny import class_task, prepare, reread

SCRIPT = "02_train_cnn"
TREES = ("network.kind=trees", "network.features=ten", "hierarchy.train=none")


@pytest.fixture(scope="module", autouse=True)
def drawn():
    """Draw no figures; the titles of those that would be drawn."""
    titles = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            figures, "training_curves", lambda path, history, loss, title: titles.append((path, title))
        )
        yield titles


@pytest.fixture(scope="module")
def recorded():
    """What each network was trained and validated on, by its folder."""
    rows, original = {}, train_and_predict.fit

    def recording(model, train, validation, settings, folder, *arguments, **options):
        rows[folder] = (train.batch_sampler.rows, validation.batch_sampler.rows)
        return original(model, train, validation, settings, folder, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_and_predict, "fit", recording)
        yield rows


@pytest.fixture(scope="module")
def folds(tmp_path_factory, recorded):
    """The task of a run with two folds, complete."""
    run = prepare(tmp_path_factory.mktemp("folds"), "split.folds=2", "training.tta=true", features=True)
    task = class_task(run)
    run_tasks.run_tasks([task, class_task(reread(run, *TREES), "features_alone")], SCRIPT)
    return task


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The task of a prepared run with a single split, complete."""
    task = class_task(prepare(tmp_path_factory.mktemp("single")))
    run_tasks.run_tasks([task], SCRIPT)
    return task


@pytest.fixture
def copied(single, tmp_path):
    """A copy of the complete task, to change."""
    folder = tmp_path / "run"
    shutil.copytree(single.run.folder, folder)
    return replace(single, run=replace(single.run, folder=folder))


def by_hand(task, fold, subset, views):
    """Predict a subset's samples with a fold's network, loaded from its folder."""
    data, training = task.training.data, task.training
    rows = data.rows(subset, fold)
    source = training.test if subset == "test" else training.labelled
    loader = make_loader(source, rows, task.run.config.training.batch_size, 0)
    return predict_with(models.load(task.folder(fold)), loader, views, "test")


# folds


@pytest.mark.parametrize("views", [1, 8])
def test_validation_is_predicted_by_the_network_that_was_not_trained_on_the_sample(folds, recorded, views):
    data, validated = folds.training.data, []
    table = predictions.load(folds.table("validation", views))
    assert table.ids == data.ids("validation")
    for fold in data.folds:
        trained, validation = recorded[folds.folder(fold)]
        assert not set(trained) & set(validation) and np.array_equal(trained, fold.train)
        ids = [data.index.train_ids[row] for row in validation]
        assert np.array_equal(table.select(ids, "fold"), by_hand(folds, fold, "validation", views))
        other = data.folds[1 - fold.number]
        assert set(validation) <= set(
            recorded[folds.folder(other)][0]
        )  # which the other network has trained on
        validated += ids
    assert sorted(validated) == sorted(table.ids)  # each sample once


@pytest.mark.parametrize("views", [1, 8])
@pytest.mark.parametrize("subset", ["holdout", "test"])
def test_other_subsets_are_the_mean_over_the_folds_networks(folds, subset, views):
    table = predictions.load(folds.table(subset, views))
    assert table.ids == folds.training.data.ids(subset)
    each = [by_hand(folds, fold, subset, views) for fold in folds.folds]
    assert not np.array_equal(*each)
    assert np.allclose(table.probabilities_NC, np.mean(each, axis=0), atol=1e-7)


def test_no_network_is_trained_on_the_holdout(folds, recorded):
    holdout = set(folds.training.data.rows("holdout"))
    assert len(holdout) == 8
    for trained, validation in recorded.values():
        assert not holdout & (set(trained) | set(validation))


def test_predictors_of_networks_and_trees_describe_themselves(folds):
    folder = folds.run.folder / "predictions"
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/predictor.json")}
    assert found == {
        "baseline": {"kind": "network", "network": "baseline", "views": 1},
        "baseline_tta": {"kind": "network", "network": "baseline", "views": 8},
        "features_alone": {"kind": "trees", "network": "features_alone", "views": 1},
    }


def test_trees_are_predicted_out_of_fold_too(folds):
    run = reread(folds.run, *TREES)
    task = class_task(run, "features_alone")
    table = predictions.load(task.table("validation", 1))
    for fold in task.folds:
        ids = [task.training.data.index.train_ids[row] for row in fold.validation]
        own = predictions.load(task.fold_table(fold, "validation", 1))
        assert own.ids == ids and np.array_equal(table.select(ids, "fold"), own.probabilities_NC)


def test_each_fold_has_a_folder_of_its_own(folds, drawn):
    for fold in folds.folds:
        names = {path.name for path in folds.folder(fold).iterdir()}
        assert names >= {"model.json", "weights.safetensors", "history.csv", "validation.npz", "test_tta.npz"}
    titles = [title for _path, title in drawn if "fold" in title]
    assert [title.split(":")[0] for title in titles] == ["baseline fold_0", "baseline fold_1"]
    weights = [models.load_weights(folds.folder(fold) / "weights.safetensors") for fold in folds.folds]
    assert not torch.equal(weights[0]["backbone.fc.weight"], weights[1]["backbone.fc.weight"])


def test_a_fold_that_is_trained_again_changes_the_average(folds, tmp_path):
    shutil.copytree(folds.run.folder, tmp_path / "run")
    task = replace(folds, run=replace(folds.run, folder=tmp_path / "run"))
    path, average = task.fold_table(task.folds[0], "test", 1), task.table("test", 1)
    before = predictions.load(average).probabilities_NC
    own = predictions.load(path)
    predictions.save(path, replace(own, probabilities_NC=np.ones_like(own.probabilities_NC)))
    run_tasks.run_tasks([task], SCRIPT)
    after = predictions.load(average).probabilities_NC
    assert np.allclose(after, before + (1 - own.probabilities_NC) / 2, atol=1e-6)


def test_a_killed_fold_resumes_to_the_same_bytes(tmp_path, monkeypatch, capsys):
    def new_task(name):
        return class_task(prepare(tmp_path, "split.folds=2", "training.epochs=3", "--run", name))

    whole, killed = new_task("whole"), new_task("killed")
    run_tasks.run_tasks([whole], SCRIPT)
    predict, calls = fit.predict, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 5:  # in the second epoch of the second fold
            raise KeyboardInterrupt
        return predict(*arguments, **options)

    monkeypatch.setattr(fit, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_tasks.run_tasks([killed], SCRIPT)
    monkeypatch.setattr(fit, "predict", predict)
    first = killed.folder(killed.folds[0]) / "weights.safetensors"
    assert not killed.table("test", 1).exists() and (killed.folder(killed.folds[1]) / "state.pt").exists()
    finished = first.stat().st_mtime_ns
    capsys.readouterr()
    run_tasks.run_tasks([killed], SCRIPT)
    text = capsys.readouterr().out
    assert "baseline fold_0 and its predictions are up to date" in text
    assert "resuming after epoch 1" in text and first.stat().st_mtime_ns == finished
    for subset in ("validation", "holdout", "test"):
        assert killed.table(subset, 1).read_bytes() == whole.table(subset, 1).read_bytes()
    for fold in whole.folds:
        ours, theirs = (one.folder(fold) / "weights.safetensors" for one in (killed, whole))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_disk_that_fills_while_predictions_are_saved_costs_no_training(copied, monkeypatch):
    folder, path = copied.folder(copied.folds[0]), copied.table("holdout", 1)
    before = path.read_bytes()
    path.unlink()

    def full(*_arguments):
        raise UserError("no space left")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="no space left"):
        patch.setattr(predictions, "save", full)
        run_tasks.run_tasks([copied], SCRIPT)
    assert (folder / "state.pt").exists()
    monkeypatch.setattr(TrainState, "train_batch", None)
    run_tasks.run_tasks([copied], SCRIPT)
    assert path.read_bytes() == before and not (folder / "state.pt").exists()


# once


def trained(monkeypatch):
    """Return a list that grows with every training."""
    calls, original = [], train_and_predict.train_and_predict
    monkeypatch.setattr(
        train_and_predict,
        "train_and_predict",
        lambda task, *arguments: calls.append(task.name) or original(task, *arguments),
    )
    return calls


def test_a_complete_task_is_up_to_date(copied, monkeypatch, capsys):
    calls = trained(monkeypatch)
    run_tasks.run_tasks([copied], SCRIPT)
    assert not calls and "baseline and its predictions are up to date" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["networks/baseline/model.json", "networks/baseline/weights.safetensors",
                                  "predictions/baseline/holdout.npz"])  # fmt: skip
def test_a_missing_result_is_made_again(copied, monkeypatch, file):
    calls, path = trained(monkeypatch), copied.run.folder / file
    before = path.read_bytes()
    path.unlink()
    run_tasks.run_tasks([copied], SCRIPT)
    assert calls == ["baseline"] and path.read_bytes() == before


def test_force_trains_again(copied, monkeypatch):
    calls = trained(monkeypatch)
    run = reread(copied.run, force=True)
    run_tasks.run_tasks([replace(copied, run=run)], SCRIPT)
    assert calls == ["baseline"]


def test_what_is_interrupted_with_force_resumes_without_it(copied, monkeypatch, capsys):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    def with_two_epochs(force):
        run_tasks.run_tasks(
            [replace(copied, run=reread(copied.run, "training.epochs=2", force=force))], SCRIPT
        )

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_and_predict, "predict_with", interrupted)
        with_two_epochs(force=True)
    with_two_epochs(force=False)
    assert "resuming after epoch 2" in capsys.readouterr().out


def test_other_settings_or_samples_are_rejected_with_two_ways_on(copied, monkeypatch):
    calls = trained(monkeypatch)
    for setting, difference in (
        ("training.epochs=2", r"training\.epochs=1, not 2"),
        ("network.dropout=0.5", r"network\.dropout=0\.0, not 0\.5"),
    ):
        changed = replace(copied, run=reread(copied.run, setting))
        with pytest.raises(UserError, match=rf"{difference}.*--run NAME.*--force"):
            run_tasks.run_tasks([changed], SCRIPT)
    changed = replace(copied, truth_NO=~copied.truth_NO)
    with pytest.raises(UserError, match=r"different selection of samples and labels.*--run NAME.*--force"):
        run_tasks.run_tasks([changed], SCRIPT)
    assert not calls


def test_settings_that_do_not_affect_training_may_change(copied, monkeypatch):
    calls = trained(monkeypatch)
    run_tasks.run_tasks([replace(copied, run=reread(copied.run, "threshold.method=fixed"))], SCRIPT)
    assert not calls


def test_trees_depend_on_their_features_and_seed_alone(folds, monkeypatch):
    calls = trained(monkeypatch)

    def task(*settings):
        return class_task(reread(folds.run, *TREES, *settings), "features_alone")

    run_tasks.run_tasks(
        [task("training.epochs=2", "training.learning_rate=1", "network.dropout=0.5")], SCRIPT
    )
    with pytest.raises(UserError, match=r"training\.seed=0, not 3.*--force"):
        run_tasks.run_tasks([task("training.seed=3")], SCRIPT)
    assert not calls


# several processes


def at_the_first_wait(monkeypatch, action):
    """Call `action` when `run_tasks` waits for the first time; a second time fails the test."""
    waits = []

    def sleep(_seconds):
        assert not waits
        waits.append(action())

    monkeypatch.setattr(run_tasks.time, "sleep", sleep)


@pytest.mark.parametrize("finished", [True, False])
def test_processes_share_the_folds_and_take_over_what_another_has_left(
    folds, tmp_path, monkeypatch, capsys, finished
):
    task = replace(folds, run=replace(folds.run, folder=tmp_path / "run"))
    shutil.copytree(folds.run.folder, task.run.folder)
    first = task.run.manifest(f"{SCRIPT} baseline fold_0")
    content = first.read_text()
    for path in task.run.folder.glob("manifests/*baseline*"):
        path.unlink()
    shutil.rmtree(task.run.predictor("baseline"))
    calls, other = trained(monkeypatch), ExitStack()
    other.enter_context(files.lock(task.folder(task.folds[0])))

    def end_of_the_other_process():
        assert calls == ["baseline"]  # fold 1
        assert not task.run.predictor("baseline").exists()
        if finished:
            first.write_text(content)
        other.close()

    at_the_first_wait(monkeypatch, end_of_the_other_process)
    run_tasks.run_tasks([task], SCRIPT)
    assert len(calls) == (1 if finished else 2)
    output = capsys.readouterr().out
    assert "waiting for other processes, which train baseline fold_0\n" in output
    for subset in ("validation", "holdout", "test"):
        ours, before = (predictions.load(one.table(subset, 8)) for one in (task, folds))
        assert np.array_equal(ours.probabilities_NC, before.probabilities_NC)


def test_a_network_waits_for_the_one_that_it_starts_from(copied, monkeypatch):
    manifest = copied.run.manifest(f"{SCRIPT} baseline")
    content = manifest.read_text()
    manifest.write_text(json.dumps(json.loads(content) | {"finished": False}))
    calls, other = trained(monkeypatch), ExitStack()
    other.enter_context(files.lock(copied.folder(copied.folds[0])))

    def end_of_the_other_process():
        assert not calls
        manifest.write_text(content)
        other.close()

    at_the_first_wait(monkeypatch, end_of_the_other_process)
    run_tasks.run_tasks([copied, second_stage(copied)], SCRIPT)
    assert calls == ["second"]


@pytest.mark.parametrize("how", ["--force", "torchrun"])
def test_what_must_not_wait_says_which_process_is_training(copied, monkeypatch, how):
    calls = trained(monkeypatch)
    if how == "torchrun":
        monkeypatch.setattr(distributed, "WORLD", 2)
    task = replace(copied, run=reread(copied.run, force=how == "--force"))
    message = rf"baseline is in use by another process \(process {os.getpid()}\)"
    with files.lock(copied.folder(copied.folds[0])), pytest.raises(InUseError, match=message):
        run_tasks.run_tasks([task], SCRIPT)
    assert not calls


def test_only_the_primary_process_writes(copied, monkeypatch):
    shutil.rmtree(copied.run.folder / "predictions")
    before = {path: path.stat().st_mtime_ns for path in copied.run.folder.rglob("*")}
    monkeypatch.setattr(distributed, "RANK", 1)
    monkeypatch.setattr(distributed, "broadcast", lambda value: True if value is False else value)
    monkeypatch.setattr(
        train_and_predict, "train_and_predict", lambda *_arguments: (None, {(1, "test"): np.zeros((5, 28))})
    )
    run_tasks.run_tasks([copied], SCRIPT)
    assert {path: path.stat().st_mtime_ns for path in copied.run.folder.rglob("*")} == before


# starting from another network


def second_stage(task):
    """A second task whose network starts from that of the first."""
    return replace(task, name="second", start_from="baseline")


def test_a_network_that_is_not_finished_is_not_started_from(copied):
    manifest = copied.run.manifest(f"{SCRIPT} baseline")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"finished": False}))
    message = (
        r"second starts .* baseline, which is not finished: run `python 02_train_cnn\.py --network baseline`"
    )
    with pytest.raises(UserError, match=message):
        run_tasks.run_tasks([second_stage(copied)], SCRIPT)
    manifest.unlink()
    with pytest.raises(UserError, match=message):
        run_tasks.run_tasks([second_stage(copied)], SCRIPT)


def test_a_network_depends_on_the_weights_that_it_starts_from(copied):
    run_tasks.run_tasks([copied, second_stage(copied)], SCRIPT)
    weights = copied.folder(copied.folds[0]) / "weights.safetensors"
    changed = models.load_weights(weights)
    changed["backbone.fc.bias"] += 1
    models.save_weights(weights, changed)
    with pytest.raises(UserError, match=r"different baseline \(weights\)"):
        run_tasks.run_tasks([second_stage(copied)], SCRIPT)
