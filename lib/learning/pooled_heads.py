"""Heads on the maps of any of timm's networks: how they are pooled, and the layers up to the logits."""

import math
from collections.abc import Callable

import torch
from timm.layers import AttentionPoolLatent, SelectAdaptivePool2d
from torch import nn

from lib.errors import UserError

AVGMAX_WIDTH, AVGMAX_DROPOUT = 1024, 0.5  # of the competition's winner


class GeneralisedMean(nn.Module):
    """Generalised mean over the pixels of a map with a learnt exponent: Radenovic 2018, equation 3.

    Exponent 1 is the mean; the larger it is, the closer the result is to the maximum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(3.0))

    def forward(self, map_BRHW: torch.Tensor) -> torch.Tensor:
        """Return the representation, shape (B, R); negative values count as 0."""
        log_BRP = map_BRHW.float().clamp(min=1e-6).log().flatten(2)
        # by logarithms, as powers of small values would vanish
        log_mean_BR = torch.logsumexp(self.exponent * log_BRP, dim=2) - math.log(log_BRP.shape[2])
        return (log_mean_BR / self.exponent).exp()


class AttentionPooling(nn.Module):
    """Attention of one learnt query over the pixels of a map, by timm's layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = AttentionPoolLatent(width, num_heads=math.gcd(8, width))

    def forward(self, map_BRHW: torch.Tensor) -> torch.Tensor:
        """Return the representation, shape (B, R)."""
        return self.attention(map_BRHW.flatten(2).transpose(1, 2))


# by the setting ``network.pooling``, from the width of the map; timm's fast ones are deterministic on GPUs
POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "avg": lambda _width: SelectAdaptivePool2d(pool_type="fastavg", flatten=True),
    "max": lambda _width: SelectAdaptivePool2d(pool_type="fastmax", flatten=True),
    "gem": lambda _width: GeneralisedMean(),
    "attention": AttentionPooling,
}


class PooledHead(nn.Module):
    """Maps the maps of a backbone to logits, or to a representation where the last layer is not its own.

    linear: pooling, dropout, last layer. avgmax, of the competition's winner: mean and maximum concatenated,
    batch normalisation, dropout, fully connected layer, ReLU, batch normalisation, dropout, last layer.
    multilevel: mean and maximum of every stage, concatenated, batch normalisation, dropout, last layer.

    Parameters
    ----------
    kind, pooling : str
        As the settings ``network.head`` and ``network.pooling``.
    widths : list of int
        Channels of the maps, as `map_widths` returns them.
    outputs : int
        0: without a last layer.
    dropout : float
        Before the last layer of linear and multilevel; that of avgmax is `AVGMAX_DROPOUT`.
    """

    def __init__(self, kind: str, pooling: str, widths: list[int], outputs: int, dropout: float) -> None:
        super().__init__()
        self.neck, self.num_features = nn.Sequential(), widths[-1]
        if kind == "linear":
            self.pool = POOLINGS[pooling](widths[-1])
        else:  # mean and maximum
            self.pool = SelectAdaptivePool2d(pool_type="fastcatavgmax", flatten=True)
            self.num_features = 2 * sum(widths)
            self.neck.add_module("bn1", nn.BatchNorm1d(self.num_features))
        if kind == "avgmax":
            self.neck.add_module("dropout1", nn.Dropout(AVGMAX_DROPOUT))
            self.neck.add_module("fc1", nn.Linear(self.num_features, AVGMAX_WIDTH))
            self.neck.add_module("relu", nn.ReLU(inplace=True))
            self.neck.add_module("bn2", nn.BatchNorm1d(AVGMAX_WIDTH))
            self.num_features, dropout = AVGMAX_WIDTH, AVGMAX_DROPOUT
        self.dropout = nn.Dropout(dropout if outputs else 0.0)
        self.last = nn.Linear(self.num_features, outputs) if outputs else nn.Identity()

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return logits, shape (B, outputs), or the representation, of maps of shape (B, R, H, W) each."""
        pooled_BR = torch.cat([self.pool(map_BRHW) for map_BRHW in maps], dim=1)
        return self.last(self.dropout(self.neck(pooled_BR)))


def map_widths(backbone: nn.Module, kind: str) -> list[int]:
    """Return the number of channels of the maps that `maps` returns.

    Raises
    ------
    UserError
        If the network is not one of timm's that give them.
    """
    method = "forward_intermediates" if kind == "multilevel" else "forward_features"
    if not hasattr(backbone, method):
        raise UserError(
            f"network.head={kind} needs the maps of the network, which {type(backbone).__name__} does not "
            f"give ({method}): use network.head=linear and network.pooling=own"
        )
    stages = [stage["num_chs"] for stage in backbone.feature_info] if kind == "multilevel" else [0]
    return [*stages[:-1], backbone.num_features]


def maps(backbone: nn.Module, images_BKHW: torch.Tensor, kind: str) -> list[torch.Tensor]:
    """Return the last map before a backbone's pooling; for multilevel those of the earlier stages before it.

    timm's ``features_only`` would give them too, but with other names of the parameters than in files of
    weights (DenseNet, ConvNeXt), or without the layers after the last stage (EfficientNet).

    Returns
    -------
    list of tensor of shape (B, R, H, W)
        Of a transformer's tokens H is their number and W is 1.
    """
    if kind != "multilevel":
        return [_channels_first(backbone, backbone.forward_features(images_BKHW))]
    last, stages = backbone.forward_intermediates(images_BKHW)
    return [*stages[:-1], _channels_first(backbone, last)]


def _channels_first(backbone: nn.Module, output: torch.Tensor) -> torch.Tensor:
    if output.ndim == 3:  # a transformer's tokens, those of classes first
        return output[:, getattr(backbone, "num_prefix_tokens", 0) :].transpose(1, 2).unsqueeze(-1)
    return output.permute(0, 3, 1, 2) if str(getattr(backbone, "output_fmt", "")) == "NHWC" else output
