"""The papers' numbers, and a run's own beside them."""

import pandas as pd
import pytest

from lib.report import hoogenboom_tables, paper_tables
from tests.conftest import STAGES, call, missing_of_paper
from tests.report.test_hoogenboom_tables import comparison, report_in


@pytest.mark.parametrize(
    ("preset", "written"), [("hoogenboom", {"averages": 3, "printed_advantages": 8}), ("demo", {})]
)
def test_a_papers_preset_writes_its_tables(tmp_path, preset, written):
    texts = paper_tables.write(report_in(tmp_path, preset), comparison())
    assert {path.stem for path in tmp_path.iterdir()} == written.keys() <= set(paper_tables.SHOWN)
    assert len(texts) == len(written)
    for name, length in written.items():
        shown, path = paper_tables.SHOWN[name], tmp_path / f"{name}.csv"
        rows = shown.rows(shown.read(path))
        assert len(rows) == length and rows == shown.rows(pd.read_csv(path))


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
    for column in hoogenboom_tables.PRINTED_AVERAGES:
        assert averages[column].tolist()[:-1] == pytest.approx(at_05[column].tolist())
    # Actin filaments are too rare here to be trained
    advantages = pd.read_csv(run / "evaluation" / "printed_advantages.csv")
    rare = advantages["class"] == "Actin filaments"
    assert rare.sum() == 2 and advantages["prediction_advantage"].isna().tolist() == rare.tolist()
    figures = {path.stem for path in (run / "figures").iterdir()}
    assert figures >= {"class_counts", "labels_per_sample", "scores_baseline"} | {
        f"{name}{end}" for name in ("models", "groups", "within_groups", "advantages") for end in ("", "_two")
    }
    for name, groups in (("other", 3), ("other_two", 2)):
        assert len(pd.read_csv(run / "evaluation" / f"{name}.csv")["group"].unique()) == groups
    assert printed.count('how often "other" is right') == 2
    page = (run / "report.html").read_text()
    assert "tuned thresholds" not in page, "0.5 is for all"
    assert "stage_2_two_nucleus_other" in page and page.count("How often “other” of hierarchy") == 2
    assert '<td class="left">baseline</td>' in page and "<td>0.500 (fixed)</td>" in page
    assert len(pd.read_csv(run / "submission.csv")) == 24
    assert missing_of_paper("Hoogenboom 2019", run) == []
