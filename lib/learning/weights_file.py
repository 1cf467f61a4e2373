"""Reading of a user's file of weights, or of a network's folder: nothing in it is executed."""

import argparse
import hashlib
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from lib.console import format_bytes
from lib.errors import UserError

IN_FOLDERS = ("weights.safetensors", "model.safetensors", "pytorch_model.bin")  # ours, and the hub's
KINDS = "expected safetensors, or a state dict that torch.save wrote"
MAX_NESTING = 4  # of dicts in a checkpoint
MAX_UNPACKED = 10  # times the size of the file; torch.save does not compress

# what a number of numpy's consists of in a file; old and new names
IGNORED = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")

Weights = dict[str, torch.Tensor]


class _Ignored:
    """Stands for a number of numpy's in a checkpoint, such as its score: nothing of numpy is called."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


def find(path: Path, architecture: str) -> Path:
    """Return the path of the file; `path` may be the folder that holds it."""
    found = next((path / name for name in IN_FOLDERS if (path / name).is_file()), path)
    if found.is_file():
        return found
    if not path.exists():
        raise UserError(f"network.start={path} is missing: expected the weights of {architecture}")
    folds = sorted(path.glob("fold_*")) if path.is_dir() else []
    hint = f"name one of its folds, for example {folds[0]}" if folds else f"{KINDS}, or a network's folder"
    raise UserError(f"network.start={path} is not a file of weights: {hint}")


def read(path: Path) -> Weights:
    """Return every tensor in a file, whatever its suffix; names of nested dicts are joined by dots.

    Nothing in the file is executed.

    Raises
    ------
    UserError
        If it is empty, truncated, of another kind, or holds more than tensors and plain values.
    """
    start = b""
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if not start:
            raise UserError(f"network.start={path} is empty: {KINDS}")
        # a safetensors file begins with a length of 8 bytes, then JSON
        content = load_file(path) if start[8:9] == b"{" else _unpickle(path)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # damaged bytes lead the readers to exceptions of any type
        reason = _reason(str(error), start) if start else getattr(error, "strerror", error)
        raise UserError(f"network.start={path} cannot be read: {reason}; {KINDS}") from None
    weights = {name: value for name, value in _flatten(content, MAX_NESTING) if is_usable(value)}
    if not weights:
        raise UserError(f"network.start={path} holds no weights: {KINDS}")
    return weights


def identify(path: Path) -> dict[str, str]:
    """Return the size of a file in bytes and its SHA-256, by which it can be recognised."""
    with path.open("rb") as file:
        return {"bytes": str(path.stat().st_size), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _unpickle(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED * path.stat().st_size:
            raise UserError(f"network.start={path} unpacks to {format_bytes(unpacked)}: {KINDS}")
    known = [argparse.Namespace, *((_Ignored, name) for name in IGNORED)]
    with warnings.catch_warnings(), torch.serialization.safe_globals(known):
        warnings.simplefilter("ignore")  # about pickle protocols and TorchScript
        with path.open("rb") as file:  # given the path, torch would go by the suffix
            return torch.load(file, map_location="cpu", weights_only=True)


def _reason(text: str, start: bytes) -> str:
    """Return what is wrong with a file, in a phrase.

    Parameters
    ----------
    text : str
        The reader's message.
    start : bytes
        The file's first bytes.
    """
    blocked = re.search(r"GLOBAL (\S+)", text)
    if blocked:
        return (
            f"it holds {blocked[1]}, which is code, not weights; save them with "
            f"torch.save(model.state_dict(), FILE)"
        )
    if "TorchScript" in text:
        return "it is a TorchScript archive"
    if start[8:9] == b"{" or start.startswith((b"PK", b"\x80")):
        return "it is truncated, damaged or of another kind"
    return f"it begins with {start!r}"


def _flatten(content: Any, depth: int, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict) and depth:
        for name, value in content.items():
            yield from _flatten(value, depth - 1, f"{prefix}{name}.")
    else:
        yield prefix[:-1], content


def is_usable(value: Any) -> bool:
    """Return whether a value is a tensor that another one can be set to."""
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def same_shape(first: Weights, second: Weights, name: str) -> bool:
    """Return whether both have a tensor of the name, and of the same shape."""
    return name in first and name in second and first[name].shape == second[name].shape
