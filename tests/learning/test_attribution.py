import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lib.learning import attribution
from lib.learning.models import Classifier
from lib.sections import Network
from tests.learning.tiny import STATISTICS, describe, images, logits, network

NO_FEATURES = np.zeros((2, 0), np.float32)


class Sums(nn.Module):
    """Output 0: the mean of green; output 1: the mean of blue minus that of red; of normalised channels."""

    num_features = 2

    def forward(self, images_BKHW):
        mean_BK = images_BKHW.mean(dim=(2, 3))
        return torch.stack([mean_BK[:, 1], mean_BK[:, 2] - mean_BK[:, 0]], dim=1)

    def get_classifier(self):
        return nn.Identity()


@pytest.fixture
def linear():
    model = Classifier(describe(Network(), outputs=2, size=64), Sums())
    model.set_statistics(mean=[10.0, 20.0, 30.0, 40.0], std=[50.0] * 4)
    return model


def test_a_linear_network_attributes_to_each_pixel_its_own_share(linear):
    image_BHWK = images(size=64)
    found = attribution.attributions(linear, image_BHWK, NO_FEATURES, [0, 1], steps=1).numpy()
    share_BHWK = image_BHWK / (50.0 * 64 * 64)  # over the std and the number of pixels
    assert found[0] == pytest.approx(share_BHWK[0] * [0, 1, 0, 0], abs=1e-5)
    assert found[1] == pytest.approx(share_BHWK[1] * [-1, 0, 1, 0], abs=1e-5)


def test_a_heatmap_is_bright_at_evidence_for_the_class_and_dark_elsewhere(linear):
    image_BHWK = np.zeros((2, 64, 64, 4), np.uint8)
    image_BHWK[:, 8:16, 40:48, 1] = 200  # green here
    image_BHWK[:, 40:48, 8:16, 0] = 200  # red there
    heat_BHW = attribution.heatmaps(linear, image_BHWK, NO_FEATURES, [0, 1])
    assert heat_BHW.shape == (2, 64, 64) and heat_BHW.dtype == np.float32
    assert np.unravel_index(heat_BHW[0].argmax(), (64, 64)) == pytest.approx((12, 44), abs=1)
    assert heat_BHW[0].max() == 1 and heat_BHW[0].min() >= 0
    assert heat_BHW[0, 40:48, 8:16].max() < 1e-3
    assert not heat_BHW[1].any(), "red is evidence against the second output, nothing is evidence for it"


class Smooth(nn.Module):
    """A convolution, GELU and the mean: gradients change slowly, so that few steps suffice."""

    num_features = 6

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(4, 6, 3)

    def forward(self, images_BKHW):
        return nn.functional.gelu(self.convolution(images_BKHW)).mean(dim=(2, 3))

    def get_classifier(self):
        return self.convolution


def check_sum(model, size, steps, features_BF=NO_FEATURES):
    image_BHWK, outputs = images(size=size), [2, 0]
    black_BHWK = np.zeros_like(image_BHWK)
    change = logits(model, image_BHWK, features_BF) - logits(model, black_BHWK, features_BF)
    expected = change.numpy()[[0, 1], outputs]
    found = attribution.attributions(model, image_BHWK, features_BF, outputs, steps)
    assert np.abs(expected).min() > 3e-3
    assert found.sum(dim=(1, 2, 3)).numpy() == pytest.approx(expected, rel=0.05)
    assert not any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("architecture", "size", "steps"),
    [("test_resnet", 16, 60), ("test_vit", 160, 8)],  # feature maps; tokens, which need fewer steps
)
def test_attributions_sum_to_the_change_of_the_logit(architecture, size, steps):
    check_sum(network(Network(architecture=architecture), size=size), size, steps)


def test_a_larger_image_is_attributed_in_its_own_pixels(linear):
    image_BHWK = images(size=96)
    found_BHWK = attribution.attributions(linear, image_BHWK, NO_FEATURES, [0, 1], steps=1)
    assert found_BHWK.shape == (2, 96, 96, 4)
    change = logits(linear, image_BHWK) - logits(linear, np.zeros_like(image_BHWK))
    assert found_BHWK.sum(dim=(1, 2, 3)).tolist() == pytest.approx(change[[0, 1], [0, 1]].tolist(), rel=1e-3)


def test_a_network_that_standardises_each_image_is_attributed_with_the_images_statistics():
    """Their sum is the change from the black image under these, where its own would hide any change."""
    model = Classifier(describe(Network(normalisation="image"), outputs=6, size=16), Smooth())
    image_BHWK, outputs = images(size=16), [2, 0]
    found = attribution.attributions(model, image_BHWK, NO_FEATURES, outputs, 20).sum(dim=(1, 2, 3))
    images_BHWK, none = torch.from_numpy(image_BHWK), torch.zeros(2, 0)
    statistics = model.eval().statistics(images_BHWK)
    with torch.inference_mode():
        change = model(images_BHWK, none) - model(torch.zeros_like(images_BHWK), none, statistics)
    assert found.tolist() == pytest.approx(change[[0, 1], outputs].tolist(), rel=0.05)


@pytest.mark.parametrize("heads", [None, [[0, 2], [1]]])
def test_they_do_so_with_features_and_with_heads(heads):
    table = pd.DataFrame({"a": [0.0, 1.0], "b": [2.0, 5.0]})
    outputs = 3 if heads is None else 3 + len(heads)  # of the classes, and of the groups
    model = Classifier(describe(Network(fusion_width=16), outputs, table, heads=heads, size=16), Smooth())
    model.fusion.scaler.fit(table, "equal", 1.0)
    model.set_statistics(**STATISTICS)
    check_sum(model, 16, 20, table.to_numpy(np.float32).copy())
