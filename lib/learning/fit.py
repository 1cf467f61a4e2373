"""The one training loop: a network fitted so that it can be stopped anywhere and gone on with.

A network's folder holds ``weights.pt`` (the best epoch's), ``history.csv`` (a row an epoch) and,
while it is being trained, ``state.pt``: everything that the next step depends on. All are written
whole or not at all, and loaded with ``weights_only``.
"""

import math
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from lib import distributed, files
from lib.config import Training
from lib.console import Progress, say
from lib.errors import UserError
from lib.learning.inference import evaluate
from lib.learning.loader import Batch, Source
from lib.learning.train_state import Learner
from lib.ranks import LEADS, WORLD

# what an epoch is judged by: column of the history, and the sign with which more is better
JUDGED_BY = {"validation_loss": ("validation_loss", -1), "macro_f1": ("validation_macro_f1", 1)}


def fit(
    model: nn.Module,
    train: DataLoader,
    validation: DataLoader,
    settings: Training,
    folder: Path,
    identity: str,
    resume: bool = True,
) -> pd.DataFrame:
    """Train a network, keep its best epoch's weights in `folder` and load them.

    Parameters
    ----------
    model : nn.Module
        Takes images_BHWK uint8 and features_BF, returns logits_BC; on the device already.
    train, validation : DataLoader
        As `lib.learning.loader.make_loader` makes them.
    settings : Training
    folder : Path
        For ``weights.pt``, ``state.pt`` and ``history.csv``.
    identity : str
        Stands for all that decides the result: a ``state.pt`` of another identity is not gone on
        with.
    resume : bool
        Go on where an interrupted try left off, with the same result as undisturbed.

    Returns
    -------
    DataFrame
        A row an epoch: epoch, learning_rate (the epoch's peak), train_loss, validation_loss,
        train_macro_f1, validation_macro_f1 (at 0.5), images_per_second, seconds.

    Raises
    ------
    UserError
        If the loss is not finite (names epoch, step and samples), or the GPU's memory is too small.
    KeyboardInterrupt
        After SIGINT or SIGTERM, once the step is done and saved.
    """
    learner = Learner(model, settings, train)
    state_path, weights_path = folder / "state.pt", folder / "weights.pt"
    if resume and state_path.exists():
        _go_on(learner, state_path, identity)

    def save() -> None:
        _look_at(learner.last, learner.epoch, train.dataset.source)  # never keep what is spoilt
        _save(state_path, learner.state_dict() | {"identity": identity})

    with _interruption() as signals, explained_memory(settings), _tensorboard(folder) as board:

        def heed() -> None:
            if signal_number := distributed.largest(signals[-1]):
                save()
                raise KeyboardInterrupt(signal_number)

        while learner.epoch < settings.epochs and not learner.stopping.ended:
            started = time.monotonic()
            _train_epoch(learner, train, save, heed)
            seconds = time.monotonic() - started
            _share_buffers(model)
            checked = evaluate(learner.judged, validation, settings, learner.loss, after_batch=heed)
            if not math.isfinite(checked.loss):
                raise UserError(
                    f"the validation loss became {checked.loss} in epoch {learner.epoch + 1}: "
                    f"lower the rate, for example --set training.learning_rate=1e-4"
                )
            learned = learner.tally.outcome()
            learner.history.append(
                {
                    "epoch": learner.epoch + 1,
                    "learning_rate": learner.peak,
                    "train_loss": learned.loss,
                    "validation_loss": checked.loss,
                    "train_macro_f1": learned.macro_f1,
                    "validation_macro_f1": checked.macro_f1,
                    "images_per_second": len(learned.rows_N) / seconds,
                    "seconds": time.monotonic() - started,
                }
            )
            say(_epoch_line(learner.history[-1], settings.epochs))
            is_best = settings.keep == "last" or _is_best(learner.history, settings.keep)
            if is_best:
                _save(weights_path, learner.judged.state_dict())
            if learner.stopping.after_epoch(is_best):
                distributed.wait()
                learner.restore(torch.load(weights_path, map_location=learner.device, weights_only=True))
                say(f"  no new best in {settings.early_stopping} epochs: back to it, a tenth of the rate")
            learner.next_epoch()
            save()
            files.write_csv(folder / "history.csv", pd.DataFrame(learner.history))
            board(learner.history[-1])
    distributed.wait()
    model.load_state_dict(torch.load(weights_path, map_location=learner.device, weights_only=True))
    distributed.wait()
    if LEADS:
        state_path.unlink(missing_ok=True)
    return pd.DataFrame(learner.history)


def _train_epoch(
    learner: Learner, train: DataLoader, save: Callable[[], None], heed: Callable[[], None]
) -> None:
    """Learn from what is left of an epoch."""
    settings, sampler = learner.settings, train.batch_sampler
    sampler.epoch, sampler.first = learner.epoch, learner.batch
    learner.model.train()
    label = f"epoch {learner.epoch + 1:>{len(str(settings.epochs))}} of {settings.epochs}"
    done = sum(sampler.sizes[: learner.batch])
    with Progress(len(sampler.rows), label, "images", done) as progress:
        for batch in train:
            before = learner.last
            learner.learn(batch, learner.rate)
            # looked at a step later: by then it is there, and the device need not be waited for
            figures = _look_at(before, learner.epoch, train.dataset.source)
            progress.update(sampler.sizes[learner.batch - 1], figures)
            if learner.between_steps:
                steps = learner.schedule.position
                if settings.checkpoint_steps and steps % settings.checkpoint_steps == 0:
                    save()
                heed()
    _look_at(learner.last, learner.epoch, train.dataset.source)


def _look_at(step: tuple[torch.Tensor, Batch, int] | None, epoch: int, source: Source) -> str:
    """Return a step's loss for the progress bar; refuse one that is not finite."""
    if step is None:
        return ""
    loss, batch, number = step[0].item(), step[1], step[2]
    if math.isfinite(loss):
        return f"loss {loss:.4f}"
    ids = ", ".join(source.ids[row] for row in batch.rows_B.tolist())
    raise UserError(
        f"the loss became {loss} in epoch {epoch + 1}, step {number} (samples {ids}): "
        f"lower the rate, for example --set training.learning_rate=1e-4, and look at these samples"
    )


@contextmanager
def _interruption() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM instead of stopping at once; a second one stops at once.

    Gives a list whose last number is that of the signal that came, 0 before.
    """
    signals = [0]

    def note(number: int, frame: object) -> None:
        signals.append(number)
        for known, handler in before.items():
            signal.signal(known, handler)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
        for number in before:
            signal.signal(number, note)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def explained_memory(settings: Training) -> Iterator[None]:
    """Turn a GPU's lack of memory into one line that says what to lower."""
    try:
        yield
    except torch.OutOfMemoryError:
        half = max(settings.batch_size // 2, 2)
        raise UserError(
            f"the GPU's memory is too small for {settings.batch_size} images of {settings.size} px at once: "
            f"--set training.batch_size={half} training.accumulate={2 * settings.accumulate} takes the same "
            f"steps in half the memory"
        ) from None


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Callable[[dict[str, float]], None]]:
    """Give a function that writes a row of the history as TensorBoard events, where it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        SummaryWriter = None
    if SummaryWriter is None or not LEADS:
        yield lambda row: None
        return
    with SummaryWriter(folder) as writer:

        def write(row: dict[str, float]) -> None:
            for name, value in row.items():
                writer.add_scalar(name, value, row["epoch"])
            writer.flush()

        yield write


def _share_buffers(model: nn.Module) -> None:
    """Give every process rank 0's buffers: batch normalisation's averages, where torch keeps them apart."""
    if WORLD > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


def _is_best(history: list[dict[str, float]], keep: str) -> bool:
    column, sign = JUDGED_BY[keep]
    values = [sign * row[column] for row in history]
    return values[-1] > max(values[:-1], default=-np.inf)


def _epoch_line(row: dict[str, float], epochs: int) -> str:
    return (
        f"  epoch {row['epoch']:>{len(str(epochs))}} of {epochs}:"
        f"  loss {row['train_loss']:.4f} train {row['validation_loss']:.4f} validation,"
        f"  macro-F1 {row['train_macro_f1']:.3f} {row['validation_macro_f1']:.3f},"
        f"  {row['images_per_second']:,.0f} images a second"
    )


def _save(path: Path, value: Any) -> None:
    with files.write_atomic(path) as part:
        torch.save(value, part)


def _go_on(learner: Learner, path: Path, identity: str) -> None:
    """Restore what an interrupted try saved, if it was of the same settings and inputs."""
    try:
        state = torch.load(path, map_location=learner.device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}): --force starts anew") from None
    if state["identity"] == identity:
        learner.load_state_dict(state)
        within = (
            f", batch {learner.batch} of {len(learner.sampler.sizes)} in the next" if learner.batch else ""
        )
        say(f"  going on after epoch {learner.epoch}{within}")
