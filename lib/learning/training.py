"""The one training loop: fit, predict, checkpoint.

A network's folder holds ``weights.pt`` (the best epoch's), ``history.csv`` (a row an epoch) and,
while it is being trained, ``state.pt``: everything that the next epoch depends on. All are written
whole or not at all, and loaded with ``weights_only``.
"""

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from lib import artifacts
from lib.config import Training
from lib.console import Progress, say
from lib.errors import UserError
from lib.learning.dataset import Batch
from lib.learning.losses import LOSSES
from lib.learning.schedules import cyclical_factor
from lib.results.metrics import macro_f1

# what an epoch is judged by: column of the history, and the sign with which more is better
JUDGED_BY = {"validation_loss": ("validation_loss", -1), "macro_f1": ("validation_macro_f1", 1)}


@dataclass(frozen=True)
class Outcome:
    """What a pass over a loader found.

    Attributes
    ----------
    rows_N : ndarray of int
        Row numbers in the order of the pass.
    probabilities_NC : ndarray of float32, in [0, 1]
    targets_NC : ndarray of bool
    loss : float
        Mean over samples.
    """

    rows_N: np.ndarray
    probabilities_NC: np.ndarray
    targets_NC: np.ndarray
    loss: float


def choose_device() -> torch.device:
    """Return the first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_deterministic(seed: int) -> None:
    """Seed torch, and have it choose kernels that give the same bits each time."""
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Return the context of mixed precision; auto takes bfloat16 where the device is quick at it."""
    if precision == "auto":
        if device.type == "cuda":
            quick = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            # names with an underscore: torch has no public word for what a CPU can do
            checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
            quick = any(getattr(torch.cpu, check, bool)() for check in checks)
        precision = "bfloat16" if quick else "float32"
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


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
        As `lib.learning.dataset.make_loader` makes them.
    settings : Training
    folder : Path
        For ``weights.pt``, ``state.pt`` and ``history.csv``.
    identity : str
        Stands for all that decides the result: a ``state.pt`` of another identity is not gone on
        with.
    resume : bool
        Go on after the last whole epoch of an interrupted try, with the same result as undisturbed.

    Returns
    -------
    DataFrame
        A row an epoch: epoch, learning_rate (the epoch's peak), train_loss, validation_loss,
        train_macro_f1, validation_macro_f1 (at 0.5), images_per_second, seconds.

    Raises
    ------
    UserError
        If the loss is not finite; names epoch, step and samples.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    history: list[dict[str, float]] = []
    state_path, weights_path = folder / "state.pt", folder / "weights.pt"
    if resume and state_path.exists():
        history = _load_state(state_path, model, optimizer, identity)
    for epoch in range(len(history), settings.epochs):
        train.batch_sampler.epoch = epoch
        started = time.monotonic()
        learned, peak = _train_epoch(model, train, optimizer, settings, epoch)
        seconds = time.monotonic() - started
        checked = evaluate(model, validation, settings.precision)
        history.append(
            {
                "epoch": epoch + 1,
                "learning_rate": peak,
                "train_loss": learned.loss,
                "validation_loss": checked.loss,
                "train_macro_f1": _macro_f1_at_half(learned),
                "validation_macro_f1": _macro_f1_at_half(checked),
                "images_per_second": len(learned.rows_N) / seconds,
                "seconds": time.monotonic() - started,
            }
        )
        say(_epoch_line(history[-1], settings.epochs))
        if settings.keep == "last" or _is_best(history, settings.keep):
            _save(weights_path, model.state_dict())
        _save_state(state_path, model, optimizer, history, identity)
        artifacts.write_text(folder / "history.csv", pd.DataFrame(history).round(6).to_csv(index=False))
    model.load_state_dict(torch.load(weights_path, weights_only=True))
    state_path.unlink(missing_ok=True)
    return pd.DataFrame(history)


def evaluate(model: nn.Module, batches: DataLoader, precision: str, label: str = "validation") -> Outcome:
    """Pass over batches without learning; `label` names the progress bar."""
    model.eval()
    total = len(batches.batch_sampler.rows)
    with torch.inference_mode(), Progress(total, label, "images") as progress:
        return _collect(_evaluated(model, batches, precision, progress))


def _evaluated(model: nn.Module, batches: DataLoader, precision: str, progress: Progress) -> Iterable:
    device = next(model.parameters()).device
    for batch in batches:
        logits_BC, targets_BC = _forward(model, batch, precision, device), batch.targets_BC
        loss = LOSSES["bce"](logits_BC.cpu(), targets_BC) if targets_BC.shape[1] else torch.tensor(0.0)
        progress.update(len(batch.rows_B))
        yield batch.rows_B, logits_BC, targets_BC, loss


def _forward(model: nn.Module, batch: Batch, precision: str, device: torch.device) -> torch.Tensor:
    """Return logits_BC, float32, on the device."""
    given = (tensor.to(device, non_blocking=True) for tensor in (batch.images_BHWK, batch.features_BF))
    with autocast(precision, device):
        return model(*given).float()


def _train_epoch(
    model: nn.Module, batches: DataLoader, optimizer: torch.optim.Optimizer, settings: Training, epoch: int
) -> tuple[Outcome, float]:
    """Return the outcome of the epoch's own forward passes, and its highest learning rate."""
    model.train()
    rates: list[float] = []
    label = f"epoch {epoch + 1} of {settings.epochs}"
    with Progress(len(batches.batch_sampler.rows), label, "images") as progress:
        return _collect(_trained(model, batches, optimizer, settings, epoch, rates, progress)), max(rates)


def _trained(
    model: nn.Module,
    batches: DataLoader,
    optimizer: torch.optim.Optimizer,
    settings: Training,
    epoch: int,
    rates: list[float],
    progress: Progress,
) -> Iterable:
    device = next(model.parameters()).device
    for step, batch in enumerate(batches):
        # the rate in the middle of the step, so that neither end of a cycle wastes one at rate 0
        position = epoch + (step + 0.5) / len(batches)
        rates.append(settings.learning_rate * cyclical_factor(position, settings.cycle_epochs))
        for group in optimizer.param_groups:
            group["lr"] = rates[-1]
        logits_BC = _forward(model, batch, settings.precision, device)
        loss = LOSSES["bce"](logits_BC, batch.targets_BC.to(device, non_blocking=True))
        if not torch.isfinite(loss):
            raise UserError(_not_finite(loss, epoch, step, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.update(len(batch.rows_B), f"loss {loss.item():.4f}")
        yield batch.rows_B, logits_BC.detach(), batch.targets_BC, loss.detach()


def _collect(passes: Iterable) -> Outcome:
    rows, probabilities, targets, losses = [], [], [], []
    for rows_B, logits_BC, targets_BC, loss in passes:
        rows.append(rows_B.numpy())
        probabilities.append(logits_BC.sigmoid().cpu().numpy())
        targets.append(targets_BC.numpy() > 0.5)
        losses.append(float(loss) * len(rows_B))
    rows_N = np.concatenate(rows)
    return Outcome(rows_N, np.concatenate(probabilities), np.concatenate(targets), sum(losses) / len(rows_N))


def _macro_f1_at_half(outcome: Outcome) -> float:
    return macro_f1(outcome.targets_NC, outcome.probabilities_NC >= 0.5)


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


def _not_finite(loss: torch.Tensor, epoch: int, step: int, batch: Batch) -> str:
    rows = ", ".join(str(int(row)) for row in batch.rows_B)
    return (
        f"the loss became {loss.item()} in epoch {epoch + 1}, step {step + 1} (rows {rows} of index.csv): "
        f"lower the rate, for example --set training.learning_rate=1e-4, and look at these samples"
    )


def _save(path: Path, value: Any) -> None:
    with artifacts.write_atomic(path) as part:
        torch.save(value, part)


def _save_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, history: list, identity: str
) -> None:
    state = {
        "identity": identity,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all(),
    }
    _save(path, state)


def _load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str) -> list:
    """Restore what `_save_state` saved and return the history; an empty one for another identity."""
    state = torch.load(path, map_location=next(model.parameters()).device, weights_only=True)
    if state["identity"] != identity:
        return []
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"].cpu())
    torch.cuda.set_rng_state_all([random.cpu() for random in state["random_cuda"]])
    say(f"  going on after epoch {len(state['history'])}")
    return state["history"]
