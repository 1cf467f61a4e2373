"""Which learning rate to begin with: the loss over steps whose rate grows (Smith 2017, section 3.3)."""

import math

import numpy as np
import pandas as pd
from torch import nn
from torch.utils.data import DataLoader

from lib import files
from lib.config import Training
from lib.console import Progress, say
from lib.figures import data_and_training
from lib.learning import train_and_predict
from lib.learning.fit import explained_memory
from lib.learning.task import Task
from lib.learning.train_state import Learner

LOWEST, HIGHEST = 1e-7, 10.0
SMOOTHING = 0.9  # of the running mean of the losses
HOPELESS = 4.0  # times the best smoothed loss: no further


def show(task: Task) -> None:
    """Write a network's loss over the learning rate, draw it, and say what rate it suggests."""
    model, train = train_and_predict.start(task)
    curve = find_rate(model, train, task.run.config.training)
    rising, suggestion = suggest(curve)
    files.write_text(task.folder / "learning_rates.csv", curve.to_csv(index=False))
    figure = task.run.figure(f"learning_rates_{task.name}")
    data_and_training.learning_rates(figure, curve, rising, suggestion, f"{task.name}: {task.run.data_name}")
    say(
        f"{task.name}: the loss rises from a rate of {rising:.1e}; suggested: "
        f"--set training.learning_rate={suggestion:.1e}; {figure}"
    )


def find_rate(model: nn.Module, train: DataLoader, settings: Training, steps: int = 100) -> pd.DataFrame:
    """Train with a rate that grows by the same factor each step, until the loss has run away.

    The model is spoilt by it.

    Returns
    -------
    DataFrame
        A row a step: learning_rate, loss, and smoothed, its running mean.
    """
    learner = Learner(model, settings, train)
    model.train()
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    rows: list[dict[str, float]] = []
    mean = 0.0
    with explained_memory(settings), Progress(steps, "learning rates", "steps") as progress:
        while len(rows) < steps:
            for batch in train:
                rate = float(rates[len(rows)])
                loss = learner.learn(batch, rate).item()
                if not learner.between_steps:
                    continue
                mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
                smoothed = mean / (1 - SMOOTHING ** (len(rows) + 1))
                rows.append({"learning_rate": rate, "loss": loss, "smoothed": smoothed})
                progress.update(figures=f"rate {rate:.1e}, loss {smoothed:.3f}")
                best = min(row["smoothed"] for row in rows)
                if len(rows) == steps or not math.isfinite(loss) or smoothed > HOPELESS * best:
                    return pd.DataFrame(rows)
            learner.next_epoch()
            train.batch_sampler.epoch = learner.epoch
    return pd.DataFrame(rows)


def suggest(curve: pd.DataFrame) -> tuple[float, float]:
    """Read a curve of `find_rate`.

    Returns
    -------
    rising : float
        The rate where the smoothed loss starts to rise: what Liu et al. 2018, section 6.2, looked for.
    suggestion : float
        The rate below it where the smoothed loss falls fastest over the rate's logarithm: a peak for a
        schedule that is quick and safe.
    """
    lowest = int(curve["smoothed"].to_numpy().argmin())
    slope = np.gradient(curve["smoothed"].to_numpy())[: lowest + 1]  # rates grow by the same factor
    rates = curve["learning_rate"].to_numpy()
    return float(rates[lowest]), float(rates[slope.argmin()])
