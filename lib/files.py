"""Files and folders: atomic writing, reading with one-line errors, fingerprints and locks."""

import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import platform
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib import machine
from lib.console import warn
from lib.errors import UserError
from lib.labels import CLASSES, class_number
from lib.machine import one_line_errors

_warned: list[Path] = []  # a folder without locks, once it has been warned of


def require(path: Path, script: str) -> Path:
    """Return `path`; where it is missing, raise a `UserError` that names the script that creates it."""
    if not path.exists():
        raise UserError(f"{path} is missing: run `python {script}` first")
    return path


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents, and check that it is writable."""
    with one_line_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(machine.no_permission(folder))
    return folder


@contextmanager
def write_atomic(path: Path, concurrent: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` if the block ends without an error.

    A reader never finds a partial file, and an interrupted writer leaves the previous content in place.

    Parameters
    ----------
    concurrent : bool
        Whether several processes may write the file at once: each then uses its own temporary name, and
        removes what killed writers on this machine left. Otherwise the name is always the same, so that the
        next attempt overwrites it.

    Raises
    ------
    UserError
        If the folder is not writable, the disk is full, or another error of the system ends the writing.
    """
    writer = f".{platform.node()}.{os.getpid()}" if concurrent else ""
    part = path.with_name(f".{path.name}{writer}.part")
    with one_line_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if concurrent:
            _remove_abandoned(path)
        part.unlink(missing_ok=True)  # a link in its place would be followed
        try:
            yield part
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of writers of `path` that were killed on this machine."""
    pattern = re.compile(re.escape(f".{path.name}.{platform.node()}.") + r"(\d+)\.part")
    for part in path.parent.iterdir():
        match = pattern.fullmatch(part.name)
        if match and not _is_running(int(match[1])):
            part.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8), as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; a file that already has this content is left untouched."""
    with one_line_errors(path.parent):
        if path.is_file() and path.read_bytes() == content:
            return
    with write_atomic(path, concurrent=True) as part:
        part.write_bytes(content)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, numbers with six decimals, as `write_bytes` does."""
    write_text(path, table.round(6).to_csv(index=False))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, as `write_bytes` does."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that a stage wrote; raises a `UserError` if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete it and run the stage that writes it again"
        ) from None


class ClassRow(NamedTuple):
    """A row of a table of classes: line in the file, class number, and text of the other column."""

    line: int
    label: int
    text: str


def read_class_table(path: Path, columns: tuple[str, str], class_column: str) -> list[ClassRow]:
    """Read a CSV file that says something about each class: a row per class, by number or name.

    Parameters
    ----------
    columns : tuple of (str, str)
        Names of its columns; others are ignored.
    class_column : str
        Which of the two holds the class; the other column is returned as text.

    Raises
    ------
    UserError
        If a column is missing, or a class is unknown or listed twice.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    if not set(columns) <= set(table):
        raise UserError(f"{path} has the columns {','.join(table)}; expected {','.join(columns)}")
    (other,) = set(columns) - {class_column}
    rows: dict[int, ClassRow] = {}
    for line, (name, text) in enumerate(zip(table[class_column], table[other], strict=True), start=2):
        label = class_number(name)
        if label is None:
            raise UserError(
                f"{path}, line {line}: {class_column} {name!r} is none of the 28; expected 0-27 or a name"
            )
        if label in rows:
            raise UserError(
                f"{path}, line {line}: {CLASSES[label]} is already in line {rows[label].line}; "
                f"expected each class once"
            )
        rows[label] = ClassRow(line, label, text)
    return list(rows.values())


def fingerprint(value: Any) -> str:
    """Return a fingerprint, 16 hex digits, of a JSON-like value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fingerprint_file(path: Path) -> str:
    """Return a fingerprint, 16 hex digits, of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def fingerprint_arrays(*arrays: np.ndarray) -> str:
    """Return a fingerprint, 16 hex digits, of the values, shapes and dtypes of arrays."""
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def fingerprints(*paths: Path) -> dict[str, str]:
    """Return fingerprints of files by name, or by folder and name where names repeat, as inputs of a step."""
    count = Counter(path.name for path in paths)
    return {
        path.name if count[path.name] == 1 else f"{path.parent.name}/{path.name}": fingerprint_file(path)
        for path in paths
    }


@contextmanager
def lock(folder: Path, shared: bool = False) -> Iterator[None]:
    """Lock a folder for this process; the system releases the lock however the process ends.

    Where the file system has no locks, a warning replaces it.

    Parameters
    ----------
    shared : bool
        Allow other shared locks at the same time, but no exclusive one.

    Raises
    ------
    UserError
        If another process holds the lock; the message gives its process number.
    """
    make_folder(folder)
    with _open_lock(folder / ".lock") as descriptor:
        try:
            _acquire(descriptor, folder, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = re.match(rb"process \d+", os.pread(descriptor, 30, 0))
            name = holder[0].decode() if holder else "of unknown number"
            raise UserError(
                f"{folder} is in use by another process ({name}): "
                f"wait until it has finished, or choose another name for this run with --run NAME"
            ) from None
        with suppress(OSError):  # another user's file, or a full disk: the number only serves the message
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()}".encode(), 0)
        yield


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Lock a file, waiting until any other process releases it; the file is created if missing."""
    with _open_lock(path) as descriptor:
        _acquire(descriptor, path.parent, fcntl.LOCK_EX)
        yield


@contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    """Yield the descriptor of a file to lock, never of one that a link or a device leads to."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # does not wait, should it be a FIFO
    wrong = UserError(f"{path} is a link, a folder or a device, where a lock file belongs: remove it")
    with one_line_errors(path.parent):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
        except PermissionError:
            if not path.exists():
                raise
            descriptor = os.open(path, os.O_RDONLY | flags)  # another user's: it can be locked all the same
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise
            raise wrong from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise wrong
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, folder: Path, how: int) -> None:
    """Lock a file; raises a `BlockingIOError` if another process holds it, and warns if none can."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        raise
    except OSError as error:
        if not _warned and multiprocessing.parent_process() is None:  # in the process that the user started
            _warned.append(folder)
            warn(
                f"{folder}: the file system has no locks ({error.strerror}), so two runs at once are not "
                f"kept apart: start only one at a time with this --work"
            )
