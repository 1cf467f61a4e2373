"""The submission: write Kaggle's file, check it, score it, compare it with another, and upload it."""

import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.console import warn
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.evaluation.metrics import expected_f1, macro_f1
from lib.labels import CLASSES, format_target, parse_target, target_matrix
from lib.stage_files import rewrite

COMPETITION = "human-protein-atlas-image-classification"


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
        If an id is missing, unknown, duplicated or out of order, or a row is empty or contains anything but
        class numbers.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: expected a submission with the columns Id,Predicted")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != ["Id", "Predicted"]:
        raise UserError(f"{path} has the columns {','.join(table.columns)}; expected Id,Predicted")
    if len(table) != len(ids):
        raise UserError(
            f"{path} has {len(table):,} rows; expected {len(ids):,}, one for each id of sample_submission.csv"
        )
    targets = []
    for line, (sample, text, wanted) in enumerate(zip(table["Id"], table["Predicted"], ids, strict=True), 2):
        if sample != wanted:
            raise UserError(f"{path}, line {line}: Id {sample}; sample_submission.csv has {wanted}")
        try:
            targets.append(parse_target(text))
        except ValueError as error:
            raise UserError(f"{path}, line {line}: Predicted {error}") from None
    return target_matrix(targets)


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
        If the solution lacks one of the ids.
    """
    table = pd.read_csv(solution, dtype=str).set_index("Id")
    missing = [sample for sample in ids if sample not in table.index]
    if missing:
        raise UserError(f"{solution} has no labels for id {missing[0]}: expected every id of the submission")
    table = table.loc[ids]
    truth_NC = target_matrix([parse_target(text) for text in table["Target"]])
    usage_N = table["Usage"].to_numpy()
    scores = {
        name: macro_f1(truth_NC[usage_N == name], decision_NC[usage_N == name])
        for name in ("Public", "Private")
    }
    return scores | {"All": macro_f1(truth_NC, decision_NC)}


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
        The list of unusable images that stage 00 wrote; without it, nothing is changed.
    """
    if not bad_images.exists():
        return
    bad = files.read_table(bad_images, rewrite("00_prepare.py"), ("subset", "id"))
    unusable = set(bad.loc[bad["subset"] == "test", "id"])
    rows = [row for row, sample in enumerate(index.test_ids) if sample in unusable]
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
    """Upload a submission with Kaggle's client, if it is installed, and return its answer.

    Raises
    ------
    UserError
        If the client is not installed, or fails; the message contains the command to run by hand.
    """
    by_hand = shlex.join(upload_command(path, message))
    if shutil.which("kaggle") is None:
        raise UserError(
            f"--upload needs Kaggle's client (pip install kaggle six) and its key (kaggle.com, settings, "
            f"API); the submission is written, upload it with: {by_hand}"
        )
    done = subprocess.run(upload_command(path, message), capture_output=True, text=True)
    answer = " ".join((done.stdout + " " + done.stderr).split())
    if done.returncode:
        raise UserError(
            f"Kaggle's client failed: {answer}; the submission is written, upload it with: {by_hand}"
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
