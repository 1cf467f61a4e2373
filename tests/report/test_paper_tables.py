"""The papers' numbers, and a run's own beside them."""

from types import SimpleNamespace

import pandas as pd
import pytest

from lib import files
from lib.errors import UserError
from lib.evaluation.predictions import Predictor
from lib.evaluation.predictor_scores import SUMMARY_COLUMNS
from lib.report import paper_tables
from tests.conftest import STAGES, call, write_kaggle


def write_run(folder, predictors):
    """Write the evaluation of networks that were trained for four epochs."""
    for number, (name, predictor) in enumerate(predictors.items()):
        rows = [
            {"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 2 / epoch} for epoch in range(1, 5)
        ]
        if predictor.kind == "network":
            files.write_csv(folder / "networks" / predictor.network / "history.csv", pd.DataFrame(rows))
        predictor.write(folder / "predictions" / name)
        rows = [
            {"subset": subset, "decision": decision}
            | dict.fromkeys(SUMMARY_COLUMNS, 0.5)
            | {"macro_f1": 0.1 * number + 0.01 * place}
            for subset in ("train", "validation")
            for place, decision in enumerate(("fixed", "tuned", "submitted"))
        ]
        files.write_csv(folder / "evaluation" / f"{name}_summary.csv", pd.DataFrame(rows))
    return folder


EXTERNAL = Predictor("external", files=["scores.csv"])
NETWORKS = {
    "zero_20": Predictor("network", "zero_20"),
    "copied": Predictor("network", "copied"),
    "copied_tta": Predictor("network", "copied", views=8),
    "other": Predictor("network", "other"),
}


def test_the_papers_numbers_are_those_of_table_1():
    assert [row.score for row in paper_tables.LIU] == [0.366, 0.387, 0.403, 0.394, 0.401, 0.4189, 0.4110]
    assert [row.train_loss for row in paper_tables.LIU[:5]] == [0.0716, 0.0502, 0.0499, 0.0700, 0.0509]
    assert [row.validation_loss for row in paper_tables.LIU[:5]] == [0.0808, 0.0795, 0.0795, 0.0790, 0.0799]
    assert [row.epochs for row in paper_tables.LIU] == [20, 40, 40, 40, 40, 50, 50]
    assert [row.decision for row in paper_tables.LIU[:2]] == ["fixed", "submitted"]
    means = {"macro_precision": 0.6422, "macro_recall": 0.3984, "macro_f1": 0.4749}
    assert means == paper_tables.HOOGENBOOM


def test_ours_stand_beside_theirs(tmp_path):
    run = write_run(tmp_path, NETWORKS)
    table = paper_tables.liu_table(run, {("copied", "submitted"): 0.345, ("zero_20", "submitted"): 0.9})
    assert table["predictor"].tolist() == ["zero_20", "copied", "copied_tta"]
    assert table["epochs"].tolist() == [4, 4, 4] and table["train_loss"].tolist() == [0.25] * 3
    assert table["validation_loss"].tolist() == [0.5] * 3
    assert table["validation_macro_f1"].tolist() == pytest.approx([0.0, 0.12, 0.22])
    assert table["test_macro_f1"].isna().tolist() == [True, False, True]
    assert table["paper_score"].tolist() == [0.366, 0.403, 0.401]
    lines = paper_tables.describe_liu(table, "simulated cells").splitlines()
    assert "simulated cells" in lines[0] and "Kaggle's images" in lines[0]
    assert lines[2].split("  ")[-1] == "on validation" and "0.000 / 0.366" in lines[2]
    assert "0.2500 / 0.0499" in lines[3] and lines[3].endswith("0.345 / 0.403")
    shown = paper_tables.liu_pairs(table)
    assert [row["macro-F1"] for row in shown] == [
        "0.000 / 0.366  on validation", "0.345 / 0.403", "0.220 / 0.401  on validation"
    ]  # fmt: skip
    assert shown[1]["epochs"] == "4 / 40" and shown[1]["validation loss"] == "0.5000 / 0.0795"


def test_losses_that_the_paper_does_not_give_are_dashes(tmp_path):
    run = write_run(tmp_path, {"rgb_512": Predictor("network", "rgb_512")})
    (row,) = paper_tables.liu_pairs(paper_tables.liu_table(run, {}))
    assert (row["train loss"], row["macro-F1"]) == ("0.2500 / -", "0.020 / 0.419  on validation")


def test_a_predictor_is_found_by_its_network_not_by_its_name(tmp_path):
    run = write_run(tmp_path, {"copied_tta": Predictor("network", "something_else", views=8)})
    history = pd.DataFrame([{"epoch": 7, "train_loss": 0.1, "validation_loss": 0.2}])
    files.write_csv(run / "networks" / "something_else" / "history.csv", history)
    table = paper_tables.liu_table(run, {})
    assert table[["predictor", "epochs"]].values.tolist() == [["copied_tta", 7]]


def test_with_folds_the_history_is_that_of_the_first(tmp_path):
    run = write_run(tmp_path, {"copied": NETWORKS["copied"]})
    (run / "networks" / "copied" / "history.csv").unlink()
    for fold in (1, 0):
        history = pd.DataFrame([{"epoch": 5 + fold, "train_loss": 0.1, "validation_loss": 0.2}])
        files.write_csv(run / "networks" / "copied" / f"fold_{fold}" / "history.csv", history)
    assert paper_tables.liu_table(run, {})["epochs"].tolist() == [5]


def test_predictors_without_a_history_are_left_out(tmp_path):
    """Merged runs have no networks, and anybody may call external predictions as in the paper."""
    run = write_run(tmp_path, {"copied": Predictor("merged", runs=["a", "b"]), "zero": EXTERNAL})
    assert paper_tables.liu_table(run, {}).empty
    report = SimpleNamespace(
        run=SimpleNamespace(
            config=SimpleNamespace(name="liu"), folder=run, solution=run / "none.csv",
            evaluation=lambda name: run / "evaluation" / f"{name}.csv",
        ),
        predictor=lambda name: name,
    )  # fmt: skip
    assert paper_tables.write(report, pd.DataFrame({"predictor": ["copied", "zero"]})) == []
    assert not (run / "evaluation" / "table_1.csv").exists()


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


@pytest.mark.parametrize(
    ("preset", "name", "first"),
    [("liu", "table_1", "Liu"), ("hoogenboom", "averages", "means"), ("demo", "", "")],
)
def test_a_papers_preset_writes_its_table(tmp_path, preset, name, first):
    run = write_run(tmp_path, NETWORKS)
    report = SimpleNamespace(
        run=SimpleNamespace(
            config=SimpleNamespace(name=preset), folder=run, solution=run / "none.csv", data_name="cells",
            evaluation=lambda name: run / "evaluation" / f"{name}.csv",
        ),
        predictor=lambda name: name, subset="holdout", subtitle="holdout, cells",
    )  # fmt: skip
    before = set((run / "evaluation").iterdir())
    texts = paper_tables.write(report, comparison())
    written = {path.stem for path in set((run / "evaluation").iterdir()) - before}
    assert written == ({name} if name else set()) and set(written) <= set(paper_tables.SHOWN)
    assert [text.split()[0] for text in texts] == [first] * bool(name)
    for name in written:
        shown, path = paper_tables.SHOWN[name], run / "evaluation" / f"{name}.csv"
        rows = shown.rows(shown.read(path))
        assert len(rows) == 3 and rows == shown.rows(pd.read_csv(path))


def test_a_missing_or_damaged_history_names_the_network_to_train_again(tmp_path):
    run = write_run(tmp_path, {"copied": NETWORKS["copied"]})
    path = run / "networks" / "copied" / "history.csv"
    for content in (None, "", "epoch,train_loss\n1,0.5\n", "epoch,train_loss,validation_loss\n1,0.5,-1\n"):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        with pytest.raises(UserError) as error:
            paper_tables.liu_table(run, {})
        for text in (str(path), "`python 02_train_cnn.py --network copied --force`"):
            assert text in str(error.value)


@pytest.mark.slow
def test_the_preset_of_the_paper_runs_and_ends_in_its_table(tmp_path, capsys):
    raw = write_kaggle(tmp_path / "raw", train=40, size=32)
    solution = pd.DataFrame({"Id": [f"t{row:02d}" for row in range(5)], "Target": "0 25", "Usage": "Public"})
    solution.loc[0, "Usage"] = "Private"
    solution.to_csv(raw / "solution.csv", index=False)
    options = ["--preset", "liu", "--data", raw, "--work", tmp_path, "--workers", 1, "--set", "data.sizes=32"]
    options += ["all:training.size=32", "all:training.epochs=1", "training.batch_size=8"]
    options += ["network.pretrained=false", "all:network.architecture=test_resnet"]
    for script in ("00_prepare", "01_features", "02_train_cnn", "04_threshold"):
        call(script, *options)
    lines = capsys.readouterr().out.splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith("Liu et al. 2018, table 1"))
    assert "images of raw/" in lines[start]
    shown = lines[start + 2 : start + 2 + len(paper_tables.LIU)]
    for row, line in zip(paper_tables.LIU, shown, strict=True):
        assert line.strip().startswith(row.model) and line.endswith(f" / {row.score:.3f}")
    run = tmp_path / "outputs" / "liu"
    table = pd.read_csv(run / "evaluation" / "table_1.csv")
    assert table["predictor"].tolist() == [row.predictor for row in paper_tables.LIU]
    assert table["test_macro_f1"].notna().all()
    tta, plain = ((run / "predictions" / name / "test.npz").read_bytes() for name in ("copied_tta", "copied"))
    assert tta != plain


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
    assert "stage_2_two_nucleus_other" in page and page.count("How often “other” is right") == 2
    assert len(pd.read_csv(run / "submission.csv")) == 24
