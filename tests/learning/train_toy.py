"""Train a small network without batch normalisation, in processes of its own: tests kill and multiply them.

python tests/learning/train_toy.py FOLDER [field=value ...] [-- FOLDER ...]

The fields are those of `Training`, or dropout. Several trainings, separated by --, run one after another.
``fail=R`` ends the process of rank R with an error instead.
"""

import dataclasses
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib import cli, distributed
from lib.errors import UserError
from lib.learning import fit
from lib.learning.augment import Augmentation
from lib.learning.devices import make_deterministic
from lib.learning.loader import make_loader
from lib.learning.training_data import SampleSource
from lib.sections import Training

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


def source() -> SampleSource:
    """Return random images whose targets are determined by the brightness of their channels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (ROWS, 16, 16, 4)) * random.uniform(0.2, 1, (ROWS, 1, 1, 4))
    truth_NC = images.mean(axis=(1, 2))[:, :3] > 75
    return SampleSource(list(images.astype(np.uint8)), [f"s{row}" for row in range(ROWS)], truth_NC)


def train(folder: Path, settings: Training = SETTINGS, dropout: float = 0.0) -> tuple[Toy, pd.DataFrame]:
    """Fit a toy; return it and its history."""
    make_deterministic(1)
    model = Toy(dropout)
    rows = np.arange(
        ROWS - 11
    )  # the last batch of an epoch has one sample and is merged into the previous one
    how = {"augmentation": Augmentation(settings), "cutmix": settings.cutmix}
    batches = make_loader(source(), rows, settings.batch_size, 0, settings.seed, **how)
    validation = make_loader(source(), np.arange(ROWS - 11, ROWS), settings.batch_size, 0)
    return model, fit.fit(model, batches, validation, settings, folder, "toy")


def train_as_told(arguments: list[str]) -> None:
    """Train once with a folder and settings, as on the command line."""
    folder, *overrides = arguments
    types = {field.name: field.type for field in dataclasses.fields(Training)}
    changes, dropout = {}, 0.0
    for override in overrides:
        name, value = override.split("=")
        if name == "fail":
            if int(value) == distributed.RANK:
                raise UserError(f"{folder} is to fail")
        elif name == "dropout":
            dropout = float(value)
        else:
            changes[name] = types[name](value)
    train(Path(folder), dataclasses.replace(SETTINGS, **changes), dropout)


def main() -> None:
    """Train with the settings of the command line, once or several times."""
    torch.set_num_threads(1)
    with distributed.process_group():
        for is_separator, arguments in itertools.groupby(sys.argv[1:], lambda word: word == "--"):
            if not is_separator:
                train_as_told(list(arguments))


if __name__ == "__main__":
    cli.run(main)
