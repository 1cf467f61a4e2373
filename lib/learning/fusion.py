"""Biological features concatenated with a network's representation: Liu, Zhang, Zhou 2018, section 5.2."""

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib.features.biological import TEN, WEIGHTS

STANDARD_LIMIT = 5.0  # standardised features are clipped at this many standard deviations
BOUNDS = {"minmax": (0.0, 1.0), "standard": (-STANDARD_LIMIT, STANDARD_LIMIT)}


class FeatureScaler(nn.Module):
    """Scales and weights raw features.

    It is part of the network, so that a checkpoint cannot be used with the scale of other samples.
    Values outside the range of the training rows are clipped, infinite ones too. An undefined value (nan)
    becomes the median of the training rows; a column that is constant or always undefined becomes 0.

    Parameters
    ----------
    features : int
        Number of features.
    scaling : str
        minmax to [0, 1], or standard to mean 0 and standard deviation 1 within `STANDARD_LIMIT`.
    """

    def __init__(self, features: int, scaling: str) -> None:
        super().__init__()
        self.scaling, self.bounds = scaling, BOUNDS[scaling]
        for name in ("origin", "span", "median", "weight"):
            self.register_buffer(name, torch.zeros(features))

    def fit(self, training: pd.DataFrame, weights: str, factor: float) -> None:
        """Fit the scale to the training rows, a column per feature.

        Parameters
        ----------
        weights : str
            paper: of Liu et al. 2018, section 5.2, with 1 for features beyond their ten; or equal.
        factor : float
            Multiplies all features.
        """
        finite = training.where(np.isfinite(training))
        origin, span = {
            "minmax": (finite.min(), finite.max() - finite.min()),
            "standard": (finite.mean(), finite.std(ddof=0)),
        }[self.scaling]
        useful = span > 0  # False for nan too
        weight_of = {"paper": dict(zip(TEN, WEIGHTS, strict=True)), "equal": {}}[weights]
        weight = pd.Series([weight_of.get(name, 1.0) for name in training], training.columns)
        for buffer, column in (
            (self.origin, origin.where(useful, 0)),
            (self.span, span.where(useful, 1)),
            (self.median, finite.median().where(useful, 0)),
            (self.weight, weight.where(useful, 0) * factor),
        ):
            buffer.copy_(torch.tensor(column.to_numpy(np.float32)))

    def forward(self, features_BF: torch.Tensor) -> torch.Tensor:
        """Return scaled and weighted features, shape (B, F), of raw ones."""
        defined_BF = torch.where(features_BF.isnan(), self.median, features_BF)
        return ((defined_BF - self.origin) / self.span).clamp(*self.bounds) * self.weight


class Fusion(nn.Module):
    """Maps representation and features to logits: concatenation, fully connected layer, dropout, last layer.

    Without the fully connected layer, the logits are those of a network without features, plus a linear
    function of the features.

    Parameters
    ----------
    representation : int
        Width of the backbone's representation: the output of its last fully connected layer (Liu et al.
        2018), or what that layer would receive.
    scaler : FeatureScaler
    outputs : int
    width : int
        Outputs of the fully connected layer; 0: without it.
    dropout : float
    """

    def __init__(
        self, representation: int, scaler: FeatureScaler, outputs: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.scaler = scaler
        self.concatenated = representation + len(scaler.weight)
        own = (nn.Linear(self.concatenated, width), nn.ReLU(inplace=True)) if width else ()
        self.layers = nn.Sequential(*own, nn.Dropout(dropout), nn.Linear(width or self.concatenated, outputs))

    def forward(self, representation_BR: torch.Tensor, features_BF: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (B, outputs)."""
        return self.layers(torch.cat([representation_BR, self.scaler(features_BF)], dim=1))
