"""A submission sent with Kaggle's own client, where it is installed."""

import shlex
import shutil
import subprocess
from pathlib import Path

from lib.errors import UserError

COMPETITION = "human-protein-atlas-image-classification"


def command(submission: Path, message: str) -> list[str]:
    """Return the command that sends a submission."""
    return ["kaggle", "competitions", "submit", "-c", COMPETITION, "-f", str(submission), "-m", message]


def upload(submission: Path, message: str) -> str:
    """Send a submission and return what Kaggle answers.

    Raises
    ------
    UserError
        If the client is not installed, or refuses; the message holds the command to give by hand.
    """
    by_hand = shlex.join(command(submission, message))
    if shutil.which("kaggle") is None:
        raise UserError(
            f"--upload needs Kaggle's client (pip install kaggle six) and its key (kaggle.com, settings, "
            f"API); the file is written, and this sends it: {by_hand}"
        )
    done = subprocess.run(command(submission, message), capture_output=True, text=True)
    answer = " ".join((done.stdout + " " + done.stderr).split())
    if done.returncode:
        raise UserError(f"Kaggle's client says: {answer}; the file is written, and this sends it: {by_hand}")
    return answer
