"""The papers' numbers, and a run's own beside them."""

from types import SimpleNamespace

import pandas as pd
import pytest

from lib.report import paper_tables
from tests.conftest import STAGES, call, missing_of_paper


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


@pytest.mark.slow
def test_the_preset_of_the_thesis_runs_with_every_network_row_and_figure(smoke, tmp_path, capsys, no_figures):
    options = ["--preset", "hoogenboom", "--data", smoke / "data" / "smoke", "--work", tmp_path, "--set"]
    options += ["data.sizes=32", "training.size=32", "training.epochs=1", "training.batch_size=16"]
    options += ["all:network.architecture=test_resnet", "split.rare_class_minimum=0.04"]
    for script in STAGES:
        call(script, *options)
    run, printed = tmp_path / "outputs" / "hoogenboom", capsys.readouterr().out
    networks = {path.parent.name for path in run.glob("networks/*/weights.safetensors")}
    groups = ("nucleus", "cytoplasm", "secretory", "two_nucleus", "two_cytoplasm_secretory")
    baselines = ["baseline", "baseline_resnet34", "baseline_resnet50", "baseline_resnet101"]
    assert networks == {
        *baselines, "joint", "stage_1", "stage_1_single", "stage_1_two",
        *(f"stage_2_{group}{end}" for group in groups for end in ("", "_other")),
    }  # fmt: skip
    ways = ("hard", "soft", "hard_other", "soft_other", "hard_other_veto")
    predictors = [f"{name}_{way}" for name in ("hierarchy", "hierarchy_two") for way in ways]
    averages = pd.read_csv(run / "evaluation" / "averages.csv")
    rows = sorted([*baselines, *predictors, "joint"])
    assert averages["predictor"].tolist() == [*rows, "Hoogenboom 2019, baseline"]
    holdout = pd.read_csv(run / "evaluation" / "predictors.csv").query("subset == 'holdout'")
    at_05 = holdout[holdout["decision"] == "fixed"].set_index("predictor").loc[rows]
    for column in paper_tables.HOOGENBOOM:
        assert averages[column].tolist()[:-1] == pytest.approx(at_05[column].tolist())
    figures = {path.stem for path in (run / "figures").iterdir()}
    assert figures >= {"class_counts", "labels_per_sample", "scores_baseline"} | {
        f"{name}{end}" for name in ("models", "groups", "within_groups", "advantages") for end in ("", "_two")
    }
    for name, groups in (("other", 3), ("other_two", 2)):
        assert len(pd.read_csv(run / "evaluation" / f"{name}.csv")["group"].unique()) == groups
    assert printed.count('how often "other" is right') == 2
    page = (run / "report.html").read_text()
    assert "tuned thresholds" not in page, "0.5 is for all"
    assert "stage_2_two_nucleus_other" in page and page.count("How often “other” is right") == 2
    assert len(pd.read_csv(run / "submission.csv")) == 24
    assert missing_of_paper("Hoogenboom 2019", run) == []
