import numpy as np
import pytest
import torch
from torch import nn

from lib.config import LOSSES, Training
from lib.errors import UserError
from lib.learning import losses
from lib.learning.losses import ACTIVATIONS, MULTI_LABEL, activation, class_weights, make_loss

LOGITS = torch.tensor([[0.5, -1.0, 2.0], [-0.3, 0.0, 1.5]])
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
WEIGHT = torch.tensor([0.5, 1.0, 1.5])


def loss(name, weight=None, smoothing=0.0):
    return make_loss(Training(loss=name), weight, smoothing)(LOGITS, TARGETS)


def test_binary_cross_entropy_is_the_papers_formula():
    p = 1 / (1 + np.exp(-LOGITS.numpy().astype(float)))
    y = TARGETS.numpy()
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p))  # Liu et al. 2018, section 5
    assert loss("bce").item() == pytest.approx(expected.mean(), rel=1e-6)
    assert loss("bce", WEIGHT).item() == pytest.approx((expected * WEIGHT.numpy()).mean(), rel=1e-6)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_soft_margin_is_torchs_and_equals_bce(weight):
    theirs = nn.MultiLabelSoftMarginLoss(weight=weight)(LOGITS, TARGETS)
    assert loss("soft_margin", weight).item() == pytest.approx(theirs.item(), rel=1e-6)
    assert torch.equal(loss("soft_margin", weight), loss("bce", weight))


def test_focal_loss_by_hand():
    p = 1 / (1 + np.exp(-LOGITS.numpy().astype(float)))
    right = np.where(TARGETS.numpy() == 1, p, 1 - p)
    assert loss("focal").item() == pytest.approx((-((1 - right) ** 2) * np.log(right)).mean(), rel=1e-6)


def test_asymmetric_loss_by_hand():
    p = 1 / (1 + np.exp(-LOGITS.numpy().astype(float)))
    shifted = np.maximum(p - 0.05, 0)  # the margin: easy negatives count nothing
    positive, negative = -(1 - p) * np.log(p), -(shifted**4) * np.log(1 - shifted)
    expected = np.where(TARGETS.numpy() == 1, positive, negative)
    assert loss("asymmetric").item() == pytest.approx(expected.mean(), rel=1e-5)
    assert loss("asymmetric", WEIGHT).item() == pytest.approx((expected * WEIGHT.numpy()).mean(), rel=1e-5)


def test_cross_entropy_is_for_one_class_per_sample():
    one = torch.eye(3)[:2]
    ours = make_loss(Training(loss="cross_entropy"))(LOGITS, one)
    assert ours.item() == pytest.approx(nn.CrossEntropyLoss()(LOGITS, torch.tensor([0, 1])).item())
    smooth = make_loss(Training(loss="cross_entropy"), WEIGHT, 0.1)(LOGITS, one)
    theirs = nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.1)(LOGITS, one)
    assert smooth.item() == pytest.approx(theirs.item())


def test_each_loss_has_its_activation():
    softmax = ACTIVATIONS[activation("cross_entropy")](LOGITS)
    assert torch.allclose(softmax.sum(dim=1), torch.ones(2))
    for name in MULTI_LABEL:
        assert torch.equal(ACTIVATIONS[activation(name)](LOGITS), LOGITS.sigmoid())


def test_losses_of_the_settings_are_those_implemented(monkeypatch):
    assert {*LOSSES} == {*MULTI_LABEL, "cross_entropy"}
    monkeypatch.delitem(losses.MULTI_LABEL, "focal")
    with pytest.raises(UserError, match=r"training\.loss=focal .*LOSSES of lib/config\.py.* MULTI_LABEL"):
        make_loss(Training(loss="focal"))


def test_label_smoothing_moves_targets_to_the_middle():
    smooth = make_loss(Training(loss="bce"), smoothing=0.2)(LOGITS, TARGETS)
    moved = make_loss(Training(loss="bce"))(LOGITS, TARGETS * 0.8 + 0.1)
    assert smooth.item() == pytest.approx(moved.item()) and smooth != loss("bce")


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_samples_can_be_accumulated(name):
    rows = [
        make_loss(Training(loss=name), WEIGHT)(LOGITS[row : row + 1], TARGETS[row : row + 1])
        for row in (0, 1)
    ]
    assert loss(name, WEIGHT).item() == pytest.approx((rows[0].item() + rows[1].item()) / 2, rel=1e-6)


def test_class_weights_have_mean_one_and_favour_rare_classes():
    truth_NC = np.zeros((100, 3), bool)
    truth_NC[:64, 0] = truth_NC[:4, 1] = True  # the third has no sample: as if it had one
    assert class_weights("none", truth_NC) is None
    balanced, root = class_weights("balanced", truth_NC), class_weights("root", truth_NC)
    assert balanced.mean().item() == pytest.approx(1) == pytest.approx(root.mean().item())
    assert (balanced / balanced[0]).tolist() == pytest.approx([1, 16, 64])
    assert (root / root[0]).tolist() == pytest.approx([1, 4, 8])
    with pytest.raises(KeyError):
        class_weights("inverse", truth_NC)
