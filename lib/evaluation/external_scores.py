"""External scores: predictions made outside this project, added to a run as a predictor."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import tables
from lib.data.sample_index import SampleIndex
from lib.errors import UserError, quote
from lib.evaluation import predictions
from lib.evaluation.predictions import Predictor
from lib.labels import CLASSES, class_number
from lib.names import RESERVED_NAMES, check_name

ID_COLUMNS = ("id", "Id", "ID", "image_id")


def read(path: Path, index: SampleIndex) -> pd.DataFrame:
    """Read a file of scores.

    Parameters
    ----------
    path : Path
        A CSV file with a column of ids (id, Id, ID or image_id) and one column per class, by number or name;
        classes may be missing. Or an npy file of shape (N, 28), with the ids, one per line, in a file of the
        same name ending in ``.csv`` or ``.txt`` beside it. Without such a file, the number of rows decides
        whether they are those of ``train.csv`` or of ``sample_submission.csv``.
    index : SampleIndex
        The samples of the data set.

    Returns
    -------
    DataFrame
        One row per sample (index: ids), one column per class (by number), float32, in [0, 1].

    Raises
    ------
    UserError
        If the file is missing or unreadable, lists an id twice, or holds a value outside [0, 1].
    """
    with np.errstate(over="ignore"):  # an infinity is rejected below
        table = _read_npy(path, index) if path.suffix.lower() == ".npy" else _read_csv(path)
    wrong = ~table.ge(0).to_numpy() | ~table.le(1).to_numpy()
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f"{path}, id {quote(table.index[row])}, class {table.columns[column]}: "
            f"{table.iloc[row, column]} is not a probability; expected a number in [0, 1]"
        )
    return table


def add(
    folder: Path, name: str, paths: list[Path], index: SampleIndex, subsets: dict[str, list[str]]
) -> dict[str, int]:
    """Write the prediction tables of an external predictor from its files of scores.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>/predictions``.
    name : str
        Name of the new predictor; must differ from those of the run's own predictors.
    paths : list of Path
        Files that together contain every sample of the subsets; other samples are ignored.
    index : SampleIndex
        The samples of the data set.
    subsets : dict of list of str
        Sample ids by labelled subset, and of ``test``. If a training sample is missing, no table is written
        for ``train``.

    Returns
    -------
    dict of int
        Number of samples by subset written.

    Raises
    ------
    UserError
        If the name is invalid or taken, or the files contradict each other or lack a sample.
    """
    _check_name(folder, name, paths)
    table = _read_all(paths, index)
    listed, written = ", ".join(map(str, paths)), {}
    for subset, ids in subsets.items():
        missing = [sample for sample in ids if sample not in table.index]
        if missing and subset == "train":
            continue
        if missing:
            raise UserError(
                f"{listed}: no scores for {len(missing):,} of the {len(ids):,} ids of {subset}, "
                f"for example {quote(missing[0])}"
            )
        written[subset] = predictions.from_outputs(ids, table.loc[ids].to_numpy(np.float32), list(table))
    Predictor("external", files=list(map(str, paths))).write(folder / name)
    (folder / name / "train.npz").unlink(missing_ok=True)  # of other files
    for subset, own in written.items():
        predictions.save(folder / name / f"{subset}.npz", own)
    return {subset: len(own.ids) for subset, own in written.items()}


def _check_name(folder: Path, name: str, paths: list[Path]) -> None:
    check_name(name, "--add")
    if not paths:
        raise UserError(f"--add {name}: expected a name followed by files of scores")
    if name in RESERVED_NAMES:
        raise UserError(f"--add {name}: stage 04 uses this name itself; choose another name")
    if (folder / name).exists() and Predictor.read(folder / name).kind != "external":
        raise UserError(f"--add {name}: the run already has a predictor of this name; choose another name")


def _read_all(paths: list[Path], index: SampleIndex) -> pd.DataFrame:
    """Read several files of scores for the same classes into one table."""
    table, listed = pd.concat([read(path, index) for path in paths]), ", ".join(map(str, paths))
    duplicates = table.index[table.index.duplicated()]
    if len(duplicates):
        raise UserError(f"{listed} list the id {quote(duplicates[0])} twice: expected each id once")
    if table.isna().any(axis=None):
        raise UserError(f"{listed} contain different classes: expected the same classes in each file")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    expected = f"expected a column of ids ({', '.join(ID_COLUMNS)}) and one of scores per class"
    table = tables.read_table(path, expected)
    id_column = next((name for name in ID_COLUMNS if name in table), None)
    if id_column is None:
        raise UserError(f"{path} has the columns {quote(','.join(table))}; {expected}")
    ids = list(tables.lines_by_id(path, table.pop(id_column)))
    numbers = [class_number(name) for name in table]
    if None in numbers:
        raise UserError(
            f"{path}: column {quote(table.columns[numbers.index(None)])} is none of the 28 classes; expected "
            f"0-27 or a name"
        )
    if not numbers or len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: expected exactly one column for each class that it scores")
    scores = {number: _to_numbers(path, table[name]) for number, name in zip(numbers, table, strict=True)}
    return pd.DataFrame(scores, index=pd.Index(ids, dtype=object))


def _to_numbers(path: Path, column: pd.Series) -> np.ndarray:
    """Return a column of text as float32."""
    numbers = []
    for line, text in column.items():
        try:
            numbers.append(float(text))
        except ValueError:
            raise UserError(
                f"{path}, line {line}, column {column.name}: {quote(text)} is not a number; expected one in "
                f"[0, 1], with a decimal point"
            ) from None
    return np.array(numbers, np.float64).astype(np.float32)


def _read_npy(path: Path, index: SampleIndex) -> pd.DataFrame:
    expected = f"expected an npy file of numbers, one row per sample, {len(CLASSES)} columns"
    tables.require_regular_file(path, expected)
    try:
        # mapped: a header that promises more than the file holds is an error, and reserves no memory
        scores_NC = np.lib.format.open_memmap(path, mode="r")
        if scores_NC.dtype.kind not in "fiub":
            raise ValueError(f"dtype {scores_NC.dtype}")
    except Exception as error:  # numpy parses the header as Python: SyntaxError, TokenError and others
        raise UserError(f"{path} is not an npy file of numbers ({quote(str(error))}): {expected}") from None
    if scores_NC.ndim != 2 or scores_NC.shape[1] != len(CLASSES):
        raise UserError(f"{path} has shape {scores_NC.shape}, not (samples, {len(CLASSES)}): {expected}")
    ids = _ids_beside(path, len(scores_NC)) or _ids_by_count(path, len(scores_NC), index)
    return pd.DataFrame(scores_NC.astype(np.float32), index=pd.Index(ids, dtype=object))


def _ids_beside(path: Path, rows: int) -> list[str]:
    """Return the ids listed in the CSV or text file beside an npy file; empty if there is no such file."""
    beside = [path.with_suffix(suffix) for suffix in (".csv", ".txt") if path.with_suffix(suffix).exists()]
    if not beside:
        return []
    lines, fields = tables.read_rows(beside[0], f"expected the ids of {path.name}, one per line")
    column = pd.Series([row[0].strip() for row in fields], index=lines, name="id")
    if column.iloc[0] in ID_COLUMNS:
        column = column.iloc[1:]
    ids = list(tables.lines_by_id(beside[0], column))
    if len(ids) != rows:
        raise UserError(f"{path} has {rows:,} rows, but {beside[0]} lists {len(ids):,} ids")
    return ids


def _ids_by_count(path: Path, rows: int, index: SampleIndex) -> list[str]:
    known = {len(index.test_ids): index.test_ids, len(index.train_ids): index.train_ids}
    if rows not in known:
        raise UserError(
            f"{path} has {rows:,} rows, neither the {len(index.train_ids):,} of train.csv nor "
            f"the {len(index.test_ids):,} of sample_submission.csv: list its ids, one per line, in "
            f"{path.with_suffix('.txt')}"
        )
    return known[rows]
