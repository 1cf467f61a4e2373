"""What a network computes on, and how precisely."""

import os
import shutil

import torch
from torch import nn

from lib.errors import UserError


def choose_device() -> torch.device:
    """Return this process's GPU where there is one, else the CPU."""
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu")


def make_deterministic(seed: int) -> None:
    """Seed torch, and have it choose kernels that give the same bits each time."""
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def choose_type(precision: str, device: torch.device) -> torch.dtype:
    """Return the type of mixed precision; float32 means none.

    ``auto`` takes bfloat16 where the device is quick at it, else float16 on a GPU, else float32.
    """
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        quick = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if quick else torch.float16
    # names with an underscore: torch has no public word for what a CPU can do
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    quick = any(getattr(torch.cpu, check, bool)() for check in checks)
    return torch.bfloat16 if quick else torch.float32


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context of mixed precision."""
    chosen = choose_type(precision, device)
    enabled = chosen != torch.float32
    return torch.autocast(device.type, chosen if enabled else None, enabled=enabled)


def compiled(network: nn.Module) -> nn.Module:
    """Return the network as torch.compile makes it.

    Raises
    ------
    UserError
        If there is no C++ compiler, which torch needs for it.
    """
    names = (os.environ.get("CXX") or "g++", "c++", "clang++")
    if not any(map(shutil.which, names)):
        raise UserError(f"training.compile=true needs a C++ compiler, none of {' '.join(names)} was found")
    return torch.compile(network)
