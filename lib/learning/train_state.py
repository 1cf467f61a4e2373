"""A network that learns, and everything that its next step depends on."""

from contextlib import nullcontext
from typing import Any

import torch
from timm.layers import convert_sync_batchnorm
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from lib import distributed
from lib.config import Training
from lib.learning.devices import choose_type, compiled
from lib.learning.inference import Tally, forward
from lib.learning.loader import Batch
from lib.learning.losses import class_weights, make_loss, probabilities
from lib.learning.schedules import EarlyStopping, Schedule
from lib.ranks import LEADS, RANK, WORLD


class Learner:
    """A network that learns, and everything that its next step depends on.

    Parameters
    ----------
    model : nn.Module
        Takes images_BHWK uint8 and features_BF, returns logits_BC; on its device already.
    settings : Training
    train : DataLoader
        As `lib.learning.loader.make_loader` makes it, shuffled.
    """

    def __init__(self, model: nn.Module, settings: Training, train: DataLoader) -> None:
        self.device = next(model.parameters()).device
        sampler = train.batch_sampler
        if WORLD > 1 and self.device.type == "cuda":
            model = convert_sync_batchnorm(model)
        self.model, self.settings, self.sampler = model, settings, sampler
        self.network = model if WORLD == 1 else DistributedDataParallel(model)
        self.network = compiled(self.network) if settings.compile else self.network
        self.optimizer = torch.optim.AdamW(
            model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.groups = [  # the sizes of the batches of each step
            sampler.sizes[start : start + settings.accumulate]
            for start in range(0, len(sampler.sizes), settings.accumulate)
        ]
        self.schedule = Schedule(settings, len(self.groups))
        self.stopping = EarlyStopping(settings.early_stopping)
        narrow = choose_type(settings.precision, self.device) == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=narrow and self.device.type == "cuda")
        self.average = ModelEmaV3(model, decay=settings.ema_decay) if settings.ema_decay else None
        weight_C = class_weights(settings.class_weights, train.dataset.source.truth_NC[sampler.rows])
        weight_C = None if weight_C is None else weight_C.to(self.device)
        self.train_loss = make_loss(settings, weight_C, settings.label_smoothing)
        self.loss = make_loss(settings, weight_C)
        self.epoch = self.batch = 0  # what comes next
        self.peak = 0.0  # highest rate of the epoch so far
        self.last: tuple[torch.Tensor, Batch, int] | None = None  # loss, batch and its number in the epoch
        self.tally = Tally(settings)
        self.history: list[dict[str, float]] = []

    @property
    def judged(self) -> nn.Module:
        """The network that is judged and kept: the average of its weights where there is one."""
        return self.model if self.average is None else self.average.module

    @property
    def rate(self) -> float:
        """The learning rate of the step to come."""
        return self.settings.learning_rate * self.schedule.factor * self.stopping.scale

    def learn(self, batch: Batch, rate: float) -> torch.Tensor:
        """Learn from the next batch of an epoch; return its loss, not waited for."""
        group = self.groups[self.batch // self.settings.accumulate]
        ends = self.batch % self.settings.accumulate == len(group) - 1
        alone = nullcontext() if ends or WORLD == 1 else self.network.no_sync()
        with alone:
            logits_BC = forward(self.network, batch, self.settings, self.device)
            loss = self.train_loss(logits_BC, batch.targets_BC.to(self.device, non_blocking=True))
            # the mean over the samples of all processes and batches of the step, whatever their sizes;
            # torch takes the mean over processes
            share = WORLD * len(batch.rows_B) / sum(group)
            self.scaler.scale(loss * share).backward()
        self.tally.add(batch, probabilities(self.settings, logits_BC), loss)
        self.batch += 1
        self.last = (loss.detach(), batch, self.batch)
        if ends:
            self._step(rate)
        return loss.detach()

    def _step(self, rate: float) -> None:
        self.peak = max(self.peak, rate)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        if self.settings.clip_gradient:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.schedule.advance()
        if self.average is not None:
            self.average.update(self.model, step=self.schedule.position)

    @property
    def between_steps(self) -> bool:
        """Whether no gradient is waiting for more batches."""
        return self.batch % self.settings.accumulate == 0 or self.batch == len(self.sampler.sizes)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        random = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "schedule": self.schedule.position,
            "stopping": self.stopping.state_dict(),
            "epoch": self.epoch,
            "batch": self.batch,
            "peak": self.peak,
            "history": self.history,
            "ranks": distributed.gather({"random": random, "tally": self.tally.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where another learner of the same settings was."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.schedule.advance_to(state["schedule"])
        self.stopping.load_state_dict(state["stopping"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.peak, self.history = state["peak"], state["history"]
        ranks = state["ranks"]
        if len(ranks) == WORLD:
            tallies = [ranks[RANK]["tally"]]
        else:  # another number of processes goes on: the leader takes over what was found
            tallies = [rank["tally"] for rank in ranks] if LEADS else []
        self.tally.load_state_dict({
            name: [tensor for tally in tallies for tensor in tally[name]] for name in ranks[0]["tally"]
        })  # fmt: skip
        random = ranks[min(RANK, len(ranks) - 1)]["random"]
        torch.set_rng_state(random["cpu"].cpu())
        torch.cuda.set_rng_state_all([state.cpu() for state in random["cuda"]])

    def restore(self, weights: dict[str, torch.Tensor]) -> None:
        """Take earlier weights back."""
        self.model.load_state_dict(weights)
        if self.average is not None:
            self.average.module.load_state_dict(weights)

    def next_epoch(self) -> None:
        """Start a new epoch."""
        self.epoch, self.batch, self.peak = self.epoch + 1, 0, 0.0
        self.last, self.tally = None, Tally(self.settings)
