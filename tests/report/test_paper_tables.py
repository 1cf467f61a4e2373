"""The papers' numbers, and a run's own beside them."""

from types import SimpleNamespace

import pandas as pd
import pytest

from lib.report import paper_tables


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


def test_the_theses_numbers_are_its_own():
    means = {"macro_precision": 0.6422, "macro_recall": 0.3984, "macro_f1": 0.4749}
    assert means == paper_tables.HOOGENBOOM


def test_the_theses_means_stand_below_ours_at_one_threshold():
    table = paper_tables.hoogenboom_table(comparison(), "holdout")
    assert table["predictor"].tolist() == ["baseline", "hierarchy_hard", "Hoogenboom 2019, baseline"]
    assert table["macro_precision"].tolist() == [0.1, 0.2, 0.6422]
    lines = paper_tables.describe_hoogenboom(table, "holdout, simulated cells").splitlines()
    assert "holdout, simulated cells" in lines[0] and lines[1].split() == ["precision", "recall", "F1"]
    assert lines[2].split() == ["baseline", "0.1000", "0.2000", "0.3000"]
    assert lines[-1].split()[-3:] == ["0.6422", "0.3984", "0.4749"]
    assert paper_tables.hoogenboom_means(table)[0] == {
        "predictor": "baseline", "precision": "0.1000", "recall": "0.2000", "F1": "0.3000"
    }  # fmt: skip


@pytest.mark.parametrize(("preset", "written"), [("hoogenboom", {"averages"}), ("demo", set())])
def test_a_papers_preset_writes_its_table(tmp_path, preset, written):
    report = SimpleNamespace(
        run=SimpleNamespace(
            config=SimpleNamespace(name=preset), evaluation=lambda name: tmp_path / f"{name}.csv"
        ),
        subset="holdout", subtitle="holdout, cells",
    )  # fmt: skip
    texts = paper_tables.write(report, comparison())
    assert {path.stem for path in tmp_path.iterdir()} == written <= set(paper_tables.SHOWN)
    assert len(texts) == len(written)
    for name in written:
        shown, path = paper_tables.SHOWN[name], tmp_path / f"{name}.csv"
        rows = shown.rows(shown.read(path))
        assert len(rows) == 3 and rows == shown.rows(pd.read_csv(path))
