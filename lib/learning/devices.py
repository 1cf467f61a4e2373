"""The device that networks run on, and their precision."""

import os
import shutil

import torch
from torch import nn

from lib.errors import UserError


def choose_device() -> torch.device:
    """Return this process's GPU if there is one, else the CPU."""
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu")


def make_deterministic(seed: int) -> None:
    """Seed torch, and let it use only kernels that give the same bits each time."""
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def choose_type(precision: str, device: torch.device) -> torch.dtype:
    """Return the data type of mixed precision; float32 means none.

    Parameters
    ----------
    precision : str
        As the setting ``training.precision``. ``auto`` selects bfloat16 where the device has fast
        instructions for it, else float16 on a GPU and float32 on a CPU.
    """
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float16
    # private functions: torch has no public ones for what a CPU supports
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    fast = any(getattr(torch.cpu, check, bool)() for check in checks)
    return torch.bfloat16 if fast else torch.float32


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return a context manager for mixed precision; `precision` is as for `choose_type`."""
    chosen = choose_type(precision, device)
    enabled = chosen != torch.float32
    return torch.autocast(device.type, chosen if enabled else None, enabled=enabled)


def compiled(network: nn.Module) -> nn.Module:
    """Return the network compiled by ``torch.compile``.

    Raises
    ------
    UserError
        If there is no C++ compiler, which ``torch.compile`` needs.
    """
    names = (os.environ.get("CXX") or "g++", "c++", "clang++")
    if not any(map(shutil.which, names)):
        raise UserError(f"training.compile=true needs a C++ compiler, none of {' '.join(names)} was found")
    return torch.compile(network)
