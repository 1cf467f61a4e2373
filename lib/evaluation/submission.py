"""Decisions to Kaggle's file, the check of that file, and the score it would get."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.console import warn
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation.kaggle_client import COMPETITION
from lib.evaluation.metrics import expected_f1, macro_f1
from lib.labels import CLASSES, format_target, parse_target, target_matrix


def write(path: Path, ids: list[str], decision_NC: np.ndarray) -> np.ndarray:
    """Write ``Id,Predicted`` in the order of `ids`; return what `check` reads back."""
    predicted = [format_target(decision_C) for decision_C in decision_NC]
    table = pd.DataFrame({"Id": ids, "Predicted": predicted})
    files.write_text(path, table.to_csv(index=False))
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
    if not path.is_file():
        raise UserError(f"{path} is missing: expected a submission, Id,Predicted")
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


def compare(decision_NC: np.ndarray, other_NC: np.ndarray, chances_NC: np.ndarray) -> pd.DataFrame:
    """Put two submissions of the same samples side by side.

    Parameters
    ----------
    decision_NC, other_NC : ndarray of shape (N, C), bool
    chances_NC : ndarray of shape (N, C), float
        How likely each sample carries each class, as the predictor says, calibrated on validation.

    Returns
    -------
    DataFrame
        A row a class: class, ours and theirs (samples that are given it), both, agreement (both over either;
        1 where neither), and the F1 expected of each by the chances.
    """
    both_C, either_C = (decision_NC & other_NC).sum(axis=0), (decision_NC | other_NC).sum(axis=0)
    return pd.DataFrame(
        {
            "class": CLASSES,
            "ours": decision_NC.sum(axis=0),
            "theirs": other_NC.sum(axis=0),
            "both": both_C,
            "agreement": np.divide(both_C, either_C, out=np.ones(len(CLASSES)), where=either_C > 0),
            "expected_f1_ours": expected_f1(chances_NC, decision_NC),
            "expected_f1_theirs": expected_f1(chances_NC, other_NC),
        }
    )


def describe_comparison(
    table: pd.DataFrame, decision_NC: np.ndarray, other_NC: np.ndarray, other: Path
) -> str:
    """Return a table of `compare`, and how many samples differ, as lines for the console."""
    differing = (decision_NC != other_NC).any(axis=1).sum()
    ours, theirs = (table[f"expected_f1_{name}"].mean() for name in ("ours", "theirs"))
    lines = [
        f"against {other}: {differing:,} of {len(decision_NC):,} rows differ; macro-F1 that our predictor "
        f"expects: ours {ours:.4f}, theirs {theirs:.4f} ({ours - theirs:+.4f})",
        f"  {'least agreement':<32}{'ours':>8}{'theirs':>8}{'both':>8}{'agreement':>11}",
    ]
    least = table[table["agreement"] < 1].sort_values("agreement", kind="stable").head(5)
    for row in least.rename(columns={"class": "name"}).itertuples():
        lines.append(f"  {row.name:<32}{row.ours:>8,}{row.theirs:>8,}{row.both:>8,}{row.agreement:>11.2f}")
    return "\n".join(lines if len(least) else lines[:1])


def ending(submission: Path, report: Path, simulated: bool, uploaded: bool) -> str:
    """Return the line that a run ends with: where submission and report are, and what to do next."""
    said = [f"submission: {submission}"]
    if report.exists():
        said.append(f"report: {report} (open it in a browser)")
    if simulated:
        said.append("next: put Kaggle's files in data/, then run `bash run_all.sh`")
    elif not uploaded:
        said.append(f"next: upload the submission at kaggle.com/c/{COMPETITION}")
    return " · ".join(said)


def class_shares(training_NC: np.ndarray, decision_NC: np.ndarray) -> pd.DataFrame:
    """Return how many of a hundred samples have each class (index: name), in training and as submitted."""
    shares = {"training": training_NC.mean(axis=0), "submitted": decision_NC.mean(axis=0)}
    return 100 * pd.DataFrame(shares, index=pd.Index(CLASSES, name="class"))


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
