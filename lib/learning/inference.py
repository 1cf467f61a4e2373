"""Passes over samples without training: a network's probabilities, collected over batches and processes."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from lib.console import Progress
from lib.distributed import WORLD, gather
from lib.evaluation.metrics import macro_f1
from lib.learning.devices import autocast, resolve_precision
from lib.learning.loader import Batch
from lib.learning.losses import ACTIVATIONS, Loss


@dataclass(frozen=True)
class PassResult:
    """Result of a pass over samples.

    Attributes
    ----------
    rows_N : ndarray of int
        Row numbers, in the order of the pass; ascending with several processes.
    probabilities_NC : ndarray of float32, in [0, 1]
    targets_NC : ndarray of bool
    loss : float
        Mean over samples.
    """

    rows_N: np.ndarray
    probabilities_NC: np.ndarray
    targets_NC: np.ndarray
    loss: float

    @property
    def macro_f1(self) -> float:
        """Macro-F1 at a threshold of 0.5."""
        return macro_f1(self.targets_NC, self.probabilities_NC >= 0.5)


class PassAccumulator:
    """Collects the batches of a pass; its state can be saved and restored.

    Tensors stay on the device until the end, so that no batch has to be waited for.
    """

    def __init__(self) -> None:
        self.rows: list[torch.Tensor] = []
        self.probabilities: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []
        self.losses: list[torch.Tensor] = []

    def add(self, batch: Batch, probabilities_BC: torch.Tensor, loss: torch.Tensor) -> None:
        """Add a batch; `loss` is the mean over its samples."""
        self.rows.append(batch.rows_B)
        self.probabilities.append(probabilities_BC.detach())
        self.targets.append(batch.targets_BC)
        self.losses.append(loss.detach().view(1) * len(batch.rows_B))

    def state_dict(self) -> dict[str, list[torch.Tensor]]:
        """Return the state that `load_state_dict` takes."""
        lists = ("rows", "probabilities", "targets", "losses")
        return {name: [tensor.cpu() for tensor in getattr(self, name)] for name in lists}

    def load_state_dict(self, state: dict[str, list[torch.Tensor]]) -> None:
        """Restore a state."""
        self.__dict__.update(state)

    def result(self) -> PassResult:
        """Return the result over all processes."""
        states = gather(self.state_dict())

        def concatenated(name: str) -> np.ndarray:
            return torch.cat([tensor for state in states for tensor in state[name]]).numpy()

        rows_N = concatenated("rows")
        order = np.argsort(rows_N, kind="stable") if WORLD > 1 else slice(None)
        return PassResult(
            rows_N[order],
            concatenated("probabilities")[order],
            concatenated("targets")[order] > 0.5,
            float(concatenated("losses").sum(dtype=np.float64) / len(rows_N)),
        )


@dataclass(frozen=True)
class CropGrid:
    """Crops in a square grid that reaches from edge to edge of an image.

    Attributes
    ----------
    count : int
        Number of crops: a square number; a single one is in the centre.
    side : int
        Of a crop, in pixels.
    """

    count: int
    side: int

    def cut(self, batch: Batch) -> Iterator[Batch]:
        """Yield a batch with each of the crops in place of its images, row by row."""
        margin, steps = batch.images_BHWK.shape[1] - self.side, math.isqrt(self.count)
        starts = np.linspace(0, margin, steps).round().astype(int) if steps > 1 else [margin // 2]
        for top, left in itertools.product(starts, repeat=2):
            area = (slice(None), slice(top, top + self.side), slice(left, left + self.side))
            yield batch._replace(images_BHWK=batch.images_BHWK[area])


def forward(model: nn.Module, batch: Batch, precision: str, device: torch.device) -> torch.Tensor:
    """Return logits_BC, float32, on the device; `precision` is as in the settings."""
    inputs = (tensor.to(device, non_blocking=True) for tensor in (batch.images_BHWK, batch.features_BF))
    with autocast(precision, device):
        return model(*inputs).float()


def predict(
    model: nn.Module,
    batches: DataLoader,
    precision: str,
    activation: str,
    loss: Loss | None = None,
    label: str = "validation",
    views: int = 1,
    grid: CropGrid | None = None,
    combine: str = "mean",
    after_batch: Callable[[], None] = lambda: None,
) -> PassResult:
    """Pass over batches without training.

    Parameters
    ----------
    precision : str
        As the setting ``training.precision``.
    activation : str
        A key of `lib.learning.losses.ACTIVATIONS`.
    loss : callable or None
        Of logits_BC and targets_BC; without it the loss is 0.
    label : str
        Names the progress bar.
    views : int
        1, or 8 for test-time augmentation: the eight flips and rotations.
    grid : CropGrid or None
        Crops to predict, each in all views; without it, the whole image.
    combine : str
        As the setting ``training.tta_combine``: the mean or the maximum (max) over crops and views.
    after_batch : callable
        Called after every batch, also one of which other processes have all samples: it may communicate.
        An exception that it raises ends the pass.
    """
    model.eval()
    device = next(model.parameters()).device
    precision = resolve_precision(precision, device, model, gradients=False)
    collected = PassAccumulator()
    with torch.inference_mode(), Progress(len(batches.batch_sampler.rows), label, "images") as progress:
        for batch in batches:
            batch = batch._replace(images_BHWK=batch.images_BHWK.to(device, non_blocking=True))
            crops = [batch] if grid is None else grid.cut(batch)
            viewed = (view for crop in crops for view in (eight_views(crop) if views == 8 else [crop]))
            logits = [forward(model, view, precision, device) for view in viewed]
            probabilities_VBC = torch.stack([ACTIVATIONS[activation](one) for one in logits])
            probabilities_BC = {"mean": torch.mean, "max": torch.amax}[combine](probabilities_VBC, dim=0)
            value = torch.zeros(()) if loss is None else loss(logits[0], batch.targets_BC.to(device))
            collected.add(batch, probabilities_BC, value)
            progress.update(len(batch.rows_B) * WORLD)
            after_batch()
        for _ in range(len(batches.batch_sampler) - len(collected.rows)):
            after_batch()
    return collected.result()


def eight_views(batch: Batch) -> Iterator[Batch]:
    """Yield a batch in its eight flips and quarter rotations, the unchanged one first."""
    for mirrored_BHWK in (batch.images_BHWK, batch.images_BHWK.flip(2)):
        for quarters in range(4):
            yield batch._replace(images_BHWK=mirrored_BHWK.rot90(quarters, (1, 2)))
