"""Known labels of some test samples: a submission's score on them, and what that cannot show."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import tables
from lib.console import info
from lib.data.strata import read_strata
from lib.errors import UserError
from lib.evaluation.intervals import macro_f1_interval
from lib.evaluation.metrics import macro_f1
from lib.evaluation.submission import require_known
from lib.labels import target_matrix
from lib.run import Run

PUBLIC = (
    "the labels of Kaggle's test images that are publicly known are of small originals (2048 px) only, the "
    "easier half of the test set, and nothing is known about the other half"
)


@dataclass(frozen=True)
class KnownLabels:
    """Labels of some test samples.

    Attributes
    ----------
    path : Path
        Of the table that they were read from.
    ids : list of str, length M
        All test samples.
    rows : ndarray of shape (N,), int
        Places of the labelled ones among them.
    truth_NC : ndarray of shape (N, C), bool
    """

    path: Path
    ids: list[str]
    rows: np.ndarray
    truth_NC: np.ndarray

    @classmethod
    def read(cls, path: Path, ids: list[str]) -> "KnownLabels":
        """Read a CSV file with the columns Id and Target; `ids` are those of all test samples.

        Raises
        ------
        UserError
            If the table is unreadable or empty, lists an id twice or one that is not of the test set, or
            contains an invalid target.
        """
        expected = "expected the columns Id,Target and a row per test sample whose labels are known"
        table = tables.read_table(path, expected, ("Id", "Target"))
        if table.empty:
            raise UserError(f"{path} has no rows; {expected}")
        require_known(path, table["Id"], ids, expected)
        tables.lines_by_id(path, table["Id"])
        row_of = {sample: row for row, sample in enumerate(ids)}
        rows = np.array([row_of[sample] for sample in table["Id"]])
        return cls(path, ids, rows, target_matrix(tables.read_targets(path, table["Target"])))

    def describe(self, decision_NC: np.ndarray, run: Run) -> str:
        """Return the macro-F1 of a submission on these samples, and what it cannot show, as a sentence.

        Parameters
        ----------
        decision_NC : ndarray of shape (M, C), bool
            For all test samples.
        """
        present_C = self.truth_NC.any(axis=0)
        pair = self.truth_NC[:, present_C], decision_NC[self.rows][:, present_C]
        low, high = macro_f1_interval(*pair)
        return (
            f"macro-F1 {macro_f1(*pair):.3f} (conservative 95 % CI {low:.3f} to {high:.3f}) on the test "
            f"samples in {self.path.name}: {len(self.rows):,} of {len(self.ids):,}, classes that occur: "
            f"{present_C.sum()}{self._limits(run)}"
        )

    def _limits(self, run: Run) -> str:
        """Return how these samples differ from the whole test set, as far as that is known."""
        if run.config.split.strata:
            stratum_M = pd.Series(read_strata(Path(run.config.split.strata), self.ids))
            everywhere = stratum_M.value_counts(normalize=True)
            here = stratum_M[self.rows].value_counts(normalize=True).reindex(everywhere.index, fill_value=0.0)
            shares = [f"{name} {here[name]:.0%} ({share:.0%})" for name, share in everywhere.items()]
            return f"; their shares of the strata (those of the whole test set): {', '.join(shares)}"
        return "" if run.is_simulated else f"; {PUBLIC}"


def score(run: Run, ids: list[str], decision_NC: np.ndarray) -> str:
    """Print and return the score of a submission on the labels that ``--known-labels`` names; empty without.

    Parameters
    ----------
    ids : list of str, length M
        All test samples.
    decision_NC : ndarray of shape (M, C), bool
    """
    if not run.options.known_labels:
        return ""
    described = KnownLabels.read(run.options.known_labels, ids).describe(decision_NC, run)
    info(described)
    return described
