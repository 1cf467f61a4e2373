"""External scores: predictions made outside this project, added to a run as a predictor."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import Predictor
from lib.labels import CLASSES, class_number
from lib.names import check_name

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
    if not path.is_file():
        raise UserError(f"{path} is missing: expected a CSV or npy file of scores")
    table = _read_npy(path, index) if path.suffix == ".npy" else _read_csv(path)
    duplicates = table.index[table.index.duplicated()]
    if len(duplicates):
        raise UserError(f"{path} lists the id {duplicates[0]} twice: expected each id once")
    wrong = ~table.ge(0).to_numpy() | ~table.le(1).to_numpy()
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f"{path}, id {table.index[row]}, class {table.columns[column]}: {table.iloc[row, column]} is not "
            f"a probability; expected a number in [0, 1]"
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
    listed, tables = ", ".join(map(str, paths)), {}
    for subset, ids in subsets.items():
        missing = [sample for sample in ids if sample not in table.index]
        if missing and subset == "train":
            continue
        if missing:
            raise UserError(
                f"{listed}: no scores for {len(missing):,} of the {len(ids):,} ids of {subset}, "
                f"for example {missing[0]}"
            )
        tables[subset] = predictions.from_outputs(ids, table.loc[ids].to_numpy(np.float32), list(table))
    Predictor("external", files=list(map(str, paths))).write(folder / name)
    for subset, own in tables.items():
        predictions.save(folder / name / f"{subset}.npz", own)
    return {subset: len(own.ids) for subset, own in tables.items()}


def _check_name(folder: Path, name: str, paths: list[Path]) -> None:
    check_name(name, "--add")
    if not paths:
        raise UserError(f"--add {name}: expected a name followed by files of scores")
    if (folder / name).exists() and Predictor.read(folder / name).kind != "external":
        raise UserError(f"--add {name}: the run already has a predictor of this name; choose another name")


def _read_all(paths: list[Path], index: SampleIndex) -> pd.DataFrame:
    """Read several files of scores for the same classes into one table."""
    table, listed = pd.concat([read(path, index) for path in paths]), ", ".join(map(str, paths))
    duplicates = table.index[table.index.duplicated()]
    if len(duplicates):
        raise UserError(f"{listed} list the id {duplicates[0]} twice: expected each id once")
    if table.isna().any(axis=None):
        raise UserError(f"{listed} contain different classes: expected the same classes in each file")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={name: str for name in ID_COLUMNS})
    id_columns = [name for name in ID_COLUMNS if name in table]
    if not id_columns:
        raise UserError(f"{path} has no column of ids; expected one of {', '.join(ID_COLUMNS)}")
    table = table.set_index(id_columns[0])
    numbers = [class_number(str(name)) for name in table]
    if None in numbers:
        raise UserError(
            f"{path}: column {table.columns[numbers.index(None)]!r} is none of the 28 classes; expected 0-27 "
            f"or a name"
        )
    if not numbers or len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: expected exactly one column for each class that it scores")
    table.columns = numbers
    for column in table:
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise UserError(f"{path}, class {column}: expected numbers")
    return table.astype(np.float32)


def _read_npy(path: Path, index: SampleIndex) -> pd.DataFrame:
    try:
        scores_NC = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} is not an npy file of numbers: {error}") from None
    if scores_NC.ndim != 2 or scores_NC.shape[1] != len(CLASSES):
        raise UserError(f"{path} has shape {scores_NC.shape}, expected (samples, {len(CLASSES)})")
    ids = _ids_beside(path, len(scores_NC)) or _ids_by_count(path, len(scores_NC), index)
    return pd.DataFrame(scores_NC.astype(np.float32), index=pd.Index(ids, dtype=object))


def _ids_beside(path: Path, rows: int) -> list[str]:
    """Return the ids listed in the CSV or text file beside an npy file; empty if there is no such file."""
    beside = [path.with_suffix(suffix) for suffix in (".csv", ".txt") if path.with_suffix(suffix).is_file()]
    if not beside:
        return []
    ids = [line.split(",")[0].strip() for line in beside[0].read_text().splitlines() if line.strip()]
    ids = ids[1:] if ids and ids[0] in ID_COLUMNS else ids
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
