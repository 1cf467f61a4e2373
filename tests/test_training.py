import dataclasses

import numpy as np
import pytest
import torch

from lib.config import Network, Training
from lib.errors import UserError
from lib.images import arrays
from lib.learning import models, schedules, training
from lib.learning.dataset import Source, make_loader
from tests.conftest import write_kaggle

SETTINGS = Training(
    size=32, epochs=4, batch_size=8, learning_rate=3e-3, cycle_epochs=4.0, precision="float32", keep="last",
    augmentation="none",
)  # fmt: skip
ROWS = np.arange(16)
NO_FEATURES = torch.zeros(2, 0)


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    raw = write_kaggle(folder / "raw", train=16, size=32)
    ids = [f"a{row:02d}" for row in range(16)]
    arrays.build(raw, folder / "cache", "train", ids, (32,), 8, workers=1)
    return arrays.ShardedArray(folder / "cache" / "train_32")


def truth(classes=3):
    return np.random.default_rng(0).uniform(size=(16, classes)) < 0.4


def small_model(dropout=0.0, classes=3):
    training.make_deterministic(7)
    network = Network(architecture="resnet10t", dropout=dropout)
    return models.build_model(network, classes, mean=[127.0] * 4, deviation=[74.0] * 4)


def fit(array, folder, settings=SETTINGS, model=None, identity="same", resume=True):
    model = model or small_model(dropout=0.3)
    train = make_loader(Source(array, truth()), ROWS, settings.batch_size, 0, seed=settings.seed)
    validation = make_loader(Source(array, truth()), ROWS, settings.batch_size, 0)
    history = training.fit(model, train, validation, settings, folder, identity, resume)
    return model, history


def test_cyclical_rate_is_the_papers_and_torchs():
    cycle = 6
    ours = [schedules.cyclical_factor(step / 10, cycle) for step in range(150)]
    assert ours[0] == 0 and ours[30] == pytest.approx(1) and ours[60] == pytest.approx(0)
    assert ours[15] == pytest.approx(0.5) and max(ours) <= 1 and min(ours) >= 0
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, step_size_up=30, cycle_momentum=False)
    for factor in ours:
        assert factor == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_the_loop_learns(array, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=30, cycle_epochs=30.0)
    model, history = fit(array, tmp_path, settings, small_model())
    loader = make_loader(Source(array, truth()), ROWS, 8, 0)
    outcome = training.evaluate(model, loader, "float32")
    assert training.macro_f1(outcome.targets_NC, outcome.probabilities_NC >= 0.5) == 1.0
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
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters())
    training._save_state(tmp_path / "state.pt", model, optimizer, [{"epoch": 1}], "other")
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
        return training.Outcome(ROWS, np.zeros((16, 3), np.float32), truth(), losses[len(states) - 1])

    monkeypatch.setattr(training, "evaluate", fake)
    monkeypatch.setattr(training, "_macro_f1_at_half", lambda _: scores[max(len(states) - 1, 0)])
    model, _ = fit(array, tmp_path, dataclasses.replace(SETTINGS, keep=keep))
    assert all(torch.equal(value, states[best][name]) for name, value in model.state_dict().items())


def test_a_loss_that_is_not_finite_names_epoch_step_and_samples(array, tmp_path):
    model = small_model()
    with torch.no_grad():
        model.backbone.fc.weight.fill_(torch.nan)
    message = r"the loss became nan in epoch 1, step 1 \(rows [\d, ]+ of index.csv\): lower the rate"
    with pytest.raises(UserError, match=message):
        fit(array, tmp_path, model=model)


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
    training.make_deterministic(7)
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
    with training.autocast("bfloat16", device):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    with training.autocast("float32", device):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.float32
