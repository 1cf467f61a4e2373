"""The stages together: finished, repeated, killed, on bad input, with folds, merged, and on own images."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lib import cli, files
from lib.data import cache
from lib.data.run_data import RunData
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import Predictor
from lib.labels import CLASSES
from lib.learning import models
from lib.learning.train_state import TrainState
from lib.report.run_report import RunReport
from tests.conftest import (
    REAL,
    ROOT,
    STAGES,
    TINY,
    blank_figures,
    call,
    call_in_process,
    copy_run,
    needs_real,
    run_script,
    write_kaggle,
    write_sample,
)

NETWORKS = ("stage_1", "stage_2_nucleus", "stage_2_cytoplasm", "stage_2_secretory", "joint")
PREDICTORS = ("baseline", "features_alone", "joint", "hierarchy_hard", "hierarchy_soft", "ensemble")
SUBSETS = ("train", "validation", "holdout", "test")
WHOLE_STUDY = ("hierarchy.stage_1=both", "hierarchy.other=both")
IN_USE = "is in use by another process"


@pytest.fixture(autouse=True, scope="module")
def _figures_are_tested_elsewhere() -> Iterator[None]:
    with blank_figures():
        yield


def run_stages(work: Path, *options: object, stages: tuple[str, ...] = STAGES) -> str | None:
    """Call stages in order; return the last one's last line."""
    for script in stages:
        last = call(script, "--work", work, *options)
    return last


def tiny_options(work: Path, *settings: str) -> list[object]:
    """Options of a run on the small images in ``raw``."""
    return ["--preset", "smoke", "--data", work / "raw", "--work", work, *TINY, *settings]


def prepared(work: Path, *settings: str) -> list[object]:
    """Write 40 small labelled samples, call stage 00, and return the options."""
    write_kaggle(work / "raw", train=40)
    options = tiny_options(work, *settings)
    call("00_prepare", *options)
    return options


def weights(work: Path, network: str) -> Path:
    return work / "outputs" / "smoke" / "networks" / network / "weights.safetensors"


def load(work: Path, predictor: str, subset: str, run: str = "smoke") -> predictions.PredictionTable:
    return predictions.load(work / "outputs" / run / "predictions" / predictor / f"{subset}.npz")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages on 40 small labelled samples; the folder named by --work, which tests only read."""
    work = tmp_path_factory.mktemp("tiny")
    before = times(write_kaggle(work / "raw", train=40))
    run_stages(*tiny_options(work)[3:4], *tiny_options(work))
    assert times(work / "raw") == before, "the data folder was written to"
    return work


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


@pytest.fixture
def tiny_copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the run `tiny` for one test."""
    return copy_run(tiny, tmp_path / "copy")


# finished, and called again


def test_smoke_ends_with_a_checked_submission(smoke):
    run = smoke / "outputs" / "smoke"
    submission = pd.read_csv(run / "submission.csv", dtype=str)
    wanted = pd.read_csv(smoke / "data" / "smoke" / "sample_submission.csv")
    assert submission["Id"].tolist() == wanted["Id"].tolist() and len(submission) == 24
    for name in (
        "class_counts", "labels_per_sample", "samples", "training_baseline", "f1_baseline",
        "scores_baseline", "training_stage_2_secretory", "models", "groups", "within_groups", "advantages",
        "predictors", "reliability", "confusions", "submission", "features_by_class",
    ):  # fmt: skip
        assert (run / "figures" / f"{name}.png").stat().st_size > 1000, name
    for subset in SUBSETS:
        for name in PREDICTORS:
            assert len(load(smoke, name, subset).ids) > 10
    last = (smoke / "05_submit.out").read_text().splitlines()
    assert any(line.startswith("macro-F1 scored as on Kaggle, simulated cells: public 0.") for line in last)
    assert last[-1].startswith(f"submission: {run / 'submission.csv'} · report: {run / 'report.html'} ")


def test_every_step_has_a_finished_manifest(smoke):
    manifests = {path.stem: files.read_json(path) for path in (smoke / "outputs/smoke/manifests").iterdir()}
    assert all(manifest["finished"] and manifest["packages"]["numpy"] for manifest in manifests.values())
    expected = {
        "00_prepare", "01_features", "05_submit", "03_train_hier_hierarchy",
        *(f"02_train_cnn_{name}" for name in ("baseline", "features_alone")),
        *(f"03_train_hier_{name}" for name in NETWORKS),
        *(f"04_threshold_{name}" for name in PREDICTORS),
    }  # fmt: skip
    assert expected <= set(manifests)


def test_networks_and_predictors_describe_themselves(smoke):
    run = smoke / "outputs" / "smoke"
    for name in ("baseline", *NETWORKS):
        assert {"model.json", "weights.safetensors", "history.csv"} <= {
            path.name for path in (run / "networks" / name).iterdir()
        }
    kinds = {name: Predictor.read(run / "predictions" / name).kind for name in PREDICTORS}
    assert kinds == {
        "baseline": "network", "features_alone": "trees", "joint": "network",
        "hierarchy_hard": "hierarchy", "hierarchy_soft": "hierarchy", "ensemble": "ensemble",
    }  # fmt: skip


def test_called_again_everything_is_up_to_date(smoke_copy):
    submission = smoke_copy / "outputs" / "smoke" / "submission.csv"
    before = times(submission.parent / "predictions"), submission.stat().st_mtime_ns
    for script in STAGES:
        done = run_script(script, "--preset", "smoke", "--work", smoke_copy, "--workers", "1")
        assert done.returncode == 0 and "up to date" in done.stdout, done.stdout + done.stderr
    assert before == (times(submission.parent / "predictions"), submission.stat().st_mtime_ns)


def test_other_settings_are_rejected_with_two_remedies(smoke_copy):
    for script, override, what in (
        ("00_prepare", "split.seed=1", "split.seed=0, not 1"),
        ("00_prepare", "split.folds=2", "split.folds=1, not 2"),
        ("02_train_cnn", "training.epochs=3", "training.epochs=2, not 3"),
        ("04_threshold", "threshold.method=fixed", "threshold.method=expected_f1, not fixed"),
    ):
        done = run_script(script, "--preset", "smoke", "--work", smoke_copy, "--set", override)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{script}: ") and what in line
        assert "--run NAME" in line and "--force" in line


def test_simulated_cells_of_other_settings_are_rejected(smoke_copy):
    done = run_script("00_prepare", "--preset", "smoke", "--work", smoke_copy, "--set", "simulation.seed=1")
    assert done.returncode == 2
    assert "simulation.seed=2018, not 1" in done.stderr and "--set simulation.name=NAME" in done.stderr


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_with_more_processes(smoke, tmp_path):
    options = ["--preset", "smoke", "--work", tmp_path, "--workers", "2"]
    stages = [(script, options) for script in STAGES[:-1]]
    call_in_process([*stages, ("05_submit", [*options, "--no-report"])])
    names = ["split.csv", "statistics.json", "submission.csv"]
    names += [f"predictions/{name}/{subset}.npz" for name in PREDICTORS for subset in SUBSETS]
    names += [f"thresholds/{name}.json" for name in PREDICTORS]
    for name in names:
        ours, theirs = (folder / "outputs" / "smoke" / name for folder in (smoke, tmp_path))
        assert ours.read_bytes() == theirs.read_bytes(), name
    features = "data/cache/smoke/features_64_fast_watershed_ten/features.csv"
    assert (smoke / features).read_bytes() == (tmp_path / features).read_bytes()


# missing and bad input


@pytest.mark.parametrize(
    ("script", "missing", "remedy"),
    [
        ("00_prepare", "data/train.csv", "put Kaggle's files in "),
        ("02_train_cnn", "index.csv", "run `python 00_prepare.py` first"),
        ("03_train_hier", "index.csv", "run `python 00_prepare.py` first"),
        ("04_threshold", "index.csv", "run `python 00_prepare.py` first"),
        ("05_submit", "index.csv", "run `python 00_prepare.py` first"),
    ],
)
def test_a_stage_before_its_input_names_the_remedy(tmp_path, script, missing, remedy):
    preset = "hoogenboom" if script == "03_train_hier" else "strong"
    done = run_script(script, "--preset", preset, "--work", tmp_path)
    assert done.returncode == 2 and f"{missing} is missing" in done.stderr and remedy in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_later_stages_name_what_is_missing_and_the_stage_that_writes_it(tmp_path):
    options = prepared(tmp_path)
    for script in ("04_threshold", "05_submit"):
        with pytest.raises(UserError, match=r"predictions is missing: run `python 02_train_cnn.py` first"):
            call(script, *options)
    with pytest.raises(UserError, match=r"statistics.json .*16, not 32.* `python 00_prepare.py`"):
        call("02_train_cnn", *options, "training.size=32", "data.sizes=32")
    shutil.rmtree(tmp_path / "data" / "cache" / "raw" / "train_16")
    with pytest.raises(UserError, match=r"array.json is missing: run `python 00_prepare.py` first"):
        call("02_train_cnn", *options)


@pytest.mark.parametrize(
    ("options", "missing"),
    [((), "evaluation"), (("--predictor", "baseline"), "thresholds/baseline.json")],
)
def test_a_submission_before_the_evaluation_names_stage_04(tiny_copy, options, missing):
    for name in ("evaluation", "thresholds"):
        shutil.rmtree(tiny_copy / "outputs" / "smoke" / name)
    with pytest.raises(UserError, match=rf"smoke/{missing}.*run `python 04_threshold.py` first"):
        call("05_submit", *options, *tiny_options(tiny_copy))


def test_two_data_sets_of_one_name_share_nothing(tmp_path):
    options = prepared(tmp_path)
    index = tmp_path / "data" / "cache" / "raw" / "index.csv"
    before = index.read_bytes()
    other = write_kaggle(tmp_path / "other" / "raw", train=30)
    for name in ("train", "test"):
        shutil.rmtree(other / name)
    elsewhere = ["--preset", "smoke", "--data", other, "--work", tmp_path, "--run", "other", "--labels-only"]
    call("00_prepare", *elsewhere)
    assert index.read_bytes() == before
    assert len(pd.read_csv(tmp_path / "data" / "cache" / "raw-2" / "index.csv")) == 35
    # the tables of the first data set are replaced, and its split is not one of the index any longer
    (tmp_path / "raw" / "train.csv").write_text((other / "train.csv").read_text() + "a30,0\n")
    call("00_prepare", *options[:6], "--labels-only", "--run", "labels")
    with pytest.raises(UserError, match=r"split.csv is damaged .* of index.csv\): .*`python 00_prepare.py`"):
        call("02_train_cnn", *options)
    with pytest.raises(UserError, match=r"rows=40, not 31.*--force replaces it"):
        call("00_prepare", *options)
    call("00_prepare", *options, "--force")


def test_a_moved_project_is_up_to_date(tmp_path, capsys):
    prepared(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    for at in (tiny_options(tmp_path / "new"), ["--work", tmp_path / "new", "--run", "smoke"]):
        call("00_prepare", *at)
        assert "are up to date" in capsys.readouterr().out
    assert [path.parent.name for path in (tmp_path / "new").rglob("dataset.json")] == ["raw"]


def test_bad_images_are_listed_and_can_be_left_out(tmp_path, capsys):
    raw = write_kaggle(tmp_path / "raw", train=40)
    options = tiny_options(tmp_path, "hierarchy.train=none")
    (raw / "train" / "a04_green.png").unlink()
    (raw / "test" / "t02_red.png").write_bytes(b"")
    listed = tmp_path / "data" / "cache" / "raw" / "bad_images.csv"
    with pytest.raises(UserError, match=r"2 samples have bad images.*train/a04_green.png.* is missing"):
        call("00_prepare", *options)
    assert listed.read_text().splitlines()[1:] == [
        "train,a04,a04_green.png,is missing",
        "test,t02,t02_red.png,is empty",
    ]
    run_stages(tmp_path, *options, "data.max_bad_images=2", stages=(*STAGES[:5],))
    call("05_submit", *options, "data.max_bad_images=2", "--no-report")
    run = tmp_path / "outputs" / "smoke"
    split = pd.read_csv(run / "split.csv")
    assert len(split) == 39 and "a04" not in set(split["id"])
    submission = pd.read_csv(run / "submission.csv", dtype=str).set_index("Id")
    assert submission.loc["t02", "Predicted"] == "0"  # the first of the most frequent classes
    assert "1 test samples without a usable image" in capsys.readouterr().err
    write_sample(raw, "test", "t02", seed=1002)
    call("00_prepare", *options, "data.max_bad_images=1")
    with pytest.raises(UserError, match=r"02_train_cnn baseline was made from a different test_16"):
        call("02_train_cnn", *options)
    write_sample(raw, "train", "a04", seed=4)
    with pytest.raises(UserError, match=r"00_prepare was made from a different train_16"):
        call("00_prepare", *options)
    call("00_prepare", *options, "--force")
    assert not listed.exists()
    assert len(pd.read_csv(run / "split.csv")) == 40


def test_a_mistyped_table_of_groups_is_an_error_before_any_image_is_read(tmp_path):
    raw = write_kaggle(tmp_path / "raw", train=40)
    for text, words in ((None, "is missing: expected the columns id,group"), ("id,group\nx,1\n", "none of")):
        if text:
            (tmp_path / "groups.csv").write_text(text)
        with pytest.raises(UserError, match=rf"groups\.csv:? {words}"):
            call("00_prepare", *tiny_options(tmp_path, f"data.groups={tmp_path / 'groups.csv'}"))
        assert raw.exists() and not [*(tmp_path / "data").rglob("*.npy")]


def test_rare_classes_can_be_left_out(tmp_path):
    options = prepared(tmp_path, "split.rare_class_minimum=0.22", "hierarchy.train=none")
    call("02_train_cnn", *options, "--network", "baseline")
    call("04_threshold", *options)
    run = tmp_path / "outputs" / "smoke"
    assert files.read_json(run / "statistics.json")["classes"] == [0, 1, 2, 3]  # Cytosol: 8 of 40
    assert len(pd.read_csv(run / "split.csv")) == 32
    table = load(tmp_path, "baseline", "test")
    assert (table.probabilities_NC[:, :4] > 0).all() and not table.probabilities_NC[:, 4:].any()
    assert len(pd.read_csv(run / "evaluation" / "baseline_classes.csv")["class"].unique()) == 4


def test_a_run_is_used_by_one_process(tmp_path):
    options = prepared(tmp_path)
    run = tmp_path / "outputs" / "smoke"
    with files.lock(run), pytest.raises(UserError, match=rf"{IN_USE} \(process {os.getpid()}\).*--run NAME"):
        call("00_prepare", *options)
    with files.lock(weights(tmp_path, "stage_1").parent), pytest.raises(UserError, match=IN_USE):
        call("03_train_hier", *options, "--network", "stage_1", "--force")
    with files.lock(run, shared=True):  # another process trains another network
        call("03_train_hier", *options, "--network", "stage_1")
        with pytest.raises(UserError, match=IN_USE):
            call("04_threshold", *options)


def test_a_folder_without_permission_is_one_line(tmp_path, monkeypatch):
    write_kaggle(tmp_path / "raw")
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(UserError, match=r"outputs/smoke: no permission to write there; .* --work"):
        call("00_prepare", *tiny_options(tmp_path))


# killed and interrupted


@pytest.mark.slow
def test_a_killed_00_resumes_to_the_same_bytes(tmp_path):
    write_kaggle(tmp_path / "raw", train=300, test=20, size=160)
    options = ["--preset", "smoke", "--data", str(tmp_path / "raw"), "--set", "data.shard_rows=6"]

    def content(work: Path) -> dict[str, bytes]:
        found = [*(work / "data" / "cache" / "raw").rglob("*.npy")]
        found += [work / "outputs" / "smoke" / name for name in ("split.csv", "statistics.json")]
        return {str(path.relative_to(work)): path.read_bytes() for path in found}

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    call("00_prepare", *options, "--work", whole)
    command = [sys.executable, str(ROOT / "00_prepare.py"), *options, "--work", str(killed), "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    folder = killed / "data" / "cache" / "raw" / "train_64"
    while len(list(folder.glob("*.json"))) < 5:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    made = {path.name: path.stat().st_mtime_ns for path in folder.glob("0*.json")}
    assert len(made) < 50, "there was nothing left to do"
    call("00_prepare", *options, "--work", killed)
    assert content(killed) == content(whole)
    assert all((folder / name).stat().st_mtime_ns == then for name, then in made.items()), "work was repeated"


@pytest.mark.slow
def test_two_runs_fill_one_cache_together(tmp_path):
    write_kaggle(tmp_path / "raw", train=160, test=10, size=200)
    options = [
        "--preset",
        "smoke",
        "--data",
        tmp_path / "raw",
        "--workers",
        "1",
        "--set",
        "data.shard_rows=8",
    ]
    both = tmp_path / "both"
    with ThreadPoolExecutor() as pool:  # each waits for a process
        list(
            pool.map(
                lambda name: call_in_process([("00_prepare", [*options, "--work", both, "--run", name])]),
                ("one", "two"),
            )
        )
    call("00_prepare", *options, "--work", tmp_path / "alone")
    together, alone = (
        {path.name: path.read_bytes() for path in (work / "data/cache/raw/train_64").glob("*.npy")}
        for work in (both, tmp_path / "alone")
    )
    assert together == alone and len(alone) == 20
    splits = [(both / "outputs" / name / "split.csv").read_bytes() for name in ("one", "two")]
    assert splits[0] == splits[1]


@pytest.mark.slow
def test_an_interrupted_training_resumes(tmp_path):
    options = [*prepared(tmp_path, "training.epochs=20"), "--network", "baseline"]
    command = [sys.executable, "-u", str(ROOT / "02_train_cnn.py"), *map(str, options)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # a shell that starts the tests in the background lets them ignore SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        for line in process.stdout:
            if "epoch  2 of 20" in line:
                process.send_signal(signal.SIGINT)
                break
        _, error = process.communicate()
    assert process.returncode == 130
    (line,) = error.splitlines()
    assert line.startswith("02_train_cnn: interrupted") and "same command resumes" in line
    done = run_script("02_train_cnn", *options)
    assert done.returncode == 0, done.stderr
    (resumed,) = re.findall(r"resum\w+ after epoch (\d+)", done.stdout)
    assert 1 <= int(resumed) < 20


def test_folds_resume_in_a_new_session_from_the_copied_run_alone(tmp_path, monkeypatch, capsys):
    """As in a notebook whose disk is emptied: the arrays are built again, only outputs/<run> is copied."""
    settings = (
        "split.folds=2",
        "training.epochs=3",
        "training.batch_size=8",
        "training.precision=float32",  # in bfloat16, oneDNN's gradients are undefined in maps of one pixel
        "training.ema_decay=0.9",
        "training.tta=true",
    )
    options, whole = prepared(tmp_path / "whole", *settings), tmp_path / "whole"
    command = [*options, "--network", "baseline"]
    call("02_train_cnn", *command)
    first = tmp_path / "first"
    shutil.copytree(whole / "raw", first / "raw", copy_function=shutil.copy2)
    options[3], options[5] = first / "raw", first
    call("00_prepare", *options)
    train_batch, steps = TrainState.train_batch, []

    def killed(self, batch, rate):
        steps.append(rate)
        if len(steps) == 10:  # of two per epoch: the second one of the second fold's second epoch
            raise ZeroDivisionError  # nothing is saved, as after a kill
        return train_batch(self, batch, rate)

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(TrainState, "train_batch", killed)
        call("02_train_cnn", *options, "--network", "baseline")
    second = tmp_path / "second"
    shutil.copytree(first / "outputs", second / "outputs")
    shutil.copytree(whole / "raw", second / "raw")  # with new times
    shutil.rmtree(first)
    options[3], options[5] = second / "raw", second
    call("00_prepare", *options)
    capsys.readouterr()
    call("02_train_cnn", *options, "--network", "baseline")
    out = capsys.readouterr().out
    assert "baseline fold_0 and its predictions are up to date" in out and "resuming after epoch 1" in out
    for kind in ("weights.safetensors", "*.npz"):
        made = {path.relative_to(whole): path.read_bytes() for path in (whole / "outputs").rglob(kind)}
        assert len(made) > 1 and made == {
            path.relative_to(second): path.read_bytes() for path in (second / "outputs").rglob(kind)
        }


@pytest.mark.slow
def test_two_processes_train_together_and_one_writes(tmp_path):
    options = prepared(
        tmp_path, "training.precision=float32", "hierarchy.train=stages", "hierarchy.stage_1=multi_label",
        "split.folds=2",
    )  # fmt: skip
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    baseline = ("02_train_cnn", [*options, "--network", "baseline"])
    done = call_in_process([baseline, baseline, ("03_train_hier", options)], *torchrun)
    for network in ("baseline fold_0", "baseline fold_1", "stage_2_nucleus fold_1"):
        assert len(re.findall(rf"^{network} \(\d of \d\):$", done.stdout, flags=re.MULTILINE)) == 1, network
    assert done.stdout.count("baseline fold_1 and its predictions are up to date") == 1
    for subset in ("validation", "holdout", "test"):
        for predictor in ("baseline", "hierarchy_soft"):
            ids = load(tmp_path, predictor, subset).ids
            assert len(set(ids)) == len(ids) > 0
    assert len(load(tmp_path, "hierarchy_soft", "test").ids) == 5
    assert not list((tmp_path / "outputs").rglob(".*.part"))


@pytest.mark.slow
def test_two_processes_share_networks_and_folds(tmp_path):
    """Started at once, as by `run_all.sh --gpus 2`, both together train each network once, as one would."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    settings = ("split.folds=2", "hierarchy.train=stages", "training.precision=float32")
    options = prepared(alone, *settings)
    shutil.copytree(alone, shared, copy_function=shutil.copy2)
    for script in ("01_features", "02_train_cnn", "03_train_hier"):
        call(script, *options)
    options = tiny_options(shared, *settings)
    call("01_features", *options)
    for script in ("02_train_cnn", "03_train_hier"):
        command = [sys.executable, str(ROOT / f"{script}.py"), *map(str, options)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        both = [subprocess.Popen(command, **pipes) for _ in range(2)]
        out, errors = zip(*(process.communicate(timeout=120) for process in both), strict=True)
        assert [process.returncode for process in both] == [0, 0] and not any(errors), errors
        trained = [re.findall(r"^(\S+ fold_\d) \(\d of \d\):$", text, flags=re.MULTILINE) for text in out]
        assert len(trained[0] + trained[1]) == len({*trained[0], *trained[1]}) == 4
    for kind in ("weights.safetensors", "*.npz"):
        made = {path.relative_to(alone): path.read_bytes() for path in (alone / "outputs").rglob(kind)}
        assert len(made) > 4 and made == {
            path.relative_to(shared): path.read_bytes() for path in (shared / "outputs").rglob(kind)
        }


# real images


@needs_real
@pytest.mark.slow
def test_real_files_go_all_the_way(tmp_path):
    options = ["--preset", "smoke", "--run", "mini", "--data", REAL / "kaggle_mini", *TINY]
    run_stages(tmp_path, *options, "hierarchy.train=stages")
    submission = pd.read_csv(tmp_path / "outputs" / "mini" / "submission.csv")
    wanted = pd.read_csv(REAL / "kaggle_mini" / "sample_submission.csv")
    assert submission["Id"].tolist() == wanted["Id"].tolist() and len(submission) == 30


# the hierarchy


def test_a_hierarchy_is_trained_network_by_network(tiny, tmp_path, capsys):
    options = prepared(tmp_path)
    with pytest.raises(
        UserError, match=r"stage_2_nucleus starts from .* stage_1, which is not finished: run "
    ):
        call("03_train_hier", *options, "--network", "stage_2_nucleus")
    with pytest.raises(UserError, match=r"--network stage_3: preset smoke has stage_1 stage_2_nucleus"):
        call("03_train_hier", *options, "--network", "stage_3")
    call("03_train_hier", *options, "--network", "stage_1", "stage_2_nucleus")
    before = [weights(tmp_path, name).stat().st_mtime_ns for name in ("stage_1", "stage_2_nucleus")]
    capsys.readouterr()
    call("03_train_hier", *options)
    text = capsys.readouterr().out
    for name in ("stage_1", "stage_2_nucleus"):
        assert f"{name} and its predictions are up to date" in text
    assert before == [weights(tmp_path, name).stat().st_mtime_ns for name in ("stage_1", "stage_2_nucleus")]
    # all of Cytoplasm's samples have Cytosol alone, none is in Secretory
    assert not weights(tmp_path, "stage_2_cytoplasm").exists()
    assert not weights(tmp_path, "stage_2_secretory").exists()
    table = load(tmp_path, "hierarchy_hard", "test")
    cytosol_N = table.probabilities_NC[:, 25]  # of samples without a group: at most a millionth
    assert set(cytosol_N[cytosol_N > 1e-6].tolist()) <= {1.0}
    assert not table.probabilities_NC[:, 6:11].any()
    # in several calls as in one
    for name in ("hierarchy_hard", "hierarchy_soft", "joint"):
        ours, theirs = (load(work, name, "test").probabilities_NC for work in (tmp_path, tiny))
        assert np.array_equal(ours, theirs), name
    with pytest.raises(UserError, match=r"stage_1 was made from a different selection of samples and labels"):
        call("03_train_hier", *options, "hierarchy.grouping=two")


@pytest.mark.slow
def test_a_hierarchy_of_other_groups(tmp_path):
    groups = tmp_path / "groups.csv"
    group_of = {0: "Even", 2: "Even", 1: "Odd", 3: "Odd"}
    groups.write_text("group,label\n" + "".join(f"{group_of.get(c, 'Rest')},{c}\n" for c in range(28)))
    options = prepared(tmp_path, f"hierarchy.grouping={groups}", "hierarchy.train=stages", *WHOLE_STUDY)
    run_stages(tmp_path, *options[:4], *options[6:], stages=STAGES[1:])
    table = pd.read_csv(tmp_path / "outputs" / "smoke" / "evaluation" / "groups.csv")
    assert table["group"].tolist() == ["Even", "Odd", "Rest"] * 2
    assert weights(tmp_path, "stage_2_even").exists() and weights(tmp_path, "stage_2_odd_other").exists()
    # consistent with stage 1, a sample has labels of its groups alone, and here one at most
    consistent = (*options, "threshold.consistent=true", "threshold.max_labels=1", "--force")
    call("04_threshold", *consistent)
    call("05_submit", *consistent, "--predictor", "baseline", "--no-report")
    stage_1 = predictions.load(tmp_path / "outputs/smoke/networks/stage_1/test.npz", 3).probabilities_NC
    submission = pd.read_csv(tmp_path / "outputs" / "smoke" / "submission.csv")
    for probabilities_G, label in zip(stage_1, submission["Predicted"].astype(int), strict=True):
        allowed = probabilities_G >= 0.5
        assert not allowed.any() or allowed[{0: 0, 2: 0, 1: 1, 3: 1}.get(label, 2)]


def test_without_a_hierarchy_the_stage_names_the_setting(tmp_path, capsys):
    call("03_train_hier", *tiny_options(tmp_path, "hierarchy.train=none"))
    assert "--set hierarchy.train=stages, joint or all" in capsys.readouterr().out


# folds, merged runs, external scores, own images


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages in order with split.folds=2, and a hierarchy; the folder named by --work."""
    work = tmp_path_factory.mktemp("folded")
    options = prepared(work, "split.folds=2", "hierarchy.train=stages")
    run_stages(work, *options[:4], *options[6:], stages=STAGES[1:5])
    call("05_submit", *options, "--no-report")
    return work


def network_probabilities(work: Path, folder: Path, subset: str, rows: list[int]) -> np.ndarray:
    """Return a checkpoint's probabilities for rows of a cached array, from its folder alone."""
    array = cache.ShardedArray(work / "data" / "cache" / "raw" / f"{subset}_16")
    images_BHWK = torch.from_numpy(np.stack([array[row] for row in rows]))
    with torch.inference_mode():
        return models.load(folder)(images_BHWK, torch.zeros(len(rows), 0)).sigmoid().numpy()


def test_with_folds_the_scripts_in_order_train_and_evaluate_all(folded):
    run = folded / "outputs" / "smoke"
    split = pd.read_csv(run / "split.csv", dtype=str).set_index("id")
    assert split["subset"].value_counts().to_dict() == {"train": 32, "holdout": 8}
    validation, test = load(folded, "baseline", "validation"), load(folded, "baseline", "test")
    assert len(validation.ids) == 32 and len(pd.read_csv(run / "submission.csv")) == 5
    found = []
    for fold in (0, 1):
        folder = run / "networks" / "baseline" / f"fold_{fold}"
        # validation samples are predicted by the network that was not trained with them
        ids = [sample for sample in validation.ids if split.loc[sample, "fold"] == str(fold)]
        assert len(ids) == 16
        expected = network_probabilities(folded, folder, "train", [int(sample[1:]) for sample in ids])
        predicted = validation.select(ids, "validation")
        assert np.allclose(expected[:, [0, 1, 2, 3, 25]], predicted[:, [0, 1, 2, 3, 25]], atol=2e-3)
        found.append(network_probabilities(folded, folder, "test", range(5)))
    # test samples by the mean of the networks
    assert not np.allclose(found[0], found[1], atol=2e-3)
    assert np.allclose(np.mean(found, axis=0)[:, :4], test.probabilities_NC[:, :4], atol=2e-3)
    for name in ("features_alone", "hierarchy_hard", "hierarchy_soft", "ensemble"):
        assert len(load(folded, name, "validation").ids) == 32
        assert (run / "thresholds" / f"{name}.json").exists()
    assert weights(folded, "stage_2_nucleus/fold_1").exists()
    scored = pd.read_csv(run / "evaluation" / "predictors.csv")
    assert {"baseline", "hierarchy_soft", "ensemble"} <= set(scored["predictor"])


def test_own_images_are_predicted_by_the_mean_of_the_folds(folded, tmp_path):
    work = copy_run(folded, tmp_path / "copy")
    shutil.copytree(work / "raw" / "test", tmp_path / "cells")
    options = ["--work", work, "--run", "smoke"]
    run = cli.start(cli.parser("Predict.\n"), [str(option) for option in options])
    report = RunReport.of(run, RunData.read(run))
    for predictor in ("baseline", "features_alone", "hierarchy_soft", "ensemble"):
        last = call("predict", tmp_path / "cells", *options, "--predictor", predictor)
        folder = run.folder / "own_images" / "cells"
        assert last.startswith(f"report: {folder / 'report.html'}")
        # the same images as those of the test set
        table = pd.read_csv(folder / "probabilities.csv", index_col="id").loc[report.data.ids("test")]
        assert list(table.columns) == list(CLASSES)
        assert np.allclose(table, report.predictor(predictor).calibrated_NC("test"), atol=1e-5), predictor
        decision_NC = report.predictor(predictor).decisions("test")
        located = pd.read_csv(folder / "locations.csv")
        assert located["id"].value_counts().to_dict() == {
            sample: count for sample, count in zip(table.index, decision_NC.sum(axis=1), strict=True) if count
        }


def test_runs_are_merged(tiny, tmp_path, capsys):
    work = copy_run(tiny, tmp_path / "copy")
    options = tiny_options(work, "hierarchy.train=none", "training.seed=1")
    for script in STAGES[:3]:
        call(script, *options, "--run", "seed_1")
    options = tiny_options(work, "ensemble.members=none")
    call("04_threshold", *options, "--run", "merged", "--merge", "smoke", "seed_1")
    assert "merged 2 runs: baseline, features_alone" in capsys.readouterr().out
    call("05_submit", "--work", work, "--run", "merged", "--no-report")
    merged, first, second = (load(work, "baseline", "test", run) for run in ("merged", "smoke", "seed_1"))
    mean_NC = (first.probabilities_NC + second.select(first.ids, "test")) / 2
    assert np.allclose(merged.select(first.ids, "test"), mean_NC, atol=1e-6)
    assert not np.allclose(first.probabilities_NC, mean_NC)
    assert len(pd.read_csv(work / "outputs" / "merged" / "submission.csv")) == 5


def test_external_scores_are_added_without_any_image(tmp_path, capsys, monkeypatch):
    labels = tmp_path / "labels"
    labels.mkdir()
    rows = [f"a{row:03d},{row % 3}" for row in range(90)]
    (labels / "train.csv").write_text("\n".join(["Id,Target", *rows]) + "\n")
    rows = [f"t{row:03d},0" for row in range(20)]
    (labels / "sample_submission.csv").write_text("\n".join(["Id,Predicted", *rows]) + "\n")
    random = np.random.default_rng(0)
    ids = [f"a{row:03d}" for row in range(90)] + [f"t{row:03d}" for row in range(20)]
    for name, noise in (("good", 0.1), ("bad", 0.5)):
        scores = pd.DataFrame(random.uniform(0, noise, (110, 3)), columns=["0", "1", "2"])
        for row in range(90):
            scores.iloc[row, row % 3] += 0.4
        scores.insert(0, "Id", ids)
        scores.to_csv(tmp_path / f"{name}.csv", index=False)
    options = ("--preset", "smoke", "--data", labels, "--work", tmp_path)
    call("00_prepare", *options, "--labels-only")
    combined = ("--set", "ensemble.members=all", "ensemble.method=mean")
    for name in ("good", "bad"):
        call("04_threshold", *options, "--add", name, tmp_path / f"{name}.csv", *combined)
    call("05_submit", *options)
    text = capsys.readouterr().out
    assert "weights in the ensemble: bad 0.50, good 0.50" in text and "of holdout" in text
    run = tmp_path / "outputs" / "smoke"
    assert len(pd.read_csv(run / "submission.csv")) == 20
    assert not (run / "figures" / "samples.png").exists() and (run / "figures" / "submission.png").exists()
    assert "kaggle competitions submit -c human-protein-atlas-image-classification -f " in text
    # another submission in another order, against another predictor's, which replaces the first
    best, other = pd.read_csv(run / "submission.csv", dtype=str), tmp_path / "other.csv"
    best[::-1].to_csv(other, index=False, encoding="utf-16")
    call("05_submit", *options, "--predictor", "bad", "--compare", other)
    assert not best.equals(pd.read_csv(run / "submission.csv", dtype=str))
    assert "expected macro-F1 according to our predictor" in capsys.readouterr().out
    assert len(pd.read_csv(run / "evaluation" / "comparison.csv")) == 28
    # uploaded with Kaggle's client
    client, noted = tmp_path / "bin" / "kaggle", tmp_path / "noted"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\necho "$@" > {noted}\necho Successfully submitted\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    last = call("05_submit", *options, "--no-report", "--predictor", "bad", "--upload", "-m", "a first try")
    assert noted.read_text().endswith(f"-f {run / 'submission.csv'} -m a first try\n")
    assert "Successfully submitted" in capsys.readouterr().out and "next: upload" not in last


def test_simulated_cells_are_not_uploaded(smoke_copy):
    done = run_script("05_submit", "--preset", "smoke", "--work", smoke_copy, "--upload")
    assert done.returncode == 2 and "--upload: these are simulated cells" in done.stderr
