import pytest
import torch
from torch import nn

from lib.learning.optimizer import make_optimizer, set_rate
from lib.sections import Network, Training
from tests.learning.tiny import network


def by_name(model, optimizer):
    """Return the group of every parameter by name."""
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    return {name: group_of[id(parameter)] for name, parameter in model.named_parameters()}


def test_norms_and_biases_do_not_decay():
    model = network()
    optimizer = make_optimizer(model, Training(weight_decay=0.05))
    groups = by_name(model, optimizer)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(groups)
    for name, parameter in model.named_parameters():
        assert groups[name]["weight_decay"] == (0.05 if parameter.ndim > 1 else 0.0), name
    assert {group["weight_decay"] for group in groups.values()} == {0.05, 0.0}
    norms = [f"{name}.weight" for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms and not any(groups[name]["weight_decay"] for name in norms)
    no_decay = make_optimizer(model, Training(weight_decay=0.0))
    assert {group["weight_decay"] for group in no_decay.param_groups} == {0.0}


def test_what_a_network_excludes_itself_does_not_decay():
    class Embedding(nn.Module):
        def __init__(self):
            super().__init__()
            self.position, self.kernel = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))

        def no_weight_decay(self):
            return {"position"}

    for model, prefix in ((Embedding(), ""), (nn.ModuleDict({"backbone": Embedding()}), "backbone.")):
        groups = by_name(model, make_optimizer(model, Training(weight_decay=0.1)))
        assert groups[f"{prefix}position"]["weight_decay"] == 0
        assert groups[f"{prefix}kernel"]["weight_decay"] == 0.1


@pytest.mark.parametrize("kind", ["plain", "heads"])
def test_the_backbone_has_a_rate_of_its_own(kind):
    more = {"heads": [[0, 1], [2]]} if kind == "heads" else {}
    model = network(Network(architecture="test_resnet"), outputs=5 if more else 3, **more)
    optimizer = make_optimizer(model, Training(backbone_rate=0.1))
    set_rate(optimizer, 0.5)
    head = {id(parameter) for parameter in model.last_layer.parameters()}
    groups = by_name(model, optimizer)
    for name, parameter in model.named_parameters():
        assert groups[name]["lr"] == pytest.approx(0.5 if id(parameter) in head else 0.05), name
    assert {group["lr"] for group in optimizer.param_groups} == {0.5, 0.05}
    plain = make_optimizer(model, Training())
    set_rate(plain, 0.5)
    assert {group["lr"] for group in plain.param_groups} == {0.5}
