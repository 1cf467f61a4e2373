"""Learning-rate finder: the loss over steps with a growing rate (Smith 2017, section 3.3)."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
from torch import nn
from torch.utils.data import DataLoader

from lib import distributed, files
from lib.console import Progress, info
from lib.errors import UserError
from lib.figures import data_and_training as figures
from lib.learning.fit import explained_memory
from lib.learning.task import Task
from lib.learning.train_and_predict import prepare
from lib.learning.train_state import TrainState
from lib.sections import Training

LOWEST, HIGHEST = 1e-7, 10.0
SMOOTHING = 0.9  # of the running mean of the losses
DIVERGED = 4.0  # times the lowest smoothed loss: stop


def find_and_draw(task: Task) -> None:
    """Write and draw a network's loss over the learning rate, and print the suggested rate.

    A `UserError` where several processes train together: each would end at a step of its own.
    """
    if distributed.WORLD > 1:
        raise UserError("--find-lr takes one process: start it with python in place of torchrun")
    model, train = prepare(task, task.folds[0])
    curve = find_rate(model, train, task.run.config.training)
    rising, suggestion = suggest(curve)
    files.write_text(task.run.network(task.name) / "learning_rates.csv", curve.to_csv(index=False))
    figure = task.run.figure(f"learning_rates_{task.name}")
    figures.learning_rates(figure, curve, rising, suggestion, f"{task.name}: {task.run.data_name}")
    info(
        f"{task.name}: the loss starts to rise at a rate of {rising:.1e}; suggested: "
        f"--set training.learning_rate={suggestion:.1e}; {figure}"
    )


def find_rate(model: nn.Module, train: DataLoader, settings: Training, steps: int = 100) -> pd.DataFrame:
    """Train with a rate that grows by a constant factor per step, until the loss diverges.

    The model is of no use afterwards.

    Returns
    -------
    DataFrame
        A row per step: learning_rate, loss, and smoothed, its running mean; all finite, two rows or more.

    Raises
    ------
    UserError
        If the loss is not finite from the start.
    """
    # the rate of each step is set here, and whatever depends on the number of epochs would not fit
    settings = replace(
        settings, schedule="constant", warmup_epochs=0, start_size=0, epochs=max(settings.epochs, 1)
    )
    state = TrainState(model, settings, train)
    model.train()
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    rows: list[dict[str, float]] = []
    mean = 0.0
    with explained_memory(settings), Progress(steps, "learning rates", "steps") as progress:
        while len(rows) < steps:
            for batch in train:
                rate = float(rates[len(rows)])
                loss = state.train_batch(batch, rate).item()
                if not state.between_steps:
                    continue
                if not math.isfinite(loss):  # no row: neither a mean nor a slope can be computed with it
                    if len(rows) > 1:
                        return pd.DataFrame(rows)
                    raise UserError(
                        f"the loss became {loss} in step {len(rows) + 1}, at a learning rate of {rate:.0e}, "
                        f"which is not the reason: inspect the samples, or set training.precision=float32"
                    )
                mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
                smoothed = mean / (1 - SMOOTHING ** (len(rows) + 1))
                rows.append({"learning_rate": rate, "loss": loss, "smoothed": smoothed})
                progress.update(metrics=f"rate {rate:.1e}, loss {smoothed:.3f}")
                best = min(row["smoothed"] for row in rows)
                if len(rows) == steps or smoothed > DIVERGED * best:
                    return pd.DataFrame(rows)
            state.next_epoch()
            train.batch_sampler.epoch = state.epoch
    return pd.DataFrame(rows)


def suggest(curve: pd.DataFrame) -> tuple[float, float]:
    """Read a curve of `find_rate`.

    Returns
    -------
    rising : float
        The rate where the smoothed loss starts to rise: as in Liu et al. 2018, section 6.2.
    suggestion : float
        The rate below it where the smoothed loss falls fastest over the logarithm of the rate: a fast and
        safe highest rate of a schedule.
    """
    lowest = int(curve["smoothed"].to_numpy().argmin())
    slope = np.gradient(curve["smoothed"].to_numpy())[: lowest + 1]  # rates grow by a constant factor
    rates = curve["learning_rate"].to_numpy()
    return float(rates[lowest]), float(rates[slope.argmin()])
