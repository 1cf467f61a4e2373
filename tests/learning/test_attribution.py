import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lib.config import Network, Training
from lib.learning import attribution, models

STATISTICS = {"mean": [10.0, 20.0, 30.0, 40.0], "deviation": [50.0] * 4}
SETTINGS = Training(precision="float32")
NOTHING = np.zeros((2, 0), np.float32)


def images(size, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 4), dtype=np.uint8)


def logits(model, images_BHWK, features_BF=NOTHING):
    with torch.inference_mode():
        return model(torch.from_numpy(images_BHWK), torch.from_numpy(features_BF)).numpy()


class Sums(nn.Module):
    """Output 0: the mean of green; output 1: the mean of blue less that of red; of normalised channels."""

    def forward(self, images_BKHW):
        mean_BK = images_BKHW.mean(dim=(2, 3))
        return torch.stack([mean_BK[:, 1], mean_BK[:, 2] - mean_BK[:, 0]], dim=1)


def test_of_a_linear_network_each_pixel_gets_its_own_part():
    model = models.Classifier(Sums(), **STATISTICS)
    image_BHWK = images(8)
    found = attribution.attributions(model, image_BHWK, NOTHING, [0, 1], SETTINGS, steps=1).numpy()
    part_BHWK = image_BHWK / (50.0 * 64)  # over deviation and pixels
    assert found[0] == pytest.approx(part_BHWK[0] * [0, 1, 0, 0], abs=1e-5)
    assert found[1] == pytest.approx(part_BHWK[1] * [-1, 0, 1, 0], abs=1e-5)


def test_heat_lies_where_the_class_is_and_nowhere_where_all_speaks_against_it():
    model = models.Classifier(Sums(), **STATISTICS)
    image_BHWK = np.zeros((2, 64, 64, 4), np.uint8)
    image_BHWK[:, 8:16, 40:48, 1] = 200  # green here
    image_BHWK[:, 40:48, 8:16, 0] = 200  # red there
    heat_BHW = attribution.heat(model, image_BHWK, NOTHING, [0, 1], SETTINGS)
    assert heat_BHW.shape == (2, 64, 64)
    assert np.unravel_index(heat_BHW[0].argmax(), (64, 64)) == pytest.approx((12, 44), abs=1)
    assert heat_BHW[0].max() == 1 and heat_BHW[0].min() >= 0
    assert heat_BHW[0, 40:48, 8:16].max() < 1e-3
    assert not heat_BHW[1].any(), "red speaks against the second output, nothing for it"


@pytest.mark.parametrize(
    ("architecture", "size", "features", "heads"),
    [
        ("test_resnet", 32, False, None),
        ("test_resnet", 32, True, None),  # with features beside the image
        ("test_resnet", 32, False, ((0, 2), (1,))),  # with heads for groups
        ("test_vit", 160, False, None),  # tokens in place of maps
    ],
)
def test_what_the_pixels_get_adds_up_to_what_the_image_changes(architecture, size, features, heads):
    torch.manual_seed(0)
    table = pd.DataFrame({"a": [0.0, 1.0], "b": [2.0, 5.0]}) if features else None
    model = models.build_model(
        Network(architecture=architecture), 3, **STATISTICS, features=table, heads=heads
    )
    model.eval()
    features_BF = table.to_numpy(np.float32).copy() if features else NOTHING
    image_BHWK, outputs = images(size), [2, 0]
    found = attribution.attributions(model, image_BHWK, features_BF, outputs, SETTINGS, steps=200)
    change = logits(model, image_BHWK, features_BF) - logits(model, np.zeros_like(image_BHWK), features_BF)
    wanted = change[[0, 1], outputs]
    assert np.abs(wanted).min() > 1e-3
    assert found.sum(dim=(1, 2, 3)).numpy() == pytest.approx(wanted, rel=0.02, abs=1e-3)
    assert not any(parameter.grad is not None for parameter in model.parameters())
