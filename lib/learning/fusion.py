"""Biological features joined to a network's representation: Liu, Zhang, Zhou 2018, section 5.2."""

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib.config import Network
from lib.features.biological import TEN, WEIGHTS

STANDARD_LIMIT = 5.0  # standard deviations: further out is clipped


class FeatureScaler(nn.Module):
    """Raw features to numbers of one scale, weighted.

    It is part of the network, so that a checkpoint cannot be used with the scale of other samples.
    Values outside what the training rows hold are clipped, infinite ones too. A value that cannot be
    said (nan) becomes the training rows' median; a column that is constant or never said becomes 0.

    Parameters
    ----------
    training : DataFrame
        The training rows, a column a feature.
    settings : Network
        ``feature_scaling``: minmax to [0, 1], or standard to mean 0 and deviation 1 within
        `STANDARD_LIMIT`. ``feature_weights``: paper, features beyond its ten counting 1, or equal.
        ``feature_factor`` multiplies all.
    """

    def __init__(self, training: pd.DataFrame, settings: Network) -> None:
        super().__init__()
        finite = training.where(np.isfinite(training))
        if settings.feature_scaling == "minmax":
            origin, span, bounds = finite.min(), finite.max() - finite.min(), (0.0, 1.0)
        else:
            origin, span, bounds = finite.mean(), finite.std(ddof=0), (-STANDARD_LIMIT, STANDARD_LIMIT)
        useful = span > 0  # not so for nan either
        paper = dict(zip(TEN, WEIGHTS, strict=True)) if settings.feature_weights == "paper" else {}
        weight = pd.Series([paper.get(name, 1.0) for name in training], training.columns)
        self.bounds = bounds
        for name, column in (
            ("origin", origin.where(useful, 0)),
            ("span", span.where(useful, 1)),
            ("median", finite.median().where(useful, 0)),
            ("weight", weight.where(useful, 0) * settings.feature_factor),
        ):
            self.register_buffer(name, torch.tensor(column.to_numpy(np.float32)))

    def forward(self, features_BF: torch.Tensor) -> torch.Tensor:
        """Return scaled and weighted features, shape (B, F), of raw ones."""
        said_BF = torch.where(features_BF.isnan(), self.median, features_BF)
        return ((said_BF - self.origin) / self.span).clamp(*self.bounds) * self.weight


class Fusion(nn.Module):
    """Representation and features to logits: joined, a fully connected layer, dropout, output layer.

    Parameters
    ----------
    representation : int
        Numbers in the backbone's representation.
    scaler : FeatureScaler
    classes : int
    settings : Network
        ``fusion_width``, the outputs of the fully connected layer, and ``dropout``.
    """

    def __init__(self, representation: int, scaler: FeatureScaler, classes: int, settings: Network) -> None:
        super().__init__()
        self.scaler = scaler
        self.layers = nn.Sequential(
            nn.Linear(representation + len(scaler.weight), settings.fusion_width),
            nn.ReLU(inplace=True),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.fusion_width, classes),
        )

    def forward(self, representation_BR: torch.Tensor, features_BF: torch.Tensor) -> torch.Tensor:
        """Return logits_BC."""
        return self.layers(torch.cat([representation_BR, self.scaler(features_BF)], dim=1))
