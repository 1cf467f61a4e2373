"""Learning rates over the steps of a training, and early stopping."""

import math
from dataclasses import asdict, dataclass

import pandas as pd
import torch
from torch.optim import lr_scheduler

from lib.sections import Training


def cyclical_factor(epochs: float, cycle_length: float, growth: float = 1.0) -> float:
    """Return the cyclical rate of Liu et al. 2018, section 5.1 (after Smith 2017), as a factor.

    A triangle: 0 at the start of a cycle, 1 in its middle, 0 at its end.

    Parameters
    ----------
    epochs : float
        Epochs since the start, fractions included.
    cycle_length : float
        Epochs of the first cycle.
    growth : float
        How many times longer each cycle is than the one before (warm restarts, Loshchilov and Hutter
        2017); the paper uses 1.

    Returns
    -------
    float
        In [0, 1]: ``1 - |2 t / L - 2 cycle + 1|`` with ``cycle = floor(1 + t / L)``, t counted from the
        start of the first cycle of length L.
    """
    while growth > 1 and epochs >= cycle_length:
        epochs, cycle_length = epochs - cycle_length, cycle_length * growth
    cycle = math.floor(1 + epochs / cycle_length)
    return 1 - abs(2 * epochs / cycle_length - 2 * cycle + 1)


class Schedule:
    """The learning rate of every step as a factor of the peak; uses torch's schedulers where they exist.

    With ``training.warmup_epochs`` the rate of ``cosine`` and ``constant`` first grows linearly; that of
    ``one_cycle`` rises over these epochs.

    Parameters
    ----------
    settings : Training
    steps : int
        Steps per epoch.

    Raises
    ------
    ValueError
        If `settings.schedule` is unknown.
    """

    def __init__(self, settings: Training, steps: int) -> None:
        total, warmup = settings.epochs * steps, 0
        if settings.schedule in ("cosine", "constant"):
            warmup = round(settings.warmup_epochs * steps)
        # torch's schedulers set an optimizer's learning rate: this optimizer exists only for that
        self._optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        if settings.schedule == "one_cycle":
            rising = settings.warmup_epochs / settings.epochs or 0.3
            # one step more than there are: the schedule is advanced after the last step too
            self._scheduler = lr_scheduler.OneCycleLR(
                self._optimizer, 1.0, total + 1, pct_start=rising, cycle_momentum=False
            )
        elif settings.schedule == "cosine":
            self._scheduler = lr_scheduler.CosineAnnealingLR(self._optimizer, max(total - warmup, 1))
        elif settings.schedule == "constant":
            self._scheduler = lr_scheduler.LambdaLR(self._optimizer, lambda step: 1.0)
        elif settings.schedule == "cyclical":
            length, growth = settings.cycle_epochs, settings.cycle_growth
            # the rate in the middle of each step, so that no step is wasted at rate 0 at the ends of a cycle
            self._scheduler = lr_scheduler.LambdaLR(
                self._optimizer, lambda step: cyclical_factor((step + 0.5) / steps, length, growth)
            )
        else:
            raise ValueError(f"unknown schedule {settings.schedule!r}")
        if warmup:
            rise = lr_scheduler.LinearLR(self._optimizer, 1 / (warmup + 1), total_iters=warmup)
            self._scheduler = lr_scheduler.SequentialLR(
                self._optimizer, [rise, self._scheduler], milestones=[warmup]
            )

    @property
    def factor(self) -> float:
        """The factor of the next step, in [0, 1]."""
        return self._optimizer.param_groups[0]["lr"]

    def advance(self) -> None:
        """Advance to the next step."""
        self._optimizer.step()  # torch warns where a scheduler steps first
        self._scheduler.step()

    @property
    def position(self) -> int:
        """Steps since the start."""
        return self._scheduler.last_epoch

    def advance_to(self, position: int) -> None:
        """Advance to the position of another schedule with the same settings."""
        while self.position < position:
            self.advance()


def curve(settings: Training, steps: int) -> pd.DataFrame:
    """Return the learning rate of every step of a training without early stopping.

    Parameters
    ----------
    settings : Training
    steps : int
        Steps per epoch.

    Returns
    -------
    DataFrame
        A row per step: epoch (epochs since the start, in the middle of the step) and learning_rate.
    """
    schedule, rows = Schedule(settings, steps), []
    for step in range(settings.epochs * steps):
        rows.append(
            {"epoch": (step + 0.5) / steps, "learning_rate": settings.learning_rate * schedule.factor}
        )
        schedule.advance()
    return pd.DataFrame(rows)


def input_side(settings: Training, epoch: int) -> int:
    """Return the side of the network's input in an epoch, in pixels: progressive resizing.

    It grows in four stages of equal length from ``training.start_size`` to ``training.size``, as in Tan and
    Le 2021 (EfficientNetV2), algorithm 1; between the two in multiples of 32.
    """
    start, stage = settings.start_size, math.ceil(4 * (epoch + 1) / settings.epochs) - 1
    if not start or stage == 3:
        return settings.size
    return max(start, int(start + (settings.size - start) * stage / 3) // 32 * 32)


@dataclass
class EarlyStopping:
    """Early stopping of Hoogenboom 2019, section 2.4.

    After `patience` epochs without improvement the best weights are restored and the rate is divided by ten;
    after as many more without improvement training ends. An improvement restarts the count. With patience 0
    it is switched off.

    Attributes
    ----------
    patience : int
    waited : int
        Epochs since the last improvement or restoration.
    lowered : bool
        Whether the rate has been divided since the last improvement.
    ended : bool
        Whether training is to end.
    scale : float
        Factor of the learning rate.
    """

    patience: int
    waited: int = 0
    lowered: bool = False
    ended: bool = False
    scale: float = 1.0

    def after_epoch(self, is_best: bool) -> bool:
        """Update with whether an epoch was the best so far; return whether to restore the best weights."""
        self.waited = 0 if is_best else self.waited + 1
        self.lowered = self.lowered and not is_best
        if not self.patience or self.waited < self.patience:
            return False
        if self.lowered:
            self.ended = True
            return False
        self.waited, self.lowered, self.scale = 0, True, self.scale / 10
        return True

    def state_dict(self) -> dict:
        """Return the state that `load_state_dict` takes."""
        return asdict(self)

    def load_state_dict(self, state: dict) -> None:
        """Restore a state."""
        self.__dict__.update(state)
