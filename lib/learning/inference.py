"""Passes over samples: what a network says of them, gathered over batches and processes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from lib.config import Training
from lib.console import Progress
from lib.distributed import gather
from lib.evaluation.metrics import macro_f1
from lib.learning.devices import autocast
from lib.learning.loader import Batch
from lib.learning.losses import Loss, probabilities
from lib.ranks import WORLD


@dataclass(frozen=True)
class Outcome:
    """What a pass found.

    Attributes
    ----------
    rows_N : ndarray of int
        Row numbers; in the order of the pass, that of the rows with several processes.
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


class Tally:
    """What a pass has found so far; it can be put aside and gone on with.

    Tensors stay on the device until the end, so that no batch waits for them.
    """

    def __init__(self, settings: Training) -> None:
        self.settings = settings
        self.rows: list[torch.Tensor] = []
        self.probabilities: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []
        self.losses: list[torch.Tensor] = []

    def add(self, batch: Batch, probabilities_BC: torch.Tensor, loss: torch.Tensor) -> None:
        """Take in a batch; `loss` is the mean over its samples."""
        self.rows.append(batch.rows_B)
        self.probabilities.append(probabilities_BC.detach())
        self.targets.append(batch.targets_BC)
        self.losses.append(loss.detach().view(1) * len(batch.rows_B))

    def state_dict(self) -> dict[str, list[torch.Tensor]]:
        """Return what `load_state_dict` takes."""
        lists = ("rows", "probabilities", "targets", "losses")
        return {name: [tensor.cpu() for tensor in getattr(self, name)] for name in lists}

    def load_state_dict(self, state: dict[str, list[torch.Tensor]]) -> None:
        """Go on from what another one had."""
        self.__dict__.update(state)

    def outcome(self) -> Outcome:
        """Return what was found, of all processes together."""
        parts = gather(self.state_dict())

        def joined(name: str) -> np.ndarray:
            return torch.cat([tensor for part in parts for tensor in part[name]]).numpy()

        rows_N = joined("rows")
        order = np.argsort(rows_N, kind="stable") if WORLD > 1 else slice(None)
        return Outcome(
            rows_N[order],
            joined("probabilities")[order],
            joined("targets")[order] > 0.5,
            float(joined("losses").sum(dtype=np.float64) / len(rows_N)),
        )


def forward(model: nn.Module, batch: Batch, settings: Training, device: torch.device) -> torch.Tensor:
    """Return logits_BC, float32, on the device."""
    given = (tensor.to(device, non_blocking=True) for tensor in (batch.images_BHWK, batch.features_BF))
    with autocast(settings.precision, device):
        return model(*given).float()


def evaluate(
    model: nn.Module,
    batches: DataLoader,
    settings: Training,
    loss: Loss | None = None,
    label: str = "validation",
    tta: bool = False,
    after_batch: Callable[[], None] = lambda: None,
) -> Outcome:
    """Pass over batches without learning.

    Parameters
    ----------
    loss : callable or None
        Of logits_BC and targets_BC; without it the loss is 0.
    label : str
        Names the progress bar.
    tta : bool
        Test-time augmentation: probabilities are the mean over the eight flips and turns of an image.
    after_batch : callable
        Called after every batch; what it raises ends the pass.
    """
    model.eval()
    device = next(model.parameters()).device
    tally = Tally(settings)
    with torch.inference_mode(), Progress(len(batches.batch_sampler.rows), label, "images") as progress:
        for batch in batches:
            views = eight_views(batch) if tta else iter([batch])
            logits = [forward(model, view, settings, device) for view in views]
            probabilities_BC = torch.stack([probabilities(settings, one) for one in logits]).mean(dim=0)
            value = torch.zeros(()) if loss is None else loss(logits[0], batch.targets_BC.to(device))
            tally.add(batch, probabilities_BC, value)
            progress.update(len(batch.rows_B) * WORLD)
            after_batch()
    return tally.outcome()


def eight_views(batch: Batch) -> Iterator[Batch]:
    """Yield a batch as it is, turned by quarters, and all that mirrored: cells have no upright."""
    for mirrored_BHWK in (batch.images_BHWK, batch.images_BHWK.flip(2)):
        for quarters in range(4):
            yield batch._replace(images_BHWK=mirrored_BHWK.rot90(quarters, (1, 2)))
