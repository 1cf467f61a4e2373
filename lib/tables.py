"""Text tables, the users' and our own: one reader for all of them, with one-line errors."""

import csv
import io
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib.errors import UserError, quote
from lib.labels import CLASSES, class_number, parse_target

Labels = tuple[int, ...]  # class numbers, ascending

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
    lines, rows = read_rows(path, expected)
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
        Which of the two holds the class; the other column is returned as text, without surrounding spaces.

    Raises
    ------
    UserError
        As `read_table`; or if there are no rows, or a class is unknown or listed twice.
    """
    expected = f"expected the columns {','.join(columns)}"
    table = read_table(path, expected, columns)
    if table.empty:
        raise UserError(f"{path} has no rows: {expected} and one row per class")
    (other,) = set(columns) - {class_column}
    rows: dict[int, ClassRow] = {}
    for line, name, text in zip(table.index, table[class_column], table[other], strict=True):
        label = class_number(name)
        if label is None:
            raise UserError(
                f"{path}, line {line}: {class_column} {quote(name)} is none of the 28 classes; "
                f"expected 0-27 or a name"
            )
        if label in rows:
            raise UserError(
                f"{path}, line {line}: {CLASSES[label]} is already in line {rows[label].line}; "
                f"expected each class once"
            )
        rows[label] = ClassRow(line, label, text.strip())
    return list(rows.values())


def read_rows(path: Path, expected: str) -> tuple[list[int], list[list[str]]]:
    """Read the rows of a CSV file that are not blank: the line each begins in, and their fields.

    Rows may differ in length, and the first need not be a header; otherwise raises as `read_table`.
    """
    text = _decode(path, _read_bytes(path, expected), expected)
    control = CONTROL_CHARACTERS.search(text)
    if control:
        line, name = _line(text[: control.start()]), f"U+{ord(control[0]):04X}"
        raise UserError(f"{path}, line {line}: contains the control character {name}; {expected}")
    lines, rows = _parse(path, text, expected)
    if not rows:
        raise UserError(f"{path} is empty: {expected}")
    return lines, rows


def lines_by_id(path: Path, ids: pd.Series) -> dict[str, int]:
    """Return the line of every id in a column of a table; a `UserError` if one is listed twice."""
    line_of: dict[str, int] = {}
    for line, sample in ids.items():
        if sample in line_of:
            raise UserError(
                f"{path}, line {line}: {ids.name} {quote(sample)} is already in line {line_of[sample]}; "
                f"expected each id once"
            )
        line_of[sample] = line
    return line_of


def read_targets(path: Path, column: pd.Series, remedy: str = "", allow_empty: bool = False) -> list[Labels]:
    """Return the class numbers in every cell of a column of a table that `read_table` returned.

    Parameters
    ----------
    path : Path
        Of the table, for error messages.
    remedy : str
        Ends an error message.
    allow_empty : bool
        Whether a cell may have no class.

    Raises
    ------
    UserError
        With the line of the first invalid cell.
    """
    targets = []
    for line, text in column.items():
        try:
            targets.append(() if allow_empty and not text.strip() else parse_target(text))
        except ValueError as error:
            ending = f"; {remedy}" if remedy else ""
            raise UserError(f"{path}, line {line}: {column.name} {error}{ending}") from None
    return targets


def require_regular_file(path: Path, expected: str) -> None:
    """Raise a `UserError` if a path is missing, a folder, or a pipe, which would wait for a writer."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {expected}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): {expected}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise UserError(f"{path} is {kind}: {expected}")


def _read_bytes(path: Path, expected: str) -> bytes:
    """Return the content of a regular file that does not begin like a known binary one."""
    require_regular_file(path, expected)
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
            for start, kind in BINARY_KINDS.items():
                if head.startswith(start):
                    raise UserError(f"{path} is {kind}, not a text table (CSV): {expected}")
            return head + file.read()
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
        content = error.object  # without the mark
        line = _line(content[: error.start].decode(encoding))
        raise UserError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8: save the file as "
            f"UTF-8 (it may be Latin-1 or Windows-1252); {expected}"
        ) from None


def _parse(path: Path, text: str, expected: str) -> tuple[list[int], list[list[str]]]:
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
