"""ImageNet weights of an installed package are taken in place of the hub's."""

import pytest
import timm
import torch

from lib.errors import UserError
from lib.learning import backbones, packaged_weights
from lib.sections import Network
from tests.conftest import ROOT
from tests.learning.tiny import network

NAME = "tf_efficientnet_lite0"
PACKAGE = packaged_weights.PACKAGES[NAME]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package like the real one, of random weights under other names, and these under timm's names."""
    torch.manual_seed(5)
    original = timm.create_model(NAME).state_dict()
    folder = tmp_path / PACKAGE.module
    path = folder / PACKAGE.file
    path.parent.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('its code must not run')")
    renamed = {
        f"_layer{place}.{name.rpartition('.')[2]}": one for place, (name, one) in enumerate(original.items())
    }
    torch.save(renamed, path)
    monkeypatch.syspath_prepend(tmp_path)
    return path, original


def test_the_weights_of_the_package_are_taken_without_the_hub(installed, monkeypatch, capsys):
    monkeypatch.setattr(backbones, "_download", None)
    backbones._announce.cache_clear()
    model = network(Network(architecture=NAME, pretrained=True, fourth_channel="copy"))
    ours, theirs = model.backbone.state_dict(), installed[1]
    for name in ours.keys() - {"conv_stem.weight", "classifier.weight", "classifier.bias"}:
        assert torch.equal(ours[name], theirs[name]), name
    first = theirs["conv_stem.weight"]
    assert torch.allclose(ours["conv_stem.weight"], torch.cat([first, first[:, 2:]], dim=1))
    assert model.spec.initial_weights == {"source": f"package {PACKAGE.name}", "license": "apache-2.0"}
    assert "licence apache-2.0" in capsys.readouterr().out
    pooled = network(Network(architecture=NAME, pretrained=True, head="avgmax"))
    assert torch.equal(pooled.backbone.bn2.running_var, theirs["bn2.running_var"])


@pytest.mark.parametrize("change", ["missing", "other", "text"])
def test_a_package_that_is_damaged_is_one_line(installed, change):
    path, _original = installed
    state = torch.load(path)
    if change == "missing":
        torch.save(dict(list(state.items())[10:]), path)
    elif change == "other":
        torch.save({name: value[:1] if value.ndim else value for name, value in state.items()}, path)
    else:
        path.write_text("text")
    with pytest.raises(UserError) as error:
        network(Network(architecture=NAME, pretrained=True))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_of_the_user_and_another_tag_take_precedence(installed, tmp_path):
    assert packaged_weights.package_of("resnet18") is None
    assert packaged_weights.package_of(f"{NAME}.{PACKAGE.tag}") is PACKAGE
    assert packaged_weights.package_of(f"{NAME}.other") is None
    torch.save({name: value * 0 for name, value in installed[1].items()}, tmp_path / "w.pt")
    model = network(Network(architecture=NAME, pretrained=True, start=str(tmp_path / "w.pt")))
    assert not model.backbone.bn2.running_var.any()


def test_without_the_package_it_is_named_where_the_hub_is_unreachable(monkeypatch):
    def fail(*_arguments, **_options):
        raise ConnectionError

    monkeypatch.setattr(backbones.packaged_weights, "find", lambda _package: None)
    monkeypatch.setattr(backbones, "create", fail)
    with pytest.raises(UserError, match=rf"install {PACKAGE.name}, .*pretrained=false"):
        network(Network(architecture=NAME, pretrained=True))


def test_the_packages_are_those_of_the_requirements():
    required = (ROOT / "requirements.txt").read_text()
    for package in packaged_weights.PACKAGES.values():
        assert f"\n{package.name} " in required
    assert packaged_weights.find(PACKAGE._replace(module="there_is_none")) is None
