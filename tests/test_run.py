"""A run's paths, and steps that are done once for the same settings and inputs."""

from pathlib import Path

import pytest

from lib import cli, distributed, files, run
from lib.cli import parser
from lib.errors import UserError

INPUTS = {"in.csv": "1"}


def start(work, *options, name="mine"):
    """Return a run of the preset smoke, as a stage would start it."""
    command = cli.network_parser("Stage 99: test. \n")
    return cli.start(command, ["--preset", "smoke", "--work", str(work), "--run", name, *options])


class Work:
    """Work that writes a file and counts its calls."""

    def __init__(self, path):
        self.path, self.steps = path, []

    def __call__(self, step):
        self.steps.append(step)
        files.write_text(self.path, f"{len(self.steps)}\n")


def once(one, work, **more):
    arguments = {"settings": ["split"], "inputs": INPUTS, "outputs": [work.path]} | more
    return one.once("99_test some part", work, **arguments)


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path / "out.txt")


# done once


def test_work_is_called_once(tmp_path, work):
    assert once(start(tmp_path), work) is True
    assert once(start(tmp_path), work) is False
    (step,) = work.steps
    assert step.name == "99_test some part" and step.inputs == INPUTS
    assert step.settings["split.seed"] == 0 and not any("training" in name for name in step.settings)
    manifest = files.read_json(tmp_path / "outputs" / "mine" / "manifests" / "99_test_some_part.json")
    assert manifest["finished"] and manifest["step"] == "99_test some part"


def test_the_work_runs_while_the_step_is_started_but_not_finished(tmp_path, work):
    one, seen = start(tmp_path), []
    manifest = one.manifest("99_test some part")

    def fail(_step):
        seen.append(files.read_json(manifest)["finished"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.once("99_test some part", fail, settings=["split"], inputs=INPUTS, outputs=[work.path])
    assert seen == [False] and not files.read_json(manifest)["finished"]
    assert once(one, work) and len(work.steps) == 1, "interrupted work is done again"


def test_work_whose_output_is_missing_is_done_again(tmp_path, work):
    once(start(tmp_path), work)
    work.path.unlink()
    assert once(start(tmp_path), work) and work.path.exists()


@pytest.mark.parametrize(
    ("options", "inputs", "difference"),
    [
        (("--set", "split.seed=3"), INPUTS, "split.seed=0, not 3"),
        ((), {"in.csv": "2"}, "different in.csv"),
    ],
)
def test_another_result_is_kept_unless_asked(tmp_path, work, options, inputs, difference):
    once(start(tmp_path), work)
    other = start(tmp_path, *options)
    with pytest.raises(UserError) as error:
        once(other, work, inputs=inputs)
    assert (
        difference in str(error.value) and "--run NAME" in str(error.value) and "--force" in str(error.value)
    )
    assert len(work.steps) == 1 and work.path.read_text() == "1\n"
    assert once(other, work, inputs=inputs, rebuild=True) and len(work.steps) == 2
    assert not once(other, work, inputs=inputs), "and is up to date then"


def test_settings_that_the_work_does_not_depend_on_may_differ(tmp_path, work):
    once(start(tmp_path), work)
    assert not once(start(tmp_path, "--set", "training.epochs=9"), work)


def test_work_may_depend_on_a_single_setting(tmp_path):
    step = start(tmp_path).step("00_prepare one", ["training.seed", "submit"], {}, [])
    assert step.settings == {"training.seed": 0, "submit.duplicates": "network"}


def test_force_calls_it_again_also_with_other_settings(tmp_path, work):
    once(start(tmp_path), work)
    assert once(start(tmp_path, "--force"), work)
    assert once(start(tmp_path, "--force", "--set", "split.seed=3"), work)
    assert len(work.steps) == 3


def test_only_the_primary_process_decides(tmp_path, work, monkeypatch):
    one = start(tmp_path)
    monkeypatch.setattr(distributed, "is_primary", lambda: False)
    # what the primary process decides is what all do, without a look at the files
    for decision in (True, False):
        monkeypatch.setattr(distributed, "broadcast", lambda value, decision=decision: decision)
        assert once(one, work) is decision
    assert len(work.steps) == 1
    assert not one.manifest("99_test some part").exists(), "and only it keeps the manifest"


def test_the_primary_process_tells_the_others(tmp_path, work, monkeypatch):
    told = []
    monkeypatch.setattr(distributed, "broadcast", lambda value: told.append(value) or value)
    for _ in range(2):
        once(start(tmp_path), work)
    assert told == [True, False]


def test_the_folder_is_locked_by_the_primary_process_alone(tmp_path, monkeypatch):
    one = start(tmp_path)
    with one.lock(), pytest.raises(UserError, match=r"outputs/mine is in use"), one.lock():
        pass
    with one.lock(shared=True), one.lock(shared=True):
        pass
    with one.lock():
        monkeypatch.setattr(run.distributed, "is_primary", lambda: False)
        with one.lock():
            pass


# what a run is


def test_everything_of_a_run_lies_in_its_folder_or_in_the_cache(tmp_path):
    one = start(tmp_path, "--set", "features.columns=all")
    folder, cache = tmp_path / "outputs" / "mine", tmp_path / "data" / "cache" / "smoke"
    assert (one.folder, one.cache, one.source) == (folder, cache, tmp_path / "data" / "smoke")
    paths = {
        one.split: folder / "split.csv",
        one.statistics: folder / "statistics.json",
        one.network("baseline"): folder / "networks" / "baseline",
        one.predictor("x_tta"): folder / "predictions" / "x_tta",
        one.thresholds("x_tta"): folder / "thresholds" / "x_tta.json",
        one.evaluation("predictors"): folder / "evaluation" / "predictors.csv",
        one.figure("samples"): folder / "figures" / "samples.png",
        one.submission: folder / "submission.csv",
        one.report: folder / "report.html",
        one.index: cache / "index.csv",
        one.bad_images: cache / "bad_images.csv",
        one.array("test", 64): cache / "test_64",
        one.features: cache / "features_64_fast_watershed_all" / "features.csv",
    }
    assert all(ours == expected for ours, expected in paths.items())


def test_checkpoints_are_those_that_are_trained_in_the_order_of_the_folds(tmp_path):
    one = start(tmp_path, "--set", "split.folds=11")
    assert one.checkpoints("baseline") == []
    folder = one.network("baseline")
    for name in ("fold_10", "fold_9", "fold_0", "fold_11", "fold_2 (copy)"):  # the last two are not the run's
        files.write_text(folder / name / "weights.safetensors", "")
    (folder / "fold_1").mkdir()  # not trained yet
    assert [path.name for path in one.checkpoints("baseline")] == ["fold_0", "fold_9", "fold_10"]
    single = start(tmp_path)
    files.write_text(single.network("single") / "weights.safetensors", "")
    assert single.checkpoints("single") == [single.network("single")]


def test_networks_are_selected_by_name(tmp_path):
    assert start(tmp_path).selected(["a", "b"]) == ["a", "b"]
    assert start(tmp_path, "--network", "b").selected({"a": 1, "b": 2}) == ["b"]
    with pytest.raises(UserError, match=r"--network c: .* a b$"):
        start(tmp_path, "--network", "b", "c").selected(["a", "b"])


def test_a_network_has_its_own_settings(tmp_path):
    one = start(tmp_path)
    assert one.for_network("features_alone").config.network.kind == "trees"
    assert one.config.network.kind == "network" and one.for_network("baseline").folder == one.folder
    demo = cli.start(parser("Stage 99: test. \n"), ["--preset", "demo", "--work", str(tmp_path)])
    assert demo.for_hierarchy_network("stage_2").config.training.epochs == 1
    assert demo.config.training.epochs == 8


def test_a_run_continues_with_what_it_was_started_with(tmp_path):
    first = start(tmp_path, "--set", "split.seed=3", "--data", str(tmp_path / "raw"))
    first.save_invocation()
    command = parser("Stage 99: test. \n")
    again = cli.start(command, ["--work", str(tmp_path), "--run", "mine"])
    assert again.config == first.config and again.source == tmp_path / "raw"
    assert "merge" not in files.read_json(first.folder / "run.json")
    first.save_invocation(merge=["a", "b"])
    assert files.read_json(first.folder / "run.json")["merge"] == ["a", "b"]


def test_a_data_set_that_gets_another_cache_is_announced(tmp_path, capsys):
    one, two = (start(tmp_path, "--data", str(tmp_path / name / "cells")) for name in ("a", "b"))
    assert one.with_cache("1") == one
    capsys.readouterr()
    assert two.with_cache("2").cache == tmp_path / "data" / "cache" / "cells-2"
    text = capsys.readouterr().out
    assert str(tmp_path / "b" / "cells") in text and "cells-2" in text


def test_data_are_simulated_by_the_preset_or_by_an_earlier_run(tmp_path):
    raw = tmp_path / "raw"
    assert start(tmp_path).is_simulated and start(tmp_path).data_name == "simulated cells"
    assert not start(tmp_path, "--data", str(raw)).is_simulated
    assert start(tmp_path, "--data", str(raw)).data_name == "images of raw/"
    files.write_json(raw / "simulation.json", {})
    assert start(tmp_path, "--data", str(raw)).is_simulated


def test_manifests_that_runs_share_are_those_of_simulation_and_arrays(tmp_path):
    one = start(tmp_path)
    assert one.shared_manifests == []
    expected = [
        one.source / "simulation.json",
        one.cache / "train_64/array.json",
        one.cache / "test_64/array.json",
    ]
    for path in [*expected, one.cache / "train_32/array.json"]:
        files.write_json(path, {})
    assert one.shared_manifests == expected


def test_a_step_with_a_slash_or_space_has_a_manifest_of_its_own(tmp_path):
    one = start(tmp_path)
    names = [one.manifest(name).name for name in ("02_train_cnn a/fold_0", "02_train_cnn a")]
    assert names == ["02_train_cnn_a_fold_0.json", "02_train_cnn_a.json"]
    assert one.manifest("x").parent == Path(one.folder) / "manifests"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"preset": "../x"}, "unknown preset '../x'"),
        ({"preset": None}, "preset is null"),
        ({"set": ["training.epoch=3"]}, "no field 'epoch'"),
        ({"set": "training.epochs=3"}, "set is"),
        ({"data": "../../x"}, "absolute"),
        ({"data": 3}, "data is 3"),
        ({"merge": ["../x"]}, "'../x' cannot be a name"),
        ({"more": 1}, "unknown entry"),
    ],
)
def test_an_edited_run_json_names_reason_and_stage(tmp_path, changes, reason):
    folder = start(tmp_path).folder
    files.write_json(folder / "run.json", {"preset": "smoke", "set": [], "data": None} | changes)
    with pytest.raises(UserError) as error:
        cli.start(parser("Stage 99: test. \n"), ["--work", str(tmp_path), "--run", folder.name])
    path = folder / "run.json"
    assert all(
        part in str(error.value) for part in (str(path), reason, "delete it and run `python 00_prepare.py")
    )
