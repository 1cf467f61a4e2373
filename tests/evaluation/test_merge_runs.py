import numpy as np
import pytest

from lib import files
from lib.data import sample_index
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation import merge_runs, predictions
from lib.evaluation.predictions import PredictionTable

INDEX = Index([f"a{row}" for row in range(6)], [(0,)] * 6, ["t0", "t1"])


def write_run(folder, subset_of, value, classes=(0, 1)):
    """A run whose one predictor says `value` of everything."""
    rows = [f"{sample},{subset},-1" for sample, subset in subset_of.items()]
    files.write_text(folder / "split.csv", "\n".join(["id,subset,fold", *rows]) + "\n")
    files.write_json(folder / "statistics.json", {"classes": list(classes), "channels": {}})
    for subset in ("train", "validation", "holdout", "test"):
        ids = INDEX.test_ids if subset == "test" else [s for s in subset_of if subset_of[s] == subset]
        if ids:
            table = PredictionTable(ids, np.full((len(ids), 28), value, np.float32))
            predictions.save(folder / "predictions" / "baseline" / f"{subset}.npz", table)
    return folder


def split(*validation, holdout=("a5",)):
    names = dict.fromkeys(INDEX.train_ids, "train")
    return names | dict.fromkeys(validation, "validation") | dict.fromkeys(holdout, "holdout")


def ids_of(folder):
    subsets = sample_index.read_subsets(folder / "split.csv", INDEX)
    return {name: [INDEX.train_ids[row] for row in rows] for name, rows in subsets.items()} | {
        "test": ["t0", "t1"]
    }


def joined(tmp_path, runs):
    folder = tmp_path / "joined"
    merge_runs.begin(runs, folder, INDEX)
    ids = ids_of(folder)
    assert merge_runs.join(runs, folder / "predictions", ids) == ["baseline"]
    return ids, {s: predictions.load(folder / f"predictions/baseline/{s}.npz") for s in ids}


def test_folds_give_out_of_fold_predictions_and_the_mean_elsewhere(tmp_path):
    runs = [
        write_run(tmp_path / "one", split("a0", "a1", "a2"), 0.2),
        write_run(tmp_path / "two", split("a3", "a4"), 0.6),
    ]
    ids, tables = joined(tmp_path, runs)
    assert ids == {"validation": ["a0", "a1", "a2", "a3", "a4"], "holdout": ["a5"], "test": ["t0", "t1"]}
    assert tables["validation"].probabilities_NC[:, 3] == pytest.approx([0.2, 0.2, 0.2, 0.6, 0.6])
    assert tables["holdout"].probabilities_NC == pytest.approx(0.4)
    assert tables["test"].probabilities_NC == pytest.approx(0.4)


def test_seeds_give_the_mean_everywhere(tmp_path):
    runs = [
        write_run(tmp_path / name, split("a1", "a3"), value) for name, value in (("one", 0.1), ("two", 0.5))
    ]
    ids, tables = joined(tmp_path, runs)
    assert ids["validation"] == ["a1", "a3"]
    assert tables["validation"].probabilities_NC == pytest.approx(0.3)


def test_runs_that_do_not_fit_are_refused(tmp_path):
    one = write_run(tmp_path / "one", split("a0"), 0.2)
    leaky = write_run(tmp_path / "leaky", split("a1", holdout=("a4",)), 0.2)
    with pytest.raises(UserError, match=r"holds out a\d, which .* trains on or tunes with: expected runs"):
        merge_runs.begin([one, leaky], tmp_path / "joined", INDEX)
    other = write_run(tmp_path / "other", split("a1"), 0.2, classes=(0,))
    with pytest.raises(UserError, match=r"other keeps other classes than one: expected the same filter"):
        merge_runs.begin([one, other], tmp_path / "joined", INDEX)
    with pytest.raises(UserError, match=r"none/predictions is missing: run `python 02_train_cnn.py` first"):
        merge_runs.begin([one, tmp_path / "none"], tmp_path / "joined", INDEX)
    (one / "predictions" / "baseline").rename(one / "predictions" / "another")
    with pytest.raises(UserError, match=r"one, other have no predictor in common"):
        merge_runs.join([one, other], tmp_path / "joined" / "predictions", {"test": ["t0"]})


def test_a_run_with_a_split_of_its_own_is_not_overwritten(tmp_path):
    runs = [write_run(tmp_path / name, split("a0"), 0.2) for name in ("one", "two")]
    files.write_json(runs[0] / "manifests" / "00_prepare.json", {})
    before = (runs[0] / "split.csv").read_text()
    with pytest.raises(UserError, match="--join makes a run of its own, one is one already: name it with"):
        merge_runs.begin(runs, runs[0], INDEX)
    assert (runs[0] / "split.csv").read_text() == before


def test_a_sample_that_no_run_predicts_is_named(tmp_path):
    table = PredictionTable(["a0"], np.zeros((1, 28), np.float32))
    with pytest.raises(UserError, match="no run predicts a1 of baseline, test: run stages 02 and 03 of all"):
        merge_runs.mean([table], ["a0", "a1"], "baseline, test")
