from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.evaluation.metrics import macro_f1
from lib.learning import inference, loader
from lib.learning.inference import CropGrid, PassAccumulator, PassResult, eight_views, forward, predict
from lib.learning.loader import Batch, make_loader
from lib.learning.losses import make_loss
from lib.learning.training_data import SampleSource
from tests.learning import train_toy

IMAGES = np.arange(2 * 4 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 4)


class Corner(torch.nn.Module):
    """Two logits: the brightness of one corner in red, and its negative."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))

    def forward(self, images_BHWK, _features):
        brightness_B = images_BHWK[:, 0, 0, :1].float() / 64 * self.one
        return torch.cat([brightness_B, -brightness_B], dim=1)


def corners(batch_size=2, truth_NC=None):
    return make_loader(SampleSource(list(IMAGES), ["a", "b"], truth_NC), np.arange(2), batch_size, 0)


def test_the_eight_views_are_all_flips_and_rotations_the_unchanged_one_first():
    (batch,) = corners()
    views = [view.images_BHWK.numpy() for view in eight_views(batch)]
    expected = {
        np.ascontiguousarray(np.rot90(flipped, quarters, (1, 2))).tobytes()
        for flipped in (IMAGES, IMAGES[:, :, ::-1])
        for quarters in range(4)
    }
    assert {view.tobytes() for view in views} == expected and len(expected) == 8
    assert np.array_equal(views[0], IMAGES)
    assert all(view.rows_B is batch.rows_B for view in eight_views(batch))


def test_test_time_augmentation_averages_probabilities_over_all_views():
    plain = predict(Corner(), corners(), "float32", "sigmoid").probabilities_NC
    mean = predict(Corner(), corners(), "float32", "sigmoid", views=8).probabilities_NC
    brightness = torch.from_numpy(IMAGES)[:, [0, 0, 3, 3], [0, 3, 0, 3], 0].float() / 64
    assert plain[:, 0] == pytest.approx((torch.from_numpy(IMAGES)[:, 0, 0, 0] / 64).sigmoid().numpy())
    assert mean[:, 0] == pytest.approx(brightness.sigmoid().mean(dim=1).numpy())  # each corner twice


@pytest.mark.parametrize(
    ("count", "side", "corners"),
    [
        (1, 3, [(1, 1)]),
        (4, 5, [(0, 0), (0, 1), (1, 0), (1, 1)]),
        (9, 2, [(row, column) for row in (0, 2, 4) for column in (0, 2, 4)]),
        (4, 6, [(0, 0)] * 4),
    ],
)
def test_crops_lie_in_a_grid_from_edge_to_edge(count, side, corners):
    image_BHWK = torch.arange(36).view(1, 6, 6, 1)
    batch = Batch(image_BHWK, torch.empty(0), torch.empty(0), torch.tensor([0]))
    cut = [crop.images_BHWK[0, ..., 0] for crop in CropGrid(count, side).cut(batch)]
    assert [(one[0, 0].item() // 6, one[0, 0].item() % 6) for one in cut] == corners
    assert all(one.shape == (side, side) and one[-1, -1] - one[0, 0] == (side - 1) * 7 for one in cut)


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_crops_are_predicted_in_all_views_and_combined(combine):
    how = {"views": 8, "grid": CropGrid(4, 3), "combine": combine}
    found = predict(Corner(), corners(), "float32", "sigmoid", **how).probabilities_NC[:, 0]
    # the corners of the four crops of 3 px in images of 4 px, each of them in two views
    places = [0, 2, 1, 3]
    red = (torch.from_numpy(IMAGES)[:, places][:, :, places, 0].float() / 64).sigmoid().flatten(1)
    expected = red.mean(dim=1) if combine == "mean" else red.amax(dim=1)
    assert found == pytest.approx(expected.numpy())


def test_the_activation_is_the_named_one():
    softmax_NC = predict(Corner(), corners(), "float32", "softmax").probabilities_NC
    assert softmax_NC.sum(axis=1) == pytest.approx([1, 1])
    with pytest.raises(KeyError):
        predict(Corner(), corners(), "float32", "relu")


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_pass_returns_rows_targets_and_the_mean_loss_over_samples(batch_size):
    truth_NC = np.array([[True, False], [True, True]])
    loss = make_loss(train_toy.SETTINGS, truth_NC)
    result = predict(Corner(), corners(batch_size, truth_NC), "float32", "sigmoid", loss)
    with torch.inference_mode():
        expected = loss(Corner()(torch.from_numpy(IMAGES), None), torch.from_numpy(truth_NC).float())
    assert result.loss == pytest.approx(expected.item())
    assert result.rows_N.tolist() == [0, 1] and np.array_equal(result.targets_NC, truth_NC)
    assert result.macro_f1 == macro_f1(truth_NC, result.probabilities_NC >= 0.5)


def test_the_network_is_in_evaluation_mode_and_gradients_are_off():
    model, seen = Corner().train(), []
    model.register_forward_hook(
        lambda module, _given, result: seen.append((module.training, result.requires_grad))
    )
    predict(model, corners(), "float32", "sigmoid")
    assert seen == [(False, False)]


def test_a_pass_can_be_ended_after_any_batch():
    called = []

    def stop():
        called.append(1)
        if len(called) == 2:
            raise KeyboardInterrupt

    batches = make_loader(SampleSource(list(IMAGES) * 3, list("abcdef")), np.arange(6), 2, 0)
    with pytest.raises(KeyboardInterrupt):
        predict(Corner(), batches, "float32", "sigmoid", after_batch=stop)
    assert len(called) == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_is_called_after_every_batch(monkeypatch, rank):
    """What is called may communicate; the last batch, of one sample, has none for the second process."""
    monkeypatch.setattr(loader, "WORLD", 2)
    monkeypatch.setattr(loader, "RANK", rank)
    called, source = [], SampleSource([*IMAGES, *IMAGES, IMAGES[0]], list("abcde"))
    batches = make_loader(source, np.arange(5), 2, 0)
    result = predict(Corner(), batches, "float32", "sigmoid", after_batch=lambda: called.append(1))
    assert len(result.rows_N) == 3 - rank and len(called) == 3


def test_logits_are_float32_whatever_the_precision():
    (batch,) = corners()

    class Product(torch.nn.Module):
        def forward(self, images_BHWK, _features):
            flat = images_BHWK.flatten(1).float()
            return flat @ torch.full((64, 1), 1 / 300)

    exact, rough = (forward(Product(), batch, name, torch.device("cpu")) for name in ("float32", "bfloat16"))
    assert exact.dtype == rough.dtype == torch.float32
    assert not torch.equal(exact, rough) and torch.allclose(exact, rough, rtol=0.02)


def accumulated(rows, shift=0.0):
    accumulator = PassAccumulator()
    for row in rows:
        batch = Batch(torch.empty(0), torch.empty(0), torch.tensor([[row % 2.0]]), torch.tensor([row]))
        accumulator.add(batch, torch.tensor([[row / 10]]), torch.tensor(row + shift))
    return accumulator


def test_an_accumulator_continues_from_a_saved_state():
    first, second = accumulated([0, 1]), PassAccumulator()
    second.load_state_dict(first.state_dict())
    for row in (2, 3):
        batch = Batch(torch.empty(0), torch.empty(0), torch.tensor([[row % 2.0]]), torch.tensor([row]))
        second.add(batch, torch.tensor([[row / 10]]), torch.tensor(float(row)))
    result, whole = second.result(), accumulated([0, 1, 2, 3]).result()
    for name in ("rows_N", "probabilities_NC", "targets_NC"):
        assert np.array_equal(getattr(result, name), getattr(whole, name)), name
    assert result.loss == whole.loss == 1.5


def test_results_of_several_processes_are_sorted_by_row(monkeypatch):
    other = accumulated([1, 3]).state_dict()
    monkeypatch.setattr(inference, "WORLD", 2)
    monkeypatch.setattr(inference, "gather", lambda own: [own, other])
    result = accumulated([0, 2]).result()
    assert result.rows_N.tolist() == [0, 1, 2, 3]
    assert result.probabilities_NC[:, 0] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert result.targets_NC[:, 0].tolist() == [False, True, False, True] and result.loss == 1.5


def test_macro_f1_decides_at_one_half():
    probabilities_NC = np.array([[0.5], [0.49]], np.float32)
    result = PassResult(np.arange(2), probabilities_NC, np.array([[True], [False]]), 0.0)
    assert result.macro_f1 == 1.0
    assert SimpleNamespace(**vars(result)).loss == 0
