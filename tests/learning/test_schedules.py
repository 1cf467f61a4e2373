import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from lib.learning.schedules import EarlyStopping, Schedule, curve, cyclical_factor, input_side
from lib.sections import Training


def paper(t, length):
    """Return the formula of Liu et al. 2018, section 5.1, as printed there."""
    cycle = np.floor(1 + t / length)
    return 1 - np.abs(2 * t / length - 2 * cycle + 1)


@pytest.mark.parametrize("length", [2.0, 6.0, 7.5])
def test_the_cyclical_rate_is_the_papers(length):
    for t in np.linspace(0, 40, 321):
        assert cyclical_factor(t, length) == pytest.approx(paper(t, length), abs=1e-12)
    assert cyclical_factor(0, 6) == 0 and cyclical_factor(3, 6) == 1 and cyclical_factor(1.5, 6) == 0.5


def test_the_cyclical_rate_is_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, step_size_up=30, cycle_momentum=False)
    for step in range(150):
        assert cyclical_factor(step / 10, 6) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_the_curve_of_the_rate_is_figure_4_of_the_paper():
    settings = Training(epochs=5, learning_rate=0.01, schedule="cyclical", cycle_epochs=2.0)
    rates = curve(settings, 20)
    assert len(rates) == 100 and rates["epoch"].iloc[[0, -1]].tolist() == [0.025, 4.975]
    assert rates["learning_rate"].tolist() == pytest.approx(0.01 * paper(rates["epoch"].to_numpy(), 2.0))


def test_cycles_can_grow():
    # cycles of 2, 4 and 8 epochs: peaks at 1, 4 and 10, zero at 0, 2, 6 and 14
    assert [cyclical_factor(t, 2, growth=2) for t in (0, 1, 2, 4, 6, 10)] == [0, 1, 0, 1, 0, 1]
    assert cyclical_factor(3, 2, growth=2) == cyclical_factor(5, 2, growth=2) == 0.5
    assert cyclical_factor(14 - 1e-9, 2, growth=2) == pytest.approx(0, abs=1e-8)


def factors(settings, steps):
    schedule = Schedule(settings, steps)
    found = []
    for _ in range(settings.epochs * steps):
        found.append(schedule.factor)
        schedule.advance()
    return found


def test_a_step_has_the_rate_of_its_middle():
    found = factors(Training(epochs=2, cycle_epochs=2.0), 5)
    assert found == pytest.approx([paper((step + 0.5) / 5, 2.0) for step in range(10)])
    assert min(found) > 0


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "constant"])
def test_the_others_are_torchs(name):
    found = factors(Training(epochs=3, schedule=name), 7)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = {
        "one_cycle": lambda: lr_scheduler.OneCycleLR(optimizer, 1.0, 22, cycle_momentum=False),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, 21),
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, 1.0),
    }[name]()
    for factor in found:
        assert factor == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert max(found) == pytest.approx(1.0, abs=0.02)


def test_the_rate_warms_up_linearly_and_then_follows_the_schedule():
    rise = [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]
    found = factors(Training(epochs=4, schedule="constant", warmup_epochs=1.0), 5)
    assert found == pytest.approx(rise + [1.0] * 15)
    found = factors(Training(epochs=4, schedule="cosine", warmup_epochs=1.0), 5)
    assert found == pytest.approx(rise + [(1 + np.cos(np.pi * step / 15)) / 2 for step in range(15)])
    found = factors(Training(epochs=4, schedule="one_cycle", warmup_epochs=2.0), 10)
    assert int(np.argmax(found)) == 20 and max(found) == pytest.approx(1.0, abs=0.02)
    assert int(np.argmax(factors(Training(epochs=4, schedule="one_cycle"), 10))) in (11, 12)  # 0.3 of all


def test_the_rate_may_warm_up_in_all_steps():
    settings = Training(epochs=1, schedule="cosine", warmup_epochs=0.6)
    assert factors(settings, 1) == [0.5]


def test_the_input_grows_in_four_stages():
    def sides(epochs, size, start):
        settings = Training(epochs=epochs, size=size, start_size=start)
        return [input_side(settings, epoch) for epoch in range(epochs)]

    # 256 + 256/3 and 256 + 512/3, in multiples of 32
    assert sides(8, 512, 256) == [256, 256, 320, 320, 416, 416, 512, 512]
    assert sides(2, 512, 0) == [512, 512]
    assert sides(1, 512, 256) == [512]
    assert sides(4, 50, 40) == [40, 40, 40, 50]


@pytest.mark.parametrize("warmup", [0.0, 0.8])
@pytest.mark.parametrize("name", ["cyclical", "one_cycle", "cosine", "constant"])
def test_a_schedule_resumes_at_any_step(name, warmup):
    settings = Training(epochs=3, cycle_epochs=2.0, schedule=name, warmup_epochs=warmup)
    first, second = Schedule(settings, 7), Schedule(settings, 7)
    for _ in range(9):
        first.advance()
    second.advance_to(first.position)
    for _ in range(11):
        assert first.factor == second.factor
        first.advance()
        second.advance()


def test_an_unknown_schedule_is_rejected():
    settings = Training()
    object.__setattr__(settings, "schedule", "cosin")
    with pytest.raises(ValueError, match="cosin"):
        Schedule(settings, 7)


def course(losses, patience):
    """Return what early stopping does after each epoch, c(ontinue), r(estore) or e(nd), and its scale."""
    stopping, best, actions = EarlyStopping(patience), np.inf, ""
    for loss in losses:
        restore = stopping.after_epoch(loss < best)
        best = min(best, loss)
        actions += "r" if restore else "e" if stopping.ended else "c"
        if stopping.ended:
            break
    return actions, stopping.scale


def test_early_stopping_is_hoogenbooms():
    # an improvement in epoch 2, then none: restored after 6 more, ended after another 6
    assert course([1.0, 0.5] + [0.9] * 20, patience=6) == ("ccccccc" + "r" + "ccccc" + "e", 0.1)
    # an improvement after the rate was divided restarts the count: a second division before the end
    losses = [0.5] + [0.9] * 6 + [0.4] + [0.9] * 20
    actions, scale = course(losses, patience=6)
    assert actions == "c" + "cccccr" + "c" + "cccccr" + "ccccce" and scale == pytest.approx(0.01)
    assert course([0.9] * 40, patience=0) == ("c" * 40, 1.0)


def test_early_stopping_resumes():
    first, second = EarlyStopping(3), EarlyStopping(3)
    for is_best in (True, False, False):
        first.after_epoch(is_best)
    second.load_state_dict(first.state_dict())
    assert second.after_epoch(False) and second.lowered and second.scale == 0.1
