"""Train a small network without batch normalisation, as a process of its own: what tests kill and multiply.

python tests/learning/train_toy.py FOLDER [training.field=value ...]
"""

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from torch import nn

from lib import cli, distributed
from lib.config import Training
from lib.learning import fit
from lib.learning.devices import make_deterministic
from lib.learning.loader import Source, make_loader

ROWS = 44
SETTINGS = Training(
    size=16, epochs=4, batch_size=8, learning_rate=3e-3, cycle_epochs=4.0, precision="float32", keep="last",
    augmentation="none",
)  # fmt: skip


class Toy(nn.Module):
    """Two convolutions and an output for each of 3 classes."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(16, 3),
        )  # fmt: skip

    def forward(self, images_BHWK: torch.Tensor, features_BF: torch.Tensor) -> torch.Tensor:
        """Return logits_BC."""
        return self.layers(images_BHWK.permute(0, 3, 1, 2).float() / 255)


def source() -> Source:
    """Random images and targets that their brightness tells."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (ROWS, 16, 16, 4)) * random.uniform(0.2, 1, (ROWS, 1, 1, 4))
    truth_NC = images.mean(axis=(1, 2))[:, :3] > 75
    return Source(list(images.astype(np.uint8)), [f"s{row}" for row in range(ROWS)], truth_NC)


def train(folder: Path, settings: Training, dropout: float = 0.0) -> tuple[Toy, object]:
    """Fit a toy; return it and its history."""
    make_deterministic(1)
    model = Toy(dropout)
    rows = np.arange(ROWS - 11)  # the last batch of an epoch has one sample, which joins the one before
    batches = make_loader(source(), rows, settings.batch_size, 0, settings.seed)
    validation = make_loader(source(), np.arange(ROWS - 11, ROWS), settings.batch_size, 0)
    return model, fit.fit(model, batches, validation, settings, folder, "toy")


def main() -> None:
    """Train with the settings of the command line."""
    torch.set_num_threads(1)
    types = {field.name: field.type for field in dataclasses.fields(Training)}
    changes, dropout = {}, 0.0
    for override in sys.argv[2:]:
        name, value = override.split("=")
        if name == "dropout":
            dropout = float(value)
        else:
            changes[name] = types[name](value)
    with distributed.processes():
        train(Path(sys.argv[1]), dataclasses.replace(SETTINGS, **changes), dropout)


if __name__ == "__main__":
    cli.run(main)
