"""Files and folders: atomic writing, fingerprints and locks; reading is in `stage_files` and `tables`."""

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
from typing import Any

import numpy as np
import pandas as pd

from lib import machine
from lib.console import warn
from lib.distributed import LOCAL_WORLD, WORLD
from lib.errors import InUseError, UserError
from lib.machine import ELSEWHERE, one_line_errors
from lib.stage_files import damaged as damaged
from lib.stage_files import read_json as read_json
from lib.stage_files import read_results as read_results
from lib.stage_files import reading as reading
from lib.stage_files import require as require
from lib.stage_files import rewrite
from lib.tables import read_table as read_table

# where spreadsheets begin a formula: first in a cell, or after what they may take for a delimiter; with the
# full-width forms (OWASP, "CSV injection")
FORMULA = re.compile("(^|[;\t\r\n])(?=[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_warned: list[Path] = []  # a folder without locks, once it has been warned of


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
    """Write a table for people as CSV, as `write_bytes` does: numbers with six decimals, text made safe.

    Text becomes `spreadsheet_safe`. Not for the submission and tables that are read back by id (index, split,
    features): their ids are written unchanged.
    """
    write_text(path, table.map(spreadsheet_safe).round(6).to_csv(index=False))


def spreadsheet_safe(cell: Any) -> Any:
    """Return a cell of a table with an apostrophe wherever a spreadsheet would begin to execute its text.

    >>> spreadsheet_safe("=1+1"), spreadsheet_safe("-1.5"), spreadsheet_safe(-1.5), spreadsheet_safe("a=1")
    ("'=1+1", '-1.5', -1.5, 'a=1')
    """
    return FORMULA.sub(r"\1'", cell) if isinstance(cell, str) and not NUMBER.fullmatch(cell) else cell


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, as `write_bytes` does."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def fingerprint(value: Any) -> str:
    """Return a fingerprint, 16 hex digits, of a JSON-like value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fingerprint_file(path: Path) -> str:
    """Return a fingerprint, 16 hex digits, of a file's bytes; a `UserError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): check its permissions, or {rewrite('')}"
        ) from None


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

    Where the file system has no locks, a warning replaces it, or an error if processes rely on it.

    Parameters
    ----------
    shared : bool
        Allow other shared locks at the same time, but no exclusive one.

    Raises
    ------
    InUseError
        If another process holds the lock; the message gives its process number.
    """
    make_folder(folder)
    with _open_lock(folder / ".lock") as descriptor:
        try:
            _acquire(descriptor, folder, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            found = re.match(rb"process (\d+)", os.pread(descriptor, 30, 0))
            holder = found[1].decode() if found else ""
            name = f"process {holder}" if holder else "of unknown number"
            raise InUseError(
                f"{folder} is in use by another process ({name}): "
                f"wait until it has finished, or choose another name for this run with --run NAME",
                holder,
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
    """Lock a file; raises a `BlockingIOError` if another process holds it, and warns if none can.

    A `UserError` instead of the warning where processes rely on locks to share networks.
    """
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        raise
    except OSError as error:
        none = f"{folder}: the file system has no locks ({error.strerror}), so"
        if LOCAL_WORLD > WORLD:
            raise UserError(
                f"{none} processes cannot share networks: start run_all.sh without --gpus, or {ELSEWHERE}"
            ) from None
        if not _warned and multiprocessing.parent_process() is None:  # in the process that the user started
            _warned.append(folder)
            warn(f"{none} two runs at once are not kept apart: start only one at a time with this --work")
