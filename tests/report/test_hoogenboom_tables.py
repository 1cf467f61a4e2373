"""The numbers that the thesis prints, and a run's own beside them."""

import re
from types import SimpleNamespace

import pandas as pd

from lib.labels import CLASSES
from lib.report import hoogenboom_tables
from tests.conftest import PAPERS, needs_papers

CYTOSOL, ACTIN = CLASSES.index("Cytosol"), CLASSES.index("Actin filaments")


def report_in(folder, preset="hoogenboom", labels=(CYTOSOL,)):
    """Return as much of a report as the tables need, with its files in a folder."""
    run = SimpleNamespace(config=SimpleNamespace(name=preset), evaluation=lambda name: folder / f"{name}.csv")
    data = SimpleNamespace(classes=list(labels))
    return SimpleNamespace(
        run=run, data=data, folder=folder / "run", subset="holdout", subtitle="holdout, cells"
    )


def comparison():
    rows = [
        {"predictor": name, "subset": subset, "decision": decision, "samples": 9, "macro_precision": value,
         "macro_recall": 0.2, "macro_f1": 0.3}
        for value, (name, subset, decision) in zip(
            (0.1, 0.9, 0.9, 0.2),
            (("baseline", "holdout", "fixed"), ("baseline", "holdout", "tuned"),
             ("baseline", "validation", "fixed"), ("hierarchy_hard", "holdout", "fixed")),
            strict=True,
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_theses_means_stand_below_ours_at_one_threshold():
    table = hoogenboom_tables.averages(comparison(), "holdout")
    assert table["predictor"].tolist() == ["baseline", "hierarchy_hard", "Hoogenboom 2019, baseline"]
    assert table["macro_precision"].tolist() == [0.1, 0.2, 0.6422]
    assert hoogenboom_tables.averages_rows(table)[0] == {
        "predictor": "baseline", "precision": "0.1000", "recall": "0.2000", "F1": "0.3000"
    }  # fmt: skip


@needs_papers
def test_the_printed_numbers_are_those_of_the_thesis():
    text = (PAPERS / "hoogenboom_2019.txt").read_text()
    (means,) = re.findall(r"precision of: (0,\d+), average recall of: (0,\d+) .* score of: (0,\d+)", text)
    assert [float(mean.replace(",", ".")) for mean in means] == [*hoogenboom_tables.PRINTED_AVERAGES.values()]
    (stage_2,) = re.findall(r"PA score from (0\.\d+) to (0\.\d+) and (0\.\d+) to (0\.\d+)", text)
    (cytosol,) = re.findall(
        r"label is (0\.\d+), where .* Cytosol is (0\.\d+)\. .* Cytosol: (0\.\d+) and (0\.\d+)", text
    )
    printed = [row.advantage for row in hoogenboom_tables.PRINTED_ADVANTAGES]
    assert printed == [float(number) for number in (*stage_2, *cytosol)]


def test_printed_advantages_stand_beside_the_runs_own(tmp_path):
    within = pd.DataFrame(
        {"group": "Cytoplasm", "predictor": ["baseline", "stage 2 without other", "baseline"],
         "class": ["Actin filaments", "Actin filaments", "Cytosol"],
         "prediction_advantage": [-0.5, 0.25, 0.75]}
    )  # fmt: skip
    within.to_csv(tmp_path / "within_groups.csv", index=False)
    scores = {"support": 3, "predicted": 3, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    rows = [
        {"subset": subset, "decision": decision, "class": "Cytosol", **scores, "prediction_advantage": value}
        for subset, decision, value in (
            ("holdout", "fixed", 0.125), ("holdout", "tuned", 0.9), ("validation", "fixed", 0.9),
        )
    ]  # fmt: skip
    (tmp_path / "run" / "evaluation").mkdir(parents=True)
    pd.DataFrame(rows).to_csv(tmp_path / "run" / "evaluation" / "hierarchy_hard_classes.csv", index=False)
    table = hoogenboom_tables.advantages(report_in(tmp_path))
    ours = table.set_index(["figure", "class", "predictor"])["prediction_advantage"]
    assert ours["figure 6", "Actin filaments", "baseline"] == -0.5
    assert ours["figure 6", "Actin filaments", "stage 2 without other"] == 0.25
    assert ours["figure 7", "Cytosol", "hierarchy_hard"] == 0.125
    assert ours.notna().sum() == 3, "others have not been measured"
    shown = hoogenboom_tables.advantages_rows(table)
    assert [row["prediction advantage"] for row in shown] == [
        "-0.50 / 0.08", "0.25 / 0.45", "- / 0.27", "- / 0.53",
        "- / 0.64", "- / 0.38", "0.12 / 0.56", "- / 0.58",
    ]  # fmt: skip


def test_the_tables_say_whose_numbers_they_are(tmp_path):
    means, advantages = hoogenboom_tables.write(report_in(tmp_path), comparison())
    assert "ours on holdout, cells; theirs on Kaggle's images" in means.splitlines()[0]
    assert means.splitlines()[-1].split()[-3:] == ["0.6422", "0.3984", "0.4749"]
    assert "ours on holdout, cells / theirs on Kaggle's images" in advantages
