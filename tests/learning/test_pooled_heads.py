"""Heads and pooling compute what their descriptions state, on any of timm's networks."""

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch import nn

from lib.errors import UserError
from lib.learning import models, pooled_heads
from lib.learning.attribution import attributions
from lib.learning.pooled_heads import AttentionPooling, GeneralisedMean, PooledHead
from lib.sections import Network
from tests.learning.tiny import describe, images, logits, network

FORMS = ({"head": "avgmax"}, {"head": "multilevel"}, {"pooling": "gem"}, {"pooling": "attention"},
         {"pooling": "avg"}, {"pooling": "max"})  # fmt: skip


def with_settings(**changes):
    return Network(**{"architecture": "test_resnet"} | changes)


def randomise(model, seed=3):
    """Give batch normalisation statistics and weights that a wrong order of layers would show."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model


def normalised(values_BR, layer):
    """Apply batch normalisation in evaluation mode."""
    scale = layer.weight / (layer.running_var + 1e-5).sqrt()
    return (values_BR - layer.running_mean) * scale + layer.bias


# what is computed


def test_avgmax_is_the_winners_head():
    head = randomise(PooledHead("avgmax", "own", [6], 3, 0.0)).eval()
    map_BRHW = torch.randn(4, 6, 5, 3)
    pooled = torch.cat([map_BRHW.mean((2, 3)), map_BRHW.amax((2, 3))], dim=1)
    neck = head.neck
    hidden = normalised(pooled, neck.bn1) @ neck.fc1.weight.T + neck.fc1.bias
    hidden = normalised(hidden.clamp(min=0), neck.bn2)
    expected = hidden @ head.last.weight.T + head.last.bias
    assert torch.allclose(head([map_BRHW]), expected, atol=1e-4)
    assert (neck.fc1.in_features, neck.fc1.out_features, head.last.in_features) == (12, 1024, 1024)
    assert [one.p for one in head.modules() if isinstance(one, nn.Dropout)] == [0.5, 0.5]


def test_multilevel_is_a_last_layer_on_mean_and_maximum_of_every_stage():
    head = randomise(PooledHead("multilevel", "own", [2, 3], 4, 0.3)).eval()
    maps = [torch.randn(4, 2, 8, 8), torch.randn(4, 3, 4, 4)]
    pooled = torch.cat([function(one) for one in maps for function in (mean, maximum)], dim=1)
    expected = normalised(pooled, head.neck.bn1) @ head.last.weight.T + head.last.bias
    assert torch.allclose(head(maps), expected, atol=1e-5) and head.num_features == 10
    assert head.dropout.p == 0.3


def mean(map_BRHW):
    return map_BRHW.mean((2, 3))


def maximum(map_BRHW):
    return map_BRHW.amax((2, 3))


def test_the_generalised_mean_lies_between_mean_and_maximum():
    gem, map_BRHW = GeneralisedMean(), torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 2, 2)
    assert gem(map_BRHW).item() == pytest.approx((100 / 4) ** (1 / 3), rel=1e-5)
    gem.exponent.data.fill_(1.0)
    assert gem(map_BRHW).item() == pytest.approx(2.5)
    gem.exponent.data.fill_(60.0)
    assert gem(map_BRHW).item() == pytest.approx(4.0, rel=0.03)
    gem(map_BRHW).sum().backward()
    assert torch.isfinite(gem.exponent.grad)
    assert gem(-map_BRHW.bfloat16()).item() == pytest.approx(1e-6, rel=1e-3)  # in float32


def test_attention_depends_on_the_pixels_but_not_on_their_order():
    torch.manual_seed(0)
    attention, map_BRHW = AttentionPooling(12), torch.randn(2, 12, 3, 3)
    first = attention(map_BRHW)
    assert first.shape == (2, 12) and torch.allclose(attention(map_BRHW.flip(2, 3)), first, atol=1e-5)
    changed = map_BRHW.clone()
    changed[0, :, 1, 1] += 1.0
    assert not torch.allclose(attention(changed)[0], first[0]) and torch.equal(
        attention(changed)[1], first[1]
    )


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_the_pooled_map_is_the_one_that_timms_own_pooling_receives(name):
    torch.manual_seed(0)
    options = {"global_pool": "avg"} if name == "test_vit" else {}
    backbone = timm.create_model(name, in_chans=4, num_classes=0, **options).eval()
    images_BKHW = torch.randn(2, 4, 160, 160)
    with torch.inference_mode():
        (last,) = pooled_heads.maps(backbone, images_BKHW, "avgmax")
        stages = pooled_heads.maps(backbone, images_BKHW, "multilevel")
        expected = backbone.forward_features(images_BKHW)
        expected = expected[:, 1:].mean(1) if name == "test_vit" else backbone(images_BKHW)
    assert torch.allclose(mean(last), expected, atol=1e-5)
    assert torch.equal(stages[-1], last) and len(stages) == len(backbone.feature_info) > 4
    assert [one.shape[1] for one in stages] == pooled_heads.map_widths(backbone, "multilevel")
    assert pooled_heads.map_widths(backbone, "avgmax") == [last.shape[1]]


def test_channels_last_maps_are_turned():
    class Turned:
        output_fmt = "NHWC"

        def forward_features(self, images_BKHW):
            return images_BKHW.permute(0, 2, 3, 1)

    images_BKHW = torch.randn(2, 4, 6, 5)
    assert torch.equal(pooled_heads.maps(Turned(), images_BKHW, "linear")[0], images_BKHW)


def test_a_network_of_another_kind_is_one_line():
    class Plain(nn.Module):
        num_features = 3

    for kind, method in (("avgmax", "forward_features"), ("multilevel", "forward_intermediates")):
        with pytest.raises(UserError, match=rf"network\.head={kind} .*Plain .*{method}.*head=linear"):
            pooled_heads.map_widths(Plain(), kind)


# within a network


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form.values()))
def test_a_network_with_any_head_is_trained_saved_loaded_and_explained(tmp_path, form):
    model = network(with_settings(**form))
    model.train()(torch.from_numpy(images()), torch.zeros(2, 0)).sum().backward()
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)
    model.spec.write(tmp_path)
    models.save_weights(tmp_path / "weights.safetensors", model.state_dict())
    loaded = models.load(tmp_path)
    assert torch.equal(logits(loaded, images()), logits(model, images()))
    assert model.last_layer is model.head.last and model.last_layer.out_features == 3
    shown, none = images(), np.zeros((2, 0), np.float32)
    heat = attributions(loaded, shown, none, [0, 2], steps=2)
    assert heat.shape == shown.shape and heat.abs().sum() > 0


@pytest.mark.parametrize("form", [FORMS[0], FORMS[1], FORMS[2]], ids=lambda form: "-".join(form.values()))
def test_features_and_group_heads_receive_the_representation_of_the_head(form):
    table = pd.DataFrame({"a": [0.0, 1.0]})
    fused = network(with_settings(**form), features=table)
    headed = network(with_settings(**form), 5, heads=[[0], [1, 2]])
    for model, width in ((fused, fused.fusion.layers[0].in_features - 1),
                         (headed, headed.heads.group.in_features)):  # fmt: skip
        assert width == model.head.num_features and isinstance(model.head.last, nn.Identity)
    assert logits(fused, images(), np.zeros((2, 1), np.float32)).shape == (2, 3)
    assert logits(headed, images()).shape == (2, 5)


def test_a_network_starts_from_another_ones_head_except_its_last_layer(tmp_path):
    settings = with_settings(head="avgmax")
    first = randomise(network(settings))
    models.save_weights(tmp_path / "stage_1" / "weights.safetensors", first.state_dict())
    second = network(settings, 5)
    before = second.head.last.weight.clone()
    models.start_from(second, tmp_path / "stage_1")
    assert torch.equal(second.head.neck.bn2.running_var, first.head.neck.bn2.running_var)
    assert torch.equal(second.head.last.weight, before)
    with pytest.raises(UserError, match=r"stage_1 differs .*head\."):
        models.start_from(network(with_settings(head="multilevel")), tmp_path / "stage_1")


def test_layers_that_ours_replace_are_not_trained():
    backbone = network(with_settings(architecture="test_convnext", head="avgmax")).backbone
    assert not any(one.requires_grad for one in backbone.head.parameters())
    assert all(one.requires_grad for one in backbone.stages.parameters())


def test_one_more_max_pool_halves_the_maps(tmp_path):
    for name in ("resnet10t", "densenet121"):
        plain, pooled = (
            timm_maps(network(with_settings(architecture=name, stem_pool=value))) for value in (False, True)
        )
        assert plain.shape[-1] == 2 * pooled.shape[-1]
    model = network(with_settings(architecture="resnet10t", stem_pool=True))
    model.spec.write(tmp_path)
    models.save_weights(tmp_path / "weights.safetensors", model.state_dict())
    assert torch.equal(logits(models.load(tmp_path), images(2, 64)), logits(model, images(2, 64)))
    with pytest.raises(UserError, match=r"network\.stem_pool=true: the stem of test_convnext"):
        network(with_settings(architecture="test_convnext", stem_pool=True))


def timm_maps(model):
    with torch.inference_mode():
        return model.backbone.eval().forward_features(torch.zeros(1, 4, 128, 128))


def test_a_wider_representation_than_the_maps_is_known():
    table = pd.DataFrame({"a": [0.0, 1.0]})
    model = network(with_settings(architecture="mobilenetv3_small_050"), features=table)
    assert logits(model, images(), np.zeros((2, 1), np.float32)).shape == (2, 3)


def test_model_json_names_head_and_pooling():
    spec = describe(with_settings(pooling="gem", stem_pool=True))
    assert (spec.head, spec.pooling, spec.stem_pool) == ("linear", "gem", True)
    assert spec.has_pooled_head and not describe(with_settings()).has_pooled_head
