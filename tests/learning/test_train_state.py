import dataclasses
import io

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.errors import UserError
from lib.learning import train_state
from lib.learning.devices import make_deterministic
from lib.learning.inference import forward
from lib.learning.loader import make_loader
from lib.learning.train_state import TrainState
from tests.learning import train_toy
from tests.learning.train_toy import SETTINGS, Toy

ROWS = np.arange(33)


def new_state(dropout=0.0, **changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    make_deterministic(1)
    return TrainState(
        Toy(dropout), settings, make_loader(train_toy.source(), ROWS, settings.batch_size, 0, seed=0)
    )


def train_epoch(state):
    loader = make_loader(train_toy.source(), ROWS, state.settings.batch_size, 0, seed=0)
    loader.batch_sampler.epoch = state.epoch
    state.model.train()
    for batch in loader:
        state.train_batch(batch, state.rate)


def weights(state):
    return {name: value.clone() for name, value in state.model.state_dict().items()}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_accumulated_batches_take_the_step_of_one_large_batch():
    large, accumulated = new_state(batch_size=16), new_state(accumulate=2)
    # 33 samples: 16 and 17 against 8, 8, 8 and 9
    assert large.step_sizes == [[16], [17]] and accumulated.step_sizes == [[8, 8], [8, 9]]
    for state in (large, accumulated):
        train_epoch(state)
        assert state.schedule.position == 2 and state.between_steps
    for name, value in weights(large).items():
        assert torch.allclose(value, weights(accumulated)[name], atol=1e-6), name


def test_between_accumulated_batches_no_step_is_taken():
    state = new_state(accumulate=2)
    before, loader = weights(state), iter(make_loader(train_toy.source(), ROWS, 8, 0, seed=0))
    state.train_batch(next(loader), 0.1)
    assert not state.between_steps and state.schedule.position == 0
    assert_same(weights(state), before)
    state.train_batch(next(loader), 0.1)
    assert state.between_steps and state.schedule.position == 1 and state.peak == 0.1
    assert not torch.equal(weights(state)["layers.0.weight"], before["layers.0.weight"])


def test_each_of_several_processes_needs_two_samples_of_every_batch(monkeypatch):
    monkeypatch.setattr(train_state, "WORLD", 5)
    with pytest.raises(UserError, match=r"training\.batch_size=8, 33 .*5 processes.*need 10 or more"):
        new_state()
    monkeypatch.setattr(train_state, "DistributedDataParallel", lambda model: model)
    monkeypatch.setattr(train_state, "WORLD", 4)
    new_state()


def test_each_process_draws_its_own_random_numbers(monkeypatch):
    new_state()
    alone = torch.get_rng_state()
    drawn = [alone]
    for rank in range(3):
        monkeypatch.setattr(train_state, "RANK", rank)
        new_state()
        drawn.append(torch.get_rng_state())
    assert torch.equal(drawn[1], alone)  # the first process, whose weights all start with
    assert len({tuple(state.tolist()) for state in drawn}) == 3


def test_the_moving_average_of_the_weights_is_evaluated(monkeypatch):
    state, states, step = new_state(ema_decay=0.7), [], TrainState._step

    def watched(self, rate):
        step(self, rate)
        states.append(weights(self))

    monkeypatch.setattr(TrainState, "_step", watched)
    train_epoch(state)
    state.next_epoch()
    train_epoch(state)
    average = states[0]  # the first step replaces the random initial weights
    for number, one in enumerate(states[1:], start=2):
        decay = min(1 - number**-0.75, 0.7)
        average = {name: decay * average[name] + (1 - decay) * value for name, value in one.items()}
    assert 1 - 2**-0.75 < 1 - 4**-0.75 < 0.7 < 1 - len(states) ** -0.75
    assert state.evaluated is not state.model
    for name, value in state.evaluated.state_dict().items():
        assert torch.allclose(value, average[name], atol=1e-6), name
    plain = new_state()
    assert plain.evaluated is plain.model


def test_the_gradient_is_clipped(monkeypatch):
    norms, step = [], torch.optim.AdamW.step

    def watched(self, *arguments, **options):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(torch.cat(gradients).norm().item())
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train_epoch(new_state())
    free = max(norms)
    norms.clear()
    train_epoch(new_state(clip_gradient=0.05))
    assert free > 0.1 and 0.049 < max(norms) <= 0.05 * (1 + 1e-4)


def test_the_last_epochs_are_averaged_once_each():
    state, ends = new_state(epochs=4, average_epochs=2), []
    for epoch in range(4):
        train_epoch(state)
        ends.append(weights(state))
        assert state.average_last_epochs() == (epoch == 3)
        assert (state.evaluated is state.model) == (epoch < 3)
        if epoch < 3:
            state.next_epoch()
    assert state.average_last_epochs()  # again, after an interruption
    for name, value in state.evaluated.state_dict().items():
        assert torch.allclose(value, (ends[2][name] + ends[3][name]) / 2), name
    assert not new_state().average_last_epochs()


def test_the_input_is_resized_to_the_epochs_size(monkeypatch):
    seen = []
    monkeypatch.setattr(
        train_state, "forward", lambda _, batch, *__: seen.append(batch) or forward(_, batch, *__)
    )
    state = new_state(epochs=4, size=16, start_size=0)
    object.__setattr__(state.settings, "start_size", 8)  # less than a setting allows, as the toy is small
    loader = make_loader(train_toy.source(), ROWS, 8, 0, seed=0)
    first = next(iter(loader))
    for epoch, side in ((0, 8), (3, 16)):
        state.epoch, state.batch = epoch, 0
        state.train_batch(first, 0.0)
        assert seen[-1].images_BHWK.shape == (8, side, side, 4) and seen[-1].images_BHWK.dtype == torch.uint8
    assert torch.equal(seen[-1].images_BHWK, first.images_BHWK)
    small, whole = (one.images_BHWK.float().mean(dim=(1, 2)) for one in (seen[0], first))
    assert torch.allclose(small, whole, atol=3) and torch.equal(seen[0].rows_B, first.rows_B)


def test_the_rate_follows_schedule_and_early_stopping():
    state = new_state(schedule="cosine")
    assert state.rate == SETTINGS.learning_rate
    train_epoch(state)
    assert state.rate == SETTINGS.learning_rate * state.schedule.factor < SETTINGS.learning_rate
    assert (
        state.optimizer.param_groups[0]["lr"]
        > state.rate
        == pytest.approx(SETTINGS.learning_rate * (1 + np.cos(np.pi / SETTINGS.epochs)) / 2)
    )
    state.stopping.scale = 0.1
    assert state.rate == pytest.approx(0.1 * SETTINGS.learning_rate * state.schedule.factor)


def test_the_training_loss_is_weighted_and_smoothed_and_the_validation_loss_only_weighted():
    state = new_state(class_weights="balanced", label_smoothing=0.2)
    count_C = train_toy.source().truth_NC[ROWS].sum(axis=0)
    assert len(set(count_C.tolist())) > 1
    weight_C = torch.tensor((33 - count_C) / count_C, dtype=torch.float32)
    logits, targets = torch.randn(4, 3), torch.ones(4, 3)
    smooth = 0.8 * targets + 0.2 * torch.tensor(count_C / 33, dtype=torch.float32)
    for loss, wanted in ((state.train_loss, smooth), (state.loss, targets)):
        expected = binary_cross_entropy_with_logits(logits, wanted, pos_weight=weight_C)
        assert loss(logits, targets).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("options", [
    dict(ema_decay=0.9, accumulate=2, clip_gradient=1.0),
    dict(schedule="cosine", warmup_epochs=1.5, weight_decay=0.05),
    dict(epochs=2, average_epochs=1, schedule="one_cycle", warmup_epochs=0.5),
])  # fmt: skip
def test_a_restored_state_continues_with_the_same_bits(options):
    options = options | {"dropout": 0.3}
    whole = new_state(**options)
    train_epoch(whole)
    whole.next_epoch()
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    train_epoch(whole)
    resumed = new_state(**options)
    torch.manual_seed(999)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    train_epoch(resumed)
    assert_same(weights(resumed), weights(whole))
    assert_same(resumed.evaluated.state_dict(), whole.evaluated.state_dict())
    assert resumed.train_result().loss == whole.train_result().loss


def test_early_stopping_and_history_are_restored():
    first, second = new_state(early_stopping=3), new_state(early_stopping=3)
    first.stopping.after_epoch(True)
    first.stopping.after_epoch(False)
    first.history.append({"epoch": 1, "validation_loss": 0.5})
    second.load_state_dict(first.state_dict())
    assert second.stopping == first.stopping and second.stopping.waited == 1
    assert second.history == first.history


@pytest.mark.parametrize(("device", "saved", "restored"), [
    ("cuda:1", ["own"], "own"),
    ("cuda:0", ["first", "second"], "first"),  # as earlier versions saved all GPUs'
    ("cuda:1", ["first", "second"], "second"),
    ("cuda:0", [], None),  # saved on a CPU
    ("cpu", ["first", "second"], None),
])  # fmt: skip
def test_random_numbers_continue_whatever_the_number_of_gpus(monkeypatch, device, saved, restored):
    state, loaded = new_state(), []
    names = {"first": 1, "second": 2, "own": 3}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.tensor([device.index]))
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda *state_and_device: loaded.append(state_and_device)
    )
    state.device = torch.device(device)
    content = state.state_dict()
    own = content["ranks"][0]["random"]["cuda"]
    assert [one.item() for one in own] == ([] if device == "cpu" else [state.device.index])
    content["ranks"][0]["random"]["cuda"] = [torch.tensor([names[name]]) for name in saved]
    state.load_state_dict(content)
    expected = [] if restored is None else [(names[restored], state.device)]
    assert [(one.item(), device) for one, device in loaded] == expected


@pytest.mark.parametrize(("saved", "resumed"), [(False, True), (True, False), (True, True)])
def test_a_state_of_another_precision_is_resumed(saved, resumed):
    """As ``auto`` chooses it on another machine: float16 alone scales the loss."""
    first, second = new_state(), new_state()
    first.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, enabled=saved)
    second.scaler = torch.amp.GradScaler("cpu", init_scale=2.0, enabled=resumed)
    second.load_state_dict(first.state_dict())
    assert (
        second.scaler.get_scale()
        == {(False, True): 2.0, (True, False): 1.0, (True, True): 4.0}[saved, resumed]
    )


@pytest.mark.parametrize(("rank", "batches"), [(0, 8), (1, 0)])
def test_the_primary_process_takes_over_results_of_another_number_of_processes(monkeypatch, rank, batches):
    state = new_state()
    train_epoch(state)
    saved = state.state_dict()
    saved["ranks"] = saved["ranks"] * 2  # saved by two processes
    monkeypatch.setattr(train_state, "WORLD", 3)
    monkeypatch.setattr(train_state, "RANK", rank)
    monkeypatch.setattr(train_state, "is_primary", lambda: rank == 0)
    state.load_state_dict(saved)
    assert len(state.accumulator.rows) == batches


def test_a_new_epoch_starts_without_results():
    state = new_state()
    train_epoch(state)
    assert len(state.train_result().rows_N) == 33 and state.last[2] == state.batch == 4
    state.next_epoch()
    assert (state.epoch, state.batch, state.peak, state.last) == (1, 0, 0.0, None) and state.seconds == 0
    assert state.accumulator.rows == []


def test_restored_weights_are_also_the_averages():
    state = new_state(ema_decay=0.9)
    before = weights(state)
    train_epoch(state)
    state.restore(before)
    assert_same(weights(state), before)
    assert_same(state.evaluated.state_dict(), before)


def test_after_restored_weights_the_optimiser_starts_afresh():
    state = new_state(early_stopping=1, ema_decay=0.9)
    first = weights(state)
    train_epoch(state)
    assert state.optimizer.state
    state.restore(first)
    fresh = new_state(early_stopping=1)
    batch = next(iter(make_loader(train_toy.source(), ROWS, 8, 0, seed=0)))
    for one in (state, fresh):  # the same step as that of a new training
        one.model.train()
        one.batch = 0
        one.train_batch(batch, 0.01)
    assert_same(weights(state), weights(fresh))
