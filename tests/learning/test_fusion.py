import numpy as np
import pandas as pd
import pytest
import torch

from lib.config import Network, Training
from lib.evaluation.metrics import macro_f1
from lib.features.biological import TEN, WEIGHTS
from lib.learning import feature_trees, fit, models
from lib.learning.devices import make_deterministic
from lib.learning.fusion import FeatureScaler, Fusion
from lib.learning.inference import evaluate
from lib.learning.loader import Source, make_loader

NAN, INF = np.nan, np.inf
TRAINING = pd.DataFrame(
    {
        "nuclear_ratio": [0.0, 1.0, 2.0, 4.0, INF],  # weighs 2 in the paper
        "ssim_microtubules": [-1.0, 1.0, NAN, 0.5, 0.5],  # weighs 4
        "constant": [3.0] * 5,
        "never_said": [NAN] * 5,
        "of_ours": [10.0, 20.0, 30.0, 40.0, 50.0],
    }
)


def scale(rows, **settings):
    scaler = FeatureScaler(TRAINING, Network(**settings))
    return scaler(torch.tensor(rows, dtype=torch.float32)).numpy()


def test_features_are_scaled_to_0_1_on_the_training_rows_and_weighted():
    scaled = scale([[1.0, 0.0, 3.0, 5.0, 20.0], [4.0, 1.0, 3.0, NAN, 50.0]])
    assert scaled == pytest.approx(np.array([[0.5, 2.0, 0, 0, 0.25], [2.0, 4.0, 0, 0, 1.0]]))


def test_values_outside_are_clipped_and_unsaid_ones_are_the_median():
    scaled = scale([[INF, 7.0, 9.0, 1.0, -5.0], [-INF, NAN, NAN, NAN, NAN]])
    # the medians: ssim 0.5 of -1 to 1, ours 30 of 10 to 50
    assert scaled == pytest.approx(np.array([[2.0, 4.0, 0, 0, 0.0], [0.0, 3.0, 0, 0, 0.5]]))
    assert scale([[NAN] * 5])[0, 0] == pytest.approx(2 * 1.5 / 4)  # of 0 1 2 4, without infinity


def test_a_factor_and_equal_weights():
    row = [[1.0, 0.0, 3.0, 5.0, 20.0]]
    assert scale(row, feature_factor=10) == pytest.approx(10 * scale(row))
    assert scale(row, feature_weights="equal") == pytest.approx(np.array([[0.25, 0.5, 0, 0, 0.25]]))
    assert not scale(row, feature_factor=0).any()


def test_standardised_features_have_mean_0_and_deviation_1():
    values = np.random.default_rng(0).normal(7, 3, (400, 2))
    training_rows = pd.DataFrame(values, columns=["a", "b"])
    scaler = FeatureScaler(training_rows, Network(feature_scaling="standard", feature_weights="equal"))
    scaled = scaler(torch.tensor(values, dtype=torch.float32)).numpy()
    assert scaled.mean(axis=0) == pytest.approx([0, 0], abs=1e-4)
    assert scaled.std(axis=0) == pytest.approx([1, 1], abs=1e-3)
    assert scaler(torch.tensor([[1e9, -INF]])).tolist() == [[5.0, -5.0]]


def test_the_papers_weights_belong_to_its_features():
    training_rows = pd.DataFrame(np.stack([np.zeros(10), np.ones(10)]), columns=list(TEN))
    scaler = FeatureScaler(training_rows, Network())
    assert scaler(torch.ones(1, 10)).tolist() == [list(map(float, WEIGHTS))]
    assert list(WEIGHTS) == [2, 4, 1, 1, 2, 1, 1, 0.5, 0.5, 2]


def test_fusion_is_join_layer_dropout_output():
    scaler = FeatureScaler(TRAINING, Network())
    fusion = Fusion(6, scaler, 3, Network(fusion_width=16, dropout=0.5))
    joined, relu, dropout, output = fusion.layers
    assert (joined.in_features, joined.out_features) == (6 + 5, 16)
    assert isinstance(relu, torch.nn.ReLU) and dropout.p == 0.5
    assert (output.in_features, output.out_features) == (16, 3)
    assert fusion(torch.zeros(2, 6), torch.zeros(2, 5)).shape == (2, 3)


def test_a_checkpoint_brings_its_scale_along():
    first = FeatureScaler(TRAINING, Network())
    second = FeatureScaler(TRAINING * 3, Network())
    second.load_state_dict(first.state_dict())
    row = torch.tensor([[1.0, 0.0, 3.0, 5.0, 20.0]])
    assert torch.equal(first(row), second(row))


# does it use them?

ROWS = 224
SETTINGS = Training(
    size=16, epochs=12, batch_size=16, learning_rate=1e-2, cycle_epochs=12.0, precision="float32",
    keep="last", augmentation="none",
)  # fmt: skip


@pytest.fixture(scope="module")
def told():
    """Features of all rows, one never said, and targets that the other three tell."""
    random = np.random.default_rng(3)
    features_NF = random.normal(size=(ROWS, 4))
    truth_NC = features_NF[:, :3] > 0.3
    features_NF[:, 3] = np.nan
    return features_NF, truth_NC


@pytest.mark.parametrize(("factor", "learns"), [(10.0, True), (0.0, False)])
def test_a_network_learns_from_features_what_images_do_not_tell(told, tmp_path, factor, learns):
    features_NF, truth_NC = told
    # few images for many rows: no row can be known by its image
    few = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 4), dtype=np.uint8)
    alike = [few[row % 8] for row in range(ROWS)]
    frame = pd.DataFrame(features_NF, columns=["a", "b", "c", "d"])
    source = Source(alike, [str(row) for row in range(ROWS)], truth_NC, frame)
    train_rows, other_rows = np.arange(160), np.arange(160, ROWS)
    make_deterministic(0)
    network = Network(architecture="test_resnet", features="ten", feature_factor=factor, fusion_width=32)
    model = models.build_model(network, 3, [127.0] * 4, [74.0] * 4, frame.iloc[train_rows])
    batches = make_loader(source, train_rows, 16, 0, seed=0)
    plain = make_loader(source, other_rows, 16, 0)
    fit.fit(model, batches, plain, SETTINGS, tmp_path, "id")
    score = evaluate(model, plain, SETTINGS).macro_f1
    assert (score > 0.75) == learns, score


def test_trees_learn_from_features_alone(told):
    features_NF, truth_NC = told
    wide_NF = np.tile(features_NF, (6, 1))
    wide_NF[0, 0] = INF
    wide_NC = np.concatenate([np.tile(truth_NC, (6, 1)), np.zeros((6 * ROWS, 1), bool)], axis=1)
    train_rows = np.arange(5 * ROWS)
    probabilities_NC = feature_trees.fit_and_predict(wide_NF, wide_NC[: 5 * ROWS], train_rows, seed=0)
    assert probabilities_NC.shape == (6 * ROWS, 4) and probabilities_NC.dtype == np.float32
    assert macro_f1(wide_NC[5 * ROWS :, :3], probabilities_NC[5 * ROWS :, :3] >= 0.5) > 0.95
    assert not probabilities_NC[:, 3].any()  # a class that nobody carries
    again = feature_trees.fit_and_predict(wide_NF, wide_NC[: 5 * ROWS], train_rows, seed=0)
    assert np.array_equal(again, probabilities_NC)
