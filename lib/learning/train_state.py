"""The state of a training: the network and everything that its next step depends on."""

from contextlib import nullcontext
from typing import Any

import torch
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from lib import distributed
from lib.distributed import RANK, WORLD, is_primary
from lib.errors import UserError
from lib.learning.averaging import make_average
from lib.learning.devices import compiled, resolve_precision
from lib.learning.inference import PassAccumulator, PassResult, forward
from lib.learning.loader import Batch
from lib.learning.losses import ACTIVATIONS, activation, make_loss
from lib.learning.optimizer import make_optimizer, set_rate
from lib.learning.resize import resize
from lib.learning.schedules import EarlyStopping, Schedule, input_side
from lib.sections import Training


class TrainState:
    """A network in training, and everything that its next step depends on.

    Parameters
    ----------
    model : nn.Module
        Takes images_BHWK uint8 and features_BF, returns logits_BC; already on its device.
    settings : Training
    train : DataLoader
        As `lib.learning.loader.make_loader` returns it, shuffled.

    Raises
    ------
    UserError
        If a batch does not hold two samples for each of several processes.
    """

    def __init__(self, model: nn.Module, settings: Training, train: DataLoader) -> None:
        self.device = next(model.parameters()).device
        sampler = train.batch_sampler
        if WORLD > 1 and min(sampler.sizes) < 2 * WORLD:
            raise UserError(
                f"training.batch_size={settings.batch_size}, {len(sampler.rows)} training samples: {WORLD} "
                f"processes, which share each batch, need {2 * WORLD} or more of both; start fewer processes "
                f"or set a larger training.batch_size"
            )
        if RANK:  # else dropout would leave out the same units of the samples of every process
            torch.manual_seed(torch.initial_seed() + RANK)
        if WORLD > 1 and self.device.type == "cuda":
            model = convert_sync_batchnorm(model)
        self.model, self.settings, self.sampler = model, settings, sampler
        self.network = model if WORLD == 1 else DistributedDataParallel(model)
        self.network = compiled(self.network) if settings.compile else self.network
        self.optimizer = make_optimizer(model, settings)
        self.step_sizes = [  # the sizes of the batches of each step
            sampler.sizes[start : start + settings.accumulate]
            for start in range(0, len(sampler.sizes), settings.accumulate)
        ]
        self.schedule = Schedule(settings, len(self.step_sizes))
        self.stopping = EarlyStopping(settings.early_stopping)
        self.precision = resolve_precision(settings.precision, self.device, model, gradients=True)
        half = self.precision == "float16" and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.average = make_average(model, settings)
        truth_NC = train.dataset.source.truth_NC[sampler.rows]
        self.train_loss = make_loss(settings, truth_NC, self.device, settings.label_smoothing)
        self.loss = make_loss(settings, truth_NC, self.device)
        self.epoch = self.batch = 0  # the next ones
        self.peak = 0.0  # highest rate of the epoch so far
        self.seconds = 0.0  # of training in the epoch so far
        self.last: tuple[torch.Tensor, Batch, int] | None = None  # loss, batch and its number in the epoch
        self.accumulator = PassAccumulator()
        self.history: list[dict[str, float]] = []

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and kept: the average of the weights where there is one.

        That of the last epochs exists only in the last epoch.
        """
        if self.average is None or (self.settings.average_epochs and self.epoch < self.settings.epochs - 1):
            return self.model
        return self.average.module

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.settings.learning_rate * self.schedule.factor * self.stopping.scale

    def train_batch(self, batch: Batch, rate: float) -> torch.Tensor:
        """Train on the next batch of the epoch; return its loss, without waiting for the device."""
        batch = self._resized(batch)
        sizes = self.step_sizes[self.batch // self.settings.accumulate]
        ends = self.batch % self.settings.accumulate == len(sizes) - 1
        synchronised = nullcontext() if ends or WORLD == 1 else self.network.no_sync()
        with synchronised:
            logits_BC = forward(self.network, batch, self.precision, self.device)
            loss = self.train_loss(logits_BC, batch.targets_BC.to(self.device, non_blocking=True))
            # the mean over the samples of all processes and batches of the step, whatever their sizes;
            # torch averages over processes
            share = WORLD * len(batch.rows_B) / sum(sizes)
            self.scaler.scale(loss * share).backward()
        self.accumulator.add(batch, ACTIVATIONS[activation(self.settings.loss)](logits_BC), loss)
        self.batch += 1
        self.last = (loss.detach(), batch, self.batch)
        if ends:
            self._step(rate)
        return loss.detach()

    def _resized(self, batch: Batch) -> Batch:
        """Return a batch with the images of the epoch's size, resized on the device."""
        side = input_side(self.settings, self.epoch)
        if side == self.settings.size:
            return batch
        images_BKHW = batch.images_BHWK.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        return batch._replace(images_BHWK=resize(images_BKHW, side).round().byte().permute(0, 2, 3, 1))

    def _step(self, rate: float) -> None:
        self.peak = max(self.peak, rate)
        set_rate(self.optimizer, rate)
        if self.settings.clip_gradient:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.schedule.advance()
        if self.settings.ema_decay:
            self.average.update(self.model, step=self.schedule.position)

    def average_last_epochs(self) -> bool:
        """Add an epoch's weights to the average, if it is one of the last; return whether it was the last.

        Called again for the same epoch, after an interruption, it adds nothing.
        """
        count = self.settings.average_epochs
        number = self.epoch + 1 - self.settings.epochs + count  # of the epoch, among those to be averaged
        if count and number > self.average.n_averaged:
            self.average.update_parameters(self.model)
        return 0 < count == number

    @property
    def between_steps(self) -> bool:
        """Whether no accumulated gradient is pending."""
        return self.batch % self.settings.accumulate == 0 or self.batch == len(self.sampler.sizes)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that `load_state_dict` takes."""
        random = {"cpu": torch.get_rng_state(), "cuda": []}
        if self.device.type == "cuda":  # of this device alone: fewer may be visible to who resumes
            random["cuda"] = [torch.cuda.get_rng_state(self.device)]
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "schedule": self.schedule.position,
            "stopping": self.stopping.state_dict(),
            "epoch": self.epoch,
            "batch": self.batch,
            "peak": self.peak,
            "seconds": self.seconds,
            "history": self.history,
            "ranks": distributed.gather({"random": random, "accumulator": self.accumulator.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a training with the same settings."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # else saved in another precision, which auto chose on another machine
            self.scaler.load_state_dict(state["scaler"])
        self.schedule.advance_to(state["schedule"])
        self.stopping.load_state_dict(state["stopping"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.peak, self.history = state["peak"], state["history"]
        self.seconds = float(state.get("seconds", 0.0))  # earlier versions did not save them
        ranks = state["ranks"]
        if len(ranks) == WORLD:
            states = [ranks[RANK]["accumulator"]]
        else:  # resumed by another number of processes: the primary one takes over all results
            states = [rank["accumulator"] for rank in ranks] if is_primary() else []
        self.accumulator.load_state_dict({
            name: [tensor for state in states for tensor in state[name]] for name in ranks[0]["accumulator"]
        })  # fmt: skip
        random = ranks[min(RANK, len(ranks) - 1)]["random"]
        torch.set_rng_state(random["cpu"].cpu())
        if self.device.type == "cuda" and random["cuda"]:  # files of earlier versions hold those of all GPUs
            own = random["cuda"][min(self.device.index or 0, len(random["cuda"]) - 1)]
            torch.cuda.set_rng_state(own.cpu(), self.device)

    def restore(self, weights: dict[str, torch.Tensor]) -> None:
        """Go back to earlier weights, also in the moving average, with a fresh optimiser state."""
        self.model.load_state_dict(weights)
        self.optimizer.state.clear()  # its moments belong to the weights that are left
        if self.average is not None:
            self.average.module.load_state_dict(weights)

    def train_result(self) -> PassResult:
        """Return the result of the epoch's training samples, over all processes."""
        return self.accumulator.result()

    def next_epoch(self) -> None:
        """Start a new epoch."""
        self.epoch, self.batch, self.peak, self.seconds = self.epoch + 1, 0, 0.0, 0.0
        self.last, self.accumulator = None, PassAccumulator()
