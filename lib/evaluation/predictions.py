"""The prediction table: what one predictor says of the samples of one subset."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import files
from lib.errors import UserError
from lib.labels import CLASSES


@dataclass(frozen=True)
class PredictionTable:
    """Probabilities of all classes for samples by id.

    Attributes
    ----------
    ids : list of str, length N
    probabilities_NC : ndarray of shape (N, 28), float32, in [0, 1]
        In Kaggle's class order; in a hierarchy's stage 1, of its groups or their combinations instead.
    known_C : ndarray of shape (28,), bool
        The classes that the predictor knows; what it says of others, 0, is no opinion. Default: all.
    """

    ids: list[str]
    probabilities_NC: np.ndarray
    known_C: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.known_C is None:
            object.__setattr__(self, "known_C", np.ones(self.probabilities_NC.shape[1], bool))

    def rows_of(self, ids: list[str], of: str) -> np.ndarray:
        """Return probabilities_NC of the given ids in their order; `of` names them in the refusal.

        Raises
        ------
        UserError
            If the table lacks one of the ids.
        """
        row_of = {sample: row for row, sample in enumerate(self.ids)}
        missing = [sample for sample in ids if sample not in row_of]
        if missing:
            raise UserError(
                f"no prediction for {len(missing):,} of the {len(ids):,} ids of {of}, {missing[0]} for one: "
                f"run `python 02_train_cnn.py --force` to predict again"
            )
        return self.probabilities_NC[[row_of[sample] for sample in ids]]


def of_classes(ids: list[str], probabilities: np.ndarray, classes: list[int]) -> PredictionTable:
    """Return the table of a predictor that knows only some of the 28 classes, a column each; 0 elsewhere."""
    probabilities_NC = np.zeros((len(probabilities), len(CLASSES)), dtype=np.float32)
    probabilities_NC[:, classes] = probabilities
    return PredictionTable(ids, probabilities_NC, np.isin(np.arange(len(CLASSES)), classes))


def save(path: Path, table: PredictionTable) -> None:
    """Write a prediction table (npz: ids, probabilities, known)."""
    probabilities_NC = table.probabilities_NC.astype(np.float32)
    with files.write_atomic(path) as part, part.open("wb") as file:
        np.savez(file, ids=np.array(table.ids), probabilities=probabilities_NC, known=table.known_C)


def load(path: Path, columns: int = len(CLASSES), maker: str = "02_train_cnn.py") -> PredictionTable:
    """Read a prediction table and check it.

    Parameters
    ----------
    columns : int
        How many probabilities a sample has.
    maker : str
        The script that makes it, for the refusal where it is missing.

    Raises
    ------
    UserError
        If the file is missing or is no prediction table: shapes, double ids, or values that are
        no probabilities.
    """
    files.require(path, maker)
    try:
        with np.load(path, allow_pickle=False) as content:
            ids, probabilities_NC = content["ids"], content["probabilities"]
            known_C = content.get("known")
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no prediction table with ids and probabilities: {error}") from None
    wanted = (len(ids), columns)
    if probabilities_NC.shape != wanted:
        raise UserError(f"{path}: probabilities have shape {probabilities_NC.shape}, expected {wanted}")
    if len(set(ids.tolist())) < len(ids):
        raise UserError(f"{path} holds an id twice")
    if not ((probabilities_NC >= 0) & (probabilities_NC <= 1)).all():
        row = int(np.flatnonzero(~((probabilities_NC >= 0) & (probabilities_NC <= 1)).all(axis=1))[0])
        raise UserError(f"{path}, id {ids[row]}: a value is no probability in [0, 1]")
    return PredictionTable(ids.tolist(), probabilities_NC, known_C)


def tables(folder: Path, subsets: list[str]) -> dict[str, Path]:
    """Return the files of a predictor by subset; only those of the training samples may be missing.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>/predictions/<predictor>``.
    subsets : list of str
        Labelled subsets, and ``test``.
    """
    paths = {subset: folder / f"{subset}.npz" for subset in subsets}
    return {
        subset: files.require(path, "02_train_cnn.py")
        for subset, path in paths.items()
        if subset != "train" or path.exists()
    }


def predictors(folder: Path) -> list[str]:
    """Return the names of the predictors in a run's ``predictions/``, sorted."""
    files.require(folder, "02_train_cnn.py")
    names = sorted(path.parent.name for path in folder.glob("*/validation.npz"))
    if not names:
        raise UserError(f"{folder} holds no validation.npz: run `python 02_train_cnn.py` first")
    return names
