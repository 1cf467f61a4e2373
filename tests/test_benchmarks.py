"""Benchmarks that need what a machine for tests lacks, at toy size."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

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


@pytest.fixture
def paired(monkeypatch):
    """benchmarks/paired_scores.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("paired_scores")


@pytest.fixture
def tied():
    """Labels and rounded probabilities of 200 samples from 20 antibodies, and two rows of their weights."""
    random = np.random.default_rng(0)
    truth_NC = random.uniform(size=(200, 5)) < [0.4, 0.3, 0.2, 0.1, 0.01]
    probabilities_NC = np.round(0.3 * truth_NC + random.uniform(size=truth_NC.shape), 1)
    weight_BA = np.stack([np.ones(20, int), random.integers(0, 4, 20)])
    return truth_NC, probabilities_NC, random.integers(0, 20, 200), weight_BA


def test_replicates_are_scores_of_samples_that_are_repeated(paired, tied):
    truth_NC, probabilities_NC, antibody_N, weight_BA = tied
    decision_NC = probabilities_NC >= 0.6
    found_B = paired.macro_f1_replicates(truth_NC, decision_NC, antibody_N, weight_BA)
    precision_B = paired.average_precision_replicates(truth_NC, probabilities_NC, antibody_N, weight_BA)
    for row, weight_A in enumerate(weight_BA):
        repeat_N = np.repeat(np.arange(200), weight_A[antibody_N])
        expected = f1_score(truth_NC[repeat_N], decision_NC[repeat_N], average="macro", zero_division=0)
        assert found_B[row] == pytest.approx(expected)
        enough = [0, 1, 2, 3]  # with five samples
        assert (truth_NC.sum(axis=0) >= paired.simulated_runs.MIN_POSITIVES).tolist() == [True] * 4 + [False]
        expected = average_precision_score(
            truth_NC[repeat_N][:, enough], probabilities_NC[repeat_N][:, enough]
        )
        assert precision_B[row] == pytest.approx(expected)


def test_gains_are_over_the_reference_and_have_95_percent_intervals(paired, capsys):
    # row 0 is the score, the others are replicates: a gain of 0.1, of which 95 % are between 0.081 and 0.119
    spread = pd.Series(np.linspace(-0.02, 0.02, 1001))
    before = [pd.DataFrame({"macro-F1": [0.3, *[0.4] * 1001]}) for _ in range(2)]
    after = [pd.DataFrame({"macro-F1": [gain + 0.3, *(0.55 + spread)]}) for gain in (0.05, 0.15)]
    paired.print_gains({"one": before, "two": after}, "step", {"two": "one"})
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first == "| `one` |  | 0.300 ± 0.000 |  |"
    assert second == "| `two` | `one` | 0.400 ± 0.071 | +0.100 (+0.081 to +0.119; +0.050 to +0.150) |"


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
