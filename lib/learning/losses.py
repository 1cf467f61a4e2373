"""Losses of logits and targets, and the activations that turn logits into probabilities."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from timm.loss import AsymmetricLossMultiLabel, DistributionBalancedLoss
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torchvision.ops import sigmoid_focal_loss

from lib.errors import UserError
from lib.sections import Training

# of logits_BC and targets_BC: the mean over samples and classes
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
# from the weights of the classes' positives, and the numbers of training rows with each class and in all
MakeLoss = Callable[[torch.Tensor | None, torch.Tensor, int], Loss]

# logits, shape (B, C), to probabilities: each class on its own, or one among all
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": partial(torch.softmax, dim=1),
}
MAX_POSITIVE_WEIGHT = 20.0  # without a limit, the ratio of the competition's rarest class would be 2,800
# the loss of each sample and class, (B, C): Lin et al. 2017, with their gamma 2
focal = partial(sigmoid_focal_loss, alpha=-1, gamma=2)


def weighted_focal(
    logits_BC: torch.Tensor, targets_BC: torch.Tensor, weight_C: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean focal loss; the weights of positives take the place of alpha in Lin et al. 2017."""
    loss_BC = focal(logits_BC, targets_BC)
    return (loss_BC if weight_C is None else loss_BC * (1 + (weight_C - 1) * targets_BC)).mean()


def focal_lovasz_log(logits_BC: torch.Tensor, targets_BC: torch.Tensor) -> torch.Tensor:
    """Return the loss of the 2018 competition's winner: half the sum of three losses.

    They are the focal loss summed over classes, the symmetric Lovász hinge, and the log loss of positives
    and hard negatives. The last two depend on the ranks of the samples within their batch.
    """
    summed = focal(logits_BC, targets_BC).sum(dim=1).mean()
    hinge = symmetric_lovasz_hinge(logits_BC, targets_BC)
    return (summed + hinge + hard_log_loss(logits_BC, targets_BC)) / 2


def symmetric_lovasz_hinge(logits_BC: torch.Tensor, targets_BC: torch.Tensor) -> torch.Tensor:
    """Return the mean over classes of the Lovász hinges of presence and of absence.

    For each class, the hinge is the Lovász extension of the Jaccard loss over the samples of the batch
    (Berman, Triki, Blaschko 2018, algorithm 1). The hinges of absence take the negated logits and targets,
    with the same errors.
    """
    error_BC = 1 - logits_BC * (2 * targets_BC - 1)
    with torch.no_grad():  # the extension is piecewise linear: its slopes depend on the ranks alone
        order_BC = error_BC.argsort(dim=0, descending=True, stable=True)
        present_BC = targets_BC.gather(0, order_BC).long()
        slope_BC = _jaccard_slopes(present_BC) + _jaccard_slopes(1 - present_BC)
        slope_BC = torch.empty_like(error_BC).scatter_(0, order_BC, slope_BC.to(error_BC) / 2)
    return (error_BC.relu() * slope_BC).sum(dim=0).mean()


def _jaccard_slopes(present_BC: torch.Tensor) -> torch.Tensor:
    """Return by how much each sample, if it becomes wrong after those before it, raises the Jaccard loss."""
    count_C = present_BC.sum(dim=0)
    intersection_BC = count_C - present_BC.cumsum(dim=0)  # of integers: deterministic on a GPU too
    union_BC = count_C + (1 - present_BC).cumsum(dim=0)
    jaccard_BC = 1 - intersection_BC / union_BC
    return jaccard_BC.diff(dim=0, prepend=torch.zeros_like(jaccard_BC[:1]))


def hard_log_loss(logits_BC: torch.Tensor, targets_BC: torch.Tensor) -> torch.Tensor:
    """Return the log loss of each class's positives and hardest negatives, averaged over them, then classes.

    Of n negatives, the winner kept as many as there are positives and n/2 more (at least 2), but at most
    0.7 n + 2.
    """
    positive_BC = targets_BC > 0.5
    positives_C = positive_BC.sum(dim=0)
    negatives_C = len(targets_BC) - positives_C
    more_C = (negatives_C // 2).clamp(min=2)
    kept_C = torch.minimum(positives_C + more_C, negatives_C * 7 // 10 + 2).minimum(negatives_C)
    order_BC = logits_BC.detach().masked_fill(positive_BC, -torch.inf)
    order_BC = order_BC.argsort(dim=0, descending=True, stable=True)
    used_BC = positive_BC | (order_BC.argsort(dim=0) < kept_C)
    loss_BC = binary_cross_entropy_with_logits(logits_BC, targets_BC, reduction="none")
    return ((loss_BC * used_BC).sum(dim=0) / used_BC.sum(dim=0)).mean()


# named as in `lib.sections.LOSSES`
MULTI_LABEL: dict[str, MakeLoss] = {
    # each class on its own (Liu et al. 2018, section 5)
    "bce": lambda weight_C, *_: partial(binary_cross_entropy_with_logits, pos_weight=weight_C),
    # torch's MultiLabelSoftMarginLoss averages the same over classes (Hoogenboom 2019, section 2.3)
    "soft_margin": lambda weight_C, *_: partial(binary_cross_entropy_with_logits, pos_weight=weight_C),
    "focal": lambda weight_C, *_: partial(weighted_focal, weight_C=weight_C),
    # Ridnik et al. 2021, with their gammas and margin
    "asymmetric": lambda weight_C, *_: AsymmetricLossMultiLabel(reduction="mean", pos_weight=weight_C),
    "focal_lovasz_log": lambda *_: focal_lovasz_log,
    # Wu et al. 2020, with timm's constants
    "distribution_balanced": lambda _, count_C, rows: DistributionBalancedLoss(count_C, rows),
}


def make_loss(
    settings: Training, truth_NC: np.ndarray, device: torch.device | str = "cpu", smoothing: float = 0.0
) -> Loss:
    """Return the loss that the settings name, a function of logits_BC and targets_BC: the mean over samples.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
        Of the training rows: class weights and label smoothing follow from it.
    smoothing : float
        Label smoothing: share by which targets move towards the frequency of their class. The mean target
        stays the frequency, whereas the usual 1/2 would raise that of a class of one sample in a thousand by
        a factor of 50 (with 0.1).
    """
    weight_C = positive_weights(settings.class_weights, truth_NC)
    weight_C = None if weight_C is None else weight_C.to(device)
    if settings.loss == "cross_entropy":  # one class per sample: its weight is that of the sample
        loss: Loss = partial(cross_entropy, weight=weight_C)
    elif settings.loss in MULTI_LABEL:
        count_C = torch.tensor(truth_NC.sum(axis=0), device=device)
        loss = MULTI_LABEL[settings.loss](weight_C, count_C, len(truth_NC))
    else:
        raise UserError(
            f"training.loss={settings.loss} is named in LOSSES of lib/sections.py, but MULTI_LABEL of "
            f"lib/learning/losses.py has no such entry: add it there"
        )
    if not smoothing:
        return loss
    frequency_C = torch.tensor(truth_NC.mean(axis=0), dtype=torch.float32, device=device)
    return lambda logits_BC, targets_BC: loss(logits_BC, targets_BC.lerp(frequency_C, smoothing))


def positive_weights(kind: str, truth_NC: np.ndarray) -> torch.Tensor | None:
    """Return the factor of the loss of each class's positive samples, at most `MAX_POSITIVE_WEIGHT`.

    Negatives keep the factor 1: a factor of both would give most of the loss to the negatives of a few rare
    classes.

    Parameters
    ----------
    kind : str
        none; balanced: the ratio of negatives to positives; root: its square root.
    truth_NC : ndarray of shape (N, C), bool
        Of the training rows; a class without positives or negatives counts as having one.
    """
    if kind == "none":
        return None
    count_C = truth_NC.sum(axis=0)
    ratio_C = np.maximum(len(truth_NC) - count_C, 1) / np.maximum(count_C, 1)
    weight_C = (ratio_C ** {"balanced": 1.0, "root": 0.5}[kind]).clip(max=MAX_POSITIVE_WEIGHT)
    return torch.tensor(weight_C, dtype=torch.float32)


def activation(loss: str) -> str:
    """Return the entry of `ACTIVATIONS` that belongs to a loss: softmax for cross_entropy, else sigmoid."""
    return "softmax" if loss == "cross_entropy" else "sigmoid"
