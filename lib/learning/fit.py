"""The one training loop: fits a network, and can be interrupted and resumed at any step.

A network's folder holds ``weights.safetensors`` (of the best epoch), ``history.csv`` (a row per epoch) and,
until its predictions are saved, ``state.pt``: everything that the next step depends on. All are written
completely or not at all; ``state.pt`` is loaded with ``weights_only``.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from lib import distributed, files, machine, schema, signals
from lib.console import Progress, info, warn
from lib.distributed import WORLD, is_primary
from lib.errors import UserError
from lib.evaluation import predictions
from lib.learning import models
from lib.learning.averaging import recompute_statistics
from lib.learning.inference import predict
from lib.learning.loader import Batch
from lib.learning.losses import activation
from lib.learning.train_state import TrainState
from lib.learning.training_data import SampleSource
from lib.sections import Training
from lib.stage_files import check_archive

# selects the best epoch: column of the history, and 1 where higher is better, -1 where lower is
SELECTION = {"validation_loss": ("validation_loss", -1), "macro_f1": ("validation_macro_f1", 1)}


def fit(
    model: nn.Module,
    train: DataLoader,
    validation: DataLoader,
    settings: Training,
    folder: Path,
    identity: str,
    resume: bool = True,
) -> pd.DataFrame:
    """Train a network, keep the best epoch's weights in `folder` and load them.

    Parameters
    ----------
    model : nn.Module
        Takes images_BHWK uint8 and features_BF, returns logits_BC; already on its device.
    train, validation : DataLoader
        As `lib.learning.loader.make_loader` returns them.
    settings : Training
    folder : Path
        For ``weights.safetensors``, ``state.pt`` and ``history.csv``.
    identity : str
        Stands for everything that determines the result: a ``state.pt`` of another identity is not resumed.
    resume : bool
        Continue where an interrupted training stopped, with the same result as an uninterrupted one.

    Returns
    -------
    DataFrame
        A row per epoch: epoch, learning_rate (the epoch's highest), train_loss, validation_loss,
        train_macro_f1, validation_macro_f1 (at a threshold of 0.5), images_per_second, seconds.

    Raises
    ------
    UserError
        If the loss is not finite (names epoch, step and samples), or the GPU's memory is too small.
    KeyboardInterrupt
        After SIGINT, SIGTERM or SIGHUP, when the current step is finished and saved.
    """
    state = TrainState(model, settings, train)
    state_path, weights_path = folder / "state.pt", folder / "weights.safetensors"
    if resume and state_path.exists():
        _resume(state, state_path, weights_path, identity)

    def save() -> None:
        _check_loss(state.last, state.epoch, train.dataset.source)  # never keep a diverged network
        content = state.state_dict() | {"identity": identity}
        if is_primary():
            # torch hides what went wrong when it opens the file itself
            with files.write_atomic(state_path) as part, part.open("wb") as file:
                torch.save(content, file)

    with signals.recorded() as received, explained_memory(settings), _tensorboard(folder) as write_events:

        def stop_if_interrupted() -> None:
            if signal_number := distributed.maximum(received[-1]):
                save()
                raise KeyboardInterrupt(signal_number)

        while state.epoch < settings.epochs and not state.stopping.ended:
            row = _run_epoch(state, train, validation, save, stop_if_interrupted)
            info(_epoch_line(row, settings.epochs))
            _keep_best(state, weights_path)
            state.next_epoch()
            if is_primary():  # before the state: a training that is resumed after its last epoch only ends
                history = pd.DataFrame(state.history)
                rates = history["learning_rate"].map("{:.6g}".format)  # six decimals may be too few
                files.write_csv(folder / "history.csv", history.assign(learning_rate=rates))
            save()
            write_events(row)
        if signal_number := distributed.maximum(received[-1]):  # after the last batch; all is saved
            raise KeyboardInterrupt(signal_number)
    distributed.barrier()
    model.load_state_dict(models.load_weights(weights_path))
    return pd.DataFrame(state.history)


def _run_epoch(
    state: TrainState,
    train: DataLoader,
    validation: DataLoader,
    save: Callable[[], None],
    stop_if_interrupted: Callable[[], None],
) -> dict[str, float]:
    """Train and validate for an epoch; append a row to the history and return it."""
    settings, started = state.settings, time.monotonic() - state.seconds
    _train_epoch(state, train, save, stop_if_interrupted)
    if state.average_last_epochs():
        recompute_statistics(state.evaluated, train, settings, state.precision, stop_if_interrupted)
    _share_buffers([*state.model.buffers(), *state.evaluated.buffers()])
    validated = predict(
        state.evaluated,
        validation,
        settings.precision,
        activation(settings.loss),
        state.loss,
        after_batch=stop_if_interrupted,
    )
    if not math.isfinite(validated.loss):
        raise UserError(
            f"the validation loss became {validated.loss} in epoch {state.epoch + 1}: "
            f"lower the learning rate, for example --set training.learning_rate=1e-4"
        )
    trained = state.train_result()
    state.history.append(
        {
            "epoch": state.epoch + 1,
            "learning_rate": state.peak,
            "train_loss": trained.loss,
            "validation_loss": validated.loss,
            "train_macro_f1": trained.macro_f1,
            "validation_macro_f1": validated.macro_f1,
            "images_per_second": len(trained.rows_N) / state.seconds,
            "seconds": time.monotonic() - started,
        }
    )
    return state.history[-1]


def _keep_best(state: TrainState, weights_path: Path) -> None:
    """Save the weights of a new best epoch; after too many epochs without one, go back to them."""
    settings = state.settings
    is_best = settings.keep == "last" or _is_best(state.history, settings.keep)
    if is_best and is_primary():
        models.save_weights(weights_path, state.evaluated.state_dict())
    if state.stopping.after_epoch(is_best):
        distributed.barrier()
        state.restore(models.load_weights(weights_path))
        info(
            f"  no improvement in {settings.early_stopping} epochs: best weights restored, learning rate / 10"
        )


def _train_epoch(
    state: TrainState, train: DataLoader, save: Callable[[], None], stop_if_interrupted: Callable[[], None]
) -> None:
    """Train on the remaining batches of an epoch."""
    settings, sampler, started = state.settings, train.batch_sampler, time.monotonic() - state.seconds
    sampler.epoch, sampler.first = state.epoch, state.batch
    state.model.train()
    label = f"epoch {state.epoch + 1:>{len(str(settings.epochs))}} of {settings.epochs}"
    done = sum(sampler.sizes[: state.batch])
    with Progress(len(sampler.rows), label, "images", done) as progress:
        for batch in train:
            previous = state.last
            state.train_batch(batch, state.rate)
            # checked one step later, when it has been computed and the device need not be waited for
            figures = _check_loss(previous, state.epoch, train.dataset.source)
            progress.update(sampler.sizes[state.batch - 1], figures)
            state.seconds = time.monotonic() - started
            if state.between_steps:
                steps = state.schedule.position
                if settings.checkpoint_steps and steps % settings.checkpoint_steps == 0:
                    save()
                stop_if_interrupted()
    _check_loss(state.last, state.epoch, train.dataset.source)
    state.seconds = time.monotonic() - started


def _check_loss(step: tuple[torch.Tensor, Batch, int] | None, epoch: int, source: SampleSource) -> str:
    """Return a step's loss for the progress bar; a `UserError` if it is not finite."""
    if step is None:
        return ""
    loss, batch, number = step[0].item(), step[1], step[2]
    if math.isfinite(loss):
        return f"loss {loss:.4f}"
    ids = ", ".join(source.ids[row] for row in batch.rows_B.tolist())
    raise UserError(
        f"the loss became {loss} in epoch {epoch + 1}, step {number} (samples {ids}): lower the learning "
        f"rate, for example --set training.learning_rate=1e-4, and inspect these samples"
    )


@contextmanager
def explained_memory(settings: Training) -> Iterator[None]:
    """Turn an out-of-memory error of the GPU into one line with the remedy."""
    try:
        yield
    except torch.OutOfMemoryError:
        remedy, half = "choose a smaller training.size, or a smaller network", settings.batch_size // 2
        if half >= 2 * WORLD:  # as many as each process needs
            parts = 2 * settings.accumulate
            remedy = (
                f"--set training.batch_size={half} training.accumulate={parts} trains in half the memory, "
                f"with steps of {half * parts} images"
            )
        raise UserError(
            f"the GPU's memory is too small for {settings.batch_size} images of {settings.size} px: {remedy}"
        ) from None


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield a function that writes a row of the history as TensorBoard events, if it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        SummaryWriter = None
    if SummaryWriter is None or not is_primary():
        yield lambda row: None
        return
    with machine.one_line_errors(folder):
        writer = SummaryWriter(folder)

    def write(row: dict[str, float]) -> None:
        with machine.one_line_errors(folder):
            for name, value in row.items():
                writer.add_scalar(name, value, row["epoch"])
            writer.flush()

    try:
        yield write
    finally:
        with suppress(OSError):  # reported by `write`
            writer.close()


def _share_buffers(buffers: list[torch.Tensor]) -> None:
    """Copy the primary process's buffers to all: torch keeps batch normalisation's averages separate."""
    if WORLD > 1:
        for buffer in buffers:
            torch.distributed.broadcast(buffer, src=0)


def _is_best(history: list[dict[str, float]], keep: str) -> bool:
    column, sign = SELECTION[keep]
    values = [sign * row[column] for row in history]
    return values[-1] > max(values[:-1], default=-np.inf)


def _epoch_line(row: dict[str, float], epochs: int) -> str:
    return (
        f"  epoch {row['epoch']:>{len(str(epochs))}} of {epochs}:"
        f"  loss train {row['train_loss']:.4f}, validation {row['validation_loss']:.4f};"
        f"  macro-F1 at 0.5 train {row['train_macro_f1']:.3f}, validation {row['validation_macro_f1']:.3f};"
        f"  {row['images_per_second']:,.0f} images/s"
    )


def _resume(state: TrainState, path: Path, weights_path: Path, identity: str) -> None:
    """Restore what an interrupted training saved, if it had the same settings and inputs.

    Without the weights of its best epoch, which a later one may not surpass, training starts anew.
    """
    with files.reading(path, predictions.creator(path.parent)):
        check_archive(path)
        # on the CPU, where an optimiser keeps its count of steps: on a GPU, each step would wait for it
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["identity"] != identity:
            return
        _check_saved(content, state)
        if content["history"] and not _can_be_read(weights_path):
            warn(f"{weights_path}, of the best epoch, is missing or damaged: training starts anew")
            return
        state.load_state_dict(content)
    batches = len(state.sampler.sizes)
    within = f", batch {state.batch} of {batches} of the next" if state.batch else ""
    info(f"  resuming after epoch {state.epoch}{within}")


def _can_be_read(weights_path: Path) -> bool:
    try:
        models.load_weights(weights_path)
    except UserError:
        return False
    return True


def _check_saved(content: dict[str, Any], state: TrainState) -> None:
    """Raise a `ValueError` where a saved state cannot be that of this training."""
    difference = models.find_difference(state.model.state_dict(), content["model"])
    if difference:
        raise ValueError(difference)
    epochs, batches = state.settings.epochs, len(state.sampler.sizes)
    for name, highest in (("epoch", epochs), ("batch", batches), ("schedule", epochs * batches)):
        if not 0 <= content[name] <= highest:
            raise ValueError(f"{name} is {content[name]}, expected 0 to {highest}")
    history = schema.parse(content["history"], list[dict[str, float]], "history")
    if len(history) != content["epoch"] or not all(
        column in row for row in history for column, _ in SELECTION.values()
    ):
        raise ValueError("its history is not that of its epochs")
