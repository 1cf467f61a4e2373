"""Learning rates over the steps of a training, and early stopping."""

import math
from dataclasses import asdict, dataclass

import torch
from torch.optim import lr_scheduler

from lib.config import Training


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
        Every cycle is so many times as long as the one before (warm restarts, Loshchilov and Hutter
        2017); 1 is the paper's.

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
    """The learning rate of every step, as a factor of the peak; torch's schedulers where it has them.

    Parameters
    ----------
    settings : Training
    steps : int
        Steps of an epoch.
    """

    def __init__(self, settings: Training, steps: int) -> None:
        total = settings.epochs * steps
        # torch's schedulers turn an optimizer's rate: this one has nothing else to do
        self._optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        if settings.schedule == "one_cycle":
            # a step more than it has: a schedule is advanced after the last one too
            self._scheduler = lr_scheduler.OneCycleLR(self._optimizer, 1.0, total + 1, cycle_momentum=False)
        elif settings.schedule == "cosine":
            self._scheduler = lr_scheduler.CosineAnnealingLR(self._optimizer, total)
        elif settings.schedule == "constant":
            self._scheduler = lr_scheduler.LambdaLR(self._optimizer, lambda step: 1.0)
        else:
            length, growth = settings.cycle_epochs, settings.cycle_growth
            # the rate in the middle of a step, so that neither end of a cycle wastes one at rate 0
            self._scheduler = lr_scheduler.LambdaLR(
                self._optimizer, lambda step: cyclical_factor((step + 0.5) / steps, length, growth)
            )

    @property
    def factor(self) -> float:
        """The factor of the step to come, in [0, 1]."""
        return self._optimizer.param_groups[0]["lr"]

    def advance(self) -> None:
        """Go on to the next step."""
        self._optimizer.step()  # torch warns where a scheduler steps first
        self._scheduler.step()

    @property
    def position(self) -> int:
        """Steps since the start."""
        return self._scheduler.last_epoch

    def advance_to(self, position: int) -> None:
        """Go on to where another schedule of the same settings was."""
        while self.position < position:
            self.advance()


@dataclass
class EarlyStopping:
    """Hoogenboom 2019, section 2.4: back to the best and a tenfold lower rate, then the end.

    After `patience` epochs without a new best, the best weights come back and the rate falls tenfold;
    after as many more without one, training ends. A new best starts the count anew. With patience 0
    nothing ever happens.
    """

    patience: int
    waited: int = 0
    lowered: bool = False
    ended: bool = False
    scale: float = 1.0

    def after_epoch(self, is_best: bool) -> bool:
        """Take in whether an epoch was the best so far; tell whether the best weights are to come back."""
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
        """Return what `load_state_dict` takes."""
        return asdict(self)

    def load_state_dict(self, state: dict) -> None:
        """Go to where another one was."""
        self.__dict__.update(state)
