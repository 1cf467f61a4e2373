"""The numbers printed in the papers, and a run's own in the same form beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib import files
from lib.evaluation import predictor_scores
from lib.report import liu_tables
from lib.report.run_report import RunReport
from lib.stage_files import SHARE


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
        ours = hoogenboom_table(table, report.subset)
        files.write_csv(run.evaluation("averages"), ours)
        return [describe_hoogenboom(ours, report.subtitle)]
    return []


# Hoogenboom 2019, section 3: the baseline's means over its 21 classes, on 20 % of the labelled samples
HOOGENBOOM = {"macro_precision": 0.6422, "macro_recall": 0.3984, "macro_f1": 0.4749}


def hoogenboom_table(table: pd.DataFrame, subset: str) -> pd.DataFrame:
    """Compare every predictor's mean precision, recall and F1 at one threshold with the thesis's baseline.

    Parameters
    ----------
    table : DataFrame
        As `lib.evaluation.predictor_scores.side_by_side` returns it.

    Returns
    -------
    DataFrame
        predictor, macro_precision, macro_recall, macro_f1; the last row is the thesis's.
    """
    chosen = table[(table["subset"] == subset) & (table["decision"] == "fixed")]
    rows = chosen[["predictor", *HOOGENBOOM]]
    theirs = pd.DataFrame([{"predictor": "Hoogenboom 2019, baseline", **HOOGENBOOM}])
    return pd.concat([rows, theirs], ignore_index=True)


def describe_hoogenboom(table: pd.DataFrame, data: str) -> str:
    """Return a table of `hoogenboom_table` as lines for the console; `data` names the data of ours."""
    width = max(map(len, table["predictor"])) + 2
    lines = [
        f"means over classes: ours on {data}; theirs on Kaggle's images",
        f"  {'':<{width}}{'precision':>10}{'recall':>10}{'F1':>10}",
    ]
    for row in table.itertuples():
        means = "".join(f"{getattr(row, column):>10.4f}" for column in HOOGENBOOM)
        lines.append(f"  {row.predictor:<{width}}{means}")
    return "\n".join(lines)


def hoogenboom_means(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a table of `hoogenboom_table` for display."""
    names = {"macro_precision": "precision", "macro_recall": "recall", "macro_f1": "F1"}
    return [
        {"predictor": row["predictor"], **{name: f"{row[column]:.4f}" for column, name in names.items()}}
        for row in table.to_dict("records")
    ]


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
        hoogenboom_means,
        ("predictor",),
        dict.fromkeys(HOOGENBOOM, SHARE),
    ),
}
