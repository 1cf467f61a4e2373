"""The submission: write Kaggle's file, check it, score it, compare it with another, and upload it."""

import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, tables
from lib.console import warn
from lib.data.sample_index import SampleIndex
from lib.errors import UserError, quote
from lib.evaluation.metrics import expected_f1, macro_f1
from lib.labels import CLASSES, format_target, target_matrix
from lib.stage_files import rewrite

COMPETITION = "human-protein-atlas-image-classification"
COLUMNS, USAGES = ("Id", "Predicted"), ("Public", "Private")
REMEDY = "run `python 05_submit.py --force` to write it again"
SUCCESS = "Successfully submitted"  # in the answer of every version of Kaggle's client
UPLOAD_SECONDS = 600  # after which the client is stopped


def write(path: Path, ids: list[str], decision_NC: np.ndarray) -> np.ndarray:
    """Write ``Id,Predicted`` in the order of `ids`; return the decisions that `check` reads back."""
    predicted = [format_target(decision_C) for decision_C in decision_NC]
    table = pd.DataFrame({"Id": ids, "Predicted": predicted})
    files.write_text(path, table.to_csv(index=False))
    return check(path, ids)


def check(path: Path, ids: list[str]) -> np.ndarray:
    """Read a submission and check that Kaggle would accept it.

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
        If the file is not in the form that `write` gives it: an id is missing, unknown, duplicated or out of
        order, or a row is empty or contains anything but class numbers.
    """
    expected = f"expected the columns Id,Predicted; {REMEDY}"
    table = tables.read_table(path, expected, COLUMNS)
    with path.open("rb") as file:
        header = file.readline()
    if header.rstrip(b"\r\n") != b"Id,Predicted":  # `read_table` is more tolerant than Kaggle
        raise UserError(f"{path}, line 1: {quote(header.decode('latin-1'))} is not Id,Predicted; {REMEDY}")
    if len(table) != len(ids):
        raise UserError(
            f"{path} has {len(table):,} rows; expected {len(ids):,}, one for each id of "
            f"sample_submission.csv; {REMEDY}"
        )
    for (line, sample), wanted in zip(table["Id"].items(), ids, strict=True):
        if sample != wanted:
            raise UserError(
                f"{path}, line {line}: Id {quote(sample)}; sample_submission.csv has {quote(wanted)}; "
                f"{REMEDY}"
            )
    return target_matrix(tables.read_targets(path, table["Predicted"], REMEDY))


def read_other(path: Path, ids: list[str]) -> np.ndarray:
    """Read another submission, to compare it with ours: rows in any order, an empty one for no label.

    Parameters
    ----------
    path : Path
        A CSV file with the columns Id and Predicted.
    ids : list of str
        Of the test samples; the file must list each once, and no others.

    Returns
    -------
    ndarray of shape (N, C), bool
        Its decisions, in the order of `ids`.
    """
    expected = "expected a submission with the columns Id,Predicted"
    table = tables.read_table(path, expected, COLUMNS)
    require_known(path, table["Id"], ids, "expected a submission for the same samples")
    chosen = _select(path, table, ids)
    return target_matrix(tables.read_targets(path, chosen["Predicted"], allow_empty=True))


def require_known(path: Path, column: pd.Series, ids: list[str], expected: str) -> None:
    """Raise a `UserError` if a column of ids contains others than those of the test samples.

    Parameters
    ----------
    expected : str
        Ends the message.
    """
    unknown = column[~column.isin(ids)]
    if len(unknown):
        raise UserError(
            f"{path}, line {unknown.index[0]}: Id {quote(unknown.iloc[0])} is not in sample_submission.csv, "
            f"like {len(unknown):,} of its {len(column):,} ids: {expected}"
        )


def score(ids: list[str], decision_NC: np.ndarray, solution: Path) -> dict[str, float]:
    """Score decisions against known labels, as Kaggle's public and private leaderboards would.

    Parameters
    ----------
    ids : list of str
    decision_NC : ndarray of shape (N, C), bool
    solution : Path
        CSV file with the columns Id, Target and Usage (Public or Private); other rows and columns are
        ignored.

    Returns
    -------
    dict of float
        Macro-F1 over all 28 classes by Usage, and of both together as ``All``.

    Raises
    ------
    UserError
        If the solution is unreadable, lacks an id or lists one twice, or a target or usage is invalid.
    """
    header = ("Id", "Target", "Usage")
    table = tables.read_table(solution, f"expected the columns {','.join(header)}", header)
    table = _select(solution, table, ids)
    for line, usage in table["Usage"].items():
        if usage not in USAGES:
            raise UserError(f"{solution}, line {line}: Usage {quote(usage)}; expected {' or '.join(USAGES)}")
    truth_NC = target_matrix(tables.read_targets(solution, table["Target"]))
    usage_N = table["Usage"].to_numpy()
    scores = {name: macro_f1(truth_NC[usage_N == name], decision_NC[usage_N == name]) for name in USAGES}
    return scores | {"All": macro_f1(truth_NC, decision_NC)}


def _select(path: Path, table: pd.DataFrame, ids: list[str]) -> pd.DataFrame:
    """Return the rows of ids, in their order; a `UserError` if one is missing or listed twice."""
    line_of = tables.lines_by_id(path, table["Id"])
    missing = [sample for sample in ids if sample not in line_of]
    if missing:
        raise UserError(
            f"{path} has no row for {len(missing):,} of the {len(ids):,} ids of sample_submission.csv, for "
            f"example {quote(missing[0])}: expected one for each"
        )
    return table.loc[[line_of[sample] for sample in ids]]


def compare(decision_NC: np.ndarray, other_NC: np.ndarray, calibrated_NC: np.ndarray) -> pd.DataFrame:
    """Compare two submissions for the same samples.

    Parameters
    ----------
    decision_NC, other_NC : ndarray of shape (N, C), bool
        Our decisions, and those of the other submission.
    calibrated_NC : ndarray of shape (N, C), float, in [0, 1]
        Our predictor's probabilities, calibrated on validation.

    Returns
    -------
    DataFrame
        One row per class: class, ours and theirs (samples it is predicted for), both (by both), agreement
        (both divided by either; 1 if neither predicts it), expected_f1_ours and expected_f1_theirs (estimated
        from the probabilities).
    """
    both_C, either_C = (decision_NC & other_NC).sum(axis=0), (decision_NC | other_NC).sum(axis=0)
    return pd.DataFrame(
        {
            "class": CLASSES,
            "ours": decision_NC.sum(axis=0),
            "theirs": other_NC.sum(axis=0),
            "both": both_C,
            "agreement": np.divide(both_C, either_C, out=np.ones(len(CLASSES)), where=either_C > 0),
            "expected_f1_ours": expected_f1(calibrated_NC, decision_NC),
            "expected_f1_theirs": expected_f1(calibrated_NC, other_NC),
        }
    )


def describe_comparison(
    table: pd.DataFrame, decision_NC: np.ndarray, other_NC: np.ndarray, other: Path
) -> str:
    """Return a table of `compare`, and the number of differing samples, as lines for the console."""
    differing = (decision_NC != other_NC).any(axis=1).sum()
    ours, theirs = (table[f"expected_f1_{name}"].mean() for name in ("ours", "theirs"))
    lines = [
        f"compared with {other}: {differing:,} of {len(decision_NC):,} rows differ; expected macro-F1 "
        f"according to our predictor: ours {ours:.4f}, theirs {theirs:.4f} ({ours - theirs:+.4f})",
        f"  {'least agreement':<32}{'ours':>8}{'theirs':>8}{'both':>8}{'agreement':>11}",
    ]
    least = table[table["agreement"] < 1].sort_values("agreement", kind="stable").head(5)
    for row in least.rename(columns={"class": "name"}).itertuples():
        lines.append(f"  {row.name:<32}{row.ours:>8,}{row.theirs:>8,}{row.both:>8,}{row.agreement:>11.2f}")
    return "\n".join(lines if len(least) else lines[:1])


def class_shares(training_NC: np.ndarray, decision_NC: np.ndarray) -> pd.DataFrame:
    """Return the percentage of samples with each class (index: name): columns training set and submission."""
    shares = {"training set": training_NC.mean(axis=0), "submission": decision_NC.mean(axis=0)}
    return 100 * pd.DataFrame(shares, index=pd.Index(CLASSES, name="class"))


def fill_unusable(decision_NC: np.ndarray, index: SampleIndex, bad_images: Path) -> None:
    """Predict the most frequent class for test samples without usable images, in place, with a warning.

    Parameters
    ----------
    decision_NC : ndarray of shape (N, C), bool
        Rows in the order of the test ids.
    bad_images : Path
        The list of unusable images that stage 00 wrote.
    """
    bad = tables.read_table(bad_images, rewrite("00_prepare.py"), ("subset", "id"))
    unusable = set(bad.loc[bad["subset"] == "test", "id"])
    rows = [row for row, id in enumerate(index.test_ids) if files.spreadsheet_safe(id) in unusable]
    if rows:
        frequent = int(index.truth_NC.sum(axis=0).argmax())
        decision_NC[rows] = np.arange(len(CLASSES)) == frequent
        warn(
            f"{len(rows):,} test samples without a usable image: predicted the most frequent class, "
            f"{CLASSES[frequent]}"
        )


def upload_command(path: Path, message: str) -> list[str]:
    """Return the command that uploads a submission with Kaggle's client."""
    return ["kaggle", "competitions", "submit", "-c", COMPETITION, "-f", str(path), "-m", message]


def upload(path: Path, message: str) -> str:
    """Upload a submission with Kaggle's client, and return its answer.

    The client's own word for success counts, whatever its exit code: before version 2, a failed upload ends
    with 0. It is given no terminal, so that it cannot wait for a user's name or a key.

    Raises
    ------
    UserError
        If the client is not installed or does not report success; the message ends with the command to run by
        hand.
    """
    command = upload_command(path, message)
    by_hand = f"the submission is written, upload it with: {shlex.join(command)}"
    if shutil.which("kaggle") is None:
        raise UserError(
            f"--upload needs Kaggle's client (pip install kaggle six) and its key (kaggle.com, settings, "
            f"API); {by_hand}"
        )
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        done = subprocess.run(
            command, **streams, errors="replace", timeout=UPLOAD_SECONDS, start_new_session=True
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"Kaggle's client did not end within {UPLOAD_SECONDS} s; {by_hand}") from None
    except OSError as error:
        raise UserError(f"Kaggle's client cannot be started ({error.strerror or error}); {by_hand}") from None
    answer = " ".join(done.stdout.split())
    if SUCCESS not in answer:
        shown = quote(answer[-300:], 300) if answer else "nothing"
        raise UserError(
            f"the upload failed: Kaggle's client answered {shown} (exit code {done.returncode}) instead of "
            f"{SUCCESS!r}; {by_hand}"
        )
    return answer


def ending(path: Path, report: Path, simulated: bool, uploaded: bool) -> str:
    """Return the last line of a run: where the submission and the report are, and what to do next."""
    items = [f"submission: {path}"]
    if report.exists():
        items.append(f"report: {report} (open it in a browser)")
    if simulated:
        items.append("next: put Kaggle's files in data/, then run `bash run_all.sh`")
    elif not uploaded:
        items.append(f"next: upload the submission at kaggle.com/c/{COMPETITION}")
    return " · ".join(items)
