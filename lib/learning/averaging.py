"""Averages of a network's weights: over all steps with decay (EMA), or over the last epochs (SWA)."""

from collections.abc import Callable, Iterator

import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader

from lib.console import Progress
from lib.distributed import WORLD
from lib.learning.inference import forward
from lib.learning.loader import Batch
from lib.sections import Training

WARMUP_POWER = 3 / 4  # timm's suggestion for trainings of less than a million steps


def make_average(model: nn.Module, settings: Training) -> ModelEmaV3 | AveragedModel | None:
    """Return the average that the settings ask for; its ``module`` is a copy of the network.

    The decay of the EMA at step n is ``1 - n ** -0.75``, until it reaches ``training.ema_decay``: at first
    the average forgets the random initial weights quickly.
    """
    if settings.ema_decay:
        return ModelEmaV3(model, settings.ema_decay, use_warmup=True, warmup_power=WARMUP_POWER)
    return AveragedModel(model) if settings.average_epochs else None


class OnBatches(nn.Module):
    """A network that takes whole batches, as torch's `update_bn` calls it with one argument."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self.network, self.precision, self.training = network, precision, network.training

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return logits_BC."""
        return forward(self.network, batch, self.precision, next(self.network.parameters()).device)


def recompute_statistics(
    network: nn.Module, train: DataLoader, settings: Training, precision: str, after_batch: Callable[[], None]
) -> None:
    """Recompute the statistics of batch normalisation: those of averaged weights are no averages.

    The random numbers of the training are left alone, so that an interruption changes nothing.

    Parameters
    ----------
    network : nn.Module
    train : DataLoader
        An epoch of training batches, augmented as in training.
    precision : str
        As `lib.learning.inference.forward` takes it.
    after_batch : callable
        Called after every batch; an exception that it raises ends the pass.
    """
    device, sampler = next(network.parameters()).device, train.batch_sampler
    sampler.first = 0

    def batches() -> Iterator[list[Batch]]:
        with Progress(len(sampler.rows), "statistics of the averaged network", "images") as progress:
            for batch in train:
                yield [batch]  # update_bn takes the first entry
                progress.update(len(batch.rows_B) * WORLD)
                after_batch()

    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        update_bn(batches(), OnBatches(network, precision))
