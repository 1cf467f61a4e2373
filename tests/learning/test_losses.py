import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.errors import UserError
from lib.learning import losses
from lib.learning.losses import (
    ACTIVATIONS,
    MULTI_LABEL,
    activation,
    focal_lovasz_log,
    hard_log_loss,
    make_loss,
    positive_weights,
    symmetric_lovasz_hinge,
)
from lib.sections import BALANCED_LOSSES, LOSSES, Training

LOGITS = torch.tensor([[0.5, -1.0, 2.0], [-0.3, 0.0, 1.5]])
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
# of ten training rows, five, two and one have the class: ratios of negatives to positives 1, 4 and 9
TRUTH = np.arange(10)[:, None] < np.array([5, 2, 1])
RATIO, FREQUENCY = np.array([1.0, 4.0, 9.0]), np.array([0.5, 0.2, 0.1])


def loss(name, class_weights="none", smoothing=0.0, logits=LOGITS, targets=TARGETS):
    return make_loss(Training(loss=name, class_weights=class_weights), TRUTH, smoothing=smoothing)(
        logits, targets
    )


def terms(logits=LOGITS, targets=TARGETS):
    """Probabilities, targets, and the log loss of positives and negatives, as float64."""
    p, y = 1 / (1 + np.exp(-logits.numpy().astype(float))), targets.numpy().astype(float)
    return p, y, -np.log(p), -np.log(1 - p)


def random_batch(rows, classes=5, seed=0):
    random = np.random.default_rng(seed)
    targets = torch.tensor(random.random((rows, classes)) < 0.3, dtype=torch.float32)
    targets[:, 0], targets[:, 1] = 0, 1  # a class without positives, one without negatives
    return torch.tensor(random.normal(0, 2, (rows, classes)), dtype=torch.float32), targets


def test_binary_cross_entropy_is_the_papers_formula():
    _, y, positive, negative = terms()
    expected = y * positive + (1 - y) * negative  # Liu et al. 2018, section 5
    assert loss("bce").item() == pytest.approx(expected.mean(), rel=1e-6)
    weighted = RATIO * y * positive + (1 - y) * negative
    assert loss("bce", "balanced").item() == pytest.approx(weighted.mean(), rel=1e-6)


@pytest.mark.parametrize("weights", ["none", "root"])
def test_soft_margin_is_torchs_and_equals_bce(weights):
    assert torch.equal(loss("soft_margin", weights), loss("bce", weights))
    if weights == "none":
        theirs = nn.MultiLabelSoftMarginLoss()(LOGITS, TARGETS)
        assert loss("soft_margin").item() == pytest.approx(theirs.item(), rel=1e-6)


def test_focal_loss_by_hand():
    p, y, positive, negative = terms()
    expected = y * (1 - p) ** 2 * positive + (1 - y) * p**2 * negative
    assert loss("focal").item() == pytest.approx(expected.mean(), rel=1e-6)
    weighted = expected * np.where(y == 1, RATIO, 1)
    assert loss("focal", "balanced").item() == pytest.approx(weighted.mean(), rel=1e-6)


def test_asymmetric_loss_by_hand():
    p, y, positive, _ = terms()
    shifted = np.maximum(p - 0.05, 0)  # the margin: easy negatives count nothing
    expected = np.where(y == 1, (1 - p) * positive, -(shifted**4) * np.log(1 - shifted))
    assert loss("asymmetric").item() == pytest.approx(expected.mean(), rel=1e-5)
    weighted = expected * np.where(y == 1, RATIO, 1)
    assert loss("asymmetric", "balanced").item() == pytest.approx(weighted.mean(), rel=1e-5)


def test_distribution_balanced_loss_is_the_papers_formula():
    """Wu et al. 2020: re-balanced weights, the negative-tolerant logits, and the focal factor."""
    logits, targets = LOGITS.numpy().astype(float), TARGETS.numpy()
    count = TRUTH.sum(axis=0)
    # a class's sampling probability over that of the sample, which its other classes raise; then smoothed
    ratio = (1 / count) / (targets / count).sum(axis=1, keepdims=True)
    weight = 0.1 + 1 / (1 + np.exp(-10 * (ratio - 0.2)))
    # the prior's bias, and negatives with twice the logit and half the loss
    z = logits - 0.05 * np.log(10 / count - 1) / 2
    positive = np.log1p(np.exp(-z)) / (1 + np.exp(z)) ** 2
    negative = np.log1p(np.exp(2 * z)) / 2 / (1 + np.exp(-2 * z)) ** 2
    expected = 2 * weight * np.where(targets == 1, positive, negative)
    assert loss("distribution_balanced").item() == pytest.approx(expected.mean(), rel=1e-5)


def test_cross_entropy_is_for_one_class_per_sample():
    one = torch.eye(3)[:2]
    plain = nn.CrossEntropyLoss()(LOGITS, torch.tensor([0, 1]))
    assert loss("cross_entropy", targets=one).item() == pytest.approx(plain.item())
    log_p = LOGITS.log_softmax(dim=1).numpy()
    weighted = -(1 * log_p[0, 0] + 4 * log_p[1, 1]) / 2
    assert loss("cross_entropy", "balanced", targets=one).item() == pytest.approx(weighted)


def jaccard_loss(wrong, truth):
    """1 minus intersection over union of the truth and the prediction that is wrong where stated."""
    predicted = np.where(wrong, ~truth, truth)
    union = (predicted | truth).sum()
    return 0.0 if union == 0 else 1 - (predicted & truth).sum() / union


def lovasz_extension(errors, truth):
    """Its integral form: the mean of a set function over the level sets of the errors."""
    levels = np.sort(np.append(errors[errors > 0], 0))
    return sum(
        (high - low) * jaccard_loss(errors > (low + high) / 2, truth)
        for low, high in itertools.pairwise(levels)
    )


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_the_symmetric_lovasz_hinge_is_the_lovasz_extension_of_the_jaccard_loss(rows):
    logits, targets = random_batch(rows)
    signs, truth = 2 * targets.numpy() - 1, targets.numpy() > 0.5
    errors = (1 - logits.numpy() * signs).astype(float)
    expected = [
        (lovasz_extension(error, present) + lovasz_extension(error, ~present)) / 2
        for error, present in zip(errors.T, truth.T, strict=True)
    ]
    assert symmetric_lovasz_hinge(logits, targets).item() == pytest.approx(np.mean(expected), rel=1e-5)
    reversed_ = symmetric_lovasz_hinge(-logits, 1 - targets)
    assert reversed_.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_gradient_of_the_lovasz_hinge_is_that_of_its_value():
    logits, targets = random_batch(6)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: symmetric_lovasz_hinge(x, targets.double()), logits)
    assert torch.autograd.gradcheck(lambda x: hard_log_loss(x, targets.double()), logits)


@pytest.mark.parametrize(("rows", "kept"), [(1, 1), (3, 3), (4, 4), (10, 6), (31, 16)])
def test_the_hard_log_loss_keeps_all_positives_and_the_hardest_negatives(rows, kept):
    logits, targets = random_batch(rows)
    expected = []
    for x, y in zip(logits.T, targets.T, strict=True):
        positives, negatives = x[y == 1], x[y == 0].sort(descending=True).values
        more = max(2, len(negatives) // 2)
        count = min(len(negatives), len(positives) + more, int(0.7 * len(negatives)) + 2)
        used = torch.cat([positives, negatives[:count]])
        truth = torch.cat([torch.ones(len(positives)), torch.zeros(count)])
        expected.append(binary_cross_entropy_with_logits(used, truth).item())
    assert hard_log_loss(logits, targets).item() == pytest.approx(np.mean(expected), rel=1e-5)
    # by hand, for a class without positives: half of the negatives, at least 2, of no more than there are
    hardest = logits[:, 0].sort(descending=True).values[: min(max(rows // 2, 2), rows)]
    alone = hard_log_loss(logits[:, :1], targets[:, :1])
    assert alone.item() == pytest.approx(hardest.exp().log1p().mean().item(), rel=1e-5)


def test_the_winners_loss_is_half_the_sum_of_three():
    p, y, positive, negative = terms()
    focal = (y * (1 - p) ** 2 * positive + (1 - y) * p**2 * negative).sum(axis=1).mean()
    parts = symmetric_lovasz_hinge(LOGITS, TARGETS) + hard_log_loss(LOGITS, TARGETS)
    expected = (focal + parts.item()) / 2
    assert loss("focal_lovasz_log").item() == pytest.approx(expected, rel=1e-6)
    # with two samples all are kept: the log loss is that of all
    assert hard_log_loss(LOGITS, TARGETS).item() == pytest.approx(loss("bce").item(), rel=1e-6)
    perfect = focal_lovasz_log(40 * (2 * TARGETS - 1), TARGETS)
    assert perfect.item() == pytest.approx(0, abs=1e-6)


def test_each_loss_has_its_activation():
    softmax = ACTIVATIONS[activation("cross_entropy")](LOGITS)
    assert torch.allclose(softmax.sum(dim=1), torch.ones(2))
    for name in MULTI_LABEL:
        assert torch.equal(ACTIVATIONS[activation(name)](LOGITS), LOGITS.sigmoid())


def test_losses_of_the_settings_are_those_implemented(monkeypatch):
    assert {*LOSSES} == {*MULTI_LABEL, "cross_entropy"} and {*BALANCED_LOSSES} < {*LOSSES}
    monkeypatch.delitem(losses.MULTI_LABEL, "focal")
    with pytest.raises(UserError, match=r"training\.loss=focal .*LOSSES of lib/sections\.py.* MULTI_LABEL"):
        loss("focal")


@pytest.mark.parametrize("name", ["bce", "focal", "asymmetric", "cross_entropy"])
def test_label_smoothing_moves_targets_to_the_frequency_of_their_class(name):
    moved = torch.tensor(0.8 * TARGETS.numpy() + 0.2 * FREQUENCY, dtype=torch.float32)
    assert loss(name, smoothing=0.2).item() == pytest.approx(loss(name, targets=moved).item(), rel=1e-6)
    assert loss(name, smoothing=0.2) != loss(name)
    targets = torch.tensor(TRUTH, dtype=torch.float32)
    logits = torch.tensor(np.log(FREQUENCY / (1 - FREQUENCY)), dtype=torch.float32).repeat(10, 1)
    logits.requires_grad_()
    loss("bce", smoothing=0.2, logits=logits, targets=targets).backward()
    # a network that predicts the frequencies is at the optimum, as without smoothing
    assert logits.grad.sum(dim=0).tolist() == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "focal_lovasz_log"])
def test_the_mean_over_samples_can_be_accumulated(name):
    weights = "none" if name in BALANCED_LOSSES else "root"
    rows = [loss(name, weights, 0, LOGITS[row : row + 1], TARGETS[row : row + 1]) for row in (0, 1)]
    assert loss(name, weights).item() == pytest.approx((rows[0].item() + rows[1].item()) / 2, rel=1e-6)


def test_positives_of_rare_classes_weigh_more_up_to_a_limit():
    truth_NC = np.zeros((100, 5), bool)
    for label, count in enumerate((80, 50, 10, 1, 0)):  # the last has no sample: as if it had one
        truth_NC[:count, label] = True
    assert positive_weights("none", truth_NC) is None
    assert positive_weights("balanced", truth_NC).tolist() == pytest.approx([0.25, 1, 9, 20, 20])
    root = positive_weights("root", truth_NC).tolist()
    assert root == pytest.approx([0.5, 1, 3, 99**0.5, 10])
    assert positive_weights("balanced", ~truth_NC[:, -1:]).tolist() == pytest.approx([0.01])
    with pytest.raises(KeyError):
        positive_weights("inverse", truth_NC)
