"""Decisions to Kaggle's file, the check of that file, and the score it would get."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import artifacts
from lib.console import warn
from lib.errors import UserError
from lib.labels import CLASSES, format_target, parse_target, target_matrix
from lib.results.metrics import macro_f1
from lib.samples import Index


def write(path: Path, ids: list[str], decision_NC: np.ndarray) -> np.ndarray:
    """Write ``Id,Predicted`` in the order of `ids`; return what `check` reads back."""
    predicted = [format_target(decision_C) for decision_C in decision_NC]
    table = pd.DataFrame({"Id": ids, "Predicted": predicted})
    artifacts.write_text(path, table.to_csv(index=False))
    return check(path, ids)


def check(path: Path, ids: list[str]) -> np.ndarray:
    """Read a submission and see that Kaggle would take it.

    Parameters
    ----------
    path : Path
    ids : list of str
        The ids of ``sample_submission.csv``, in its order.

    Returns
    -------
    ndarray of shape (N, C), bool
        The decisions.

    Raises
    ------
    UserError
        If an id is missing, foreign, double or out of order, or a row is empty or holds something
        that is no class number.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != ["Id", "Predicted"]:
        raise UserError(f"{path} has the columns {','.join(table.columns)}; expected Id,Predicted")
    if len(table) != len(ids):
        raise UserError(
            f"{path} has {len(table):,} rows; expected {len(ids):,}, one an id of sample_submission.csv"
        )
    targets = []
    for row, (sample, text, wanted) in enumerate(zip(table["Id"], table["Predicted"], ids, strict=True)):
        if sample != wanted:
            raise UserError(
                f"{path}, line {row + 2}: Id {sample}, expected {wanted} as in sample_submission.csv"
            )
        try:
            targets.append(parse_target(text))
        except ValueError as error:
            raise UserError(f"{path}, line {row + 2}: Predicted {error}") from None
    return target_matrix(targets)


def score(ids: list[str], decision_NC: np.ndarray, solution: Path) -> dict[str, float]:
    """Score decisions against known answers, as Kaggle's public and private leaderboards would.

    Parameters
    ----------
    solution : Path
        Columns Id, Target and Usage (Public or Private); other rows and columns are passed over.

    Returns
    -------
    dict of float
        Macro-F1 over all 28 classes of the rows of each Usage, and of both together as ``All``.
    """
    table = pd.read_csv(solution, dtype=str).set_index("Id")
    missing = [sample for sample in ids if sample not in table.index]
    if missing:
        raise UserError(f"{solution} has no answer for {missing[0]}")
    table = table.loc[ids]
    truth_NC = target_matrix([parse_target(text) for text in table["Target"]])
    usage_N = table["Usage"].to_numpy()
    scores = {
        name: macro_f1(truth_NC[usage_N == name], decision_NC[usage_N == name])
        for name in ("Public", "Private")
    }
    return scores | {"All": macro_f1(truth_NC, decision_NC)}


def replace_unseen(decision_NC: np.ndarray, index: Index, bad_images: Path) -> None:
    """Give test samples without usable images the most frequent class, in place, and say so.

    Parameters
    ----------
    decision_NC : ndarray of shape (N, C), bool
        Rows in the order of the test ids.
    bad_images : Path
        The list that stage 00 left; nothing is done where there is none.
    """
    if not bad_images.exists():
        return
    bad = pd.read_csv(bad_images, dtype=str)
    unseen = set(bad.loc[bad["subset"] == "test", "id"])
    rows = [row for row, sample in enumerate(index.test_ids) if sample in unseen]
    if rows:
        frequent = int(index.truth_NC.sum(axis=0).argmax())
        decision_NC[rows] = np.arange(len(CLASSES)) == frequent
        warn(
            f"{len(rows):,} test ids without a usable image are given "
            f"the most frequent class, {CLASSES[frequent]}"
        )
