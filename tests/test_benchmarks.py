"""Benchmarks that need what a machine for tests lacks, at toy size."""

import importlib
import sys

import pytest
import torch

from lib import presets
from tests.conftest import ROOT


def test_the_ladder_shows_every_network_of_its_preset(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    ladder = importlib.import_module("ladder")
    preset = presets.PRESETS["ladder"]
    shown = {predictor.removesuffix("_tta") for _, predictor, _ in ladder.STEPS.values()}
    assert shown == {*preset.networks, "ensemble"} - {"second_network"}
    for step, (kind, _, over) in ladder.STEPS.items():
        assert over is None or list(ladder.STEPS).index(over) < list(ladder.STEPS).index(step)
        assert kind == (ladder.FOLDED if step == "folds" else ladder.SINGLE)
    for size in (128, 256):
        chosen = presets.load("ladder", [*ladder.settings(2, size), *ladder.FOLDS])
        assert chosen.split.folds == 5 and chosen.training.seed == 2
        assert chosen.simulation.size == chosen.training.size == size
        assert (chosen.simulation.name == "study_2") == (size == 128)  # the other studies' samples


def test_the_long_ladder_gives_all_networks_the_same_epochs_and_rate(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    ladder, runs, gains = importlib.import_module("ladder"), [], []
    monkeypatch.setattr(sys, "argv", ["ladder.py", "--work", str(tmp_path), "--seeds", "2", "--long"])
    monkeypatch.setattr(ladder.simulated_runs, "run_stages", lambda *arguments: runs.append(arguments))
    monkeypatch.setattr(ladder.paired_scores, "replicates", lambda _reports, predictor: predictor)
    monkeypatch.setattr(ladder.paired_scores, "print_gains", lambda *arguments: gains.append(arguments))
    ladder.main()
    assert [name for _, _, name, _, _ in runs] == ["ladder_128_0_long", "ladder_128_1_long"]
    config = presets.load("ladder", runs[1][3])
    for step in ladder.LONG_STEPS:
        training = config.for_network(step).training
        assert (training.epochs, training.cycle_epochs, training.learning_rate) == (48, 48, 1e-3)
        assert (training.size, training.seed, training.tta) == (64, 1, False)
    ((tables, _step, over),) = gains
    assert list(tables) == list(ladder.LONG_STEPS)
    assert over == dict.fromkeys(ladder.LONG_STEPS[1:], "imagenet")


def test_the_data_pipeline_is_timed_with_batches_of_any_size(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    sizes = ("--size", "32", "--batch-size", "4", "--samples", "8", "--rounds", "1")
    monkeypatch.setattr(sys, "argv", ["training.py", "--architecture", "test_resnet", *sizes])
    importlib.import_module("training").main()
    *_, last = capsys.readouterr().out.splitlines()
    assert "test_resnet, 32 px, batches of 4" in last and "median of 1" in last


def test_honest_scores_of_one_predictor_alone_need_no_ensemble(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    honest = importlib.import_module("honest_scores")
    assert set(honest.NETWORKS) <= set(presets.PRESETS["fusion"].networks)
    assert presets.load("fusion", honest.SETTINGS).ensemble.members == "none"


@pytest.fixture
def gpu(monkeypatch):
    """benchmarks/gpu.py as a module: its processes import it too."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("gpu")


@pytest.mark.slow
def test_the_gpu_benchmark_fills_its_table(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", lambda network: network)  # which takes longer than everything else
    measure = gpu.measure
    monkeypatch.setattr(gpu, "measure", lambda *rest, compile: measure(*rest, compile=True))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--toy", "--workers", "1"])
    gpu.main()
    *_, table = capsys.readouterr().out.split("\n\n")
    header, _line, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
    assert header == list(gpu.Table.HEADER)
    rows = {tuple(line[:3]): dict(zip(header, line, strict=True)) for line in lines}
    networks = gpu.TOY.networks
    resumed = rows.pop(("kill and resume", networks[0], "bfloat16"))
    assert "killed after 3 checkpoints: the same bits" in resumed["remarks"]
    once = ("prediction", "prediction, 8 views (TTA)", "steps, training.cudnn_benchmark=true",
            "steps, training.compile=true")  # fmt: skip
    expected = {("training", network, p) for network in networks for p in ("bfloat16", "float16")}
    assert set(rows) == expected | {(name, network, "bfloat16") for name in once for network in networks}
    for key, row in rows.items():
        assert float(row["images/s"].replace(",", "")) > 0, key
        assert (float(row["of resident"] or 0) > 0) == (key[0] == "training"), key
        assert row["peak memory"] == "" and "not measured" not in row["remarks"], key


def test_a_resident_rate_is_that_of_its_steps(gpu, monkeypatch, tmp_path):
    """The clock advances by a second per step on the device, and by two more per batch that is loaded."""
    now = [0.0]
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: now[0])

    def loaded():
        while True:
            now[0] += 2
            yield "batch"

    class State:
        """Counts steps."""

        steps = 0

    def seconds(state, batches):
        started = now[0]
        for _ in batches:
            now[0] += 1
            state.steps += 1
        return now[0] - started

    state = State()
    monkeypatch.setattr(gpu, "prepare", lambda *_: (state, loaded(), "batch"))
    monkeypatch.setattr(gpu, "seconds_of_epoch", seconds)
    gpu.write_array(tmp_path / "array", 16, 16)
    training = gpu.open_array(tmp_path / "array")
    scale = gpu.Scale(("a",), size=16, batch_size=4, samples=16, seconds=10.0, steps=100)
    assert gpu.measure_training(training, None, scale, 1) == (4.0, pytest.approx(4 / 3), 2.0)
    assert state.steps == 2 * gpu.WARM_UP + 10 + 10
    assert gpu.measure_training(training, None, scale, 1, pipeline=False) == (4.0, 0.0, 0.0)
