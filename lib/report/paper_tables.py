"""The numbers printed in the papers, and a run's own in the same form beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib import files
from lib.evaluation import predictor_scores
from lib.evaluation.predictions import Predictor
from lib.report.run_report import RunReport
from lib.stage_files import COUNT, SHARE


class Row(NamedTuple):
    """A row of Liu, Zhang, Zhou 2018, table 1, or a network of their section 6.3."""

    predictor: str
    model: str
    decision: str  # of the evaluation: fixed, tuned or submitted
    epochs: int
    train_loss: float | None
    validation_loss: float | None
    score: float  # macro-F1: on Kaggle's public leaderboard in table 1, on validation in section 6.3


LIU = (
    Row("zero_20", "zero initial weight for 4th layer", "fixed", 20, 0.0716, 0.0808, 0.366),
    Row("zero", "+ threshold", "submitted", 40, 0.0502, 0.0795, 0.387),
    Row("copied", "pre-trained weight for 4th layer + threshold", "submitted", 40, 0.0499, 0.0795, 0.403),
    Row("copied_dropout", "+ additional dropout", "submitted", 40, 0.0700, 0.0790, 0.394),
    Row("copied_tta", "+ TTA, without the dropout", "submitted", 40, 0.0509, 0.0799, 0.401),
    Row("rgb_512", "RGB, 512 px (section 6.3)", "submitted", 50, None, None, 0.4189),
    Row("rgb_512_with_ten", "RGB, 512 px + features (section 6.3)", "submitted", 50, None, None, 0.4110),
)


def write(report: RunReport, table: pd.DataFrame) -> list[str]:
    """Write the tables of the paper that a run's preset reproduces, if any; return them as text.

    Parameters
    ----------
    table : DataFrame
        As `lib.evaluation.predictor_scores.side_by_side` returns it.
    """
    run = report.run
    if run.config.name == "liu":
        known = [report.predictor(name) for name in table["predictor"].unique()]
        ours = liu_table(run.folder, predictor_scores.test_scores(known, run.solution))
        if ours.empty:
            return []
        files.write_csv(run.evaluation("table_1"), ours)
        return [describe_liu(ours, run.data_name)]
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


def liu_table(run: Path, test_scores: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Compare our numbers with those of the paper, for every row whose network has been evaluated.

    Parameters
    ----------
    run : Path
        ``outputs/<run>``.
    test_scores : dict of float
        Macro-F1 on the test samples by predictor and decision, where the labels are known.

    Returns
    -------
    DataFrame
        predictor, model, then epochs, train_loss and validation_loss of the last epoch, validation_macro_f1
        and test_macro_f1 of ours, and paper_... of theirs.
    """
    rows = []
    for row in LIU:
        summary_csv = predictor_scores.evaluation_path(run, row.predictor, "summary")
        if not summary_csv.exists():
            continue
        predictor = Predictor.read(run / "predictions" / row.predictor)
        if predictor.kind != "network":  # it has no epochs and losses: external, or merged from other runs
            continue
        last = _read_history(run / "networks" / predictor.network).iloc[-1]
        summary = predictor_scores.read_summary(summary_csv).set_index(["subset", "decision"])
        rows.append(
            {
                "predictor": row.predictor,
                "model": row.model,
                "epochs": int(last["epoch"]),
                "train_loss": last["train_loss"],
                "validation_loss": last["validation_loss"],
                "validation_macro_f1": summary.loc[("validation", row.decision), "macro_f1"],
                "test_macro_f1": test_scores.get((row.predictor, row.decision)),
                "paper_epochs": row.epochs,
                "paper_train_loss": row.train_loss,
                "paper_validation_loss": row.validation_loss,
                "paper_score": row.score,
            }
        )
    return pd.DataFrame(rows)


def liu_pairs(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a table of `liu_table` for display: ours / theirs in every column.

    Macro-F1 is that on the test samples where it is known, else on validation.
    """
    return [
        {
            "model": row.model,
            "epochs": f"{row.epochs:g} / {row.paper_epochs:g}",
            "train loss": _pair(row.train_loss, row.paper_train_loss),
            "validation loss": _pair(row.validation_loss, row.paper_validation_loss),
            "macro-F1": f"{row.test_macro_f1:.3f} / {row.paper_score:.3f}"
            if pd.notna(row.test_macro_f1)
            else f"{row.validation_macro_f1:.3f} / {row.paper_score:.3f}  on validation",
        }
        for row in table.itertuples()
    ]


def describe_liu(table: pd.DataFrame, data: str) -> str:
    """Return a table of `liu_table` as lines for the console; `data` names the data of ours."""
    lines = [f"Liu et al. 2018, table 1: ours on {data} / theirs on Kaggle's images"]
    lines.append(f"  {'':<46}{'epochs':>10}{'train loss':>18}{'validation loss':>18}{'macro-F1':>16}")
    for row in liu_pairs(table):
        score, _, where = row["macro-F1"].partition("  ")
        cells = f"{row['epochs']:>10}{row['train loss']:>18}{row['validation loss']:>18}{score:>16}"
        lines.append(f"  {row['model']:<46}{cells}" + f"  {where}" * bool(where))
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


OURS = {"epochs": COUNT, "train_loss": COUNT, "validation_loss": COUNT}
THEIRS = {f"paper_{name}": bounds for name, bounds in OURS.items()} | {"paper_score": SHARE}
SHOWN = {  # by file name
    "table_1": Shown(
        "Liu, Zhang, Zhou 2018, table 1: this run / theirs",
        liu_pairs,
        ("predictor", "model"),
        OURS | {"validation_macro_f1": SHARE, "test_macro_f1": SHARE} | THEIRS,
    ),
    "averages": Shown(
        "Hoogenboom 2019, section 3: means over classes at one threshold",
        hoogenboom_means,
        ("predictor",),
        dict.fromkeys(HOOGENBOOM, SHARE),
    ),
}


def _read_history(network: Path) -> pd.DataFrame:
    """Read the history of a network's training; with folds, of the first."""
    folder = network if (network / "history.csv").exists() else network / "fold_0"
    folder = folder if folder.exists() else network
    script = f"02_train_cnn.py --network {network.name} --force"
    columns = {"epoch": COUNT, "train_loss": COUNT, "validation_loss": COUNT}
    return files.read_results(folder / "history.csv", script, ("epoch",), columns)


def _pair(ours: float, theirs: float | None) -> str:
    return f"{ours:.4f} / " + (f"{theirs:.4f}" if pd.notna(theirs) else "-")
