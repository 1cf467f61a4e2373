"""Networks: their input, and that a folder alone is enough to use them."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from lib.data.run_data import RunData
from lib.errors import UserError
from lib.evaluation import predictions
from lib.figures import data_and_training as figures
from lib.hierarchy.tasks import hierarchy_tasks
from lib.labels import CLASSES
from lib.learning import models
from lib.learning.devices import autocast
from lib.learning.loader import make_loader
from lib.learning.run_tasks import run_tasks
from lib.learning.task import of_all_classes
from lib.learning.train_and_predict import predict_with
from lib.learning.training_data import TrainingData
from lib.sections import Network
from tests.learning.tiny import NO_FEATURES, STATISTICS, describe, images, logits, network, prepare, reread

RESNET = Network(architecture="test_resnet")
FILES = ("model.json", "weights.safetensors")


def with_settings(**changes):
    return Network(**{"architecture": "test_resnet"} | changes)


# input


def input_of(model, images_BHWK, training=False):
    """Return what the backbone receives."""
    received = []
    model.backbone.register_forward_pre_hook(lambda _module, given: received.append(given[0]))
    model.train(training)(images_BHWK, torch.zeros(len(images_BHWK), 0))
    return received[0]


def test_raw_bytes_are_normalised_by_mean_and_std():
    model = network(RESNET)
    model.set_statistics([127.0, 100.0, 50.0, 0.0], [74.0, 50.0, 25.0, 0.5])
    received = input_of(model, torch.full((2, 32, 32, 4), 201, dtype=torch.uint8))
    assert received.shape == (2, 4, 32, 32) and received.is_contiguous(memory_format=torch.channels_last)
    # a std below one grey level counts as one
    for channel, value in enumerate([(201 - 127) / 74, (201 - 100) / 50, (201 - 50) / 25, 201.0]):
        assert torch.allclose(received[:, channel], torch.tensor(value))


def test_pixels_can_be_scaled_to_0_1():
    model = network(with_settings(normalisation="unit"))
    grey = torch.tensor([0, 51, 255], dtype=torch.uint8).repeat(11)[:32].view(1, 1, 32, 1)
    assert input_of(model, grey.expand(2, 32, 32, 4))[0, 0, 0, :3].tolist() == pytest.approx([0, 0.2, 1])


def test_each_image_is_standardised_by_its_own_pixels():
    model = network(with_settings(normalisation="image"))
    images_BHWK = torch.from_numpy(images())
    images_BHWK[1, ..., 2] = 7  # an empty channel
    received = input_of(model, images_BHWK)
    std, mean = torch.std_mean(received, dim=(2, 3))
    assert mean.abs().max() < 1e-4 and std[0].tolist() == pytest.approx([1] * 4, rel=1e-4)
    assert not received[1, 2].any()
    darker = (
        torch.tensor(images() // 4 * 2, dtype=torch.uint8),
        torch.tensor(images() // 4, dtype=torch.uint8),
    )
    assert torch.allclose(*(input_of(model, one) for one in darker), atol=1e-4)


def test_images_of_another_size_are_resized_in_evaluation_and_not_in_training():
    model = network(with_settings(normalisation="unit"))
    images_BHWK = torch.from_numpy(images(size=64))
    received = input_of(model, images_BHWK)
    assert received.shape == (2, 4, 32, 32)
    blocks_BKHW = images_BHWK.float().view(2, 32, 2, 32, 2, 4).mean(dim=(2, 4)).permute(0, 3, 1, 2) / 255
    assert torch.allclose(received, blocks_BKHW, atol=1e-5)
    assert input_of(model, images_BHWK, training=True).shape == (2, 4, 64, 64)
    assert input_of(model, images_BHWK[:, :16, :16]).shape == (2, 4, 32, 32)


def test_channels_keep_their_order():
    images_BHWK = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(2, 32, 32, 4)
    received = input_of(network(with_settings(normalisation="unit")), images_BHWK)
    assert (received[0, :, 0, 0] * 255).tolist() == pytest.approx([10, 20, 30, 40])


def test_a_network_of_rgb_ignores_yellow():
    model, images_BHWK = network(with_settings(channels="RGB")), images()
    assert model.backbone.conv1[0].in_channels == 3
    before = logits(model, images_BHWK)
    images_BHWK[..., 3] = 0
    assert torch.equal(logits(model, images_BHWK), before)
    images_BHWK[..., 2] = 0
    assert not torch.equal(logits(model, images_BHWK), before)


def test_dropout_is_before_the_last_layer_and_only_in_training():
    model, images_BHWK = network(with_settings(dropout=0.5)), torch.from_numpy(images())
    assert model.backbone.drop_rate == 0.5
    assert torch.equal(logits(model, images()), logits(model, images()))
    model.backbone.layer1.eval()
    model.train()
    assert not torch.equal(model(images_BHWK, NO_FEATURES), model(images_BHWK, NO_FEATURES))


def test_the_last_layer_is_that_of_backbone_fusion_or_heads():
    table = pd.DataFrame({"a": [0.0, 1.0]})
    plain, fused, headed = (
        network(RESNET),
        network(RESNET, features=table),
        network(RESNET, 5, heads=[[0], [1, 2]]),
    )
    assert plain.last_layer is plain.backbone.fc and plain.last_layer.out_features == 3
    assert fused.last_layer is fused.fusion.layers[-1] and fused.last_layer.out_features == 3
    assert headed.last_layer is headed.heads
    both = network(
        RESNET, 5, features=table, heads=[[0], [1, 2]]
    )  # the heads receive the fused representation
    assert both.fusion.layers[-1].out_features == 256 == both.heads.group.in_features
    linear = network(with_settings(fusion="linear"), features=table)
    assert linear.last_layer is linear.fusion.layers[-1] and len(linear.fusion.layers) == 2
    features_BF = torch.zeros(2, 1)
    assert both(torch.from_numpy(images()), features_BF).shape == (2, 3 + 2)


@pytest.mark.parametrize("kind", ["plain", "features", "heads"])
def test_the_last_layer_computes_in_float32_in_mixed_precision(kind):
    features = pd.DataFrame(np.zeros((4, 2)), columns=["a", "b"]) if kind == "features" else None
    more = {"heads": [[0, 1], [2]]} if kind == "heads" else {}
    model = network(outputs=5 if more else 3, features=features, **more).eval()
    inputs, batch = [], torch.from_numpy(images())
    model.last_layer.register_forward_pre_hook(lambda _layer, given: inputs.append(given[0]))
    with torch.no_grad(), autocast("bfloat16", torch.device("cpu")):
        found = model(batch, torch.zeros(2, 0 if features is None else 2))
    with torch.no_grad():
        assert inputs[0].dtype == torch.bfloat16
        assert torch.equal(found, model.last_layer(inputs[0].float()))
    assert not torch.equal(found, found.bfloat16().float())


def test_settings_reach_fusion_and_heads():
    table = pd.DataFrame({"ssim_er": [0.0, 1.0, 3.0], "other": [0.0, 1.0, 1.0]})
    changes = {
        "feature_scaling": "standard",
        "feature_weights": "equal",
        "feature_factor": 3.0,
        "dropout": 0.4,
    }
    settings = with_settings(fusion_width=8, **changes)
    model = network(settings, 5, features=table, heads=[[0], [1, 2]])
    scaled = model.fusion.scaler(torch.tensor(table.to_numpy(np.float32))).numpy()
    expected = 3 * (table - table.mean()) / table.std(ddof=0)
    assert scaled == pytest.approx(expected.to_numpy(), rel=1e-5)
    assert model.fusion.layers[0].out_features == 8 and model.heads.heads[0][0].out_features == 8
    assert model.fusion.layers[2].p == model.heads.heads[1][2].p == 0.4
    assert (
        model.backbone.drop_rate == 0.0
    )  # the dropout is before the last layer, which is not the backbone's


def test_features_are_concatenated_with_the_logits_as_liu_et_al_write(tmp_path):
    table, settings = pd.DataFrame({"a": [0.0, 1.0]}), with_settings(fusion="logits", dropout=0.5)
    model = network(settings, features=table)
    assert model.backbone.fc.out_features == 28 and model.last_layer.out_features == 3
    assert model.fusion.layers[0].in_features == 28 + 1
    assert model.backbone.drop_rate == 0.0 and model.fusion.layers[2].p == 0.5
    of_backbone, received = [], []
    model.backbone.register_forward_hook(lambda _module, _given, output: of_backbone.append(output))
    model.fusion.register_forward_pre_hook(lambda _module, given: received.append(given[0]))
    expected, features_BF = logits(model, images(), np.ones((2, 1), np.float32)), torch.ones(2, 1)
    assert torch.equal(received[0], of_backbone[0])
    model.spec.write(tmp_path / "fused")
    models.save_weights(tmp_path / "fused" / "weights.safetensors", model.state_dict())
    assert torch.equal(models.load(tmp_path / "fused")(torch.from_numpy(images()), features_BF), expected)
    # a network of other outputs has the same representation
    models.start_from(network(settings, outputs=5, features=table), tmp_path / "fused")


def test_parameters_are_counted():
    assert models.count_parameters(torch.nn.Linear(4, 3)) == 15
    assert models.count_parameters(network(RESNET)) > 300_000


# a folder is enough


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Networks of every form, trained by a run: their tasks by name."""
    run = prepare(tmp_path_factory.mktemp("models"), features=True)
    run = reread(run, "hierarchy.train=all", "hierarchy.stage_1=single_label")
    data = RunData.read(run)
    tasks = {
        name: of_all_classes(name, own, TrainingData.read(own, data))
        for name, settings in {
            "plain": (),
            "fused": ("network.features=ten",),
            "standardised": ("network.features=ten", "network.feature_scaling=standard"),
            "rgb": ("network.channels=RGB",),
            "unit": ("network.normalisation=unit", "network.dropout=0.3"),
        }.items()
        for own in [reread(run, *settings)]
    }
    hierarchy = hierarchy_tasks(run, data)
    tasks |= {name: hierarchy[name] for name in ("stage_1_single", "stage_2_nucleus", "joint")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "training_curves", lambda *_arguments: None)
        run_tasks(list(tasks.values()), "02_train_cnn")
    return tasks


NAMES = ("plain", "fused", "standardised", "rgb", "unit", "stage_1_single", "stage_2_nucleus", "joint")


def copied(task, folder):
    """Copy the two files of a task's network, and nothing else of the run."""
    folder.mkdir()
    for file in FILES:
        shutil.copy(task.folder(task.folds[0]) / file, folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_copied_folder_alone_reproduces_the_runs_own_probabilities(trained, tmp_path, name):
    task = trained[name]
    model = models.load(copied(task, tmp_path / "elsewhere"))
    assert not model.training
    data, training = task.training.data, task.training
    for subset in ("validation", "test"):
        source = training.test if subset == "test" else training.labelled
        table = predictions.load(task.table(subset, 1), task.columns)
        loader = make_loader(source, data.rows(subset), task.run.config.training.batch_size, 0)
        values = task.as_table(data.ids(subset), predict_with(model, loader, 1, "test"))
        assert np.array_equal(values.probabilities_NC, table.probabilities_NC)
        assert len(np.unique(table.probabilities_NC)) > len(table.ids)  # it did not predict the same for all


@pytest.mark.parametrize("name", NAMES)
def test_model_json_describes_the_network(trained, name):
    task = trained[name]
    content = json.loads((task.folder(task.folds[0]) / "model.json").read_text())
    assert (content["architecture"], content["size"], content["precision"]) == ("test_resnet", 16, "float32")
    assert content["initial_weights"] == {"source": "random initialisation", "license": ""}
    assert content["channels"] == ("RGB" if name == "rgb" else "RGBY")
    assert content["normalisation"] == ("unit" if name == "unit" else "standard")
    assert content["dropout"] == (0.3 if name == "unit" else 0.0)
    assert len(content["features"]) == (10 if name in ("fused", "standardised") else 0)
    assert content["feature_scaling"] == ("standard" if name == "standardised" else "minmax")
    assert content["activation"] == ("softmax" if name == "stage_1_single" else "sigmoid")
    expected = {
        "stage_1_single": None,
        "stage_2_nucleus": [0, 1, 2, 3, 4, 5],
    }.get(name, list(range(28)))
    assert content["classes"] == expected
    if name == "stage_1_single":
        assert "Nucleus + Cytoplasm" in content["outputs"] and len(content["outputs"]) == 7
    elif name == "joint":
        assert content["outputs"] == [*CLASSES, *task.training.data.groups]
        assert sorted(sum(content["heads"], [])) == list(range(28))  # noqa: RUF017
    else:
        assert content["outputs"] == [CLASSES[label] for label in expected] and content["heads"] is None


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(trained, tmp_path, missing):
    folder = copied(trained["plain"], tmp_path / "copy")
    (folder / missing).unlink()
    with pytest.raises(UserError, match=rf"{folder / missing} is missing: run `python 02_train_cnn.py`"):
        models.load(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.json", b"{"),
        ("model.json", b"[1]"),
        ("model.json", b'{"architecture": "test_resnet"}'),
        ("model.json", b'{"colour": "red"}'),
        (
            "model.json",
            b'{"architecture": "test_resnet", "channels": "RGBY", "size": 16, "normalisation": "unit", '
            b'"outputs": [], "classes": [], "activation": "relu"}',
        ),
        ("weights.safetensors", b""),
        ("weights.safetensors", b"no weights"),
        ("weights.safetensors", pickle.dumps({"mean": 1})),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(trained, tmp_path, file, content):
    folder = copied(trained["plain"], tmp_path / "copy")
    (folder / file).write_bytes(content)
    with pytest.raises(UserError) as error:
        models.load(folder)
    assert str(folder / file) in str(error.value) and "\n" not in str(error.value)
    assert "again" in str(error.value)


def test_truncated_weights_are_one_line(trained, tmp_path):
    folder = copied(trained["plain"], tmp_path / "copy")
    weights = folder / "weights.safetensors"
    for size in (-100, 100, 8, 4):
        weights.write_bytes(weights.read_bytes()[:size])
        with pytest.raises(UserError, match=r"weights\.safetensors is damaged .*run `python 02_") as error:
            models.load(folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", ["nan", "shape", "type", "missing", "extra"])
def test_edited_weights_are_one_line(trained, tmp_path, change):
    folder = copied(trained["plain"], tmp_path / "copy")
    path = folder / "weights.safetensors"
    weights = models.load_weights(path)
    name = "backbone.fc.weight"
    weights |= {
        "nan": {name: weights[name] * torch.nan},
        "shape": {name: weights[name][:, :-1].contiguous()},
        "type": {name: weights[name].to(torch.int8)},
        "missing": {},
        "extra": {"more": torch.zeros(1)},
    }[change]
    if change == "missing":
        del weights[name]
    save_file(weights, path)
    with pytest.raises(UserError, match=r"is damaged .*run `python 02_train_cnn.py`") as error:
        models.load(folder)
    expected = {"nan": "finite", "extra": "more"}.get(change, name)
    assert str(folder) in str(error.value) and expected in str(error.value)


def test_weights_of_another_network_are_one_line(trained, tmp_path):
    folder = copied(trained["plain"], tmp_path / "copy")
    shutil.copy(trained["rgb"].folder(trained["rgb"].folds[0]) / "weights.safetensors", folder)
    with pytest.raises(
        UserError, match=r"model\.json is damaged \(the weights do not fit it: mean is"
    ) as error:
        models.load(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_weights_that_have_no_effect_are_written_as_0(tmp_path):
    path, undefined = tmp_path / "weights.safetensors", torch.tensor([1.0, torch.nan, torch.inf, -2.5])
    models.save_weights(path, {"a": undefined, "b": torch.tensor([7])})
    assert models.load_weights(path)["a"].tolist() == [1.0, 0.0, 0.0, -2.5]
    assert models.load_weights(path)["b"].tolist() == [7]


def test_weights_are_written_completely_or_not_at_all(tmp_path, monkeypatch):
    model, path = network(RESNET), tmp_path / "weights.safetensors"
    models.save_weights(path, model.state_dict())
    before = path.read_bytes()

    def killed(part, content):
        with part.open("wb") as file:
            file.write(content[:1000])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(models.Path, "write_bytes", killed)
        models.save_weights(path, model.state_dict())
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == [path.name]


# starting from another network


def test_a_network_starts_from_anothers_weights_except_the_last_layer(tmp_path):
    first = network(RESNET)
    models.save_weights(tmp_path / "stage_1" / "weights.safetensors", first.state_dict())
    second = models.build(describe(RESNET, outputs=5), RESNET, **STATISTICS)  # other random weights
    last = second.last_layer.weight.clone()
    models.start_from(second, tmp_path / "stage_1")
    ours, theirs = second.state_dict(), first.state_dict()
    for name in ours.keys() - {"backbone.fc.weight", "backbone.fc.bias"}:
        assert torch.equal(ours[name], theirs[name]), name
    assert torch.equal(second.last_layer.weight, last)


@pytest.mark.parametrize("other", [
    with_settings(architecture="resnet10t"), with_settings(channels="RGB"),
])  # fmt: skip
def test_a_network_of_another_form_cannot_start_from_it(tmp_path, other):
    models.save_weights(tmp_path / "stage_1" / "weights.safetensors", network(RESNET).state_dict())
    with pytest.raises(UserError, match=r"stage_1 differs .*hierarchy\.transfer=false") as error:
        models.start_from(network(other), tmp_path / "stage_1")
    assert "\n" not in str(error.value)


def test_a_network_with_features_cannot_start_from_one_without(tmp_path):
    models.save_weights(tmp_path / "stage_1" / "weights.safetensors", network(RESNET).state_dict())
    fused = network(RESNET, features=pd.DataFrame({"a": [0.0, 1.0]}))
    with pytest.raises(UserError, match=r"stage_1 differs .*only one of them has"):
        models.start_from(fused, tmp_path / "stage_1")
