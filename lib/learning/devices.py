"""The device that networks run on, and their precision."""

import ctypes
import os
import shutil
from copy import deepcopy

import torch
from torch import nn

from lib.errors import UserError

# with a larger share of its multiplications in depthwise convolutions, a network trains faster in float32
# than in bfloat16 on a CPU: those with 7 to 9 % do (MobileNetV2, EfficientNet-Lite0), those with 0 to 5 %
# (ResNet, ConvNeXt, EfficientNetV2) do not; all predict faster in bfloat16
SLOW_SHARE = 0.06


def choose_device() -> torch.device:
    """Return this process's GPU if there is one, else the CPU."""
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu")


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for the next step, where its C library is glibc's.

    By default, glibc returns large blocks to the kernel, which clears them before it provides them again: up
    to a fifth of the time of a training step on a CPU.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return
    trim_threshold, top_pad, most_mapped_blocks = -1, -2, -4  # as in malloc.h
    set_option(trim_threshold, 2**31 - 1)
    set_option(top_pad, 2**26)
    set_option(most_mapped_blocks, 0)


def make_deterministic(seed: int, benchmark: bool = False) -> None:
    """Seed torch, and let it use only kernels that give the same bits each time.

    Parameters
    ----------
    seed : int
    benchmark : bool
        Let cuDNN use the kernels that it measures to be fastest instead: not always the same ones.
    """
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.deterministic = not benchmark


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


def resolve_precision(precision: str, device: torch.device, model: nn.Module, gradients: bool) -> str:
    """Return the precision that a network computes in on a device: float32, bfloat16 or float16.

    Parameters
    ----------
    precision : str
        As the setting ``training.precision``. ``auto`` selects as `choose_type` does, but float32 on a CPU
        for the gradients of a network with much of its work in depthwise convolutions (`SLOW_SHARE`).
    model : nn.Module
        A `lib.learning.models.Classifier` if it has depthwise convolutions.
    gradients : bool
        Whether gradients are computed too, as in training.
    """
    chosen = choose_type(precision, device)
    if gradients and precision == "auto" and chosen == torch.bfloat16 and device.type == "cpu":
        chosen = torch.float32 if depthwise_share(model) > SLOW_SHARE else chosen
    return str(chosen).removeprefix("torch.")


def depthwise_share(model: nn.Module) -> float:
    """Return the share of a backbone's multiplications that is in depthwise convolutions.

    Parameters
    ----------
    model : nn.Module
        A `lib.learning.models.Classifier` if it has any.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    if not any(_is_depthwise(layer) for layer in layers):
        return 0.0
    multiplications = {True: 0, False: 0}

    def count(layer: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        multiplications[_is_depthwise(layer)] += output.numel() * layer.weight[0].numel()

    backbone, spec = deepcopy(model.backbone).cpu().eval(), model.spec
    for layer in backbone.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        backbone(torch.zeros(1, len(spec.channels), spec.size, spec.size))
    return multiplications[True] / sum(multiplications.values())


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1


class _InFloat32:
    """What `in_float32` adds to a layer's class."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        with torch.autocast(values.device.type, enabled=False):
            return super().forward(values.float())


def in_float32(layers: nn.Module | tuple[nn.Module, ...]) -> None:
    """Let a layer, or several, compute in float32 in mixed precision too; their weights stay as they are.

    A bfloat16 logit has three significant digits, too few to rank the samples of a rare class.
    """
    for layer in layers if isinstance(layers, tuple) else (layers,):
        kind = type(layer)
        layer.__class__ = type(kind.__name__, (_InFloat32, kind), {})


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
