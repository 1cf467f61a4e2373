import numpy as np
import pandas as pd
import pytest
import torch

from lib.features.biological import TEN, WEIGHTS
from lib.learning.fusion import FeatureScaler, Fusion

NAN, INF = np.nan, np.inf
TRAINING = pd.DataFrame(
    {
        "nuclear_ratio": [0.0, 1.0, 2.0, 4.0, INF],  # has weight 2 in the paper
        "ssim_microtubules": [-1.0, 1.0, NAN, 0.5, 0.5],  # has weight 4
        "constant": [3.0] * 5,
        "always_undefined": [NAN] * 5,
        "additional": [10.0, 20.0, 30.0, 40.0, 50.0],
    }
)


def fitted(training=TRAINING, scaling="minmax", weights="paper", factor=1.0):
    scaler = FeatureScaler(len(training.columns), scaling)
    scaler.fit(training, weights, factor)
    return scaler


def scale(rows, **options):
    return fitted(**options)(torch.tensor(rows, dtype=torch.float32)).numpy()


def test_features_are_scaled_to_0_1_on_the_training_rows_and_weighted():
    scaled = scale([[1.0, 0.0, 3.0, 5.0, 20.0], [4.0, 1.0, 3.0, NAN, 50.0]])
    assert scaled == pytest.approx(np.array([[0.5, 2.0, 0, 0, 0.25], [2.0, 4.0, 0, 0, 1.0]]))


def test_values_outside_are_clipped_and_undefined_ones_are_the_median():
    scaled = scale([[INF, 7.0, 9.0, 1.0, -5.0], [-INF, NAN, NAN, NAN, NAN]])
    # the medians: ssim 0.5 of -1 to 1, additional 30 of 10 to 50
    assert scaled == pytest.approx(np.array([[2.0, 4.0, 0, 0, 0.0], [0.0, 3.0, 0, 0, 0.5]]))
    assert scale([[NAN] * 5])[0, 0] == pytest.approx(2 * 1.5 / 4)  # of 0 1 2 4, without infinity


def test_a_factor_and_equal_weights():
    row = [[1.0, 0.0, 3.0, 5.0, 20.0]]
    assert scale(row, factor=10) == pytest.approx(10 * scale(row))
    assert scale(row, weights="equal") == pytest.approx(np.array([[0.25, 0.5, 0, 0, 0.25]]))
    assert not scale(row, factor=0).any()


def test_standardised_features_have_mean_0_and_std_1():
    values = np.random.default_rng(0).normal(7, 3, (400, 2))
    training_rows = pd.DataFrame(values, columns=["a", "b"])
    scaler = fitted(training_rows, scaling="standard", weights="equal")
    scaled = scaler(torch.tensor(values, dtype=torch.float32)).numpy()
    assert scaled.mean(axis=0) == pytest.approx([0, 0], abs=1e-4)
    assert scaled.std(axis=0) == pytest.approx([1, 1], abs=1e-3)
    assert scaler(torch.tensor([[1e9, -INF]])).tolist() == [[5.0, -5.0]]


def test_the_papers_weights_belong_to_its_features():
    training_rows = pd.DataFrame(np.stack([np.zeros(10), np.ones(10)]), columns=list(TEN))
    assert fitted(training_rows)(torch.ones(1, 10)).tolist() == [list(map(float, WEIGHTS))]
    assert list(WEIGHTS) == [2, 4, 1, 1, 2, 1, 1, 0.5, 0.5, 2]


@pytest.mark.parametrize("wrong", [{"scaling": "rank"}, {"weights": "papers"}])
def test_an_unknown_scaling_or_weighting_is_rejected(wrong):
    with pytest.raises(KeyError):
        fitted(**wrong)


def test_fusion_concatenates_then_layer_dropout_output():
    fusion = Fusion(6, fitted(), outputs=3, width=16, dropout=0.5)
    first, relu, dropout, output = fusion.layers
    assert (first.in_features, first.out_features) == (6 + 5, 16)
    assert isinstance(relu, torch.nn.ReLU) and dropout.p == 0.5
    assert (output.in_features, output.out_features) == (16, 3)
    representation_BR, features_BF = (
        torch.randn(2, 6),
        torch.tensor([[1.0, 0.0, 3.0, 5.0, 20.0]]).repeat(2, 1),
    )
    fusion.eval()
    expected = output(relu(first(torch.cat([representation_BR, fusion.scaler(features_BF)], dim=1))))
    assert torch.equal(fusion(representation_BR, features_BF), expected)


def test_a_linear_fusion_adds_a_linear_function_of_the_features():
    fusion = Fusion(6, fitted(), outputs=3, width=0, dropout=0.5)
    dropout, output = fusion.layers
    assert dropout.p == 0.5 and (output.in_features, output.out_features) == (6 + 5, 3)
    representation_BR, features_BF = torch.randn(2, 6), torch.tensor([[1.0, 0.0, 3.0, 5.0, 20.0]] * 2)
    fusion.eval()
    of_image = torch.nn.functional.linear(representation_BR, output.weight[:, :6], output.bias)
    of_features = fusion.scaler(features_BF) @ output.weight[:, 6:].T
    assert torch.allclose(fusion(representation_BR, features_BF), of_image + of_features, atol=1e-6)


def test_a_checkpoint_contains_its_scale():
    first, second = fitted(), FeatureScaler(5, "minmax")
    second.load_state_dict(first.state_dict())
    row = torch.tensor([[1.0, 0.0, 3.0, 5.0, 20.0]])
    assert torch.equal(first(row), second(row)) and first(row).any()
