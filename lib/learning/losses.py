"""Losses, the mean over samples of what logits and targets give, and the probabilities that go with them."""

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

# logits_BC and targets_BC to the loss of each sample and class, (B, C); names as in `lib.config.LOSSES`
MULTI_LABEL: dict[str, Loss] = {
    # every class for itself (Liu et al. 2018, section 5)
    "bce": partial(binary_cross_entropy_with_logits, reduction="none"),
    # torch's MultiLabelSoftMarginLoss averages the same over classes (Hoogenboom 2019, section 2.3)
    "soft_margin": partial(binary_cross_entropy_with_logits, reduction="none"),
    # Lin et al. 2017, with their gamma 2; alpha is left to the class weights
    "focal": partial(sigmoid_focal_loss, alpha=-1, gamma=2),
    # Ridnik et al. 2021, with their gammas and margin
    "asymmetric": AsymmetricLossMultiLabel(reduction="none"),
}


def make_loss(settings: Training, weight_C: torch.Tensor | None = None, smoothing: float = 0.0) -> Loss:
    """Return the loss that the settings name: logits_BC and targets_BC, 0 or 1, to the mean over samples.

    Parameters
    ----------
    weight_C : tensor of shape (C,), or None
        Factors of the classes' losses, as `class_weights` gives them.
    smoothing : float
        Share by which targets are drawn towards 1/2, or towards all classes alike with cross_entropy.
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
    """Return the weight of each class's loss, with mean 1: even, or the rarer the heavier.

    Parameters
    ----------
    kind : str
        none; balanced, in inverse proportion to how many samples carry the class; root, to its root.
    truth_NC : ndarray of shape (N, C), bool
        Of the training rows; a class that none carries counts as carried once.
    """
    if kind == "none":
        return None
    weight_C = (1 / np.maximum(truth_NC.sum(axis=0), 1)) ** {"balanced": 1.0, "root": 0.5}[kind]
    return torch.tensor(weight_C / weight_C.mean(), dtype=torch.float32)


def probabilities(settings: Training, logits_BC: torch.Tensor) -> torch.Tensor:
    """Return probabilities of logits: of one class among all with cross_entropy, else class by class."""
    return logits_BC.softmax(dim=1) if settings.loss == "cross_entropy" else logits_BC.sigmoid()
