"""Files that a stage writes and others read back: what is read is checked, and errors name the stage.

Any of them may have been damaged, edited or deleted. A reader raises a `UserError` with the file, the reason,
and the stage that writes it again.
"""

import errno
import json
import math
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import schema
from lib.errors import UserError, quote
from lib.tables import read_table

SHARE, COUNT, NUMBER = (0.0, 1.0), (0.0, np.inf), (-np.inf, np.inf)  # bounds of columns of numbers
LONGEST_REASON = 200  # characters


def require(path: Path, script: str) -> Path:
    """Return `path`; where it is missing, raise a `UserError` that names the script that creates it."""
    if not path.exists():
        raise _missing(path, script)
    return path


def rewrite(script: str) -> str:
    """Return the remedy for a damaged file: the script writes what is missing, or with --force all."""
    if not script:
        return "delete it and run all stages again in their order, which repeat only what is missing"
    return ("" if "--force" in script else "delete it and ") + f"run `python {script}` to write it again"


def damaged(path: Path, reason: str, script: str) -> UserError:
    """Return the error for a damaged file that a script writes (empty: not known); the reason is a phrase."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(reason.split()))
    shortened = text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
    return UserError(f"{path} is damaged ({shortened}): {rewrite(script)}")


@contextmanager
def reading(path: Path, script: str) -> Iterator[None]:
    """Turn every failure to read a file that a script writes into a `UserError`.

    The block reads and checks the file, and raises a `ValueError` with the reason where it is damaged.
    """
    try:
        if not stat.S_ISREG(require(path, script).stat().st_mode):  # a named pipe would wait for a writer
            raise ValueError("it is a folder" if path.is_dir() else "it is not a regular file")
        yield
    except UserError:
        raise
    except Exception as error:  # parsers raise almost anything where the bytes are not what they expect
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # that of torch
            raise
        if isinstance(error, FileNotFoundError):  # removed in this moment
            raise _missing(path, script) from None
        # EINVAL: the content leads to a place before the file's start, as in an archive that was cut off
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise UserError(
                f"{path} cannot be read ({error.strerror}): check its permissions and the disk, then run the "
                f"same command again"
            ) from None
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise damaged(path, reason, script) from None


def read_json(path: Path, script: str = "", kind: Any = Any) -> Any:
    """Read a JSON file that a script writes.

    Parameters
    ----------
    script : str
        As `damaged` takes it.
    kind : type
        What it contains, as `lib.schema.parse` takes it.

    Raises
    ------
    UserError
        If it is missing, cannot be read, or contains something else.
    """
    with reading(path, script):
        content = path.read_text(encoding="utf-8-sig")  # editors may add a byte order mark
        return schema.parse(json.loads(content, parse_constant=_reject_constant), kind)


def read_results(
    path: Path,
    script: str,
    keys: Sequence[str],
    numbers: dict[str, tuple[float, float]],
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """Read a CSV file of numbers that a script writes.

    Parameters
    ----------
    keys : sequence of str
        Columns of text, whose values together differ between the rows.
    numbers : dict of (float, float)
        Bounds of columns of numbers. Further columns are numbers without bounds.
    may_be_empty : bool
        Whether there may be no rows.

    Returns
    -------
    DataFrame
        nan where a cell is empty.

    Raises
    ------
    UserError
        If it is missing or cannot be read, lacks a column or rows, or contains something else.
    """
    with reading(path, script):
        table = read_table(path, rewrite(script), [*keys, *numbers])
        if table.empty and not may_be_empty:
            raise ValueError("it has no rows")
        for name in table.columns.difference(keys):
            low, high = numbers.get(name, NUMBER)
            table[name] = parse_numbers(table[name], low, high)
        repeated = table.index[table.duplicated(list(keys))] if keys else ()
        if len(repeated):
            raise ValueError(f"line {repeated[0]} repeats {', '.join(table.loc[repeated[0], list(keys)])}")
        return table.reset_index(drop=True)


def parse_numbers(cells: pd.Series, low: float = -np.inf, high: float = np.inf) -> pd.Series:
    """Return text cells as numbers: int64 where all are whole, else float64 with nan where a cell is empty.

    Parameters
    ----------
    cells : Series of str
        As `read_table` returns them: the index holds line numbers.
    low, high : float
        Inclusive bounds.

    Raises
    ------
    ValueError
        With the line of the first cell that is not a number within the bounds.
    """
    values = pd.to_numeric(cells, errors="coerce")
    wrong = ~values.between(low, high) & (cells != "")
    if wrong.any():
        line, text = wrong.idxmax(), cells[wrong.idxmax()]
        within = "" if np.isinf([low, high]).all() else f" from {low:g} to {high:g}"
        raise ValueError(f"line {line}: {cells.name} is {quote(text)}, expected a number{within}")
    return values


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the arrays of an npz file; those that are missing from the file are missing from the result.

    For a block of `reading`: raises errors of various types where the file is damaged.
    """
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        found = set(archive.namelist())
        return {name: _read_array(archive, f"{name}.npy") for name in names if f"{name}.npy" in found}


def check_archive(path: Path) -> None:
    """Raise a `ValueError` if a zip archive would unpack to more bytes than it has: ours are uncompressed."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(item.file_size for item in archive.infolist())
    if unpacked > path.stat().st_size:
        raise ValueError(f"it would unpack to {unpacked:,} bytes")


def _reject_constant(name: str) -> None:
    raise ValueError(f"it contains {name}, expected finite numbers")


def _read_array(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as file:
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(file)]
        shape, _, dtype = read_header(file)
        # before numpy allocates what the header asks for
        if math.prod(shape) * dtype.itemsize > archive.getinfo(member).file_size:
            raise ValueError(f"{member} is shorter than its shape {shape}")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)  # an array of objects would execute code


def _missing(path: Path, script: str) -> UserError:
    if not script:
        return UserError(f"{path} is missing: run all stages first")
    return UserError(f"{path} is missing: run `python {script}` first")
