"""The stages together, run as a user runs them: on simulated cells, on bad input, killed, and twice."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from lib import files
from lib.data import cache
from lib.errors import UserError
from lib.evaluation import predictions
from tests.conftest import REAL, ROOT, STAGES, call, needs_real, run_script, write_kaggle, write_sample

NETWORKS = ("stage_1", "stage_2_nucleus", "stage_2_cytoplasm", "stage_2_secretory", "joint")
PREDICTORS = ("baseline", "features_alone", "joint", "hierarchy_hard", "hierarchy_soft", "ensemble")
WHOLE_STUDY = ("hierarchy.stage_1=both", "hierarchy.other=both")
TINY = (
    "--set",
    "training.size=16",
    "data.sizes=16",
    "network.architecture=test_resnet",
    "data.shard_rows=8",
    "training.epochs=1",
)


def everything(work, *options):
    for script in STAGES:
        call(script, "--work", work, *options)


def test_smoke_ends_with_a_checked_submission(smoke):
    run = smoke / "outputs" / "smoke"
    submission = pd.read_csv(run / "submission.csv", dtype=str)
    wanted = pd.read_csv(smoke / "data" / "smoke" / "sample_submission.csv")
    assert submission["Id"].tolist() == wanted["Id"].tolist() and len(submission) == 24
    for name in (
        "class_counts", "labels_per_sample", "samples", "training_baseline", "f1_baseline",
        "scores_baseline", "training_stage_2_secretory", "groups", "within_groups", "advantages",
        "predictors",
    ):  # fmt: skip
        assert (run / "figures" / f"{name}.png").stat().st_size > 5000
    for subset in ("train", "validation", "holdout", "test"):
        for name in PREDICTORS:
            table = predictions.load(run / "predictions" / name / f"{subset}.npz")
            assert len(table.ids) > 10
    last = (smoke / "05_submit.out").read_text().splitlines()
    assert any(
        line.startswith("macro-F1 that Kaggle would give, simulated cells: public 0.") for line in last
    )
    assert last[-1].startswith(f"submission: {run / 'submission.csv'} · ")
    manifests = {path.name for path in (run / "manifests").iterdir()}
    assert manifests == {
        "00_prepare.json", "01_features.json", "05_submit.json", "05_submit_pictures.json",
        "03_train_hier_hierarchy.json", "04_threshold_join.json", "04_threshold_all.json",
        *(f"02_train_cnn_{name}.json" for name in ("baseline", "features_alone")),
        *(f"03_train_hier_{name}.json" for name in NETWORKS),
        *(f"04_threshold_{name}.json" for name in PREDICTORS),
    }  # fmt: skip
    assert all(files.read_json(run / "manifests" / name)["finished"] for name in manifests)


def test_a_second_time_everything_is_up_to_date(smoke):
    submission = smoke / "outputs" / "smoke" / "submission.csv"
    before = submission.stat().st_mtime_ns
    for script in STAGES:
        done = run_script(script, "--preset", "smoke", "--work", smoke)
        assert done.returncode == 0 and "up to date" in done.stdout, done.stdout + done.stderr
    assert submission.stat().st_mtime_ns == before


def test_the_same_seed_gives_the_same_bytes(smoke, tmp_path):
    for script in STAGES:
        done = run_script(script, "--preset", "smoke", "--work", tmp_path, "--workers", "1")
        assert done.returncode == 0, done.stderr
    for name in ("split.csv", "statistics.json", "submission.csv", "predictions/baseline/test.npz"):
        ours, theirs = (folder / "outputs" / "smoke" / name for folder in (smoke, tmp_path))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_other_settings_are_refused_with_two_ways_on(smoke):
    for script, override, what in (
        ("00_prepare", "split.seed=1", "split.seed=0, not 1"),
        ("02_train_cnn", "training.epochs=3", "training.epochs=2, not 3"),
        ("04_threshold", "threshold.method=fixed", "threshold.method=expected_f1, not fixed"),
    ):
        done = run_script(script, "--preset", "smoke", "--work", smoke, "--set", override)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{script}: ") and what in line
        assert "--run NAME keeps both, --force replaces it" in line


def test_simulated_cells_of_other_settings_are_refused(smoke):
    done = run_script("00_prepare", "--preset", "smoke", "--work", smoke, "--set", "simulation.seed=1")
    assert done.returncode == 2
    assert "made with simulation.seed=2018, not 1: --set simulation.name=NAME keeps both" in done.stderr


def test_a_run_remembers_what_it_was_begun_with(tmp_path):
    raw = write_kaggle(tmp_path / "raw")
    call("00_prepare", "--preset", "smoke", "--work", tmp_path, "--data", raw, "--run", "mine", *TINY)
    for script in STAGES[1:]:
        ending = call(script, "--work", tmp_path, "--run", "mine")
    run = tmp_path / "outputs" / "mine"
    assert ending.startswith(f"submission: {run / 'submission.csv'} · report: {run / 'report.html'} (open ")
    assert " · next: upload the submission at kaggle.com/" in ending


def test_the_data_folder_is_never_written_to(tmp_path):
    raw = write_kaggle(tmp_path / "raw")
    before = {path: path.stat().st_mtime_ns for path in [raw, *raw.rglob("*")]}
    everything(tmp_path, "--preset", "smoke", "--data", raw, *TINY)
    assert {path: path.stat().st_mtime_ns for path in [raw, *raw.rglob("*")]} == before


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("00_prepare", r"data/train.csv is missing: put Kaggle's files in "),
        ("02_train_cnn", r"index.csv is missing: run `python 00_prepare.py` first"),
        ("03_train_hier", r"index.csv is missing: run `python 00_prepare.py` first"),
        ("04_threshold", r"index.csv is missing: run `python 00_prepare.py` first"),
        ("05_submit", r"index.csv is missing: run `python 00_prepare.py` first"),
    ],
)
def test_a_stage_before_its_input_names_the_maker(tmp_path, script, message):
    preset = "hoogenboom" if script == "03_train_hier" else "strong"
    done = run_script(script, "--preset", preset, "--work", tmp_path)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


def test_later_stages_name_their_makers_too(tmp_path):
    raw = write_kaggle(tmp_path / "raw")
    options = ("--preset", "smoke", "--work", tmp_path, "--data", raw, *TINY)
    call("00_prepare", *options)
    with pytest.raises(UserError, match=r"predictions is missing: run `python 02_train_cnn.py` first"):
        call("04_threshold", *options)
    with pytest.raises(
        UserError, match=r"evaluation holds no evaluation: run `python 04_threshold.py` first"
    ):
        call("05_submit", *options)
    with pytest.raises(
        UserError, match=r"statistics.json knows the sizes 16, not 32: run `python 00_prepare.py`"
    ):
        call("02_train_cnn", *options, "training.size=32", "data.sizes=32")
    shutil.rmtree(tmp_path / "data" / "cache" / "raw" / "train_16")
    with pytest.raises(UserError, match=r"array.json is missing: run `python 00_prepare.py` first"):
        call("02_train_cnn", *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--preset", "dmeo"),
            "unknown preset 'dmeo'; there are demo smoke fusion hierarchy strong liu hoogenboom",
        ),
        (("--set", "training.epoch=3"), "training has no field 'epoch' (did you mean epochs?)"),
        (("--run", "../x"), "'../x' is no name for a run or preset: expected letters, digits and . _ -"),
        (("--workers", "0"), "--workers 0: expected at least 1"),
        (("--data", "/nowhere"), "/nowhere/train.csv is missing: put Kaggle's files in /nowhere"),
    ],
)
def test_bad_options_are_one_line(tmp_path, options, message):
    done = run_script("00_prepare", *(("--preset", "smoke") if "--preset" not in options else ()), *options,
                      "--work", tmp_path)  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("00_prepare: ") and message in line


def test_a_run_is_worked_on_by_one_process(tmp_path):
    raw = write_kaggle(tmp_path / "raw")
    with (
        files.lock(tmp_path / "outputs" / "smoke"),
        pytest.raises(UserError, match=rf"in use by another process \(process {os.getpid()}\).* --run NAME"),
    ):
        call("00_prepare", "--preset", "smoke", "--work", tmp_path, "--data", raw, *TINY)


def test_a_place_without_permission_is_one_line(tmp_path, monkeypatch):
    raw = write_kaggle(tmp_path / "raw")
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(
        UserError, match=r"outputs/smoke: no permission to write there; name a folder .* --work"
    ):
        call("00_prepare", "--preset", "smoke", "--work", tmp_path, "--data", raw, *TINY)


def test_bad_images_are_listed_and_can_be_gone_on_without(tmp_path, capsys):
    raw = write_kaggle(tmp_path / "raw")
    options = ("--preset", "smoke", "--work", tmp_path, "--data", raw, *TINY)
    (raw / "train" / "a04_green.png").unlink()
    (raw / "test" / "t02_red.png").write_bytes(b"")
    listed = tmp_path / "data" / "cache" / "raw" / "bad_images.csv"
    with pytest.raises(UserError, match=r"2 samples have bad images, first train/a04_green.png is missing"):
        call("00_prepare", *options)
    assert listed.read_text().splitlines()[1:] == [
        "train,a04,a04_green.png,is missing",
        "test,t02,t02_red.png,is empty",
    ]
    everything(tmp_path, *options, "data.max_bad_images=2")
    split = pd.read_csv(tmp_path / "outputs" / "smoke" / "split.csv")
    assert len(split) == 19 and "a04" not in set(split["id"])
    submission = pd.read_csv(tmp_path / "outputs" / "smoke" / "submission.csv", dtype=str)
    assert (
        submission.set_index("Id").loc["t02", "Predicted"] == "0"
    )  # 5 of 20: the first of the most frequent
    assert "1 test ids without a usable image" in capsys.readouterr().err
    write_sample(raw, "test", "t02", seed=1002)
    call("00_prepare", *options, "data.max_bad_images=1")
    with pytest.raises(UserError, match=r"the 02_train_cnn baseline there was made from another test_16"):
        call("02_train_cnn", *options)
    write_sample(raw, "train", "a04", seed=4)
    with pytest.raises(UserError, match=r"the 00_prepare there was made from another train_16"):
        call("00_prepare", *options)
    call("00_prepare", *options, "--force")
    assert not listed.exists()
    assert len(pd.read_csv(tmp_path / "outputs" / "smoke" / "split.csv")) == 20


def test_rare_classes_can_be_left_out(tmp_path):
    raw = write_kaggle(tmp_path / "raw", train=40)
    everything(tmp_path, "--preset", "smoke", "--data", raw, *TINY, "split.rare_class_minimum=0.22")
    run = tmp_path / "outputs" / "smoke"
    assert files.read_json(run / "statistics.json")["classes"] == [0, 1, 2, 3]  # Cytosol: 8 of 40
    assert len(pd.read_csv(run / "split.csv")) == 32
    table = predictions.load(run / "predictions" / "baseline" / "test.npz")
    assert (table.probabilities_NC[:, :4] > 0).all() and not table.probabilities_NC[:, 4:].any()
    assert len(pd.read_csv(run / "evaluation" / "baseline_classes.csv")["class"].unique()) == 4


def test_a_killed_00_goes_on_to_the_same_bytes(tmp_path):
    raw = write_kaggle(tmp_path / "raw", train=400, test=20, size=200)
    options = ["--preset", "smoke", "--data", str(raw), "--set", "data.shard_rows=8"]

    def content(work):
        cache = work / "data" / "cache" / "raw"
        return {
            str(path.relative_to(work)): path.read_bytes()
            for path in [
                *cache.rglob("*.npy"),
                work / "outputs/smoke/split.csv",
                work / "outputs/smoke/statistics.json",
            ]
        }

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_script("00_prepare", *options, "--work", whole).returncode == 0
    command = [sys.executable, str(ROOT / "00_prepare.py"), *options, "--work", str(cut)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    folder = cut / "data" / "cache" / "raw" / "train_64"
    while len(list(folder.glob("*.json"))) < 5:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    made = {path.name: path.stat().st_mtime_ns for path in folder.glob("0*.json")}
    assert len(made) < 50, "there was nothing left to do"
    assert run_script("00_prepare", *options, "--work", cut).returncode == 0
    assert content(cut) == content(whole)
    assert all((folder / name).stat().st_mtime_ns == then for name, then in made.items()), (
        "done work was redone"
    )


def test_output_that_is_piped_has_plain_lines(smoke):
    for script in STAGES:
        text = (smoke / f"{script}.out").read_text()
        assert "\r" not in text and text.endswith("\n") and text.startswith(f"== {script}: ")
        assert all(line.strip() for line in text.splitlines())


def test_memory_of_the_cache_is_that_of_an_image_not_of_a_shard(tmp_path):
    raw = write_kaggle(tmp_path / "raw", train=80, size=128)
    tracemalloc.start()
    cache.build(raw, tmp_path / "cache", "train", [f"a{row:02d}" for row in range(80)], (128,), 80, workers=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    shard = (tmp_path / "cache" / "train_128" / "00000.npy").stat().st_size
    assert shard > 80 * 128 * 128 * 4 and peak < shard / 4


@needs_real
def test_real_files_go_all_the_way(tmp_path):
    options = ("--preset", "smoke", "--run", "mini", "--data", REAL / "kaggle_mini", "--work", tmp_path)
    everything(tmp_path, *options[:-2])
    submission = pd.read_csv(tmp_path / "outputs" / "mini" / "submission.csv")
    wanted = pd.read_csv(REAL / "kaggle_mini" / "sample_submission.csv")
    assert submission["Id"].tolist() == wanted["Id"].tolist() and len(submission) == 30


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_says_so_and_goes_on(tmp_path, number, code):
    raw = write_kaggle(tmp_path / "raw", train=60)
    options = ["--preset", "smoke", "--data", str(raw), "--work", str(tmp_path), *TINY[:-1]]
    call("00_prepare", *options)
    options = [*options, "training.epochs=20", "--network", "baseline"]
    command = [sys.executable, "-u", str(ROOT / "02_train_cnn.py"), *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # a shell that starts the tests in the background lets them ignore SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        for line in process.stdout:
            if "epoch  2 of 20" in line:
                process.send_signal(number)
                break
        _, error = process.communicate()
    assert process.returncode == code
    assert (
        error == "02_train_cnn: interrupted; what is finished is kept, the same command goes on from there\n"
    )
    done = run_script("02_train_cnn", *options)
    assert done.returncode == 0, done.stderr
    going_on = re.search(r"going on after epoch (\d+)", done.stdout)
    assert 1 <= int(going_on[1]) < 20


def test_two_runs_fill_one_cache_together(tmp_path):
    raw = write_kaggle(tmp_path / "raw", train=160, test=10, size=200)
    options = ["--preset", "smoke", "--data", str(raw), "--set", "data.shard_rows=8", "--workers", "1"]
    script = str(ROOT / "00_prepare.py")
    started = [
        subprocess.Popen(
            [sys.executable, script, *options, "--work", str(tmp_path / "both"), "--run", name],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for process in started:
        _, error = process.communicate()
        assert process.returncode == 0, error
    assert run_script("00_prepare", *options, "--work", tmp_path / "alone").returncode == 0
    both, alone = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "data/cache/raw/train_64").glob("*.npy")}
        for name in ("both", "alone")
    )
    assert both == alone and len(alone) == 20
    splits = [(tmp_path / "both" / "outputs" / name / "split.csv").read_bytes() for name in ("one", "two")]
    assert splits[0] == splits[1]


def test_two_processes_train_one_network_and_one_writes(tmp_path):
    raw = write_kaggle(tmp_path / "raw", train=60)
    options = ["--preset", "smoke", "--data", raw, "--work", tmp_path, *TINY, "training.precision=float32"]
    call("00_prepare", *options)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, str(ROOT / "02_train_cnn.py"), *map(str, options), "--network", "baseline"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for again in (False, True):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("== 02_train_cnn: ") == done.stdout.count("02_train_cnn: done in ") == 1
        assert ("up to date" in done.stdout) == again
    for subset in ("train", "validation", "holdout", "test"):
        table = predictions.load(
            tmp_path / "outputs" / "smoke" / "predictions" / "baseline" / f"{subset}.npz"
        )
        assert len(set(table.ids)) == len(table.ids) > 0
    stages = ("hierarchy.train=stages", "hierarchy.stage_1=multi_label")
    command = [*torchrun, str(ROOT / "03_train_hier.py"), *map(str, options), *stages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("stage_2_nucleus (2 of 2):") == 1
    table = predictions.load(tmp_path / "outputs/smoke/predictions/hierarchy_soft/test.npz")
    assert len(table.ids) == 5
    assert not list((tmp_path / "outputs").rglob(".*.part"))


# the hierarchy


def prepared(tmp_path, *more):
    """Options of a run on 20 small samples, after stage 00."""
    raw = write_kaggle(tmp_path / "raw", train=40)
    options = ["--preset", "smoke", "--data", raw, "--work", tmp_path, *TINY, *more]
    call("00_prepare", *options)
    return options


def weights(tmp_path, network):
    return tmp_path / "outputs" / "smoke" / "networks" / network / "weights.pt"


def test_a_hierarchy_is_gone_on_with_network_by_network(tmp_path, capsys):
    options = prepared(tmp_path)
    with pytest.raises(
        UserError, match=r"stage_2_nucleus starts from the weights of stage_1, which is not finished: run "
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
    # all of Cytoplasm's samples carry Cytosol alone, none is in Secretory
    assert "Cytoplasm: nothing to tell apart within its" in text
    assert "Secretory: nothing to tell apart within its 0 training samples" in text
    table = predictions.load(tmp_path / "outputs/smoke/predictions/hierarchy_hard/test.npz")
    assert set(table.probabilities_NC[:, 25].tolist()) <= {0.0, 1.0}
    assert not table.probabilities_NC[:, 6:11].any()
    call("03_train_hier", *options)
    assert "what the hierarchy says together is up to date" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"stage_1 there was made from another choice of samples and labels"):
        call("03_train_hier", *options, "hierarchy.grouping=two")


def test_networks_trained_at_once_say_the_same(tmp_path):
    options = prepared(tmp_path, "training.precision=float32", "hierarchy.train=stages", *WHOLE_STUDY)
    call("03_train_hier", *options)
    call("00_prepare", *options, "--run", "at_once")
    done = run_script("03_train_hier", *options, "--run", "at_once", "--parallel", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("[stage_1] stage_1 (1 of 1):", "[stage_2_nucleus_other] stage_2_nucleus_other (1 of 1):"):
        assert line in done.stdout.splitlines()
    # the first process alone speaks for the stage
    assert done.stdout.count("== 03_train_hier: ") == done.stdout.count("03_train_hier: done in ") == 1
    for name in ("hierarchy_hard", "hierarchy_soft_other"):
        one, two = (
            predictions.load(tmp_path / "outputs" / run / "predictions" / name / "test.npz")
            for run in ("smoke", "at_once")
        )
        assert one.ids == two.ids
        assert abs(one.probabilities_NC - two.probabilities_NC).max() < 1e-3


def test_two_processes_do_not_train_one_network(tmp_path):
    options = prepared(tmp_path)
    with (
        files.lock(weights(tmp_path, "stage_1").parent),
        pytest.raises(UserError, match="is in use by another process"),
    ):
        call("03_train_hier", *options)
    with files.lock(tmp_path / "outputs" / "smoke", shared=True):
        call("03_train_hier", *options, "--network", "stage_1")
        with pytest.raises(UserError, match="is in use by another process"):
            call("04_threshold", *options)


def test_a_hierarchy_of_other_groups(tmp_path, capsys):
    groups = tmp_path / "groups.csv"
    group_of = {0: "Even", 2: "Even", 1: "Odd", 3: "Odd"}
    groups.write_text("group,label\n" + "".join(f"{group_of.get(c, 'Rest')},{c}\n" for c in range(28)))
    options = prepared(tmp_path, f"hierarchy.grouping={groups}", "hierarchy.train=stages", *WHOLE_STUDY)
    for script in STAGES[1:]:
        call(script, *options)
    judged = pd.read_csv(tmp_path / "outputs" / "smoke" / "evaluation" / "groups.csv")
    assert judged["group"].tolist() == ["Even", "Odd", "Rest"] * 2
    assert weights(tmp_path, "stage_2_even").exists() and weights(tmp_path, "stage_2_odd_other").exists()
    # held to what stage 1 admits, a sample has labels of its groups alone, and one at most
    held = (*options, "threshold.consistent=true", "threshold.max_labels=1", "--force")
    call("04_threshold", *held)
    call("05_submit", *held, "--predictor", "baseline")
    stage_1 = predictions.load(tmp_path / "outputs/smoke/networks/stage_1/test.npz", 3).probabilities_NC
    submission = pd.read_csv(tmp_path / "outputs" / "smoke" / "submission.csv")
    for probabilities_G, label in zip(stage_1, submission["Predicted"].astype(int), strict=True):
        admitted = probabilities_G >= 0.5
        assert not admitted.any() or admitted[{0: 0, 2: 0, 1: 1, 3: 1}.get(label, 2)]


def test_without_a_hierarchy_the_stage_says_so(tmp_path, capsys):
    options = prepared(tmp_path, "hierarchy.train=none")
    call("03_train_hier", *options)
    assert "this run has no hierarchy; --set hierarchy.train=stages, joint or all" in capsys.readouterr().out


def test_the_papers_averages_stand_beside_ours(tmp_path, capsys):
    raw = write_kaggle(tmp_path / "raw", train=40)
    options = (
        "--preset",
        "hoogenboom",
        "--data",
        raw,
        "--work",
        tmp_path,
        *TINY,
        "split.rare_class_minimum=0.01",
    )
    everything(tmp_path, *options)
    table = pd.read_csv(tmp_path / "outputs" / "hoogenboom" / "evaluation" / "averages.csv")
    assert table.iloc[-1].tolist() == ["Hoogenboom 2019, baseline", 0.6422, 0.3984, 0.4749]
    assert {"baseline", "baseline_resnet101", "hierarchy_hard", "hierarchy_hard_other"} <= set(
        table["predictor"]
    )
    assert "means over classes: ours on holdout, images of raw/" in capsys.readouterr().out


# what is made elsewhere, or joined


def test_scores_made_elsewhere_without_any_image(tmp_path, capsys):
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
    joined = ("--set", "ensemble.members=all", "ensemble.method=mean")
    for name in ("good", "bad"):
        call("04_threshold", *options, "--add", name, tmp_path / f"{name}.csv", *joined)
    call("05_submit", *options)
    text = capsys.readouterr().out
    assert "weights in the ensemble: bad 0.50, good 0.50" in text and "of holdout" in text
    run = tmp_path / "outputs" / "smoke"
    assert len(pd.read_csv(run / "submission.csv")) == 20
    assert not (run / "figures" / "samples.png").exists() and (run / "figures" / "submission.png").exists()
    assert "to send it: kaggle competitions submit -c human-protein-atlas-image-classification -f " in text
    call("05_submit", *options, "--predictor", "bad", "--force", "--compare", run / "submission.csv")
    assert "macro-F1 that our predictor expects" in capsys.readouterr().out


def test_folds_end_to_end(tmp_path, capsys):
    raw = write_kaggle(tmp_path / "raw", train=40)
    options = ["--preset", "smoke", "--data", raw, "--work", tmp_path, *TINY, "hierarchy.train=none"]
    for fold in range(2):
        own = ["--run", f"fold_{fold}", "--set", "split.folds=2", f"split.fold={fold}"]
        for script in ("00_prepare", "01_features", "02_train_cnn"):
            call(script, *options, *own)
    call("04_threshold", *options, "--run", "joined", "--join", "fold_0", "fold_1")
    call("05_submit", "--work", tmp_path, "--run", "joined")
    run = tmp_path / "outputs" / "joined"
    assert "joined 2 runs: baseline, features_alone" in capsys.readouterr().out
    split = pd.read_csv(run / "split.csv")
    assert split["subset"].value_counts().to_dict() == {"validation": 32, "holdout": 8}
    table = predictions.load(run / "predictions" / "baseline" / "validation.npz")
    folds = [
        predictions.load(tmp_path / "outputs" / f"fold_{fold}" / "predictions/baseline/validation.npz")
        for fold in range(2)
    ]
    for fold in folds:  # each by the network that has not seen it
        assert np.allclose(table.rows_of(fold.ids, "fold"), fold.probabilities_NC)
    assert len(pd.read_csv(run / "submission.csv")) == 5
