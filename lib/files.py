"""Where stages meet: files written whole or not at all, steps that know whether they are done.

A step is one unit of finished work with a manifest beside it. The manifest is written when the
work starts (so that a killed run knows whose halves lie there) and again, marked finished, as the
very last thing. It holds the settings that the step depends on and fingerprints of its inputs.
"""

import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.errors import UserError
from lib.ranks import LEADS

PACKAGES = ("torch", "timm", "numpy", "pandas", "opencv-python-headless", "albumentations",
            "scikit-learn", "iterative-stratification")  # fmt: skip


def require(path: Path, maker: str) -> Path:
    """Return `path`, or say which command makes it."""
    if not path.exists():
        raise UserError(f"{path} is missing: run `python {maker}` first")
    return path


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it, and see that it can be written to."""
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(_no_permission(folder))
    return folder


@contextmanager
def write_atomic(path: Path, shared: bool = False) -> Iterator[Path]:
    """Give a temporary name to write to, renamed to `path` when the block ends without an error.

    No reader ever sees half a file, and an interrupted writer leaves what was there before.

    Parameters
    ----------
    shared : bool
        Whether several processes may write the file at once: then each has a temporary name of its
        own. Else the name is always the same, so that the next try overwrites what a killed one left.
    """
    if not LEADS:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part" if shared else f".{path.name}.part")
    with _explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text file as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; one that holds the content already is left as it is."""
    with _explained(path.parent):
        if path.is_file() and path.read_bytes() == content:
            return
    with write_atomic(path, shared=True) as part:
        part.write_bytes(content)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table of numbers as CSV, six digits after the point, whole or not at all."""
    write_text(path, table.round(6).to_csv(index=False))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that one of our stages wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): delete it and run its stage again") from None


def fingerprint(value: Any) -> str:
    """Return 16 hex digits that stand for a JSON-like value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fingerprint_file(path: Path) -> str:
    """Return 16 hex digits that stand for a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def fingerprint_arrays(*arrays: np.ndarray) -> str:
    """Return 16 hex digits that stand for the values and shapes of arrays."""
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def file_states(folder: Path) -> dict[str, tuple[int, int]]:
    """Return of every file below a folder when it was written (ns) and its size; hidden ones aside."""
    states = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            if not name.startswith("."):  # locks, and what is being written
                with suppress(FileNotFoundError):  # others may be at work there
                    state = Path(parent, name).stat()
                    states[f"{parent}/{name}"] = (state.st_mtime_ns, state.st_size)
    return states


@contextmanager
def lock(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a folder for this process; the system lets go of it however the process ends.

    Parameters
    ----------
    shared : bool
        Together with others that hold it so: who does not, is kept out.

    Raises
    ------
    UserError
        If another process holds it.
    """
    if not LEADS:
        yield
        return
    make_folder(folder)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{folder} is in use by another process ({file.read().strip()}): "
                f"wait for it to end, or give this run a name of its own with --run NAME"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock file, once whoever holds it lets go."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass
class Step:
    """One unit of work that is done once for the same settings and inputs.

    Parameters
    ----------
    name : str
        What the user knows it by, for messages.
    manifest : Path
        Where its manifest is kept.
    settings, inputs : dict
        JSON values that decide the result: settings by name, fingerprints of inputs by name.
    outputs : list of Path
        Files without which the step is not done, whatever the manifest says.
    other_way : str
        Named in a refusal beside ``--force``: how to keep what is there and go on elsewhere.
    """

    name: str
    manifest: Path
    settings: dict[str, Any]
    inputs: dict[str, str]
    outputs: list[Path]
    other_way: str = "--run NAME keeps both"
    _started: float = field(default=0.0, init=False)

    def done(self, force: bool = False, anew: bool = False) -> bool:
        """Tell whether there is nothing to do; otherwise mark the step as started.

        Parameters
        ----------
        force : bool
            Make it again whatever is there.
        anew : bool
            Make it again where other settings or inputs were used, instead of refusing.

        Raises
        ------
        UserError
            If the work there was made with other settings or inputs, and neither `force` nor `anew`.
        """
        force = force or (anew and self.manifest.exists() and not self.matches(force=True))
        if self.finished(force) and all(path.exists() for path in self.outputs):
            return True
        self.start()
        return False

    def finished(self, force: bool = False) -> bool:
        """Tell whether the manifest says finished for these settings and inputs; refuses as `done`."""
        if not self.manifest.exists() or not self.matches(force):
            return False
        return read_json(self.manifest)["finished"] and not force

    def matches(self, force: bool = False) -> bool:
        """Tell whether what lies there was made with these settings and inputs; refuses as `done`."""
        difference = self._difference(read_json(self.manifest))
        if difference and not force:
            raise UserError(
                f"{self.manifest.parent}: the {self.name} there was made {difference}: "
                f"{self.other_way}, --force replaces it"
            )
        return not difference

    @property
    def identity(self) -> str:
        """Return a fingerprint of settings and inputs: what halves of this work are marked with."""
        return fingerprint([self.settings, self.inputs])

    def start(self) -> None:
        """Mark the step as started, for these settings and inputs."""
        self._started = time.monotonic()
        write_json(self.manifest, self._content(finished=False))

    def finish(self, **notes: Any) -> None:
        """Mark the step as finished; `notes` are kept in the manifest beside settings and inputs."""
        seconds = round(time.monotonic() - self._started, 2)
        write_json(self.manifest, self._content(finished=True, seconds=seconds, **notes))

    def _content(self, **more: Any) -> dict[str, Any]:
        return {
            "step": self.name,
            **more,
            "settings": self.settings,
            "inputs": self.inputs,
            "packages": versions(),
        }

    def _difference(self, there: dict[str, Any]) -> str:
        for kind, ours in (("settings", self.settings), ("inputs", self.inputs)):
            ours = json.loads(json.dumps(ours))  # tuples become lists, as in the file
            for key in [*ours, *(key for key in there[kind] if key not in ours)]:
                old, new = there[kind].get(key), ours.get(key)
                if old != new:
                    return (
                        f"with {key}={_short(old)}, not {_short(new)}"
                        if kind == "settings"
                        else f"from another {key}"
                    )
        return ""


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide results; empty for one that is not there."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    return found


def _short(value: Any) -> str:
    return str(value).replace("[", "").replace("]", "").replace(" ", "")


def _no_permission(folder: Path) -> str:
    return f"{folder}: no permission to write there; name a folder for all that is made with --work FOLDER"


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(_no_permission(Path(error.filename or folder))) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
            raise
        raise UserError(f"{folder}: {error.strerror}; name another place with --work FOLDER") from None
