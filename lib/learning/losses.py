"""Losses over multi-label targets: logits_BC and targets_BC to one number."""

from collections.abc import Callable

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    # every class for itself, averaged over classes and batch (Liu et al. 2018, section 5)
    "bce": binary_cross_entropy_with_logits,
}
