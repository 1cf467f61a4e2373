"""Scores that were made elsewhere, read as a predictor of a run."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation import predictions
from lib.labels import CLASSES, class_number

MARK = "made_elsewhere.txt"  # in the folder of such a predictor: the files it was read from
ID_COLUMNS = ("id", "Id", "ID", "image_id")


def read(path: Path, index: Index) -> pd.DataFrame:
    """Read a file of scores.

    Parameters
    ----------
    path : Path
        A CSV file with a column of ids (id, Id, ID or image_id) and one for each class, by number or name;
        classes may be missing. Or an npy file of shape (N, 28), with the ids, one a line, in a file of the
        same name ending in ``.csv`` or ``.txt`` beside it; without that, N tells whether its rows are those
        of ``train.csv`` or of ``sample_submission.csv``.

    Returns
    -------
    DataFrame
        A row a sample (index: ids), a column a class (by number), float32 in [0, 1].
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: expected a CSV or npy file of scores")
    table = _read_npy(path, index) if path.suffix == ".npy" else _read_csv(path)
    double = table.index[table.index.duplicated()]
    if len(double):
        raise UserError(f"{path} holds the id {double[0]} twice")
    wrong = ~table.ge(0).to_numpy() | ~table.le(1).to_numpy()
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f"{path}, id {table.index[row]}, class {table.columns[column]}: {table.iloc[row, column]} is no "
            f"probability in [0, 1]"
        )
    return table


def add(
    folder: Path, name: str, paths: list[Path], index: Index, subsets: dict[str, list[str]]
) -> dict[str, int]:
    """Write a predictor's tables from files of scores.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>/predictions``.
    name : str
        Of the predictor; not one that the run has made.
    paths : list of Path
        Which together hold each sample of the subsets; other samples are passed over.
    subsets : dict of list of str
        Ids by subset, and of ``test``; training samples may be missing, then none are written.

    Returns
    -------
    dict of int
        How many samples of each subset are predicted.
    """
    named, mark = ", ".join(map(str, paths)), folder / name / MARK
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or not paths:
        raise UserError(
            f"--add {name}: expected a name of letters, digits and . _ - and then files of scores"
        )
    if (folder / name).exists() and not mark.exists():
        raise UserError(f"--add {name}: the run has a predictor of that name; give another")
    table = pd.concat([read(path, index) for path in paths])
    double = table.index[table.index.duplicated()]
    if len(double):
        raise UserError(f"{named} hold the id {double[0]} twice")
    if table.isna().any(axis=None):
        raise UserError(f"{named} score different classes: expected the same in each")
    table = table.sort_index(axis=1)
    found = {}
    for subset, ids in subsets.items():
        missing = [sample for sample in ids if sample not in table.index]
        if missing and subset == "train":
            continue
        if missing:
            raise UserError(
                f"{named}: no scores for {len(missing):,} of the {len(ids):,} ids of {subset}, "
                f"{missing[0]} for one"
            )
        found[subset] = predictions.of_classes(ids, table.loc[ids].to_numpy(np.float32), list(table))
    files.write_text(mark, f"{named}\n")
    for subset, own in found.items():
        predictions.save(folder / name / f"{subset}.npz", own)
    return {subset: len(own.ids) for subset, own in found.items()}


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={name: str for name in ID_COLUMNS})
    named = [name for name in ID_COLUMNS if name in table]
    if not named:
        raise UserError(f"{path} has no column of ids; expected one of {', '.join(ID_COLUMNS)}")
    table = table.set_index(named[0])
    numbers = [class_number(str(name)) for name in table]
    if None in numbers:
        raise UserError(
            f"{path}: column {table.columns[numbers.index(None)]!r} is none of the 28 classes; expected 0-27 "
            f"or a name"
        )
    if not numbers or len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: expected a column for each class that it scores, each once")
    table.columns = numbers
    for column in table:
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise UserError(f"{path}, class {column}: expected numbers")
    return table.astype(np.float32)


def _read_npy(path: Path, index: Index) -> pd.DataFrame:
    try:
        scores_NC = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} is no npy file of numbers: {error}") from None
    if scores_NC.ndim != 2 or scores_NC.shape[1] != len(CLASSES):
        raise UserError(f"{path} has shape {scores_NC.shape}, expected (samples, {len(CLASSES)})")
    beside = [path.with_suffix(suffix) for suffix in (".csv", ".txt") if path.with_suffix(suffix).is_file()]
    if beside:
        ids = [line.split(",")[0].strip() for line in beside[0].read_text().splitlines() if line.strip()]
        ids = ids[1:] if ids and ids[0] in ID_COLUMNS else ids
        if len(ids) != len(scores_NC):
            raise UserError(f"{path} has {len(scores_NC):,} rows, {beside[0]} {len(ids):,} ids")
    else:
        known = {len(index.test_ids): index.test_ids, len(index.train_ids): index.train_ids}
        if len(scores_NC) not in known:
            raise UserError(
                f"{path} has {len(scores_NC):,} rows, neither the {len(index.train_ids):,} of train.csv nor "
                f"the {len(index.test_ids):,} of sample_submission.csv: name its ids, one a line, in "
                f"{path.with_suffix('.txt')}"
            )
        ids = known[len(scores_NC)]
    return pd.DataFrame(scores_NC.astype(np.float32), index=pd.Index(ids, dtype=object))
