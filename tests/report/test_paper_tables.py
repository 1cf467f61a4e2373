import pandas as pd
import pytest

from lib.report import paper_tables
from tests.conftest import call, write_kaggle


def write_run(folder, predictors):
    for number, name in enumerate(predictors):
        network = folder / "networks" / name.removesuffix("_tta")
        network.mkdir(parents=True, exist_ok=True)
        rows = [{"epoch": e, "train_loss": 1 / e, "validation_loss": 2 / e} for e in range(1, 5)]
        pd.DataFrame(rows).to_csv(network / "history.csv", index=False)
        (folder / "evaluation").mkdir(exist_ok=True)
        rows = [
            {"subset": subset, "decision": decision, "macro_f1": 0.1 * number + 0.01 * place}
            for subset in ("train", "validation")
            for place, decision in enumerate(("fixed", "tuned", "submitted"))
        ]
        pd.DataFrame(rows).to_csv(folder / "evaluation" / f"{name}_summary.csv", index=False)


def test_the_papers_numbers_are_table_1s():
    assert [row.score for row in paper_tables.LIU] == [0.366, 0.387, 0.403, 0.394, 0.401, 0.4189, 0.4110]
    assert [row.train_loss for row in paper_tables.LIU[:5]] == [0.0716, 0.0502, 0.0499, 0.0700, 0.0509]
    assert [row.validation_loss for row in paper_tables.LIU[:5]] == [0.0808, 0.0795, 0.0795, 0.0790, 0.0799]
    assert [row.decision for row in paper_tables.LIU[:2]] == ["fixed", "submitted"]


def test_ours_stand_beside_theirs(tmp_path):
    write_run(tmp_path, ["zero_20", "copied", "copied_tta", "other"])
    table = paper_tables.liu_table(tmp_path, {("copied", "submitted"): 0.345, ("zero_20", "submitted"): 0.9})
    assert table["predictor"].tolist() == ["zero_20", "copied", "copied_tta"]
    assert table["epochs"].tolist() == [4, 4, 4] and table["train_loss"].tolist() == [0.25] * 3
    assert table["validation_macro_f1"].tolist() == pytest.approx([0.0, 0.12, 0.22])
    assert table["test_macro_f1"].isna().tolist() == [True, False, True]
    lines = paper_tables.describe_liu(table, "simulated cells").splitlines()
    assert lines[0] == "Liu et al. 2018, table 1: ours on simulated cells / theirs on Kaggle's images"
    assert lines[2].split("  ")[-1] == "on validation" and "0.000 / 0.366" in lines[2]
    assert "0.2500 / 0.0499" in lines[3] and lines[3].endswith("0.345 / 0.403")


def test_the_preset_of_the_paper_runs_and_ends_in_its_table(tmp_path, capsys):
    raw = write_kaggle(tmp_path / "raw", train=40, size=32)
    solution = pd.DataFrame({"Id": [f"t{row:02d}" for row in range(5)], "Target": "0 25", "Usage": "Public"})
    solution.loc[0, "Usage"] = "Private"
    solution.to_csv(raw / "solution.csv", index=False)
    options = ["--preset", "liu", "--data", raw, "--work", tmp_path, "--set", "data.sizes=32"]
    options += ["training.size=32", "training.epochs=1", "training.batch_size=8", "network.pretrained=false"]
    options += ["network.architecture=test_resnet"]
    for script in ("00_prepare", "01_features", "02_train_cnn", "04_threshold"):
        call(script, *options)
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("Liu et al. 2018, table 1: ours on images of raw/ / theirs on Kaggle's images")
    shown = lines[start + 2 : start + 2 + len(paper_tables.LIU)]
    for row, line in zip(paper_tables.LIU, shown, strict=True):
        assert line.strip().startswith(row.model) and line.endswith(f" / {row.score:.3f}")
    table = pd.read_csv(tmp_path / "outputs" / "liu" / "evaluation" / "table_1.csv")
    assert table["predictor"].tolist() == [row.predictor for row in paper_tables.LIU]
    assert table["test_macro_f1"].notna().all()
    tta, plain = (
        (tmp_path / "outputs" / "liu" / "predictions" / name / "test.npz").read_bytes()
        for name in ("copied_tta", "copied")
    )
    assert tta != plain
