"""timm's networks by name and tag, the weights from the hub, and the fourth channel's."""

import logging

import huggingface_hub
import pytest
import timm
import torch

from lib.errors import UserError
from lib.learning import backbones, models
from lib.sections import Network
from tests.learning.tiny import STATISTICS, describe, network

RESNET = Network(architecture="test_resnet")


def with_settings(**changes):
    return Network(**{"architecture": "test_resnet"} | changes)


def rejected(settings):
    with pytest.raises(UserError) as error:
        models.build(describe(settings), settings, **STATISTICS)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def hub(monkeypatch):
    """A hub whose weights are random: what timm is asked for."""
    asked, create = [], timm.create_model
    backbones._announce.cache_clear()

    def download(name, **options):
        asked.append((name, options["pretrained"]))
        return create(name, **options | {"pretrained": False})

    monkeypatch.setattr(backbones.timm, "create_model", download)
    return asked


# names


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("resnet43", "resnet34"),
        ("ResNet34", "resnet34"),
        ("timm/resnet34.tv_in1k", "resnet34.tv_in1k"),
        ("hf-hub:timm/resnet34.a1_in1k", "resnet34.a1_in1k"),
        ("resnet34.tv_in2k", "tv_in1k"),
        ("resnet34.", "a1_in1k"),
    ],
)
@pytest.mark.parametrize("pretrained", [False, True])
def test_an_unknown_name_or_tag_names_similar_ones(name, similar, pretrained):
    message = rejected(with_settings(architecture=name, pretrained=pretrained))
    assert message.startswith(f"network.architecture={name}") and f" {similar}" in message


def test_a_name_may_have_a_tag_with_and_without_pretrained_weights(hub):
    name = "test_resnet.r160_in1k"
    plain = network(with_settings(architecture=name))
    assert plain.spec.architecture == name and torch.equal(
        plain.backbone.fc.weight, network(RESNET).backbone.fc.weight
    )
    tagged = network(with_settings(architecture=name, pretrained=True))
    assert tagged.spec.architecture == name
    assert tagged.spec.initial_weights == {"source": "timm/test_resnet.r160_in1k", "license": "apache-2.0"}
    assert hub == [(name, False), ("test_resnet", False), (name, True)]


def test_a_network_with_a_tag_is_loaded_from_its_folder(tmp_path):
    first = network(with_settings(architecture="test_resnet.r160_in1k"))
    first.spec.write(tmp_path)
    models.save_weights(tmp_path / "weights.safetensors", first.state_dict())
    assert torch.equal(models.load(tmp_path).backbone.fc.weight, first.backbone.fc.weight)


# weights from the hub


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No connection and an empty cache, as with HF_HUB_OFFLINE=1 on a new machine."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["test_resnet", "test_resnet.r160_in1k"])
def test_without_a_connection_pretrained_weights_are_one_line_with_three_remedies(name):
    message = rejected(with_settings(architecture=name, pretrained=True))
    assert f"pretrained weights of {name} are unavailable" in message
    for remedy in ("connect", "network.start=FILE", "network.pretrained=false"):
        assert remedy in message


def test_a_failing_download_is_one_line(monkeypatch):
    def fail(*_arguments, **options):
        assert options["pretrained"]
        raise ConnectionError("first line\nsecond line")

    monkeypatch.setattr(backbones.timm, "create_model", fail)
    message = rejected(Network(architecture="resnet34", pretrained=True))
    assert "weights of resnet34 are unavailable (ConnectionError)" in message


def test_a_tag_without_weights_names_those_with(monkeypatch):
    def fail(*_arguments, **_options):
        raise RuntimeError("No pretrained weights exist for this.")

    monkeypatch.setattr(backbones.timm, "create_model", fail)
    message = rejected(with_settings(pretrained=True))
    assert "pretrained weights of test_resnet cannot be loaded (No pretrained weights" in message
    assert "network.pretrained=false" in message and "timm has test_resnet.r160_in1k" in message


def test_without_pretrained_weights_an_error_of_timm_is_not_hidden(monkeypatch):
    def fail(*_arguments, **_options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(backbones.timm, "create_model", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        models.build(describe(RESNET), RESNET, **STATISTICS)


def test_source_and_license_are_recorded_and_printed_once(hub, capsys):
    model = network(with_settings(pretrained=True))
    config = timm.get_pretrained_cfg("test_resnet")
    assert model.spec.initial_weights == {"source": config.hf_hub_id, "license": "apache-2.0"}
    assert config.hf_hub_id.startswith("timm/")
    network(with_settings(pretrained=True))  # the next fold
    output = capsys.readouterr()
    assert output.out.count("test_resnet: pretrained weights") == 1 and output.err == ""
    assert f"{config.hf_hub_id}, licence apache-2.0" in output.out


@pytest.mark.parametrize(
    ("name", "license", "words"),
    [
        ("convnextv2_atto.fcmae", "cc-by-nc-4.0", "non-commercial"),
        ("regnety_320.seer", "seer-license", "non-commercial"),
        ("mobilevit_xxs.cvnets_in1k", "cvnets-license", "its terms"),
    ],
)
def test_a_license_with_restrictions_is_a_warning(capsys, name, license, words):
    backbones._announce.cache_clear()
    assert timm.get_pretrained_cfg(name).license == license
    backbones._announce(name, f"timm/{name}", license)
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith(f"warning: {name}: pretrained weights timm/{name}")
    assert f"licence {license}" in output.err and words in output.err


def test_lines_that_timm_logs_become_warnings_only_for_weights_from_the_hub(monkeypatch, capfd, caplog):
    create = timm.create_model

    def log(name, **options):
        logging.getLogger("timm.models._builder").warning("Unable to convert a layer")
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying")
        return create(name, **options | {"pretrained": False})

    monkeypatch.setattr(backbones.timm, "create_model", log)
    network(RESNET)
    assert "Unable" not in "".join(capfd.readouterr())
    network(with_settings(pretrained=True))
    output = "".join(capfd.readouterr())
    lines = [line for line in output.splitlines() if "Unable" in line]
    assert lines == ["warning: test_resnet: Unable to convert a layer"] and "Retrying" not in caplog.text


# the fourth channel


@pytest.mark.parametrize(("choice", "is_zero"), [("copy", False), ("zero", True)])
def test_the_yellow_channel_is_chosen_also_without_pretrained_weights(choice, is_zero):
    weight = network(with_settings(fourth_channel=choice)).backbone.conv1[0].weight
    assert torch.equal(weight[:, 3], torch.zeros_like(weight[:, 2]) if is_zero else weight[:, 2])
    fresh = network(with_settings(fourth_channel="timm")).backbone.conv1[0].weight
    assert torch.equal(weight[:, :3], fresh[:, :3])  # not scaled: nothing was scaled down


def test_every_first_layer_is_initialised():
    backbone, _origin = backbones.create_pretrained(
        Network(architecture="mobileone_s0", fourth_channel="zero"), ["a"], 0.0
    )
    names = backbone.pretrained_cfg["first_conv"]
    assert len(names) > 1
    for name in names:
        assert not backbone.get_submodule(name).weight[:, 3].any()


def test_an_unknown_first_layer_is_one_line(monkeypatch):
    monkeypatch.setattr(backbones.initial_weights, "first_layers", lambda _backbone: [])
    assert "network.fourth_channel=timm" in rejected(with_settings(fourth_channel="zero"))


def test_an_unknown_initialisation_is_rejected():
    settings = with_settings()
    object.__setattr__(settings, "fourth_channel", "copied")
    with pytest.raises(KeyError):
        models.build(describe(settings), settings, **STATISTICS)


# stochastic depth


@pytest.mark.parametrize("pretrained", [False, True])
def test_blocks_are_skipped_in_training_only_more_often_towards_the_end(hub, pretrained):
    settings = with_settings(architecture="resnet18", drop_path=0.3, pretrained=pretrained)
    model = network(settings)
    rates = [layer.drop_prob for layer in model.modules() if isinstance(layer, timm.layers.DropPath)]
    assert rates == sorted(rates) and rates[-1] == pytest.approx(0.3) and len(rates) > 4
    images, plain = torch.randn(2, 4, 32, 32), network(with_settings(architecture="resnet18"))
    assert torch.equal(model.eval().backbone(images), plain.eval().backbone(images))
    assert not any(isinstance(layer, timm.layers.DropPath) for layer in plain.modules())


def test_a_network_without_blocks_to_skip_is_one_line():
    for name in ("densenet121", "vgg11"):
        message = rejected(with_settings(architecture=name, drop_path=0.1))
        assert "network.drop_path=0.1" in message and name in message and "network.drop_path=0," in message
