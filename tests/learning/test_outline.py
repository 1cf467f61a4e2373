from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.features.biological import TEN, WEIGHTS
from lib.learning import models
from lib.learning.outline import outline
from lib.sections import Network
from tests.learning.tiny import network


def fused(names=TEN, **changes):
    settings = Network(architecture="test_resnet", channels="RGB", dropout=0.5, **changes)
    table = pd.DataFrame(np.eye(len(names)), columns=list(names))
    return network(settings, features=table).eval()


def parameters(blocks):
    return sum(block.parameters for block in blocks)


def test_the_blocks_of_a_fused_network_are_those_of_figure_5():
    model = fused(fusion="logits")
    image, features, output = outline(model)
    assert image[0].shape == "32 x 32 x 3" and "R G B" in image[0].operation
    assert image[1].shape == "16 x 16 x 32", "height, width, channels"
    assert any(block.operation == "layer3: 1 x Bottleneck" for block in image)
    assert (image[-1].operation, image[-1].shape) == ("fully connected layer", "28")
    assert [block.shape for block in features] == ["10", "10"]
    assert " ".join(f"{weight:g}" for weight in WEIGHTS) in features[1].operation
    assert [(block.operation, block.shape) for block in output] == [
        ("concatenation", "38"),
        ("fully connected layer, ReLU", "256"),
        ("dropout 0.5, in training", "256"),
        ("fully connected layer", "3"),
        ("sigmoid: probabilities", "3"),
    ]
    assert parameters([*image, *features, *output]) == models.count_parameters(model)


def test_the_pooled_representation_takes_the_place_of_the_logits():
    image, features, output = outline(fused([*TEN, "another"]))
    assert image[-1].shape == "96" and "pooling" in image[-1].operation
    assert output[0].shape == str(96 + 11)
    assert "weights from 0.5 to 4" in features[1].operation, "too many to list"
    *_, output = outline(fused(fusion="linear"))
    assert [block.operation for block in output[:3]] == [
        "concatenation", "dropout 0.5, in training", "fully connected layer"
    ]  # fmt: skip


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_network_without_features_is_one_column(architecture):
    model = network(Network(architecture=architecture, dropout=0.5)).eval()
    model.spec = replace(model.spec, size=160)  # which the transformer needs
    image, features, output = outline(model)
    assert not features and [block.operation for block in output] == ["sigmoid: probabilities"]
    assert [block.operation for block in image].count("dropout 0.5, in training") == 1
    last = image[-1]
    assert (last.operation, last.shape) == ("fully connected layer", "3")
    assert parameters(image) == models.count_parameters(model) - extra(model)


def extra(model):
    """Return the number of parameters that lie in no child of the backbone, such as position embeddings."""
    return sum(value.numel() for value in model.backbone.parameters(recurse=False))


def test_the_heads_of_a_hierarchy_are_one_block():
    settings = Network(architecture="test_resnet")
    image, _, output = outline(network(settings, 5, heads=[[0], [1, 2]]).eval())
    assert image[-1].shape == "96"
    assert [(block.operation, block.shape) for block in output] == [
        ("heads: GroupHeads", "5"), ("sigmoid: probabilities", "5")
    ]  # fmt: skip


def test_the_network_is_left_as_it_was():
    model = fused()
    outline(model)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(value.isfinite().all() for value in model.state_dict().values() if value.dtype == torch.float)
