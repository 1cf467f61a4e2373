"""Liu, Zhang, Zhou 2018: the numbers that they print, and a run's own in the same form beside them."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib import files
from lib.evaluation import submission
from lib.evaluation.metrics import macro_f1
from lib.evaluation.predictions import Predictor
from lib.evaluation.predictor_scores import EvaluatedPredictor
from lib.figures import epochs as figures
from lib.report.paper_text import lines, pair
from lib.report.run_report import RunReport
from lib.sections import Threshold
from lib.stage_files import COUNT, SHARE


class Row(NamedTuple):
    """A row of table 1; None where the paper gives no number."""

    predictor: str
    model: str
    method: str  # of the thresholds: as the setting threshold.method
    epochs: int | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    score: float | None = None  # macro-F1 on Kaggle's public leaderboard


class Best(NamedTuple):
    """A network of section 6.3, and the highest macro-F1 on validation that figure 6 shows for it."""

    network: str
    model: str
    epoch: int | None = None
    score: float | None = None


ZERO, COPIED = "zero initial weight for 4th layer", "pre-trained weight for 4th layer"
PRINTED = (
    Row("zero_20", f"{ZERO} (baseline)", "fixed", 20, 0.0716, 0.0808, 0.366),
    Row("zero", f"{ZERO} + threshold", "frequency", 40, 0.0502, 0.0795, 0.387),
    Row("copied", f"{COPIED} + threshold", "frequency", 40, 0.0499, 0.0795, 0.403),
    Row("copied_dropout", f"{COPIED} + threshold + dropout", "frequency", 40, 0.0700, 0.0790, 0.394),
    Row("copied_tta", f"{COPIED} + threshold + TTA", "frequency", 40, 0.0509, 0.0799, 0.401),
)
# thresholds with the best F1 on validation, in place of theirs
OURS = tuple(Row(row.predictor, row.model, "f1") for row in PRINTED if row.method == "frequency")
# dropped after 20 epochs; not in their table
LARGER = Row("zero_20_resnet50", "ResNet50 (6.2.1; their validation loss: above 100)", "fixed", 20)
TABLE_1 = (*PRINTED, LARGER, *OURS)
SECTION_6_3 = (
    Best("rgb_512", "RGB, 512 px", 40, 0.4189),
    Best("rgb_512_with_ten", "with ten features", 49, 0.4110),
    Best("rgb_512_weight_decay", "with weight decay (their future work)"),
    Best("rgb_512_with_ten_scaled", "with ten features, scaled by ten (their future work)"),
    Best("rgb_512_with_all", "with twenty features (their future work)"),
    Best("rgb_512_with_ten_pooled", "with ten features beside the pooled representation (ours)"),
)
# columns of numbers and their bounds
NUMBERS = {"epochs": COUNT, "train_loss": COUNT, "validation_loss": COUNT}
TABLE_1_COLUMNS = NUMBERS | {"validation_macro_f1": SHARE, "test_macro_f1": SHARE}
TABLE_1_COLUMNS |= {f"paper_{name}": bounds for name, bounds in NUMBERS.items()} | {"paper_score": SHARE}
SECTION_6_3_COLUMNS = {"epochs": COUNT, "epoch": COUNT, "train_macro_f1": SHARE, "validation_macro_f1": SHARE}
SECTION_6_3_COLUMNS |= {"paper_epoch": COUNT, "paper_macro_f1": SHARE}
HISTORY = {
    "epoch": COUNT, "train_loss": COUNT, "validation_loss": COUNT, "train_macro_f1": SHARE,
    "validation_macro_f1": SHARE,
}  # fmt: skip


def write(report: RunReport, predictors: list[str]) -> list[str]:
    """Write table 1, and section 6.3 with figure 6, as far as their networks are evaluated; return text."""
    run, texts = report.run, []
    networks = {}  # others have no epochs and losses: external predictors, and those merged from other runs
    for name in predictors:
        described = Predictor.read(run.predictor(name))
        if described.kind == "network":
            networks[name] = described.network
    ours = table_1(report, networks)
    if len(ours):
        files.write_csv(run.evaluation("table_1"), ours)
        texts.append(describe_table_1(ours, run.data_name))
    histories = {
        row.network: read_history(run.network(networks[row.network]))
        for row in SECTION_6_3
        if row.network in networks
    }
    if histories:
        best = section_6_3(histories)
        files.write_csv(run.evaluation("section_6_3"), best)
        texts.append(describe_section_6_3(best, run.data_name))
        panels = [
            figures.Panel(f"{row.network}\n{row.model}", histories[row.network], row.epoch, row.score)
            for row in SECTION_6_3
            if row.network in histories
        ]
        title = f"Macro-F1 at threshold 0.5 over the epochs: {run.data_name}"
        figures.macro_f1_over_epochs(run.figure("macro_f1_over_epochs"), panels, title)
    return texts


def table_1(report: RunReport, networks: dict[str, str]) -> pd.DataFrame:
    """Compare our numbers with those of table 1, for every row whose network has been evaluated.

    Parameters
    ----------
    networks : dict of str
        Names of the networks by predictor.

    Returns
    -------
    DataFrame
        predictor, model, thresholds (how they are chosen), then epochs, train_loss and validation_loss of
        the last epoch, validation_macro_f1 and test_macro_f1 (nan where labels are unknown) of ours, and
        paper_... of theirs.
    """
    rows = []
    for row in TABLE_1:
        if row.predictor not in networks:
            continue
        last = read_history(report.run.network(networks[row.predictor])).iloc[-1]
        settings = replace(report.settings, method=row.method)
        one = replace(report.predictor(row.predictor), settings=settings)
        validation, test = _scores(one, report.run.solution)
        rows.append(
            {
                "predictor": row.predictor,
                "model": row.model,
                "thresholds": _describe_thresholds(settings),
                "epochs": int(last["epoch"]),
                "train_loss": last["train_loss"],
                "validation_loss": last["validation_loss"],
                "validation_macro_f1": validation,
                "test_macro_f1": test,
                "paper_epochs": row.epochs,
                "paper_train_loss": row.train_loss,
                "paper_validation_loss": row.validation_loss,
                "paper_score": row.score,
            }
        )
    return pd.DataFrame(rows)


def _scores(one: EvaluatedPredictor, solution: Path) -> tuple[float, float | None]:
    """Return the macro-F1 on validation, and on the test samples where their labels are known.

    A sample below all thresholds has no label, as they mention no other rule.
    """
    chosen, classes = one.tune(), one.data.classes
    way = "fixed" if one.settings.method == "fixed" else "tuned"
    decision_NC = one.decide("validation", chosen["validation"])[way]
    validation = macro_f1(one.data.truth_NC("validation")[:, classes], decision_NC[:, classes])
    if not solution.exists():
        return validation, None
    decision_NC = one.decide("test", chosen["test"])[way]
    return validation, submission.score(one.data.ids("test"), decision_NC, solution)["All"]


def _describe_thresholds(settings: Threshold) -> str:
    if settings.method == "fixed":
        return f"{settings.fixed:g}"
    if settings.method == "f1":
        return "best F1 on validation (ours)"
    known = settings.frequencies in ("training", "estimated")
    return f"frequency ({settings.frequencies if known else 'table'})"


def section_6_3(histories: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare the highest macro-F1 on validation at a threshold of 0.5 over all epochs with figure 6.

    Parameters
    ----------
    histories : dict of DataFrame
        As `read_history` returns it, by network of `SECTION_6_3`.

    Returns
    -------
    DataFrame
        network, model, epochs; epoch (the first with the highest macro-F1), train_macro_f1 and
        validation_macro_f1 in that epoch; paper_epoch, paper_macro_f1.
    """
    rows = []
    for row in SECTION_6_3:
        if row.network in histories:
            history = histories[row.network]
            best = history.loc[history["validation_macro_f1"].idxmax()]
            rows.append(
                {
                    "network": row.network,
                    "model": row.model,
                    "epochs": len(history),
                    "epoch": int(best["epoch"]),
                    "train_macro_f1": best["train_macro_f1"],
                    "validation_macro_f1": best["validation_macro_f1"],
                    "paper_epoch": row.epoch,
                    "paper_macro_f1": row.score,
                }
            )
    return pd.DataFrame(rows)


def table_1_pairs(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a table of `table_1` for display: ours / theirs in every column.

    Macro-F1 is that on the test samples where it is known, else on validation.
    """
    return [
        {
            "model": row.model,
            "thresholds": row.thresholds,
            "epochs": pair(row.epochs, row.paper_epochs, "g"),
            "train loss": pair(row.train_loss, row.paper_train_loss),
            "validation loss": pair(row.validation_loss, row.paper_validation_loss),
            "macro-F1": pair(row.test_macro_f1, row.paper_score, ".3f")
            if pd.notna(row.test_macro_f1)
            else pair(row.validation_macro_f1, row.paper_score, ".3f") + "  on validation",
        }
        for row in table.itertuples()
    ]


def section_6_3_pairs(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a table of `section_6_3` for display: ours / theirs where the paper gives a number."""
    return [
        {
            "model": row.model,
            "in epoch": pair(row.epoch, row.paper_epoch, "g"),
            "macro-F1 in training": f"{row.train_macro_f1:.4f}",
            "on validation": pair(row.validation_macro_f1, row.paper_macro_f1),
        }
        for row in table.itertuples()
    ]


def describe_table_1(table: pd.DataFrame, data: str) -> str:
    """Return a table of `table_1` as lines for the console; `data` names the data of ours."""
    title = f"Liu et al. 2018, table 1: ours on {data} / theirs on Kaggle's images"
    return lines(title, table_1_pairs(table))


def describe_section_6_3(table: pd.DataFrame, data: str) -> str:
    """Return a table of `section_6_3` as lines for the console; `data` names the data of ours."""
    title = (
        f"Liu et al. 2018, section 6.3: highest macro-F1 at threshold 0.5 over the epochs: ours on {data} / "
        f"theirs on Kaggle's images"
    )
    return lines(title, section_6_3_pairs(table))


def read_history(network: Path) -> pd.DataFrame:
    """Read the history of a network's training; with folds, of the first.

    Parameters
    ----------
    network : Path
        ``outputs/<run>/networks/<network>``.
    """
    folder = network if (network / "history.csv").exists() else network / "fold_0"
    folder = folder if folder.exists() else network
    script = f"02_train_cnn.py --network {network.name} --force"
    return files.read_results(folder / "history.csv", script, (), HISTORY)
