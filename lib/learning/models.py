"""Settings to a network: a timm backbone that normalises its own input, with or without features."""

import difflib
import pickle
import socket
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pandas as pd
import timm
import torch
from torch import nn

from lib.config import Network
from lib.errors import UserError
from lib.learning.fusion import FeatureScaler, Fusion
from lib.learning.heads import GroupHeads

HUB_SECONDS = 3.0  # that the hub has to answer in


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
        Takes the representation and features_BF, returns (B, classes), or what the heads take.
    heads : GroupHeads or None
        Takes what comes before it, returns (B, classes).
    """

    def __init__(
        self,
        backbone: nn.Module,
        mean: list[float],
        deviation: list[float],
        fusion: Fusion | None = None,
        heads: GroupHeads | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.fusion, self.heads = backbone, fusion, heads
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).clamp(min=1.0).view(1, -1, 1, 1))

    def forward(self, images_BHWK: torch.Tensor, features_BF: torch.Tensor) -> torch.Tensor:
        """Return logits_BC of images_BHWK, uint8, R G B Y."""
        # seen as channels first, the bytes stay where they are: torch's channels_last layout
        images_BKHW = images_BHWK.permute(0, 3, 1, 2)[:, : self.mean.shape[1]]
        images_BKHW = images_BKHW.float(memory_format=torch.channels_last)
        output = self.backbone((images_BKHW - self.mean) / self.deviation)
        output = output if self.fusion is None else self.fusion(output, features_BF)
        return output if self.heads is None else self.heads(output)

    @property
    def last_layer(self) -> nn.Module:
        """The layer, or heads, that give the logits."""
        if self.heads is not None:
            return self.heads
        return self.backbone.get_classifier() if self.fusion is None else self.fusion.layers[-1]


def build_model(
    settings: Network,
    classes: int,
    mean: list[float],
    deviation: list[float],
    features: pd.DataFrame | None = None,
    heads: tuple[tuple[int, ...], ...] | None = None,
) -> Classifier:
    """Build the network that the settings name, with `classes` outputs.

    Parameters
    ----------
    mean, deviation : list of 4 float
        Of the training rows, in grey levels 0-255, R G B Y; not used with unit normalisation.
    features : DataFrame or None
        Biological features of the training rows, which the fusion is scaled by; without them there
        is no fusion.
    heads : tuple of tuple of int, or None
        As `lib.learning.heads.GroupHeads` takes them.

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
    whole = features is None and heads is None  # timm's network has the last layer
    backbone = _create(settings, classes if whole else 0, not whole)
    if settings.channels == "RGBY" and settings.fourth_channel != "timm":
        _start_yellow(backbone, settings)
    fusion, width, group_heads = None, backbone.num_features, None
    if features is not None:
        outputs = classes if heads is None else settings.fusion_width
        fusion, width = Fusion(width, FeatureScaler(features, settings), outputs, settings), outputs
    if heads is not None:
        group_heads = GroupHeads(width, heads, settings)
    if settings.normalisation == "unit":
        mean, deviation = [0.0] * len(mean), [255.0] * len(deviation)
    seen = len(settings.channels)
    model = Classifier(backbone, mean[:seen], deviation[:seen], fusion, group_heads)
    return model.to(memory_format=torch.channels_last)


def start_from(model: Classifier, folder: Path) -> None:
    """Take another network's weights, all but the last layer's: Hoogenboom 2019, section 2.3.

    Parameters
    ----------
    folder : Path
        The other network's, of the same architecture.
    """
    (last,) = (name for name, module in model.named_modules() if module is model.last_layer)
    weights = torch.load(folder / "weights.pt", map_location="cpu", weights_only=True)
    taken = {name: value for name, value in weights.items() if not name.startswith(f"{last}.")}
    try:
        missing, foreign = model.load_state_dict(taken, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
    else:
        foreign += [name for name in missing if not name.startswith(f"{last}.")]
        reason = f"{foreign[0]} is in one alone" if foreign else ""
    if reason:
        raise UserError(
            f"{folder.name} is another network than the one that starts from it ({reason}): give both the "
            f"same network settings, or --set hierarchy.transfer=false"
        )


def _create(settings: Network, classes: int, fused: bool) -> nn.Module:
    """Return timm's network: with dropout before its last layer, or with no last layer where `fused`."""
    options: dict[str, Any] = {}
    if settings.pretrained and settings.weights_file:
        file = Path(settings.weights_file)
        if not file.is_file():
            raise UserError(
                f"network.weights_file={file} is missing: expected {settings.architecture}'s weights"
            )
        options["pretrained_cfg_overlay"] = {"file": str(file)}
    elif settings.pretrained and not _hub_answers():
        # what was downloaded before is still found, and what was not fails at once
        huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        return timm.create_model(
            settings.architecture,
            pretrained=settings.pretrained,
            in_chans=len(settings.channels),
            num_classes=classes,
            drop_rate=0.0 if fused else settings.dropout,
            **options,
        )
    except OSError as error:
        raise UserError(
            f"the pretrained weights of {settings.architecture} cannot be had ({type(error).__name__}): "
            f"connect to the network once, name a file with --set network.weights_file=FILE, or train from "
            f"scratch with --set network.pretrained=false"
        ) from None
    except (RuntimeError, ValueError, pickle.UnpicklingError) as error:
        if not settings.pretrained:
            raise
        source = settings.weights_file or "network.pretrained=true"
        line = str(error).splitlines()[0]
        raise UserError(f"{source}: {line}; --set network.pretrained=false trains from scratch") from None


def _hub_answers() -> bool:
    """Tell within seconds whether the hub of pretrained weights can be reached; behind a proxy, assume so."""
    if urllib.request.getproxies().get("https"):
        return True
    address = urllib.parse.urlsplit(huggingface_hub.constants.ENDPOINT)
    try:
        socket.create_connection((address.hostname, address.port or 443), timeout=HUB_SECONDS).close()
    except OSError:
        return False
    return True


def _start_yellow(backbone: nn.Module, settings: Network) -> None:
    """Set yellow's weights in the first layer to zero or to blue's: Liu et al. 2018, section 6.2.1."""
    convolution = backbone.get_submodule(backbone.default_cfg["first_conv"])
    with torch.no_grad():
        weight = convolution.weight
        if settings.pretrained:
            weight *= len(settings.channels) / 3  # timm made three channels' weights smaller, for four
        weight[:, 3] = weight[:, 2] if settings.fourth_channel == "copy" else 0


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the network learns."""
    return sum(parameter.numel() for parameter in model.parameters())
