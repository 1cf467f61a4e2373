"""A finished run predicts images that no stage has received, by any of its predictors."""

import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lib import files
from lib.data import kaggle
from lib.data.run_data import RunData
from lib.data.sample_index import read_index
from lib.errors import UserError
from lib.evaluation import ensemble, merge_runs, predictions, thresholds
from lib.figures import data_and_training as figures
from lib.labels import CHANNELS, CLASSES
from lib.learning.own_images import OwnImages
from lib.report import own_images_page
from tests.conftest import call
from tests.learning.tiny import prepare, reread

PREDICTORS = ("ensemble", "baseline", "features_alone", "joint", "hierarchy_hard", "hierarchy_soft")


def copy_images(source: Path, ids: list[str], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for sample in ids:
        for channel in CHANNELS:
            shutil.copy(source / f"{sample}_{channel}.png", folder)
    return folder


# a run of the smoke preset, by predict.py


@pytest.fixture(scope="module")
def work(smoke, tmp_path_factory):
    """The smoke run without its own arrays and images, and five of its test samples as own images."""
    folder = tmp_path_factory.mktemp("own_images_page") / "work"
    shutil.copytree(smoke / "outputs", folder / "outputs")
    cache = smoke / "data" / "cache" / "smoke"
    for path in (cache / "index.csv", *cache.glob("features_*/features.csv")):
        copy = folder / path.relative_to(smoke)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    data = Path("data") / "smoke"
    shutil.copytree(smoke / data, folder / data, ignore=shutil.ignore_patterns("*.png"))
    ids = sorted(read_index(cache / "index.csv").test_ids)[:5]
    copy_images(smoke / data / "test", ids, folder / "cells")
    return folder


def classify(work: Path, *options: object, images: str = "cells") -> Path:
    """Call predict.py; return the folder of its results."""
    last_line = call("predict", work / images, "--preset", "smoke", "--work", work, *options)
    folder = work / "outputs" / "smoke" / "own_images" / images
    assert f"report: {folder / 'report.html'}" in last_line
    return folder


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_test_sample_is_predicted_as_the_run_predicted_it(work, predictor):
    results = classify(work, "--predictor", predictor)
    run = work / "outputs" / "smoke"
    table, ids = (
        predictions.load(run / "predictions" / predictor / "test.npz"),
        kaggle.list_samples(work / "cells"),
    )
    thresholds_C = thresholds.load(run / "thresholds" / f"{predictor}.json", "test")
    decision_NC = thresholds.final_decisions(table.select(ids, "test"), thresholds_C)
    found = pd.read_csv(results / "locations.csv")
    expected = {(ids[row], CLASSES[label]) for row, label in np.argwhere(decision_NC)}
    assert set(zip(found["id"], found["location"], strict=True)) == expected and len(found) == len(expected)
    probabilities = pd.read_csv(results / "probabilities.csv", index_col="id")
    assert probabilities.index.tolist() == ids and probabilities.columns.tolist() == list(CLASSES)
    for row in found.itertuples():
        assert row.probability == probabilities.loc[row.id, row.location]
        low, high = {"high": (0.8, 1), "medium": (0.5, 0.8), "low": (0, 0.5)}[row.confidence]
        assert low <= row.probability <= high
    for _, rows in found.groupby("id"):  # the most probable first
        assert rows["probability"].is_monotonic_decreasing
    classes = pd.read_csv(run / "evaluation" / f"{predictor}_classes.csv")
    chosen = classes[(classes["subset"] == "holdout") & (classes["decision"] == "submitted")]
    precision = chosen.set_index("class")["precision"]
    assert found["precision_on_holdout"].tolist() == precision[found["location"]].tolist()


def test_the_default_is_the_best_predictor_on_validation(work, capsys):
    summary = {}
    for path in (work / "outputs" / "smoke" / "evaluation").glob("*_summary.csv"):
        table = pd.read_csv(path).set_index(["subset", "decision"])
        summary[path.stem.removesuffix("_summary")] = table.loc[("validation", "submitted"), "macro_f1"]
    classify(work)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "predicted by" in line)
    best = [name for name, score in summary.items() if score == max(summary.values())]
    assert any(f"predicted by {name} of " in line for name in best)


def test_the_page_shows_every_image_with_its_locations(work):
    results = classify(work, "--predictor", "baseline")
    page = (results / "report.html").read_text()
    text = " ".join(html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)).split())
    found = pd.read_csv(results / "locations.csv")
    pictures = re.findall(r'<img[^>]* src="(data:image[^"]+)"', page)
    assert len(pictures) == found["id"].nunique() == 5 and len(set(pictures)) == 5
    for sample, rows in found.groupby("id"):
        shown = " ".join(f"{row.location} {row.probability:.0%}" for row in rows.itertuples())
        assert f"{shown} {sample}" in re.sub(r"(\d) %", r"\1%", text)
    for name, count in found["location"].value_counts().items():
        assert f"{name} {count}" in text
    assert "5 images." in text and "predicted by baseline of run smoke" in text
    examples = json.loads((results / "examples" / "examples.json").read_text())
    assert examples["network"] == "baseline"
    first = found.drop_duplicates("id").set_index("id")["location"]  # attributions are of the first location
    assert {one["id"]: CLASSES[one["label"]] for one in examples["images"]} == first.to_dict()


def test_other_images_replace_the_earlier_ones(work):
    before = pd.read_csv(classify(work, "--predictor", "baseline") / "probabilities.csv", index_col="id")
    ids = kaggle.list_samples(work / "cells")
    try:
        for channel in CHANNELS:
            shutil.copy(work / "cells" / f"{ids[0]}_{channel}.png", work / "cells" / f"another_{channel}.png")
        results = classify(work, "--predictor", "baseline")
    finally:
        for channel in CHANNELS:
            (work / "cells" / f"another_{channel}.png").unlink()
    after = pd.read_csv(results / "probabilities.csv", index_col="id")
    assert set(after.index) == {*ids, "another"}
    assert after.loc["another"].to_numpy() == pytest.approx(before.loc[ids[0]].to_numpy(), abs=1e-5)
    assert "another" in set(pd.read_csv(results / "locations.csv")["id"])
    again = classify(work, "--predictor", "baseline")
    assert pd.read_csv(again / "probabilities.csv")["id"].tolist() == ids


def test_implausible_images_are_warned_of_and_listed_until_they_are_replaced(work, capsys):
    ids = kaggle.list_samples(work / "cells")
    copy_images(work / "cells", ids, work / "odd")
    for channel in CHANNELS:
        cv2.imwrite(str(work / "odd" / f"{ids[1]}_{channel}.png"), np.zeros((64, 64), np.uint8))
    shutil.copy(work / "odd" / f"{ids[3]}_red.png", work / "odd" / f"{ids[3]}_yellow.png")
    for channel in CHANNELS:
        path = str(work / "odd" / f"{ids[4]}_{channel}.png")
        cv2.imwrite(path, cv2.imread(path, cv2.IMREAD_GRAYSCALE)[:48])
    results = classify(work, "--predictor", "baseline", images="odd")
    found = pd.read_csv(results / "image_warnings.csv").set_index("id")
    assert found.loc[ids[1], "channel"] == "all" and found.loc[ids[1], "problem"] == "empty"
    assert found.loc[ids[3], "channel"] == "yellow" and found.loc[ids[3], "problem"] == "repeated"
    assert found.loc[ids[4]].tolist()[:3] == ["all", "not square", "64 x 48 pixels"]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert any(f"all: empty in 1 of 5 images; the first is {ids[1]}" in line for line in lines)
    page = (results / "report.html").read_text()
    assert f"<td>{ids[1]}</td><td>all</td><td>empty</td>" in page and "do not trust" in page
    shutil.rmtree(work / "odd")
    usual = [sample for sample in ids if sample not in found.index]
    copy_images(work / "cells", usual, work / "odd")
    results = classify(work, "--predictor", "baseline", images="odd")
    assert not (results / "image_warnings.csv").exists()
    assert "do not trust" not in (results / "report.html").read_text()


def test_a_bad_image_that_is_tolerated_is_left_out(work):
    ids = kaggle.list_samples(work / "cells")
    whole = pd.read_csv(classify(work, "--predictor", "baseline") / "probabilities.csv", index_col="id")
    copy_images(work / "cells", ids, work / "some")
    (work / "some" / f"{ids[1]}_green.png").write_bytes(b"")
    options = ("--predictor", "baseline", "--set", "data.max_bad_images=1")
    results, rest = classify(work, *options, images="some"), [ids[0], *ids[2:]]
    found = pd.read_csv(results / "probabilities.csv", index_col="id")
    assert found.index.tolist() == rest and not (results / "image_warnings.csv").exists()
    assert np.allclose(found, whole.loc[rest], atol=1e-5)
    examples = json.loads((results / "examples" / "examples.json").read_text())
    assert [(image["id"], image["row"]) for image in examples["images"]] == [
        (sample, row) for row, sample in enumerate(ids) if row != 1
    ]


def test_decisions_keep_to_the_settings_of_the_command_line(work):
    options = ("--predictor", "baseline", "--set", "threshold.max_labels=1")
    found = pd.read_csv(classify(work, *options) / "locations.csv")
    assert found["id"].value_counts().max() == 1
    options = ("--predictor", "baseline", "--set", "threshold.consistent=true")
    found = pd.read_csv(classify(work, *options) / "locations.csv")
    run = work / "outputs" / "smoke"
    own = run / "own_images" / "cells" / "predictions" / "smoke" / "stage_1" / "test.npz"
    accepted_NG = predictions.load(own, 3).probabilities_NC >= 0.5
    groups, ids = list(RunData.read(_run(work)).groups.values()), kaggle.list_samples(work / "cells")
    for sample, rows in found.groupby("id"):
        accepted_G = accepted_NG[ids.index(sample)]
        allowed = {CLASSES[c] for number in np.flatnonzero(accepted_G) for c in groups[number]}
        assert not accepted_G.any() or set(rows["location"]) <= allowed


def _run(work):
    from lib import cli

    return cli.start(cli.parser("A test. \n"), ["--preset", "smoke", "--work", str(work), "--run", "smoke"])


def test_a_predictor_that_cannot_predict_images_is_one_line(work):
    path = work / "outputs" / "smoke" / "predictions" / "baseline" / "predictor.json"
    before = path.read_bytes()
    files.write_json(path, {"kind": "external", "files": ["theirs.csv"]})
    try:
        expected = r"baseline consists of external predictions \(theirs\.csv\).*--predictor"
        with pytest.raises(UserError, match=expected):
            classify(work, "--predictor", "baseline")
    finally:
        path.write_bytes(before)
    with pytest.raises(UserError, match=r"--predictor none: .* it has baseline"):
        classify(work, "--predictor", "none")


def test_thresholds_and_features_are_those_that_the_run_was_made_with(work):
    options = ("--predictor", "features_alone", "--set")
    expected = (
        r"04_threshold features_alone was made with threshold.method=expected_f1, not fixed: run .*04_thr"
    )
    with pytest.raises(UserError, match=expected):
        classify(work, *options, "threshold.method=fixed")
    with pytest.raises(
        UserError, match=r"features.segmentation=paper: the run smoke was .* with watershed: leave"
    ):
        classify(work, *options, "features.segmentation=paper")


def test_predictions_of_trees_depend_on_what_the_trees_are_fitted_to(work):
    manifest = classify(work, "--predictor", "features_alone") / "predictions/smoke/features_alone/test.json"
    run = _run(work)
    known = files.fingerprints(run.features, run.index, run.split, run.statistics)
    assert known.items() <= files.read_json(manifest)["inputs"].items()


def test_force_measures_and_predicts_again(work):
    results = classify(work, "--predictor", "features_alone")
    made = [results / "predictions/smoke/features_alone/test.npz", *results.glob("features_*/features.csv")]
    made += results.glob("cells_*/*.npy")
    before = [path.stat().st_mtime_ns for path in made]
    classify(work, "--predictor", "features_alone")
    assert [path.stat().st_mtime_ns for path in made] == before and len(made) >= 3
    classify(work, "--predictor", "features_alone", "--force")
    assert all(path.stat().st_mtime_ns > time for path, time in zip(made, before, strict=True))


def test_a_run_that_does_not_exist_is_one_line_with_those_that_do(work):
    with pytest.raises(UserError, match=r"outputs/smok: no such run; choose one with --run: smoke"):
        call("predict", work / "cells", "--work", work, "--run", "smok")
    assert not (work / "outputs" / "smok").exists()
    with pytest.raises(UserError, match=r"no such run; train one first, with `bash run_all.sh`"):
        call("predict", work / "cells", "--work", work / "nowhere")


def test_networks_that_have_seen_the_images_are_not_calibrated_on_them(work, monkeypatch, capsys):
    warning = "It has seen <all> of them."
    monkeypatch.setattr(own_images_page.score_notes, "warnings", lambda _report: [warning])
    results = classify(work, "--predictor", "baseline")
    page = (results / "report.html").read_text()
    assert html.escape(warning) in page and "could be calibrated" in page and "70 in 100" not in page
    assert warning in capsys.readouterr().err
    raw = predictions.load(work / "outputs" / "smoke" / "predictions" / "baseline" / "test.npz")
    found = pd.read_csv(results / "probabilities.csv", index_col="id")
    assert np.allclose(found, raw.select(found.index.tolist(), "test"), atol=1e-5)


def test_missing_images_are_one_line(work):
    with pytest.raises(UserError, match="no such folder"):
        classify(work, images="nowhere")


# small runs with folds, test-time augmentation and a hierarchy


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A run with every kind of predictor, its mean with another seed, and three test samples of both."""
    work, runs = tmp_path_factory.mktemp("folds"), []
    settings = ("split.folds=2", "training.tta=true", "hierarchy.train=all", "hierarchy.other=both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "training_curves", lambda *_arguments: None)
        for seed in range(2):
            name = f"seed_{seed}"
            options = (*settings, f"training.seed={seed}", "--run", name)
            runs.append(prepare(work, *options, train=120, features=seed == 0))
            for script in ("02_train_cnn", "03_train_hier"):
                call(script, "--work", work, "--run", name)
    data, folder = RunData.read(runs[0]), runs[0].folder / "predictions"
    ensemble.update(runs[0], data, predictions.list_predictors(folder), force=False)
    merged = replace(runs[0], folder=runs[0].folder.with_name("merged"))
    merge_runs.start([run.folder for run in runs], merged.folder)
    merged.save_invocation(merge=[run.folder.name for run in runs])
    ids = {name: data.ids(name) for name in data.predicted_subsets}
    folder = merged.folder / "predictions"
    merge_runs.merge([run.folder for run in runs], folder, ids)
    ensemble.make(folder, ["baseline", "features_alone"], "mean", ids, data.truth_NC("validation"))
    copy_images(work / "raw" / "test", ["t00", "t02", "t03"], work / "cells")
    return runs[0], merged, work / "cells"


EVERY = (
    "baseline", "baseline_tta", "features_alone", "joint", "joint_tta", "hierarchy_hard", "hierarchy_soft",
    "hierarchy_hard_tta", "hierarchy_soft_other_tta", "hierarchy_hard_other_veto", "ensemble",
)  # fmt: skip
MERGED = ("baseline", "features_alone", "hierarchy_soft_tta", "joint", "ensemble")


@pytest.mark.parametrize(
    ("merged", "name"), [*((False, name) for name in EVERY), *((True, name) for name in MERGED)]
)
def test_every_kind_of_predictor_predicts_a_test_sample_as_its_run_did(folds, merged, name):
    run, cells = folds[merged], folds[2]
    images = OwnImages.open(run, cells, run.folder / "own_images" / "cells", [16])
    found = own_images_page.predict(images, name)
    expected = predictions.load(run.predictor(name) / "test.npz")
    assert found.ids == ["t00", "t02", "t03"]
    expected_NC = expected.select(found.ids, "test")
    # probabilities of a network depend in their last digits on which images share a batch
    assert np.allclose(found.probabilities_NC, expected_NC, atol=1e-5)
    if "hard" not in name:  # it may route all samples alike
        assert np.abs(expected_NC[0] - expected_NC[1]).max() > 1e-4
    assert np.array_equal(found.known_C, expected.known_C)


def test_an_ensemble_of_ranks_cannot_predict_single_images(folds):
    run, _, cells = folds
    images = OwnImages.open(run, cells, run.folder / "own_images" / "cells", [16])
    path = run.predictor("ensemble") / "predictor.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"method": "rank_mean"}))
    try:
        with pytest.raises(UserError, match=r"ensemble\.method=rank_mean .*--predictor"):
            own_images_page.predict(images, "ensemble")
    finally:
        path.write_text(json.dumps(content))


# tables


def test_locations_are_listed_by_image_the_most_probable_first():
    decision_NC, calibrated_NC = np.zeros((3, 28), bool), np.zeros((3, 28))
    decision_NC[0, [2, 5, 7]] = decision_NC[2, 0] = True
    calibrated_NC[0, [2, 5, 7]], calibrated_NC[2, 0] = (0.5, 0.8, 0.49999), 0.1
    table = own_images_page.locations_table(
        ["a", "b", "c"], decision_NC, calibrated_NC, {CLASSES[5]: 0.9, CLASSES[0]: 0.3}, "holdout"
    )
    assert table.columns.tolist() == ["id", "location", "probability", "confidence", "precision_on_holdout"]
    assert table[["id", "location", "confidence"]].to_numpy().tolist() == [
        ["a", CLASSES[5], "high"], ["a", CLASSES[2], "medium"], ["a", CLASSES[7], "low"],
        ["c", CLASSES[0], "low"],
    ]  # fmt: skip
    assert table["precision_on_holdout"].fillna(-1).tolist() == [0.9, -1, -1, 0.3]


def test_unknown_settings_of_another_run_are_not_needed(folds):
    """A merged run's networks are found by the names of its runs, whatever settings it is opened with."""
    _, merged, cells = folds
    other = reread(merged, "split.folds=1", "training.seed=9")
    images = OwnImages.open(other, cells, merged.folder / "own_images" / "cells", [16])
    expected = predictions.load(merged.predictor("baseline") / "test.npz").select(images.ids, "test")
    assert np.allclose(own_images_page.predict(images, "baseline").probabilities_NC, expected, atol=1e-5)


def test_the_networks_of_a_predictor_are_those_of_the_runs_that_it_averages(folds, tmp_path):
    run, merged, _ = folds

    def names(run, predictor):
        return [one.folder.name for one in own_images_page._runs(run, predictor)]

    assert names(run, "ensemble") == names(run, "baseline") == ["seed_0"]
    assert names(merged, "ensemble") == names(merged, "baseline") == ["seed_0", "seed_1"]
    again = replace(run, folder=tmp_path / "again")  # merged from a merged run, and one of its own runs
    for one in (*(run.folder.with_name(name) for name in ("seed_0", "seed_1")), merged.folder):
        (tmp_path / one.name).symlink_to(one)
    files.write_json(again.folder / "predictions" / "baseline" / "predictor.json",
                     {"kind": "merged", "runs": ["merged", "seed_1"]})  # fmt: skip
    assert names(again, "baseline") == ["seed_0", "seed_1"]


def test_images_for_a_merged_runs_ensemble_are_compared_with_those_of_its_runs(folds):
    run, merged, cells = folds
    found = [
        own_images_page._check_plausibility(
            OwnImages.open(one, cells, one.folder / "own_images" / "cells", [16]), "ensemble"
        )
        for one in (run, merged)
    ]
    pd.testing.assert_frame_equal(*found)


def test_a_predictor_that_is_a_member_of_itself_is_one_line(work, tmp_path):
    folder = shutil.copytree(work, tmp_path / "work") / "outputs" / "smoke" / "predictions"
    path = folder / "ensemble" / "predictor.json"
    files.write_json(path, {"kind": "merged", "runs": ["smoke"]})
    with pytest.raises(UserError, match=r"predictor.json is damaged \(it is a member of itself\)"):
        classify(tmp_path / "work", "--predictor", "ensemble")
    files.write_json(path, {"kind": "network", "network": "stage_1"})
    with pytest.raises(UserError, match=r"predictor.json is damaged \(its network stage_1 does not predict"):
        classify(tmp_path / "work", "--predictor", "ensemble")
