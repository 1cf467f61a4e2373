"""The numbers printed in the papers, and a run's own in the same form beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib import files
from lib.evaluation import predictor_scores
from lib.report import hoogenboom_tables, liu_tables
from lib.report.run_report import RunReport


def write(report: RunReport, table: pd.DataFrame) -> list[str]:
    """Write the tables of the paper that a run's preset reproduces, if any; return them as text.

    Parameters
    ----------
    table : DataFrame
        As `lib.evaluation.predictor_scores.side_by_side` returns it.
    """
    run = report.run
    if run.config.name == "liu":
        return liu_tables.write(report, list(table["predictor"].unique()))
    if run.config.name == "hoogenboom":
        return hoogenboom_tables.write(report, table)
    return []


class Shown(NamedTuple):
    """How a table that compares a run with a paper is read back and shown."""

    title: str
    rows: Callable[[pd.DataFrame], list[dict[str, str]]]
    keys: tuple[str, ...]
    numbers: dict[str, tuple[float, float]]

    def read(self, path: Path) -> pd.DataFrame:
        """Read the table, which stage 04 wrote; a `UserError` if it is damaged."""
        return files.read_results(path, predictor_scores.SCRIPT, self.keys, self.numbers)


SHOWN = {  # by file name
    "table_1": Shown(
        "Liu, Zhang, Zhou 2018, table 1: this run / theirs",
        liu_tables.table_1_pairs,
        ("predictor", "model", "thresholds"),
        liu_tables.TABLE_1_COLUMNS,
    ),
    "section_6_3": Shown(
        "Liu, Zhang, Zhou 2018, section 6.3: highest macro-F1 over the epochs, this run / theirs",
        liu_tables.section_6_3_pairs,
        ("network", "model"),
        liu_tables.SECTION_6_3_COLUMNS,
    ),
    "averages": Shown(
        "Hoogenboom 2019, section 3: means over classes at one threshold",
        hoogenboom_tables.averages_rows,
        ("predictor",),
        hoogenboom_tables.AVERAGES_COLUMNS,
    ),
    "printed_advantages": Shown(
        "Hoogenboom 2019, section 3: prediction advantages that the text gives, this run / theirs",
        hoogenboom_tables.advantages_rows,
        ("figure", "class", "predictor"),
        hoogenboom_tables.ADVANTAGES_COLUMNS,
    ),
}
