import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.errors import UserError
from lib.evaluation.predictions import Predictor
from lib.learning import feature_trees, models, train_and_predict
from lib.learning.augment import Augmentation
from lib.learning.loader import make_loader, rarity
from lib.learning.train_and_predict import describe, loading_processes, predict_with, prepare
from tests.learning import tiny
from tests.learning.tiny import class_task, reread

FEATURES = ("network.features=ten", "network.fusion_width=8")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train_and_predict")
    return tiny.prepare(folder, "split.folds=2", "training.tta=true", features=True)


def test_probabilities_are_those_of_the_saved_network_in_the_order_of_the_rows(run):
    task = class_task(run)
    fold, data = task.folds[1], task.training.data
    history, probabilities = train_and_predict.train_and_predict(task, fold, "identity")
    assert len(history) == 1
    assert set(probabilities) == {
        (views, subset) for views in (1, 8) for subset in ("validation", "holdout", "test")
    }
    model = models.load(task.folder(fold))
    for (views, subset), probabilities_NO in probabilities.items():
        source = task.training.test if subset == "test" else task.training.labelled
        rows = data.rows(subset, fold)
        assert probabilities_NO.shape == (len(rows), 28) and probabilities_NO.dtype == np.float32
        loader = make_loader(source, rows, run.config.training.batch_size, 0)
        assert np.array_equal(predict_with(model, loader, views, "test"), probabilities_NO)
    assert not np.array_equal(probabilities[1, "test"], probabilities[8, "test"])


def test_the_description_is_written_before_training(run, monkeypatch):
    def fail(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_and_predict, "fit", fail)
    task = replace(class_task(run), name="unfinished")
    with pytest.raises(KeyboardInterrupt):
        train_and_predict.train_and_predict(task, task.folds[0], "identity")
    content = json.loads((task.folder(task.folds[0]) / "model.json").read_text())
    assert content["outputs"] == task.outputs and content["size"] == 16


def test_without_epochs_the_network_that_it_starts_from_predicts_as_it_is(run, tmp_path, capsys):
    task = class_task(run)
    spec = replace(describe(task, []), size=16)
    torch.manual_seed(4)
    first = models.build(spec, run.config.network, [30.0] * 4, [50.0] * 4)
    first.spec.write(tmp_path)
    models.save_weights(tmp_path / "weights.safetensors", first.state_dict())
    settings = ("training.epochs=0", f"network.start={tmp_path}", "network.normalisation=start",
                "hierarchy.train=none")  # fmt: skip
    task = replace(class_task(reread(run, *settings)), name="as_it_is")
    fold = task.folds[0]
    history, probabilities = train_and_predict.train_and_predict(task, fold, "identity")
    loader = make_loader(task.training.test, np.arange(5), run.config.training.batch_size, 0)
    expected = predict_with(models.load(tmp_path), loader, 1, "test")
    assert history is None and np.array_equal(probabilities[1, "test"], expected)
    kept = models.load(task.folder(fold)).state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in first.state_dict().items())
    for more in (("network.head=avgmax",), ("network.features=ten",)):
        incomplete = class_task(reread(run, *settings, *more))
        with pytest.raises(UserError, match=rf"training\.epochs=0: network\.start={tmp_path} .*random"):
            train_and_predict.train_and_predict(incomplete, fold, "identity")


@pytest.mark.parametrize(("force", "resume"), [(False, True), (True, False)])
def test_force_does_not_resume(run, monkeypatch, force, resume):
    class Called(Exception):
        pass

    def fit(*_arguments, resume):
        raise Called(resume)

    monkeypatch.setattr(train_and_predict, "fit", fit)
    task = class_task(reread(run, force=force))
    with pytest.raises(Called) as called:
        train_and_predict.train_and_predict(task, task.folds[0], "identity")
    assert called.value.args == (resume,)


def test_trees_are_fitted_to_the_folds_training_rows(run, monkeypatch):
    settings = ("network.kind=trees", "network.features=ten", "hierarchy.train=none")
    task = class_task(reread(run, *settings))
    fold, calls, all_NO = task.folds[0], [], np.random.default_rng(0).uniform(size=(45, 28))
    monkeypatch.setattr(
        feature_trees, "fit_and_predict", lambda *arguments: calls.append(arguments) or all_NO
    )
    history, probabilities = train_and_predict.train_and_predict(task, fold, "identity")
    ((all_NF, truth_NO, train_rows, seed),) = calls
    assert (
        history is None and np.array_equal(train_rows, fold.train) and seed == task.run.config.training.seed
    )
    assert np.array_equal(truth_NO, task.truth_NO) and len(all_NF) == 45
    assert np.array_equal(probabilities[1, "test"], all_NO[40:])
    assert np.array_equal(probabilities[1, "validation"], all_NO[:40][fold.validation])
    assert set(probabilities) == {(1, subset) for subset in ("validation", "holdout", "test")}


def test_a_network_gets_the_statistics_and_features_of_its_folds_training_rows(run):
    task = class_task(reread(run, *FEATURES))
    for fold, channels in zip(task.folds, task.training.channels, strict=True):
        model, train = prepare(task, fold)
        assert model.mean.flatten().tolist() == pytest.approx(channels["mean"])
        assert model.std.flatten().tolist() == pytest.approx(channels["std"])
        train_NF = task.training.labelled.features_NF[fold.train]
        lowest_F, span_F = train_NF.min(axis=0), np.ptp(train_NF, axis=0)
        origin_F = model.fusion.scaler.origin.numpy()
        assert (span_F > 0).sum() >= 8
        assert origin_F[span_F > 0] == pytest.approx(lowest_F[span_F > 0], rel=1e-5)
        assert np.array_equal(train.batch_sampler.rows, fold.train)
        assert np.array_equal(train.dataset.source.truth_NC, task.truth_NO)


def test_sampling_and_augmentation_are_those_of_the_settings(run):
    task = class_task(reread(run, "training.sampling=rare", "training.augmentation=flips", "training.seed=5"))
    fold = task.folds[0]
    _, train = prepare(task, fold)
    assert np.array_equal(train.batch_sampler.weight_N, rarity(task.truth_NO[fold.train]))
    assert train.batch_sampler.seed == 5
    image_HWK = task.training.labelled.images[3]
    expected = Augmentation(task.run.config.training)(image_HWK, 2, 3)
    assert np.array_equal(train.dataset[2, 3][0], expected) and not np.array_equal(expected, image_HWK)
    _, train = prepare(class_task(run), fold)
    assert train.batch_sampler.weight_N is None and train.dataset.cutmix is None
    _, train = prepare(class_task(reread(run, "training.cutmix=1", "network.channels=RGB")), fold)
    assert train.dataset.cutmix.share == 1 and np.array_equal(train.dataset.cutmix.rows, fold.train)
    assert train.dataset.augmentation.channels == "RGB"


def test_crops_of_larger_arrays_are_trained_on_and_predicted(tmp_path):
    """16 px from arrays of 24: crops in training, whole images in validation, four crops with views."""
    settings = (
        "data.sizes=24", "training.array_size=24", "training.crop=16,20", "training.tta=true",
        "training.tta_crops=4", "training.tta_combine=max", "features.size=24", "network.normalisation=image",
    )  # fmt: skip
    task = class_task(tiny.prepare(tmp_path, *settings))
    (fold,) = task.folds
    sides, forward = [], models.Classifier._input

    def watched(model, images_BHWK):
        result = forward(model, images_BHWK)
        sides.append((model.training, images_BHWK.shape[1], result.shape[-1]))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.Classifier, "_input", watched)
        _, probabilities = train_and_predict.train_and_predict(task, fold, "identity")
    assert set(sides) == {(True, 16, 16), (False, 24, 16), (False, 18, 16)}
    subsets = {views: {subset for number, subset in probabilities if number == views} for views in (1, 8)}
    assert subsets[1] == {*task.training.data.predicted_subsets} and subsets[1] - subsets[8] == {"train"}
    spec = models.load(task.folder(fold)).spec
    assert (spec.size, spec.array_side, spec.tta_crops, spec.tta_side) == (16, 24, 4, 18)
    assert spec.tta_combine == "max" and spec.normalisation == "image"
    assert (probabilities[8, "test"].mean(axis=0) > probabilities[1, "test"].mean(axis=0)).mean() > 0.9
    task.write_predictors()
    augmented = Predictor.read(task.run.predictor("baseline_tta"))
    assert (augmented.views, augmented.crops, augmented.combine) == (8, 4, "max")
    assert Predictor.read(task.run.predictor("baseline")).crops == 0


def test_the_seed_determines_the_initial_weights(run):
    def last_layer(seed):
        task = class_task(reread(run, f"training.seed={seed}"))
        return prepare(task, task.folds[0])[0].last_layer.weight

    first = last_layer(1)
    torch.rand(3)  # whatever was drawn before
    assert torch.equal(last_layer(1), first) and not torch.equal(last_layer(2), first)


def test_a_network_starts_from_that_of_the_same_fold(run):
    task = class_task(run)
    for fold in task.folds:
        model, _ = prepare(replace(task, run=reread(run, f"training.seed={9 + fold.number}")), fold)
        folder = run.network("stage_1") / fold.folder
        models.save_weights(folder / "weights.safetensors", model.state_dict())
    for fold in task.folds:
        model, _ = prepare(replace(task, start_from="stage_1"), fold)
        saved = models.load_weights(run.network("stage_1") / fold.folder / "weights.safetensors")
        assert torch.equal(model.backbone.conv1[0].weight, saved["backbone.conv1.0.weight"])
        assert not torch.equal(model.last_layer.weight, saved["backbone.fc.weight"])


def test_a_description_holds_what_the_settings_and_the_task_name(run):
    settings = (
        "network.channels=RGB", "network.normalisation=unit", "network.dropout=0.25",
        "training.precision=bfloat16",
        "network.feature_scaling=standard", "network.fusion=logits", "training.loss=cross_entropy", *FEATURES,
    )  # fmt: skip
    task = class_task(reread(run, *settings))
    task = replace(task, outputs=[*task.outputs, "a", "b"], heads=((0, 1), tuple(range(2, 28))))
    spec = describe(task, ["one", "two"])
    assert (spec.architecture, spec.channels, spec.size, spec.normalisation) == (
        "test_resnet",
        "RGB",
        16,
        "unit",
    )
    assert (spec.activation, spec.precision, spec.dropout) == ("softmax", "bfloat16", 0.25)
    assert (spec.features, spec.feature_scaling) == (["one", "two"], "standard")
    assert (spec.fusion, spec.fusion_width) == ("logits", 8)
    assert spec.outputs == task.outputs and spec.classes == list(range(28))
    assert spec.heads == [[0, 1], list(range(2, 28))]
    assert json.loads(json.dumps(spec.heads)) == spec.heads


def test_a_gpu_has_its_share_of_loading_processes_and_a_cpu_none(monkeypatch):
    assert loading_processes(8, torch.device("cpu")) == 0
    gpu = torch.device("cuda")
    assert [loading_processes(workers, gpu) for workers in (1, 8, 64)] == [1, 8, 16]
    monkeypatch.setattr(train_and_predict, "LOCAL_WORLD", 4)
    assert [loading_processes(workers, gpu) for workers in (1, 8, 64)] == [1, 2, 16]
