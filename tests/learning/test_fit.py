import dataclasses
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.config import LOSSES, Network, Training
from lib.data import cache
from lib.errors import UserError
from lib.learning import fit as training
from lib.learning import lr_finder, models
from lib.learning.devices import autocast, make_deterministic
from lib.learning.inference import eight_views, evaluate
from lib.learning.loader import Source, make_loader
from lib.learning.train_state import Learner
from tests.conftest import ROOT, write_kaggle
from tests.learning import train_toy

SETTINGS = Training(
    size=32, epochs=4, batch_size=8, learning_rate=3e-3, cycle_epochs=4.0, precision="float32", keep="last",
    augmentation="none",
)  # fmt: skip
ROWS = np.arange(16)
IDS = [f"a{row:02d}" for row in range(16)]
NO_FEATURES = torch.zeros(2, 0)


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    raw = write_kaggle(folder / "raw", train=16, size=32)
    cache.build(raw, folder / "cache", "train", IDS, (32,), 8, workers=1)
    return cache.ShardedArray(folder / "cache" / "train_32")


def truth(classes=3):
    return np.random.default_rng(0).uniform(size=(16, classes)) < 0.4


def small_model(dropout=0.0, classes=3):
    make_deterministic(7)
    network = Network(architecture="resnet10t", dropout=dropout)
    return models.build_model(network, classes, mean=[127.0] * 4, deviation=[74.0] * 4)


def fit(array, folder, settings=SETTINGS, model=None, identity="same", resume=True):
    model = model or small_model(dropout=0.3)
    train, validation = loader(array, settings.seed, settings), loader(array, None, settings)
    history = training.fit(model, train, validation, settings, folder, identity, resume)
    return model, history


def loader(array, seed=None, settings=SETTINGS, truth_NC=None):
    truth_NC = truth() if truth_NC is None else truth_NC
    return make_loader(Source(array, IDS, truth_NC), ROWS, settings.batch_size, 0, seed)


def test_the_loop_learns(array, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=30, cycle_epochs=30.0)
    model, history = fit(array, tmp_path, settings, small_model())
    assert evaluate(model, loader(array), settings).macro_f1 == 1.0
    assert history["train_loss"].iloc[-1] < 0.2 * history["train_loss"].iloc[0]


def test_a_killed_run_goes_on_to_the_same_weights(array, tmp_path, monkeypatch):
    whole, history = fit(array, tmp_path / "whole")
    original, calls = training.evaluate, []

    def killed_in_third_epoch(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(training, "evaluate", killed_in_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        fit(array, tmp_path / "cut")
    monkeypatch.setattr(training, "evaluate", original)
    torch.manual_seed(999)  # what a new process would have drawn by then
    cut, history_cut = fit(array, tmp_path / "cut")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, cut.state_dict()[name]), name
    timeless = [column for column in history if "second" not in column]
    assert history[timeless].equals(history_cut[timeless])
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["history.csv", "weights.pt"]


def test_a_state_of_other_settings_is_not_gone_on_with(array, tmp_path, capsys):
    torch.save({"identity": "other"}, tmp_path / "state.pt")
    _, history = fit(array, tmp_path)
    assert len(history) == 4 and "going on" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keep", "best"), [("validation_loss", 2), ("macro_f1", 1), ("last", 3)]
)  # the epoch, counted from 0, whose weights must come back
def test_the_best_epochs_weights_are_kept(array, tmp_path, monkeypatch, keep, best):
    losses, scores = [0.9, 0.8, 0.5, 0.6], [0.1, 0.4, 0.2, 0.3]
    states = []

    def fake(model, *_arguments, **_options):
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return SimpleNamespace(loss=losses[len(states) - 1], macro_f1=scores[len(states) - 1])

    monkeypatch.setattr(training, "evaluate", fake)
    model, _ = fit(array, tmp_path, dataclasses.replace(SETTINGS, keep=keep))
    assert all(torch.equal(value, states[best][name]) for name, value in model.state_dict().items())


def test_a_loss_that_is_not_finite_names_epoch_step_and_samples(array, tmp_path):
    model = small_model()
    with torch.no_grad():
        model.backbone.fc.weight.fill_(torch.nan)
    message = r"the loss became nan in epoch 1, step 1 \(samples (a\d\d(, )?){8}\): lower the rate"
    with pytest.raises(UserError, match=message):
        fit(array, tmp_path, model=model)


def test_a_spoilt_step_is_never_saved(tmp_path, monkeypatch):
    original = Learner.learn

    def spoilt(self, batch, rate):
        loss = original(self, batch, rate)
        if self.batch == 3:
            self.last = (torch.tensor(torch.inf), batch, self.batch)
        return loss

    monkeypatch.setattr(Learner, "learn", spoilt)
    settings = dataclasses.replace(train_toy.SETTINGS, checkpoint_steps=1)
    with pytest.raises(UserError, match=r"the loss became inf in epoch 1, step 3 \(samples s\d+"):
        train_toy.train(tmp_path, settings)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["batch"] == 2


def test_a_state_that_is_none_is_one_line(tmp_path):
    (tmp_path / "state.pt").write_text("nothing")
    with pytest.raises(UserError, match=r"state.pt cannot be read \(\w+\): --force starts anew"):
        train_toy.train(tmp_path, train_toy.SETTINGS)


def test_the_network_normalises_raw_bytes():
    model = small_model()
    seen = []
    model.backbone = torch.nn.Sequential(torch.nn.Identity())
    model.backbone.register_forward_hook(lambda _module, given, _result: seen.append(given[0]))
    images_BHWK = torch.full((2, 5, 6, 4), 201, dtype=torch.uint8)
    model(images_BHWK, NO_FEATURES)
    assert seen[0].shape == (2, 4, 5, 6)
    assert torch.allclose(seen[0], torch.tensor((201 - 127.0) / 74.0))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_without_yellow_yellow_is_not_seen():
    make_deterministic(7)
    model = models.build_model(
        Network(architecture="resnet10t", channels="RGB"), 3, [127.0] * 4, [74.0] * 4
    ).eval()
    assert model.backbone.conv1[0].in_channels == 3
    images_BHWK = torch.randint(0, 256, (2, 32, 32, 4), dtype=torch.uint8)
    before = model(images_BHWK, NO_FEATURES)
    images_BHWK[..., 3] = 0
    assert torch.equal(model(images_BHWK, NO_FEATURES), before)
    images_BHWK[..., 2] = 0
    assert not torch.equal(model(images_BHWK, NO_FEATURES), before)


def test_unknown_architectures_name_what_is_near():
    with pytest.raises(
        UserError, match=r"network.architecture=resnet43 is not known to timm; near it: .*resnet34"
    ):
        models.build_model(Network(architecture="resnet43"), 28, [0] * 4, [1] * 4)


def test_missing_pretrained_weights_say_what_to_set(monkeypatch):
    def offline(*_arguments, **options):
        assert options["pretrained"]
        raise OSError("no network")

    monkeypatch.setattr(models.timm, "create_model", offline)
    with pytest.raises(
        UserError, match=r"weights of resnet34 cannot be had \(OSError\): .*network.pretrained=false"
    ):
        models.build_model(Network(architecture="resnet34", pretrained=True), 28, [0] * 4, [1] * 4)


def test_bfloat16_is_used_where_asked_for():
    device = torch.device("cpu")
    with autocast("bfloat16", device):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast("float32", device):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.float32


# what can stop it


def toy(folder, *settings, **options):
    command = [sys.executable, str(ROOT / "tests" / "learning" / "train_toy.py"), str(folder), *settings]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def finished(process):
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out


def weights_of(folder):
    return torch.load(folder / "weights.pt", weights_only=True)


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


KILLS = int(os.environ.get("HPA_KILLS", "4"))  # 20 for the whole proof
EVERYTHING = ("dropout=0.3", "ema_decay=0.9", "accumulate=2", "checkpoint_steps=1",
              f"epochs={40 * KILLS}", "cycle_epochs=7", "cycle_growth=1.5", "clip_gradient=1")  # fmt: skip


def test_killed_at_random_moments_it_goes_on_to_the_same_bits(tmp_path):
    whole = toy(tmp_path / "whole", *EVERYTHING)
    moments = np.random.default_rng(int(time.time()))
    for _ in range(KILLS):
        process = toy(tmp_path / "cut", *EVERYTHING)
        epochs = (line for line in process.stdout if " of " in line)
        for _ in range(moments.integers(1, 11)):  # by epochs, so that no machine is through before
            next(epochs)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.communicate()
    out = finished(toy(tmp_path / "cut", *EVERYTHING))
    assert "going on after epoch" in out
    finished(whole)
    assert_same(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"))
    ours, theirs = (pd.read_csv(tmp_path / name / "history.csv") for name in ("cut", "whole"))
    timeless = [column for column in ours if "second" not in column]
    pd.testing.assert_frame_equal(ours[timeless], theirs[timeless])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_finishes_the_step_saves_and_says_so(tmp_path, number):
    process = toy(
        tmp_path, "epochs=4000", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    )
    for line in process.stdout:
        if "epoch    3 of" in line:
            break
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert error == "train_toy: interrupted; what is finished is kept, the same command goes on from there\n"
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["epoch"] >= 3 and len(state["history"]) == state["epoch"]


def test_a_checkpoint_within_an_epoch_is_taken_up_there(tmp_path, monkeypatch, capsys):
    settings = dataclasses.replace(train_toy.SETTINGS, checkpoint_steps=1)
    whole, _ = train_toy.train(tmp_path / "whole", settings, dropout=0.3)
    steps, original = [], Learner.learn

    def cut(self, batch, rate):
        steps.append(1)
        if len(steps) == 7:  # in the second epoch
            raise KeyboardInterrupt
        return original(self, batch, rate)

    monkeypatch.setattr(Learner, "learn", cut)
    with pytest.raises(KeyboardInterrupt):
        train_toy.train(tmp_path / "cut", settings, dropout=0.3)
    monkeypatch.setattr(Learner, "learn", original)
    capsys.readouterr()
    gone_on, history = train_toy.train(tmp_path / "cut", settings, dropout=0.3)
    assert "going on after epoch 1, batch 2 of 4 in the next" in capsys.readouterr().out
    assert_same(gone_on.state_dict(), whole.state_dict())
    assert len(history) == 4


def test_too_little_memory_says_what_to_lower(tmp_path, monkeypatch):
    def full(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "learn", full)
    with pytest.raises(UserError) as refusal:
        train_toy.train(tmp_path, train_toy.SETTINGS)
    assert str(refusal.value) == (
        "the GPU's memory is too small for 8 images of 16 px at once: --set training.batch_size=4 "
        "training.accumulate=2 takes the same steps in half the memory"
    )
    loader = make_loader(train_toy.source(), np.arange(40), 8, 0, seed=0)
    with pytest.raises(UserError, match="the GPU's memory is too small for 8 images of 16 px at once"):
        lr_finder.find_rate(train_toy.Toy(), loader, train_toy.SETTINGS)


def test_compiling_without_a_compiler_says_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"training.compile=true needs a C\+\+ compiler, none of g\+\+ "):
        train_toy.train(tmp_path, dataclasses.replace(train_toy.SETTINGS, compile=True))


# ways to learn


def test_accumulated_batches_make_the_step_of_a_large_one(tmp_path):
    large, _ = train_toy.train(tmp_path / "large", dataclasses.replace(train_toy.SETTINGS, batch_size=16))
    parts, _ = train_toy.train(tmp_path / "parts", dataclasses.replace(train_toy.SETTINGS, accumulate=2))
    # 33 samples: 16 and 17 against 8, 8, 8 and 9
    for ours, theirs in zip(parts.parameters(), large.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_average_of_weights_is_kept(tmp_path):
    kept, _ = train_toy.train(tmp_path / "kept", dataclasses.replace(train_toy.SETTINGS, ema_decay=0.9))
    states, original = [], Learner._step

    def watched(self, rate):
        original(self, rate)
        states.append({name: value.clone() for name, value in self.model.state_dict().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "_step", watched)
        train_toy.train(tmp_path / "again", dataclasses.replace(train_toy.SETTINGS, ema_decay=0.9))
    average = states[0]
    for state in states[1:]:
        average = {name: 0.9 * average[name] + 0.1 * value for name, value in state.items()}
    for name, value in kept.state_dict().items():
        assert torch.allclose(value, average[name], atol=1e-6)


def test_the_gradient_is_clipped(tmp_path):
    norms, original = [], torch.optim.AdamW.step

    def watched(self, *arguments, **options):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(torch.cat(gradients).norm().item())
        return original(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        train_toy.train(tmp_path / "free", train_toy.SETTINGS)
        free, norms = max(norms), norms.clear() or norms
        train_toy.train(tmp_path / "clipped", dataclasses.replace(train_toy.SETTINGS, clip_gradient=0.05))
    assert free > 0.1 and max(norms) <= 0.05 * (1 + 1e-4)


def test_early_stopping_brings_the_best_weights_back(tmp_path, monkeypatch):
    losses = iter([0.9, 0.5, 0.6, 0.7, 0.8, 0.9, 0.6])
    seen, rates = [], []
    original = Learner.learn

    def fake(model, *_arguments, **_options):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return SimpleNamespace(loss=next(losses), macro_f1=0.1)

    def watched(self, batch, rate):
        if self.batch == 0:
            rates.append(rate)
            before.append({name: value.clone() for name, value in self.model.state_dict().items()})
        return original(self, batch, rate)

    before = []
    monkeypatch.setattr(training, "evaluate", fake)
    monkeypatch.setattr(Learner, "learn", watched)
    settings = dataclasses.replace(
        train_toy.SETTINGS, epochs=50, early_stopping=2, keep="validation_loss", schedule="constant"
    )
    model, history = train_toy.train(tmp_path, settings)
    # best in the second epoch; two without: back to it; two more without: the end
    assert len(history) == 6
    assert rates == pytest.approx([3e-3] * 4 + [3e-4] * 2)
    assert_same(before[4], seen[1])
    assert_same(model.state_dict(), seen[1])


def test_all_eight_views_are_averaged():
    images = torch.arange(2 * 4 * 4 * 4, dtype=torch.uint8).view(2, 4, 4, 4)
    batch = next(iter(make_loader(Source(list(images.numpy()), ["a", "b"]), np.arange(2), 2, 0)))
    views = [view.images_BHWK for view in eight_views(batch)]
    assert len({view.numpy().tobytes() for view in views}) == 8

    class Corner(torch.nn.Module):
        """Says how bright one corner is."""

        def __init__(self):
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones(1))

        def forward(self, images_BHWK, _features):
            return images_BHWK[:, 0, 0, :1].float() / 64 * self.one

    loader = make_loader(Source(list(images.numpy()), ["a", "b"]), np.arange(2), 2, 0)
    plain = evaluate(Corner(), loader, SETTINGS).probabilities_NC
    mean = evaluate(Corner(), loader, SETTINGS, tta=True).probabilities_NC
    corners = images[:, [0, 0, 3, 3], [0, 3, 0, 3], 0].float() / 64
    assert plain[:, 0] == pytest.approx((images[:, 0, 0, 0] / 64).sigmoid().numpy())
    assert mean[:, 0] == pytest.approx(corners.sigmoid().mean(dim=1).numpy())  # each corner twice


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "bce"])
def test_every_loss_is_learnt(tmp_path, loss):
    settings = dataclasses.replace(train_toy.SETTINGS, loss=loss, class_weights="root", label_smoothing=0.05)
    _, history = train_toy.train(tmp_path, dataclasses.replace(settings, epochs=6))
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_the_rate_finder_sees_where_the_loss_rises():
    source, settings = train_toy.source(), train_toy.SETTINGS
    make_deterministic(1)
    loader = make_loader(source, np.arange(40), 8, 0, seed=0)
    curve = lr_finder.find_rate(train_toy.Toy(), loader, settings, steps=60)
    assert list(curve.columns) == ["learning_rate", "loss", "smoothed"]
    ratio = curve["learning_rate"].to_numpy()[1:] / curve["learning_rate"].to_numpy()[:-1]
    assert ratio == pytest.approx(ratio[0]) and curve["learning_rate"].iloc[0] == pytest.approx(1e-7)
    rising, suggestion = lr_finder.suggest(curve)
    assert 1e-4 < rising < 1 and 1e-5 < suggestion <= rising
    after = curve[curve["learning_rate"] > rising]["smoothed"]
    assert (after >= curve["smoothed"].min()).all() and len(after) > 2


def test_the_suggested_rate_is_where_the_loss_falls_fastest():
    rates = np.geomspace(1e-6, 10, 8)
    smoothed = [0.70, 0.70, 0.65, 0.45, 0.35, 0.30, 0.40, 2.0]
    curve = pd.DataFrame({"learning_rate": rates, "loss": smoothed, "smoothed": smoothed})
    assert lr_finder.suggest(curve) == pytest.approx((rates[5], rates[3]))


def test_events_are_written_where_tensorboard_is(tmp_path, monkeypatch):
    rows = []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def __enter__(self):
            return self

        def __exit__(self, *_exception):
            rows.append("closed")

        def add_scalar(self, name, value, epoch):
            rows.append((name, epoch))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    train_toy.train(tmp_path, train_toy.SETTINGS)
    assert ("validation_loss", 1) in rows and ("train_macro_f1", 4) in rows and rows[-1] == "closed"


# several processes


def torchrun(folder, processes, *settings):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}",
               str(ROOT / "tests" / "learning" / "train_toy.py"), str(folder), *settings]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("settings", [(), ("accumulate=2", "ema_decay=0.9", "class_weights=root")])
def test_two_processes_give_the_weights_of_one(tmp_path, settings):
    out = torchrun(tmp_path / "two", 2, *settings)
    finished(toy(tmp_path / "one", *settings))
    assert out.count("epoch 1 of 4") == 1  # rank 0 alone speaks
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-5), name
    ours, theirs = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    for column in ("train_loss", "validation_loss", "train_macro_f1", "validation_macro_f1", "learning_rate"):
        assert ours[column].to_numpy() == pytest.approx(theirs[column].to_numpy(), abs=1e-4), column


def test_what_one_process_began_two_go_on_with(tmp_path):
    finished(toy(tmp_path / "whole"))
    process = toy(tmp_path / "cut", "checkpoint_steps=1")
    for line in process.stdout:
        if "epoch 2 of" in line:
            break
    process.kill()
    process.communicate()
    if (tmp_path / "cut" / "state.pt").exists():  # else it was quicker than the kill
        out = torchrun(tmp_path / "cut", 2, "checkpoint_steps=1")
        assert "going on after epoch" in out
    for name, value in weights_of(tmp_path / "whole").items():
        assert torch.allclose(value, weights_of(tmp_path / "cut")[name], atol=1e-5), name


# first weights


def pretended(tmp_path, channels=3):
    """A file of weights for resnet10t with three channels, as a hub would have it."""
    import timm

    torch.manual_seed(3)
    original = timm.create_model("resnet10t", in_chans=channels, num_classes=1000)
    path = tmp_path / "weights.pt"
    torch.save(original.state_dict(), path)
    return original, str(path)


@pytest.mark.parametrize(("choice", "yellow"), [("copy", 2), ("zero", None), ("timm", 0)])
def test_yellow_starts_as_chosen_from_a_local_file(tmp_path, choice, yellow):
    original, path = pretended(tmp_path)
    network = Network(architecture="resnet10t", pretrained=True, weights_file=path, fourth_channel=choice)
    model = models.build_model(network, 5, [127.0] * 4, [74.0] * 4)
    theirs, ours = original.conv1[0].weight, model.backbone.conv1[0].weight
    scale = 0.75 if choice == "timm" else 1.0  # Liu et al. keep the weights of red, green and blue
    assert torch.allclose(ours[:, :3], theirs * scale)
    wanted = torch.zeros_like(theirs[:, 0]) if yellow is None else theirs[:, yellow] * scale
    assert torch.allclose(ours[:, 3], wanted)
    assert torch.equal(model.backbone.layer1[0].conv1.weight, original.layer1[0].conv1.weight)


def test_a_file_of_weights_that_is_none_is_one_line(tmp_path):
    network = Network(architecture="resnet10t", pretrained=True, weights_file=str(tmp_path / "none.pt"))
    with pytest.raises(
        UserError, match=r"network.weights_file=.*none.pt is missing: expected resnet10t's weights"
    ):
        models.build_model(network, 5, [0] * 4, [1] * 4)
    (tmp_path / "none.pt").write_text("no weights")
    with pytest.raises(
        UserError, match=r"none.pt: .*; --set network.pretrained=false trains from scratch"
    ) as refusal:
        models.build_model(network, 5, [0] * 4, [1] * 4)
    assert "\n" not in str(refusal.value)


def test_without_a_network_connection_it_says_so_in_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(models.huggingface_hub.constants, "ENDPOINT", "https://127.0.0.1:9")
    monkeypatch.setattr(models.huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(models.huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"weights of resnet18 cannot be had .*network.weights_file=FILE"):
        models.build_model(Network(architecture="resnet18", pretrained=True), 5, [0] * 4, [1] * 4)
    assert time.monotonic() - started < 10
