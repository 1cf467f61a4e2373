"""Text tables, the users' and our own: one reader for all of them, with one-line errors."""

import csv
import io
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib.errors import UserError, quote

# first bytes of files that are not text, and what to call them
BINARY_KINDS = {
    b"PK\x03\x04": "a zip archive, as xlsx and npz files are",
    b"\x1f\x8b": "compressed with gzip",
    b"\x93NUMPY": "an npy file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
}
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# all but tab and line endings; and invisible ones that text editors leave: U+2028, U+2029, a second U+FEFF
CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_table(path: Path, expected: str, header: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a CSV file as text: UTF-8 or UTF-16, with or without a byte order mark, any line endings.

    Blank lines and columns without a name are ignored; spaces around the names of columns are removed.

    Parameters
    ----------
    path : Path
    expected : str
        A phrase for error messages, for example "expected the columns Id,Target".
    header : sequence of str, or None
        Columns that must be among those of the file.

    Returns
    -------
    DataFrame
        All cells are str, exactly as in the file: ``NA``, ``001`` and an empty cell too. The index holds the
        line of the file that each row begins in; the header is line 1. There may be no rows.

    Raises
    ------
    UserError
        If the file is missing, empty, unreadable, not text, or in another encoding; if it contains control
        characters; if a row has more or fewer fields than the header; if a column is missing or repeated. The
        message is one line with the file, the line number where there is one, and `expected`.
    """
    text = _decode(path, _read_bytes(path, expected), expected)
    control = CONTROL_CHARACTERS.search(text)
    if control:
        line, name = _line(text[: control.start()]), f"U+{ord(control[0]):04X}"
        raise UserError(f"{path}, line {line}: contains the control character {name}; {expected}")
    lines, rows = _rows(path, text, expected)
    if not rows:
        raise UserError(f"{path} is empty: {expected}")
    names = [name.strip() for name in rows[0]]
    _check_header(path, names, expected, header or ())
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(names):
            raise UserError(
                f"{path}, line {line}: {len(row)} fields, the first line has {len(names)}; {expected}"
            )
    cells = zip(*rows[1:], strict=True) if len(rows) > 1 else ([] for _ in names)
    columns = {name: column for name, column in zip(names, cells, strict=True) if name}
    return pd.DataFrame(columns, index=lines[1:], dtype=object)


def _read_bytes(path: Path, expected: str) -> bytes:
    """Return the content of a regular file that does not begin like a known binary one."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a named pipe would wait for a writer
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise UserError(f"{path} is {kind}: {expected}")
        with path.open("rb") as file:
            head = file.read(1 << 16)
            for start, kind in BINARY_KINDS.items():
                if head.startswith(start):
                    raise UserError(f"{path} is {kind}, not a text table (CSV): {expected}")
            return head + file.read()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {expected}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): {expected}") from None


def _decode(path: Path, content: bytes, expected: str) -> str:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and len(content) > 1 and 0 in content[:2]:
        encoding = "utf-16-le" if content[1] == 0 else "utf-16-be"  # the first character is an ASCII one
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding.startswith("utf-16") or b"\0" in content:
            raise UserError(f"{path} is not a text table (CSV): {expected}") from None
        line = _line(content[: error.start].decode(encoding))
        raise UserError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8: save the file as "
            f"UTF-8 (it may be Latin-1 or Windows-1252); {expected}"
        ) from None


def _rows(path: Path, text: str, expected: str) -> tuple[list[int], list[list[str]]]:
    """Return the first line and the fields of every row that is not blank, the header included."""
    # strict: otherwise a quote that is never closed would swallow all later rows
    reader, lines, rows, start = csv.reader(io.StringIO(text, newline=""), strict=True), [], [], 1
    try:
        for row in reader:
            if row:
                lines.append(start)
                rows.append(row)
            start = reader.line_num + 1
    except csv.Error as error:
        problem = "a quote is not closed" if "end of data" in str(error) else str(error)
        raise UserError(f"{path}, line {start}: {problem}; {expected}") from None
    return lines, rows


def _check_header(path: Path, names: list[str], expected: str, header: Sequence[str]) -> None:
    for delimiter, plural in OTHER_DELIMITERS.items():
        if len(names) == 1 and delimiter in names[0]:
            raise UserError(f"{path}, line 1: columns are separated by {plural}, not commas; {expected}")
    if set(header) <= set(names):
        repeated = next((name for name in names if name and names.count(name) > 1), None)
        if repeated is not None:
            raise UserError(f"{path}, line 1: the column {quote(repeated)} occurs twice; {expected}")
    else:
        raise UserError(f"{path} has the columns {quote(','.join(names))}; {expected}")


def _line(before: str) -> int:
    """Return the number of the line that follows a text, whatever its line endings."""
    return 1 + len(re.findall("\r\n|\r|\n", before))
