"""A preset to a network: a timm backbone with four channels that normalises its own input."""

import difflib

import timm
import torch
from torch import nn

from lib.config import Network
from lib.errors import UserError
from lib.labels import CHANNELS


class Classifier(nn.Module):
    """Raw uint8 images to logits.

    Normalising is the network's first step: batches travel as uint8, a quarter of the bytes, and a
    checkpoint cannot be used with the wrong statistics.

    Parameters
    ----------
    backbone : nn.Module
        Takes (B, 4, H, W) float, returns (B, classes).
    mean, deviation : list of 4 float
        Of the training rows, in grey levels 0-255, channel order R G B Y.
    """

    def __init__(self, backbone: nn.Module, mean: list[float], deviation: list[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).clamp(min=1.0).view(1, -1, 1, 1))

    def forward(self, images_BHWK: torch.Tensor) -> torch.Tensor:
        """Return logits_BC of images_BHWK, uint8."""
        # seen as channels first, the bytes stay where they are: torch's channels_last layout
        images_BKHW = images_BHWK.permute(0, 3, 1, 2).float()
        return self.backbone((images_BKHW - self.mean) / self.deviation)


def build_model(settings: Network, classes: int, mean: list[float], deviation: list[float]) -> Classifier:
    """Build the network that the settings name, with `classes` outputs.

    Raises
    ------
    UserError
        If timm knows no such architecture, or the pretrained weights cannot be had.
    """
    known = timm.list_models()
    if settings.architecture not in known:
        close = difflib.get_close_matches(settings.architecture, known, n=3)
        raise UserError(
            f"network.architecture={settings.architecture} is not known to timm"
            + (f"; near it: {' '.join(close)}" if close else "; see timm.list_models()")
        )
    try:
        backbone = timm.create_model(
            settings.architecture,
            pretrained=settings.pretrained,
            in_chans=len(CHANNELS),
            num_classes=classes,
            drop_rate=settings.dropout,
        )
    except OSError as error:
        raise UserError(
            f"the pretrained weights of {settings.architecture} cannot be had ({type(error).__name__}): "
            f"connect to the network once, or train from scratch with --set network.pretrained=false"
        ) from None
    except RuntimeError as error:
        if not settings.pretrained:
            raise
        raise UserError(f"network.pretrained=true: {error}; use --set network.pretrained=false") from None
    return Classifier(backbone, mean, deviation).to(memory_format=torch.channels_last)


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the network learns."""
    return sum(parameter.numel() for parameter in model.parameters())
