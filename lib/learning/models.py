"""Settings to a network: a timm backbone that normalises its own input, with or without features."""

import difflib

import pandas as pd
import timm
import torch
from torch import nn

from lib.config import Network
from lib.errors import UserError
from lib.learning.fusion import FeatureScaler, Fusion


class Classifier(nn.Module):
    """Raw uint8 images, and biological features where it takes any, to logits.

    Normalising is the network's first step: batches travel as uint8, a quarter of the bytes, and a
    checkpoint cannot be used with the wrong statistics.

    Parameters
    ----------
    backbone : nn.Module
        Takes (B, K, H, W) float, returns (B, classes), or the representation (B, R) with a fusion.
    mean, deviation : list of K float
        Of the training rows, in grey levels 0-255. The network sees the first K of R G B Y.
    fusion : Fusion or None
        Takes the representation and features_BF, returns (B, classes).
    """

    def __init__(
        self, backbone: nn.Module, mean: list[float], deviation: list[float], fusion: Fusion | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.fusion = backbone, fusion
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).clamp(min=1.0).view(1, -1, 1, 1))

    def forward(self, images_BHWK: torch.Tensor, features_BF: torch.Tensor) -> torch.Tensor:
        """Return logits_BC of images_BHWK, uint8, R G B Y."""
        # seen as channels first, the bytes stay where they are: torch's channels_last layout
        images_BKHW = images_BHWK.permute(0, 3, 1, 2)[:, : self.mean.shape[1]]
        images_BKHW = images_BKHW.float(memory_format=torch.channels_last)
        output = self.backbone((images_BKHW - self.mean) / self.deviation)
        return output if self.fusion is None else self.fusion(output, features_BF)


def build_model(
    settings: Network,
    classes: int,
    mean: list[float],
    deviation: list[float],
    features: pd.DataFrame | None = None,
) -> Classifier:
    """Build the network that the settings name, with `classes` outputs.

    Parameters
    ----------
    mean, deviation : list of 4 float
        Of the training rows, in grey levels 0-255, R G B Y.
    features : DataFrame or None
        Biological features of the training rows, which the fusion is scaled by; without them there
        is no fusion.

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
            in_chans=len(settings.channels),
            num_classes=classes if features is None else 0,
            drop_rate=settings.dropout if features is None else 0.0,
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
    fusion = None
    if features is not None:
        fusion = Fusion(backbone.num_features, FeatureScaler(features, settings), classes, settings)
    seen = len(settings.channels)
    return Classifier(backbone, mean[:seen], deviation[:seen], fusion).to(memory_format=torch.channels_last)


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the network learns."""
    return sum(parameter.numel() for parameter in model.parameters())
