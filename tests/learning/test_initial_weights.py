"""Files of weights are taken where they fit, ours and others', else rejected with numbers."""

import hashlib
import json

import pandas as pd
import pytest
import timm
import torch

from lib.errors import UserError
from lib.learning import downloads, models
from lib.sections import Network
from tests.learning.tiny import STATISTICS, describe, network

RESNET = Network(architecture="test_resnet")


def start_from(path, outputs=3, features=None, heads=None, **changes):
    """Build a network from a file."""
    changes = {"architecture": "test_resnet", "start": str(path)} | changes
    settings = Network(**changes)
    torch.manual_seed(11)
    spec = describe(settings, outputs, features, **({} if heads is None else {"heads": heads}))
    return models.build(spec, settings, **STATISTICS, features=features)


def rejected(path, **changes):
    with pytest.raises(UserError) as error:
        start_from(path, **changes)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def original():
    """A network of three channels, as a hub would have it."""
    torch.manual_seed(3)
    return timm.create_model("test_resnet", num_classes=1000)


@pytest.fixture
def downloaded(original, tmp_path):
    """The file of its weights."""
    torch.save(original.state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def save(model, folder):
    """Save a network of this project in a folder."""
    model.spec.write(folder)
    models.save_weights(folder / "weights.safetensors", model.state_dict())
    return folder


def equal(first, second, without=()):
    """Return the names of the tensors of a backbone, and whether each is the same in the other one."""
    ours, theirs = first.state_dict(), second.state_dict()
    return {name: torch.equal(ours[name], theirs[name]) for name in ours if not name.startswith(without)}


# other projects' files


@pytest.mark.parametrize(("choice", "yellow"), [("copy", 2), ("zero", None), ("timm", 0)])
def test_the_yellow_channel_is_initialised_as_chosen(original, downloaded, choice, yellow):
    model = start_from(downloaded, fourth_channel=choice)
    theirs, ours = original.conv1[0].weight, model.backbone.conv1[0].weight
    scale = 0.75 if choice == "timm" else 1.0  # Liu et al. keep the weights of red, green and blue
    assert torch.allclose(ours[:, :3], theirs * scale)
    expected = torch.zeros_like(theirs[:, 0]) if yellow is None else theirs[:, yellow] * scale
    assert torch.allclose(ours[:, 3], expected)
    assert all(equal(model.backbone, original, ("conv1.0.", "fc.")).values())
    assert model.spec.initial_weights == {
        "source": str(downloaded),
        "bytes": str(downloaded.stat().st_size),
        "sha256": hashlib.sha256(downloaded.read_bytes()).hexdigest(),
        "license": "unknown",
    }


def test_weights_are_those_that_timm_loads(downloaded):
    torch.manual_seed(11)
    overlay = {"file": str(downloaded)}
    expected = timm.create_model(
        "test_resnet", pretrained=True, in_chans=4, num_classes=3, pretrained_cfg_overlay=overlay
    )
    assert all(equal(start_from(downloaded).backbone, expected).values())


def test_three_channels_are_taken_as_they_are(original, downloaded):
    model = start_from(downloaded, channels="RGB", fourth_channel="copy")
    assert torch.equal(model.backbone.conv1[0].weight, original.conv1[0].weight)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 1},
        lambda state: {"model": {name: value * 0 for name, value in state.items()}, "model_ema": state},
        lambda state: {"net": {"encoder": state}},
        lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
        lambda state: {name: value for name, value in state.items() if "num_batches" not in name},
        lambda state: {name: value for name, value in state.items() if not name.startswith("fc.")},
        lambda state: {name: torch.nn.Parameter(value) if value.is_floating_point() else value
                       for name, value in state.items()},
    ],
)  # fmt: skip
def test_wrapped_checkpoints_are_unwrapped(original, tmp_path, wrap, capsys):
    torch.save(wrap(original.state_dict()), tmp_path / "checkpoint.pth")
    model = start_from(tmp_path / "checkpoint.pth", fourth_channel="copy")
    same = equal(model.backbone, original, ("conv1.0.", "fc."))
    assert all(same[name] for name in same if "num_batches" not in name)
    output = capsys.readouterr()
    count = sum(value.is_floating_point() for value in original.state_dict().values()) - 2  # the last layer
    assert f"{count} tensors" in output.out and output.err == ""


def test_half_precision_is_converted(original, tmp_path):
    half = {
        name: value.half() if value.is_floating_point() else value
        for name, value in original.state_dict().items()
    }
    torch.save(half, tmp_path / "half.pt")
    model = start_from(tmp_path / "half.pt", channels="RGB")
    weight = model.backbone.layer1[0].conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, original.layer1[0].conv1.weight.half().float())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_rejected(original, tmp_path, value):
    state = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = value
    torch.save(state, tmp_path / "nan.pt")
    assert "layer2.0.conv1.weight holds values that are not finite" in rejected(tmp_path / "nan.pt")


def change(state, how):
    """Return a state dict that does not fit, and the tensor that the message is to name."""
    first = "conv1.0.weight"
    if how == "other shapes":
        return {name: value[:1] if value.ndim else value for name, value in state.items()}, first
    if how == "other names":
        return {f"x{name}": value for name, value in state.items()}, first
    if how == "integers":
        return {name: value.to(torch.int8) for name, value in state.items()}, first
    if how == "one channel":
        return state | {first: state[first].sum(1, keepdim=True)}, first
    if how == "more layers":
        more = {f"z{name}": value for name, value in state.items()}
        return state | more, next(iter(more))
    return {name: value for name, value in state.items() if not name.startswith("layer2")}, "layer2."


@pytest.mark.parametrize(
    "how", ["other shapes", "other names", "integers", "one channel", "more layers", "fewer layers"]
)
def test_weights_that_do_not_fit_are_rejected_with_numbers_and_the_first(original, tmp_path, how):
    state, first = change(original.state_dict(), how)
    torch.save(state, tmp_path / "other.pt")
    message = rejected(tmp_path / "other.pt")
    expected = sum(value.is_floating_point() for value in original.state_dict().values()) - 2
    assert "does not fit test_resnet" in message and f"of {expected} (" in message and f" {first}" in message
    assert "90%" in message and "network.pretrained=false" in message


def test_weights_of_another_architecture_are_rejected(tmp_path):
    for name in ("resnet10t", "test_convnext"):
        torch.save(timm.create_model(name).state_dict(), tmp_path / f"{name}.pt")
        assert "0 tensors (0 parameters) fit" in rejected(tmp_path / f"{name}.pt") or name == "resnet10t"


def test_few_tensors_that_do_not_fit_are_a_warning(original, tmp_path, capsys):
    state = original.state_dict()
    del state["layer2.0.bn1.bias"]
    torch.save(state, tmp_path / "most.pt")
    start_from(tmp_path / "most.pt")
    assert "layer2.0.bn1.bias" in capsys.readouterr().err


def test_names_of_the_original_authors_are_converted(tmp_path):
    torch.manual_seed(5)
    theirs = timm.create_model("test_convnext", num_classes=0).state_dict()
    torch.save({"model": theirs}, tmp_path / "ours.pt")
    # timm renames those of the paper: downsample_layers.0.0 is stem.0
    renamed = {}
    for name, value in theirs.items():
        name = name.replace("stem.", "downsample_layers.0.").replace("head.norm", "norm")
        for stage in range(4):
            name = name.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
            name = name.replace(f"stages.{stage}.blocks.", f"stages.{stage}.")
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        renamed[name] = value
    torch.save({"model": renamed}, tmp_path / "theirs.pt")
    same = equal(
        *(
            start_from(tmp_path / f"{name}.pt", architecture="test_convnext").backbone
            for name in ("ours", "theirs")
        )
    )
    assert all(same.values())


# our own networks


@pytest.mark.parametrize("given", ["folder", "file", "copy"])
def test_a_network_of_ours_is_loaded_completely(tmp_path, given):
    first = network(RESNET)
    folder = save(first, tmp_path / "baseline")
    path = {"folder": folder, "file": folder / "weights.safetensors", "copy": tmp_path / "copy.safetensors"}[
        given
    ]
    if given == "copy":
        (folder / "weights.safetensors").rename(path)
    second = start_from(path, fourth_channel="zero")  # yellow keeps what it has learnt
    assert all(equal(first.backbone, second.backbone).values())


def test_its_normalisation_is_taken_only_where_it_is_chosen(tmp_path):
    first = network(RESNET)
    first.set_statistics([1.0] * 4, [2.0] * 4)
    second = start_from(save(first, tmp_path / "baseline"))
    assert second.mean.flatten().tolist() == STATISTICS["mean"]
    third = start_from(tmp_path / "baseline", normalisation="start", channels="RGB")
    assert third.mean.flatten().tolist() == [1.0] * 3 and third.std.flatten().tolist() == [2.0] * 3


def test_a_file_without_normalisation_or_of_fewer_channels_has_none_to_take(downloaded, tmp_path):
    message = rejected(downloaded, normalisation="start")
    assert "holds no mean and std for 4 channels" in message and "normalisation=standard" in message
    folder = save(network(Network(architecture="test_resnet", channels="RGB")), tmp_path / "rgb")
    assert "for 4 channels" in rejected(folder, normalisation="start")


@pytest.mark.parametrize("head", ["linear", "avgmax"])
def test_only_a_network_of_the_same_outputs_and_head_is_complete(tmp_path, head):
    folder = save(network(Network(architecture="test_resnet", head=head)), tmp_path / "baseline")
    same = start_from(folder, head=head)
    assert same.starts_complete and torch.equal(same.last_layer.weight, network(
        Network(architecture="test_resnet", head=head)).last_layer.weight)  # fmt: skip
    assert not start_from(folder, head=head, outputs=5).starts_complete
    assert not start_from(folder, head="multilevel").starts_complete
    assert not start_from(folder, head=head, features=pd.DataFrame({"a": [0.0, 1.0]})).starts_complete
    assert not network(Network(architecture="test_resnet", head=head)).starts_complete


def test_weights_are_downloaded_from_an_address(downloaded, monkeypatch):
    address = "https://example.org/weights.pt"
    monkeypatch.setattr(downloads, "fetch", {address: downloaded}.get)
    model = start_from(address)
    assert model.spec.initial_weights["source"] == address
    assert all(equal(model.backbone, start_from(downloaded).backbone).values())


@pytest.mark.parametrize("form", ["features", "heads"])
def test_networks_with_and_without_features_or_heads_start_from_each_other(tmp_path, form):
    table = pd.DataFrame({"a": [0.0, 1.0]})
    more = {"features": {"features": table}, "heads": {"outputs": 5, "heads": [[0], [1, 2]]}}[form]
    plain, other = network(RESNET), network(RESNET, **more)
    from_plain = start_from(save(plain, tmp_path / "plain"), **more)
    from_other = start_from(save(other, tmp_path / "other"))
    assert all(equal(from_plain.backbone, plain.backbone).values())
    assert all(equal(other.backbone, from_other.backbone).values())


@pytest.mark.parametrize(("given", "wanted"), [("RGBY", "RGB"), ("RGB", "RGBY")])
def test_the_first_layer_is_adapted_to_the_channels(tmp_path, given, wanted):
    first = network(Network(architecture="test_resnet", channels=given))
    second = start_from(save(first, tmp_path / "first"), channels=wanted, fourth_channel="copy")
    theirs, ours = first.backbone.conv1[0].weight, second.backbone.conv1[0].weight
    assert torch.allclose(ours[:, :3], theirs[:, :3])
    assert torch.allclose(ours[:, -1], ours[:, 2])  # without yellow this is blue itself
    assert all(equal(first.backbone, second.backbone, "conv1.0.").values())


def test_the_last_layer_is_taken_only_for_the_same_outputs(tmp_path):
    first = network(RESNET)
    folder = save(first, tmp_path / "baseline")
    assert all(equal(first.backbone, start_from(folder, outputs=5).backbone, "fc.").values())
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(content | {"outputs": ["x", "y", "z"]}))
    same = equal(first.backbone, start_from(folder).backbone)
    assert not same["fc.weight"] and same["layer1.0.conv1.weight"]


def test_a_training_state_is_read_like_its_network(tmp_path):
    first = network(RESNET)
    torch.save({"model": first.state_dict(), "average": None, "epoch": 2}, tmp_path / "state.pt")
    assert all(equal(first.backbone, start_from(tmp_path / "state.pt").backbone).values())


def test_the_license_of_what_it_was_trained_from_is_kept(tmp_path, capsys):
    folder = save(network(RESNET), tmp_path / "baseline")
    content = json.loads((folder / "model.json").read_text())
    content["initial_weights"] = {"source": "timm/x", "license": "cc-by-nc-4.0"}
    (folder / "model.json").write_text(json.dumps(content))
    assert start_from(folder).spec.initial_weights["license"] == "cc-by-nc-4.0"
    assert "non-commercial" in capsys.readouterr().err


def test_another_network_of_ours_is_named(tmp_path):
    folder = save(network(Network(architecture="test_convnext")), tmp_path / "baseline")
    message = rejected(folder)
    assert "(of test_convnext) does not fit test_resnet" in message
