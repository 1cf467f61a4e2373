"""The training loop: what it keeps, and that nothing that ends it early changes the result."""

import copy
import dataclasses
import errno
import math
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lib import cli
from lib.errors import UserError
from lib.learning import fit as training
from lib.learning import models
from lib.learning.averaging import recompute_statistics
from lib.learning.inference import predict
from lib.learning.loader import make_loader
from lib.learning.train_state import TrainState
from lib.learning.training_data import SampleSource
from lib.sections import BALANCED_LOSSES, LOSSES, Training
from tests.conftest import ROOT
from tests.learning import train_toy
from tests.learning.tiny import images, network

SETTINGS = Training(
    size=32, epochs=4, batch_size=8, learning_rate=3e-3, cycle_epochs=4.0, precision="float32", keep="last",
    augmentation="none",
)  # fmt: skip
SOURCE = SampleSource(
    list(images(16)),
    [f"a{row:02d}" for row in range(16)],
    np.random.default_rng(0).uniform(size=(16, 3)) < 0.4,
)


def loader(seed=None, settings=SETTINGS):
    return make_loader(SOURCE, np.arange(16), settings.batch_size, 0, seed)


def fit(folder, settings=SETTINGS, model=None, identity="same", resume=True):
    model = model or network()
    history = training.fit(
        model, loader(settings.seed, settings), loader(None, settings), settings, folder, identity, resume
    )
    return model, history


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def assert_same_history(ours, theirs):
    timeless = [column for column in ours if "second" not in column]
    pd.testing.assert_frame_equal(ours[timeless], theirs[timeless])


# what it learns and keeps


def test_the_loop_learns(tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=30, cycle_epochs=30.0)
    model, history = fit(tmp_path, settings)
    assert predict(model, loader(), "float32", "sigmoid").macro_f1 == 1.0
    assert history["train_loss"].iloc[-1] < 0.2 * history["train_loss"].iloc[0]
    # the loop's last validation is the prediction of the weights that it keeps
    assert history["validation_macro_f1"].iloc[-1] == 1.0


def test_the_folder_holds_weights_history_and_the_last_state(tmp_path, monkeypatch):
    model, history = fit(tmp_path)
    assert {path.name for path in tmp_path.iterdir() if "tfevents" not in path.name} == {
        "history.csv", "state.pt", "weights.safetensors"
    }  # fmt: skip
    assert_same(models.load_weights(tmp_path / "weights.safetensors"), model.state_dict())
    written = pd.read_csv(tmp_path / "history.csv")
    assert written["epoch"].tolist() == [1, 2, 3, 4]
    rates = history["learning_rate"].map("{:.6g}".format).astype(float)
    assert_same_history(written, history.round(6).assign(learning_rate=rates))
    assert history["learning_rate"].max() <= SETTINGS.learning_rate
    # interrupted before its predictions were saved: not trained again
    monkeypatch.setattr(TrainState, "train_batch", None)
    again, history_again = fit(tmp_path)
    assert_same(again.state_dict(), model.state_dict())
    assert_same_history(history_again, history)


def test_small_rates_are_written_too(tmp_path):
    train_toy.train(
        tmp_path, dataclasses.replace(train_toy.SETTINGS, learning_rate=4e-7, schedule="constant")
    )
    assert pd.read_csv(tmp_path / "history.csv")["learning_rate"].tolist() == [4e-7] * 4
    assert "\n1,4e-07,0." in (tmp_path / "history.csv").read_text()


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "bce"])
def test_every_loss_is_learnt(tmp_path, loss):
    weighted = {} if loss in BALANCED_LOSSES else {"class_weights": "root", "label_smoothing": 0.05}
    settings = dataclasses.replace(train_toy.SETTINGS, loss=loss, epochs=6, **weighted)
    _, history = train_toy.train(tmp_path, settings)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


@pytest.mark.parametrize(
    ("keep", "best"), [("validation_loss", 2), ("macro_f1", 1), ("last", 3)]
)  # the epoch, counted from 0, whose weights must be loaded at the end
def test_the_best_epochs_weights_are_kept(tmp_path, monkeypatch, keep, best):
    losses, scores = [0.9, 0.8, 0.5, 0.6], [0.1, 0.4, 0.2, 0.3]
    states = []

    def fake(model, *_arguments, **_options):
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return SimpleNamespace(loss=losses[len(states) - 1], macro_f1=scores[len(states) - 1])

    monkeypatch.setattr(training, "predict", fake)
    model, _ = train_toy.train(tmp_path, dataclasses.replace(train_toy.SETTINGS, keep=keep))
    assert_same(model.state_dict(), states[best])
    assert_same(models.load_weights(tmp_path / "weights.safetensors"), states[best])


def test_the_moving_average_is_validated_and_kept(tmp_path, monkeypatch):
    trained, validated = {}, {}
    step = TrainState._step

    def watched_step(self, rate):
        step(self, rate)
        trained.update({name: value.clone() for name, value in self.model.state_dict().items()})

    def watched(model, *arguments, **options):
        validated.update({name: value.clone() for name, value in model.state_dict().items()})
        return predict(model, *arguments, **options)

    monkeypatch.setattr(TrainState, "_step", watched_step)
    monkeypatch.setattr(training, "predict", watched)
    model, _ = train_toy.train(tmp_path, dataclasses.replace(train_toy.SETTINGS, ema_decay=0.9))
    assert_same(model.state_dict(), validated)
    assert not torch.equal(trained["layers.0.weight"], validated["layers.0.weight"])


def test_the_average_of_the_last_epochs_is_validated_and_kept(tmp_path, monkeypatch):
    ends, average_last_epochs = [], TrainState.average_last_epochs

    def watched(self):
        ends.append({name: value.clone() for name, value in self.model.state_dict().items()})
        return average_last_epochs(self)

    monkeypatch.setattr(TrainState, "average_last_epochs", watched)
    model, history = fit(tmp_path, dataclasses.replace(SETTINGS, average_epochs=2))
    means = {name: (value + ends[3][name]) / 2 for name, value in ends[2].items()}
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, means[name], atol=1e-7), name
    # its batch normalisation has the statistics of the last epoch's batches
    batches, again = loader(SETTINGS.seed), copy.deepcopy(model)
    batches.batch_sampler.epoch = 3
    recompute_statistics(again, batches, SETTINGS, "float32", lambda: None)
    assert_same(again.state_dict(), model.state_dict())
    statistics = [name for name in means if name.endswith("running_mean")]
    assert statistics and not any(torch.equal(model.state_dict()[one], ends[3][one]) for one in statistics)
    found = predict(model, loader(), "float32", "sigmoid", binary_cross_entropy_with_logits)
    assert found.loss == pytest.approx(history["validation_loss"].iloc[-1], rel=1e-5)


def test_early_stopping_restores_the_best_weights(tmp_path, monkeypatch):
    losses = iter([0.9, 0.5, 0.6, 0.7, 0.8, 0.9, 0.6])
    after, before, rates = [], [], []
    train_batch = TrainState.train_batch

    def fake(model, *_arguments, **_options):
        after.append({name: value.clone() for name, value in model.state_dict().items()})
        return SimpleNamespace(loss=next(losses), macro_f1=0.1)

    def watched(self, batch, rate):
        if self.batch == 0:
            rates.append(rate)
            before.append({name: value.clone() for name, value in self.model.state_dict().items()})
        return train_batch(self, batch, rate)

    monkeypatch.setattr(training, "predict", fake)
    monkeypatch.setattr(TrainState, "train_batch", watched)
    changes = {"epochs": 50, "early_stopping": 2, "keep": "validation_loss", "schedule": "constant"}
    model, history = train_toy.train(tmp_path, dataclasses.replace(train_toy.SETTINGS, **changes))
    # best in the second epoch; two without improvement: back to it; two more without: the end
    assert len(history) == 6
    assert rates == pytest.approx([3e-3] * 4 + [3e-4] * 2)
    assert_same(before[4], after[1])
    assert_same(model.state_dict(), after[1])


def test_the_epoch_line_labels_both_macro_f1_values(tmp_path, capsys):
    _, history = train_toy.train(tmp_path)
    row = history.iloc[1]
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "epoch 2 of 4" in line)
    assert f"loss train {row.train_loss:.4f}, validation {row.validation_loss:.4f}" in line
    scores = f"train {row.train_macro_f1:.3f}, validation {row.validation_macro_f1:.3f}"
    assert f"macro-F1 at 0.5 {scores}" in line


def test_tensorboard_events_are_written_where_it_is_installed(tmp_path, monkeypatch):
    rows = []

    class Writer:
        def __init__(self, folder):
            rows.append(folder)

        def close(self):
            rows.append("closed")
            raise OSError("what `flush` has reported")

        def add_scalar(self, name, value, epoch):
            rows.append((name, epoch, value))

        def flush(self):
            if rows[0].name == "full":
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    _, history = train_toy.train(tmp_path)
    assert rows[0] == tmp_path and rows[-1] == "closed"
    assert ("validation_loss", 1, history["validation_loss"][0]) in rows
    assert ("train_macro_f1", 4, history["train_macro_f1"][3]) in rows
    rows.clear()
    with pytest.raises(UserError, match=r"full: No space left on device"):
        train_toy.train(tmp_path / "full")
    assert rows[-1] == "closed" and (tmp_path / "full" / "state.pt").exists()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # not installed
    assert len(train_toy.train(tmp_path / "other")[1]) == 4


# what can stop it


# every option of training that has a state of its own
OPTIONS = {
    "plain": {},
    "averages": dict(average_epochs=2, backbone_rate=0.1, weight_decay=0.05, clip_gradient=1.0),
    "growing": dict(start_size=16, ema_decay=0.9, schedule="cosine", warmup_epochs=1.0),
}


@pytest.mark.parametrize("options", OPTIONS)
def test_interrupted_during_validation_it_resumes_to_the_same_bits(tmp_path, monkeypatch, options):
    """A network with batch normalisation, dropout and drop path, whose random numbers must continue."""
    from lib.sections import Network

    settings, chosen = (
        Network(architecture="test_resnet", dropout=0.3, drop_path=0.2),
        dataclasses.replace(SETTINGS, **OPTIONS[options]),
    )
    whole, history = fit(tmp_path / "whole", chosen, network(settings))
    calls = []

    def interrupted_in_third_epoch(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(*arguments, **options)

    monkeypatch.setattr(training, "predict", interrupted_in_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "resumed", chosen, network(settings))
    monkeypatch.setattr(training, "predict", predict)
    torch.manual_seed(999)  # a new process's random numbers
    model = network(settings)
    torch.manual_seed(999)
    resumed, resumed_history = fit(tmp_path / "resumed", chosen, model)
    assert_same(resumed.state_dict(), whole.state_dict())
    assert_same_history(resumed_history, history)


def test_a_signal_while_statistics_are_recomputed_resumes_to_the_same_bits(tmp_path, monkeypatch):
    settings = dataclasses.replace(SETTINGS, average_epochs=2)
    whole, history = fit(tmp_path / "whole", settings)
    recompute = training.recompute_statistics

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        recompute(*arguments)

    monkeypatch.setattr(training, "recompute_statistics", signalled)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "resumed", settings)
    monkeypatch.setattr(training, "recompute_statistics", recompute)
    resumed, resumed_history = fit(tmp_path / "resumed", settings)
    assert_same(resumed.state_dict(), whole.state_dict())
    assert_same_history(resumed_history, history)


def test_a_checkpoint_within_an_epoch_is_resumed_there(tmp_path, monkeypatch, capsys):
    settings = dataclasses.replace(train_toy.SETTINGS, checkpoint_steps=1)
    whole, whole_history = train_toy.train(tmp_path / "whole", settings, dropout=0.3)
    steps, train_batch = [], TrainState.train_batch

    def interrupted(self, batch, rate):
        steps.append(1)
        if len(steps) == 7:  # in the second epoch
            raise KeyboardInterrupt
        return train_batch(self, batch, rate)

    monkeypatch.setattr(TrainState, "train_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_toy.train(tmp_path / "resumed", settings, dropout=0.3)
    monkeypatch.setattr(TrainState, "train_batch", train_batch)
    capsys.readouterr()
    resumed, history = train_toy.train(tmp_path / "resumed", settings, dropout=0.3)
    assert "resuming after epoch 1, batch 2 of 4 of the next" in capsys.readouterr().out
    assert_same(resumed.state_dict(), whole.state_dict())
    assert_same_history(history, whole_history)


def test_the_seconds_before_an_interruption_count(tmp_path, monkeypatch, saved_state):
    train_batch, clock = TrainState.train_batch, [0.0]
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def slow(self, batch, rate):
        clock[0] += 10.0
        if clock[0] == 60.0:  # the second batch of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return train_batch(self, batch, rate)

    monkeypatch.setattr(TrainState, "train_batch", slow)
    with pytest.raises(KeyboardInterrupt):
        train_toy.train(tmp_path)
    clock[0] = 1e6
    _, history = train_toy.train(tmp_path)
    assert history["seconds"].tolist() == [40.0] * 4
    assert history["images_per_second"].tolist() == [33 / 40] * 4
    # as an earlier version saved it
    torch.save({k: v for k, v in saved_state.items() if k != "seconds"}, tmp_path / "state.pt")
    assert len(train_toy.train(tmp_path)[1]) == 4


CHANGED = {"augmentation": "flips_affine", "crop": (10, 16), "intensity": 0.3, "channel_dropout": 0.3}


@pytest.mark.parametrize(
    "changes",
    [CHANGED | {"cutmix": 0.5, "loss": "asymmetric"}, CHANGED | {"loss": "focal_lovasz_log"}],
)
def test_changed_and_mixed_images_are_the_same_after_a_resume(tmp_path, monkeypatch, changes):
    settings = dataclasses.replace(train_toy.SETTINGS, checkpoint_steps=1, epochs=2, **changes)
    whole, whole_history = train_toy.train(tmp_path / "whole", settings)
    steps, train_batch = [], TrainState.train_batch

    def interrupted(self, batch, rate):
        steps.append(1)
        if len(steps) == 6:
            raise KeyboardInterrupt
        return train_batch(self, batch, rate)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainState, "train_batch", interrupted)
        train_toy.train(tmp_path / "resumed", settings)
    resumed, history = train_toy.train(tmp_path / "resumed", settings)
    assert_same(resumed.state_dict(), whole.state_dict())
    assert_same_history(history, whole_history)
    plain, _ = train_toy.train(tmp_path / "plain", dataclasses.replace(settings, cutmix=0, intensity=0))
    assert not torch.equal(plain.layers[0].weight, whole.layers[0].weight)


@pytest.mark.parametrize(("identity", "resume"), [("other", True), ("toy", False)])
def test_a_state_of_other_settings_or_with_force_is_not_resumed(
    tmp_path, capsys, monkeypatch, identity, resume
):
    expected, _ = train_toy.train(tmp_path / "fresh")
    make, state = TrainState.next_epoch, {}

    def keep_first(self):
        make(self)
        state.setdefault("saved", self.state_dict())

    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "next_epoch", keep_first)
        train_toy.train(tmp_path / "other", dataclasses.replace(train_toy.SETTINGS, learning_rate=1e-2))
    (tmp_path / "again").mkdir()
    torch.save(state["saved"] | {"identity": identity}, tmp_path / "again" / "state.pt")
    fit_toy = training.fit
    monkeypatch.setattr(training, "fit", lambda *arguments: fit_toy(*arguments, resume=resume))
    capsys.readouterr()
    model, history = train_toy.train(tmp_path / "again")
    assert len(history) == 4 and "resuming" not in capsys.readouterr().out
    assert_same(model.state_dict(), expected.state_dict())


def test_a_damaged_state_is_one_line(tmp_path):
    (tmp_path / "state.pt").write_text("nothing")
    with pytest.raises(UserError, match=r"state\.pt is damaged .*delete it and run `python 02_") as error:
        train_toy.train(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: [state],
        lambda state: {"identity": state["identity"]},
        lambda state: state | {"model": {}},
        lambda state: state | {"epoch": 99},
        lambda state: state | {"epoch": -1},
        lambda state: state | {"batch": 10**9},
        lambda state: state | {"schedule": 10**12},
        lambda state: state | {"history": []},
        lambda state: state | {"history": [{"epoch": "one"}]},
        lambda state: state | {"optimizer": {}},
        lambda state: state | {"ranks": []},
        lambda state: {name: value for name, value in state.items() if name != "stopping"},
    ],
)
def test_an_edited_state_is_one_line(saved_state, tmp_path, change):
    models.save_weights(tmp_path / "weights.safetensors", saved_state["model"])
    torch.save(change(dict(saved_state)), tmp_path / "state.pt")
    with pytest.raises(UserError, match=r"state\.pt is damaged .*delete it and run `python 02_") as error:
        train_toy.train(tmp_path)
    assert str(error.value).isprintable()


@pytest.fixture(scope="module")
def saved_state():
    """The state after the first epoch of the toy training, with the identity of that training."""
    states, make = [], TrainState.next_epoch

    def keep(self):
        make(self)
        states.append(copy.deepcopy(self.state_dict()))

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(TrainState, "next_epoch", keep)
        train_toy.train(Path(folder))
    return states[0] | {"identity": "toy"}


def test_a_state_that_executes_code_is_not_loaded(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "harm"),))

    torch.save({"identity": "toy", "model": Harmful()}, tmp_path / "state.pt")
    with pytest.raises(UserError, match=r"state\.pt"):
        train_toy.train(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_a_loss_that_is_not_finite_names_epoch_step_and_samples(tmp_path):
    model = network()
    with torch.no_grad():
        model.last_layer.weight.fill_(torch.nan)
    message = r"nan in epoch 1, step 1 \(samples (a\d\d(, )?){8}\).*training\.learning_rate"
    with pytest.raises(UserError, match=message):
        fit(tmp_path, model=model)


def test_a_validation_loss_that_is_not_finite_names_the_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "predict", lambda *_, **__: SimpleNamespace(loss=math.inf, macro_f1=0.0))
    with pytest.raises(UserError, match=r"validation loss became inf in epoch 1.*training\.learning_rate"):
        train_toy.train(tmp_path)


def test_a_diverged_step_is_never_saved(tmp_path, monkeypatch):
    train_batch = TrainState.train_batch

    def diverged(self, batch, rate):
        loss = train_batch(self, batch, rate)
        if self.batch == 3:
            self.last = (torch.tensor(torch.inf), batch, self.batch)
        return loss

    monkeypatch.setattr(TrainState, "train_batch", diverged)
    settings = dataclasses.replace(train_toy.SETTINGS, checkpoint_steps=1)
    with pytest.raises(UserError, match=r"inf in epoch 1, step 3 \(samples s\d+"):
        train_toy.train(tmp_path, settings)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["batch"] == 2


def test_too_little_memory_names_what_to_lower(tmp_path, monkeypatch):
    def full(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TrainState, "train_batch", full)
    lower = r"--set training\.batch_size=4 training\.accumulate=2 .*steps of 8 images"
    for size, remedy in ((8, lower), (3, "smaller training.size")):
        settings = dataclasses.replace(train_toy.SETTINGS, batch_size=size)
        with pytest.raises(UserError, match=rf"the GPU's memory .* {size} images of 16 px: .*{remedy}"):
            train_toy.train(tmp_path, settings)


def test_a_full_disk_keeps_the_last_checkpoint_and_resumes_to_the_same_bits(tmp_path, capfd):
    settings = dataclasses.replace(train_toy.SETTINGS, epochs=3)
    whole, history = train_toy.train(tmp_path / "whole", settings)
    folder = tmp_path / "full"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for epochs, limit in ((1, soft), (3, 10_000)):  # the weights fit, the state does not
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(UserError, match=rf"{folder}: .*resumes") if epochs == 3 else nullcontext():
                train_toy.train(folder, dataclasses.replace(settings, epochs=epochs))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    state = torch.load(folder / "state.pt", weights_only=True)
    assert state["epoch"] == 1 and not list(folder.glob(".*part"))
    resumed, resumed_history = train_toy.train(folder, settings)
    assert_same(resumed.state_dict(), whole.state_dict())
    assert_same_history(resumed_history, history)


def test_a_signal_ends_training_after_the_step(tmp_path, monkeypatch):
    train_batch, steps = TrainState.train_batch, []

    def signalled(self, batch, rate):
        loss = train_batch(self, batch, rate)
        steps.append(self.batch)
        if len(steps) == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    monkeypatch.setattr(TrainState, "train_batch", signalled)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        train_toy.train(tmp_path)
    assert interrupt.value.args == (signal.SIGTERM,)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (state["epoch"], state["batch"]) == (1, 2) and len(steps) == 6
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_after_the_last_step_is_not_lost(tmp_path, monkeypatch):
    keep_best = training._keep_best

    def signalled(state, path):
        if state.epoch + 1 == state.settings.epochs:
            os.kill(os.getpid(), signal.SIGTERM)
        keep_best(state, path)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_keep_best", signalled)
        with pytest.raises(KeyboardInterrupt) as interrupt:
            fit(tmp_path)
    assert interrupt.value.args == (signal.SIGTERM,)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["epoch"] == SETTINGS.epochs == len(fit(tmp_path)[1])


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"damaged")])
def test_without_the_best_weights_training_starts_anew(tmp_path, damage, capsys):
    model, history = fit(tmp_path)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    damage(tmp_path / "weights.safetensors")
    again, repeated = fit(tmp_path)
    assert_same(again.state_dict(), expected)
    assert_same_history(repeated, history)
    line = capsys.readouterr().err
    assert str(tmp_path / "weights.safetensors") in line and "anew" in line


def test_training_works_outside_the_main_thread(tmp_path):
    thread = threading.Thread(target=train_toy.train, args=(tmp_path,))
    thread.start()
    thread.join()
    assert (tmp_path / "weights.safetensors").exists()


# processes of their own


@pytest.fixture(scope="module")
def processes():
    """Start processes that have torch imported already."""
    os.environ["PYTHONPATH"] = str(ROOT)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.learning.train_toy"])
    return context


def run_toy(arguments: list[str], output: Path) -> None:
    """Run train_toy as a script, with its output and errors in a file; called in a process of its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["train_toy.py", *arguments]
    sys.stdout = sys.stderr = output.open("w", buffering=1)
    cli.run(train_toy.main)


def start(processes, folder, *settings):
    output = folder.with_suffix(".txt")
    process = processes.Process(target=run_toy, args=([str(folder), *settings], output))
    process.start()
    return process, output


def wait_for(condition, process):
    while not condition():
        assert process.is_alive(), "ended too early"
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_process_saves_and_ends_with_one_line(tmp_path, processes, number):
    folder = tmp_path / "toy"
    process, output = start(processes, folder, "epochs=4000")
    wait_for(lambda: output.exists() and "epoch    3 of" in output.read_text(), process)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == 128 + number
    *epochs, last = output.read_text().splitlines()
    assert last.startswith("train_toy: interrupted") and "resumes" in last
    assert all(line.startswith("  epoch ") for line in epochs)
    state = torch.load(folder / "state.pt", weights_only=True)
    assert state["epoch"] >= 3 and len(state["history"]) == state["epoch"]


EVERYTHING = ("dropout=0.3", "ema_decay=0.9", "accumulate=2", "checkpoint_steps=1", "clip_gradient=1",
              "cycle_epochs=7", "cycle_growth=1.5")  # fmt: skip


def check_kills(tmp_path, processes, kills):
    """Kill a training at random moments; the last one must end with the bits of one that was never killed."""
    settings = (*EVERYTHING, f"epochs={60 + 30 * kills}")
    folder, moments = tmp_path / "killed", np.random.default_rng(int(time.time()))
    state = folder / "state.pt"
    for _ in range(kills):
        process, _ = start(processes, folder, *settings)
        for _ in range(moments.integers(2, 12)):  # saved steps: the machine may be fast
            saved = state.stat().st_mtime_ns if state.exists() else 0
            wait_for(lambda saved=saved: state.exists() and state.stat().st_mtime_ns > saved, process)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    resumed, output = start(processes, folder, *settings)
    whole, _ = start(processes, tmp_path / "whole", *settings)
    for process in (resumed, whole):
        process.join(120)
        assert process.exitcode == 0
    assert "resuming after epoch" in output.read_text()
    ours, theirs = (
        models.load_weights(tmp_path / name / "weights.safetensors") for name in ("killed", "whole")
    )
    assert_same(ours, theirs)
    assert_same_history(*(pd.read_csv(tmp_path / name / "history.csv") for name in ("killed", "whole")))
    assert not list(folder.glob(".*part"))


def test_killed_at_random_moments_it_resumes_to_the_same_bits(tmp_path, processes):
    check_kills(tmp_path, processes, kills=2)


@pytest.mark.slow
def test_killed_many_times_it_resumes_to_the_same_bits(tmp_path, processes):
    check_kills(tmp_path, processes, kills=int(os.environ.get("HPA_KILLS", "12")))


@pytest.mark.slow
def test_two_processes_train_as_one_and_report_errors_of_each(tmp_path, monkeypatch):
    """One launch of torchrun, since each loads torch three times."""
    other = ("accumulate=2", "ema_decay=0.9", "class_weights=root")
    averaged = ("average_epochs=2", "schedule=constant", "warmup_epochs=1")
    one = {"plain": (), "other": other, "averaged": averaged, "resumed": ("checkpoint_steps=1",)}
    for name, settings in one.items():
        train_toy.train_as_told([str(tmp_path / "one" / name), *settings])
    steps, train_batch = [], TrainState.train_batch

    def interrupted(self, batch, rate):
        steps.append(1)
        if len(steps) == 7:
            raise KeyboardInterrupt
        return train_batch(self, batch, rate)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainState, "train_batch", interrupted)
        train_toy.train_as_told([str(tmp_path / "two" / "resumed"), *one["resumed"]])
    trainings = []
    for name, settings in one.items():
        trainings += [str(tmp_path / "two" / name), *settings, "--"]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        str(ROOT / "tests" / "learning" / "train_toy.py"), *trainings, "the last training", "fail=1",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode != 0
    assert "train_toy (rank 1): the last training is to fail\n" in done.stderr
    assert "train_toy (rank 0): the" not in done.stderr
    assert (
        done.stdout.count("epoch 1 of 4") == 3
    )  # of the three that start anew; only the primary process prints
    assert done.stdout.count("resuming after epoch 1, batch 2 of 4 of the next") == 1
    for name in one:
        ours, theirs = (
            models.load_weights(tmp_path / count / name / "weights.safetensors") for count in ("one", "two")
        )
        for key, value in ours.items():
            assert torch.allclose(value, theirs[key], atol=1e-5), (name, key)
        ours, theirs = (pd.read_csv(tmp_path / count / name / "history.csv") for count in ("one", "two"))
        for column in set(ours) - {"seconds", "images_per_second"}:
            assert ours[column].to_numpy() == pytest.approx(theirs[column].to_numpy(), abs=1e-4), column
