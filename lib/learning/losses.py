"""Losses of logits and targets, and the activations that turn logits into probabilities."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from timm.loss import AsymmetricLossMultiLabel
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torchvision.ops import sigmoid_focal_loss

from lib.config import Training
from lib.errors import UserError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# logits, shape (B, C), to probabilities: each class on its own, or one among all
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": partial(torch.softmax, dim=1),
}

# map logits_BC and targets_BC to the loss of each sample and class, (B, C); named as in `lib.config.LOSSES`
MULTI_LABEL: dict[str, Loss] = {
    # each class on its own (Liu et al. 2018, section 5)
    "bce": partial(binary_cross_entropy_with_logits, reduction="none"),
    # torch's MultiLabelSoftMarginLoss averages the same over classes (Hoogenboom 2019, section 2.3)
    "soft_margin": partial(binary_cross_entropy_with_logits, reduction="none"),
    # Lin et al. 2017, with their gamma 2; the class weights replace alpha
    "focal": partial(sigmoid_focal_loss, alpha=-1, gamma=2),
    # Ridnik et al. 2021, with their gammas and margin
    "asymmetric": AsymmetricLossMultiLabel(reduction="none"),
}


def make_loss(settings: Training, weight_C: torch.Tensor | None = None, smoothing: float = 0.0) -> Loss:
    """Return the loss that the settings name, a function of logits_BC and targets_BC: the mean over samples.

    Parameters
    ----------
    weight_C : tensor of shape (C,), or None
        Factors of the classes' losses, as `class_weights` returns them.
    smoothing : float
        Label smoothing: share by which targets move towards 1/2, or towards the uniform distribution with
        cross_entropy.
    """
    if settings.loss == "cross_entropy":
        return partial(cross_entropy, weight=weight_C, label_smoothing=smoothing)
    if settings.loss not in MULTI_LABEL:
        raise UserError(
            f"training.loss={settings.loss} is named in LOSSES of lib/config.py, but MULTI_LABEL of "
            f"lib/learning/losses.py has no such entry: add it there"
        )
    elementwise = MULTI_LABEL[settings.loss]

    def loss(logits_BC: torch.Tensor, targets_BC: torch.Tensor) -> torch.Tensor:
        loss_BC = elementwise(logits_BC, targets_BC * (1 - smoothing) + smoothing / 2)
        return (loss_BC if weight_C is None else loss_BC * weight_C).mean()

    return loss


def class_weights(kind: str, truth_NC: np.ndarray) -> torch.Tensor | None:
    """Return the weight of each class's loss, with mean 1; rarer classes weigh more.

    Parameters
    ----------
    kind : str
        none; balanced: inverse to the number of samples of the class; root: inverse to its square root.
    truth_NC : ndarray of shape (N, C), bool
        Of the training rows; a class without samples counts as having one.
    """
    if kind == "none":
        return None
    weight_C = (1 / np.maximum(truth_NC.sum(axis=0), 1)) ** {"balanced": 1.0, "root": 0.5}[kind]
    return torch.tensor(weight_C / weight_C.mean(), dtype=torch.float32)


def activation(loss: str) -> str:
    """Return the entry of `ACTIVATIONS` that belongs to a loss: softmax for cross_entropy, else sigmoid."""
    return "softmax" if loss == "cross_entropy" else "sigmoid"
