"""The optimizer: AdamW with weight decay for kernels only, and a rate of its own for the backbone."""

import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from lib.sections import Training


def make_optimizer(model: nn.Module, settings: Training) -> torch.optim.AdamW:
    """Return AdamW for a network.

    Weight decay spares all vectors (biases, and the scales and shifts of norms) and what the network itself
    excludes, such as embeddings of positions.

    Parameters
    ----------
    model : nn.Module
        A `lib.learning.models.Classifier` if ``training.backbone_rate`` is not 1.

    Returns
    -------
    AdamW
        Its groups have a key ``lr_scale``: the factor of their learning rate.
    """
    excluded = [
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        if hasattr(module, "no_weight_decay")
        for name in module.no_weight_decay()
    ]
    backbone: set[nn.Parameter] = set()
    if settings.backbone_rate != 1:
        backbone = {*model.backbone.parameters()} - {*model.last_layer.parameters()}
    groups = []
    for group in param_groups_weight_decay(model, settings.weight_decay, no_weight_decay_list=excluded):
        inside, outside = [], []
        for parameter in group["params"]:
            (inside if parameter in backbone else outside).append(parameter)
        scales = ((inside, settings.backbone_rate), (outside, 1.0))
        groups += [{**group, "params": chosen, "lr_scale": scale} for chosen, scale in scales if chosen]
    return torch.optim.AdamW(groups, settings.learning_rate)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, of the backbone in proportion."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
