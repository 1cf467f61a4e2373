"""Hoogenboom 2019: the numbers that he prints, and a run's own in the same form beside them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import files
from lib.evaluation import predictor_scores
from lib.report.paper_text import lines, pair
from lib.report.run_report import RunReport
from lib.stage_files import SHARE

# section 3: the baseline's means over its 21 classes, on 20 % of the labelled samples
PRINTED_AVERAGES = {"macro_precision": 0.6422, "macro_recall": 0.3984, "macro_f1": 0.4749}
STAGE_2, WHOLE = "figure 6", "figure 7"
ADVANTAGE = "prediction_advantage"
# columns of numbers and their bounds
AVERAGES_COLUMNS = dict.fromkeys(PRINTED_AVERAGES, SHARE)
ADVANTAGES_COLUMNS = dict.fromkeys((ADVANTAGE, f"paper_{ADVANTAGE}"), (-np.inf, 1.0))


class Printed(NamedTuple):
    """A prediction advantage that the text of section 3 gives for a bar of figure 6 or 7."""

    figure: str
    location: str
    predictor: str  # in figure 6 as `lib.hierarchy.evaluation.evaluate_within_groups` names it
    advantage: float


PRINTED_ADVANTAGES = (
    Printed(STAGE_2, "Actin filaments", "baseline", 0.08),
    Printed(STAGE_2, "Actin filaments", "stage 2 without other", 0.45),
    Printed(STAGE_2, "Focal adhesion sites", "baseline", 0.27),
    Printed(STAGE_2, "Focal adhesion sites", "stage 2 without other", 0.53),
    Printed(STAGE_2, "Cytosol", "stage 2 without other", 0.64),
    Printed(STAGE_2, "Cytosol", "stage 2 with other", 0.38),
    Printed(WHOLE, "Cytosol", "hierarchy_hard", 0.56),
    Printed(WHOLE, "Cytosol", "hierarchy_hard_other", 0.58),
)


def write(report: RunReport, table: pd.DataFrame) -> list[str]:
    """Write the tables; return them as text.

    Parameters
    ----------
    table : DataFrame
        As `lib.evaluation.predictor_scores.side_by_side` returns it.
    """
    of_means, of_classes = averages(table, report.subset), advantages(report)
    files.write_csv(report.run.evaluation("averages"), of_means)
    files.write_csv(report.run.evaluation("printed_advantages"), of_classes)
    ours = f"ours on {report.subtitle}"
    return [
        lines(
            f"Hoogenboom 2019: means over classes at one threshold: {ours}; theirs on Kaggle's images",
            averages_rows(of_means),
        ),
        lines(
            f"Hoogenboom 2019: prediction advantages that the text gives: {ours} / theirs on Kaggle's images",
            advantages_rows(of_classes),
        ),
    ]


def averages(table: pd.DataFrame, subset: str) -> pd.DataFrame:
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
    rows = chosen[["predictor", *PRINTED_AVERAGES]]
    theirs = pd.DataFrame([{"predictor": "Hoogenboom 2019, baseline", **PRINTED_AVERAGES}])
    return pd.concat([rows, theirs], ignore_index=True)


def advantages(report: RunReport) -> pd.DataFrame:
    """Compare prediction advantages at one threshold with those that the thesis gives.

    Returns
    -------
    DataFrame
        figure, class, predictor, prediction_advantage (ours, nan without the class or the predictor),
        paper_prediction_advantage.
    """
    ours = _of_groups(report) | _of_the_whole(report)
    rows = [
        {
            "figure": row.figure,
            "class": row.location,
            "predictor": row.predictor,
            ADVANTAGE: ours.get((row.figure, row.location, row.predictor), np.nan),
            f"paper_{ADVANTAGE}": row.advantage,
        }
        for row in PRINTED_ADVANTAGES
    ]
    return pd.DataFrame(rows)


def _of_groups(report: RunReport) -> dict[tuple[str, str, str], float]:
    path = report.run.evaluation("within_groups")
    if not path.exists():
        return {}
    keys = ("group", "predictor", "class")
    table = files.read_results(path, predictor_scores.SCRIPT, keys, {ADVANTAGE: (-np.inf, 1.0)})
    return {(STAGE_2, row["class"], row["predictor"]): row[ADVANTAGE] for row in table.to_dict("records")}


def _of_the_whole(report: RunReport) -> dict[tuple[str, str, str], float]:
    names = {row.predictor for row in PRINTED_ADVANTAGES if row.figure == WHOLE}
    found = {}
    for name in names:
        if predictor_scores.evaluation_path(report.folder, name, "classes").exists():
            table = predictor_scores.read_classes(
                report.folder, name, report.subset, report.data.classes, "fixed"
            )
            found |= {(WHOLE, location, name): value for location, value in table[ADVANTAGE].items()}
    return found


def averages_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a table of `averages` for display."""
    names = {"macro_precision": "precision", "macro_recall": "recall", "macro_f1": "F1"}
    return [
        {"predictor": row["predictor"], **{name: f"{row[column]:.4f}" for column, name in names.items()}}
        for row in table.to_dict("records")
    ]


def advantages_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a table of `advantages` for display: ours / theirs."""
    return [
        {
            "figure": row["figure"],
            "location": row["class"],
            "predictor": row["predictor"],
            "prediction advantage": pair(row[ADVANTAGE], row[f"paper_{ADVANTAGE}"], ".2f"),
        }
        for row in table.to_dict("records")
    ]
