from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.errors import UserError
from lib.figures import data_and_training as figures
from lib.learning import lr_finder
from lib.learning.devices import make_deterministic
from lib.learning.loader import make_loader
from lib.learning.train_state import TrainState
from tests.learning import train_toy


def find(steps, **options):
    make_deterministic(1)
    batches = make_loader(train_toy.source(), np.arange(40), 8, 0, seed=0)
    return lr_finder.find_rate(train_toy.Toy(), batches, train_toy.SETTINGS, steps, **options)


def test_the_loss_is_recorded_over_growing_rates_until_it_diverges():
    curve = find(50)
    assert list(curve.columns) == ["learning_rate", "loss", "smoothed"]
    rates = curve["learning_rate"].to_numpy()
    assert rates == pytest.approx(np.geomspace(1e-7, 10, 50)[: len(rates)])
    rising, suggestion = lr_finder.suggest(curve)
    assert 1e-4 < rising < 1 and 1e-5 < suggestion <= rising
    after = curve[curve["learning_rate"] > rising]["smoothed"]
    assert (after >= curve["smoothed"].min()).all() and len(after) > 2


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "one_cycle"},
        {"epochs": 0},
        {"schedule": "cosine", "warmup_epochs": 1.0},
        {"start_size": train_toy.SETTINGS.size // 2, "epochs": 1},
    ],
)
def test_the_curve_does_not_depend_on_schedule_and_epochs(monkeypatch, changes):
    expected = find(30)
    monkeypatch.setattr(train_toy, "SETTINGS", replace(train_toy.SETTINGS, **changes))
    pd.testing.assert_frame_equal(find(30), expected)


def test_the_running_mean_is_corrected_for_its_start():
    curve = find(3)
    loss = curve["loss"].to_numpy()
    assert curve["smoothed"][0] == pytest.approx(loss[0])
    assert curve["smoothed"][1] == pytest.approx((0.9 * loss[0] + loss[1]) / 1.9)


def test_it_stops_when_the_loss_diverges(monkeypatch):
    losses = iter([1.0] * 5 + [1e9] * 100)
    monkeypatch.setattr(TrainState, "train_batch", lambda *_arguments: torch.tensor(next(losses)))
    monkeypatch.setattr(TrainState, "between_steps", property(lambda _self: True))
    assert len(find(100)) == 6


def test_a_loss_that_is_not_finite_ends_the_curve_before_it(monkeypatch):
    def find_with(*losses):
        losses = iter(losses)
        monkeypatch.setattr(TrainState, "train_batch", lambda *_arguments: torch.tensor(next(losses)))
        monkeypatch.setattr(TrainState, "between_steps", property(lambda _self: True))
        return find(100)

    curve = find_with(0.7, 0.6, 0.5, 0.6, torch.nan)
    assert len(curve) == 4 and np.isfinite(curve.to_numpy()).all()
    assert lr_finder.suggest(curve)[0] == curve["learning_rate"][2]
    for first in ((torch.nan,), (0.7, torch.inf)):
        with pytest.raises(
            UserError, match=r"became (nan|inf) in step [12], at a learning rate of 1e-07.*samples"
        ):
            find_with(*first)


def test_the_suggested_rate_is_where_the_loss_falls_fastest():
    rates = np.geomspace(1e-6, 10, 8)
    smoothed = [0.70, 0.70, 0.65, 0.45, 0.35, 0.30, 0.40, 2.0]
    curve = pd.DataFrame({"learning_rate": rates, "loss": smoothed, "smoothed": smoothed})
    assert lr_finder.suggest(curve) == pytest.approx((rates[5], rates[3]))


def test_too_little_memory_names_what_to_lower(monkeypatch):
    def full(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TrainState, "train_batch", full)
    with pytest.raises(
        UserError, match=r"8 images of 16 px.*--set training\.batch_size=4 training\.accumulate=2"
    ):
        find(5)


def test_several_processes_find_no_rate(monkeypatch):
    monkeypatch.setattr(lr_finder.distributed, "WORLD", 2)
    with pytest.raises(UserError, match=r"--find-lr takes one process.*torchrun"):
        lr_finder.find_and_draw(SimpleNamespace())


def test_the_curve_is_written_and_drawn_and_the_suggestion_printed(tmp_path, monkeypatch, capsys):
    curve = pd.DataFrame({"learning_rate": [1e-4, 1e-3, 1e-2], "loss": 1.0, "smoothed": [0.9, 0.5, 0.7]})
    drawn = []
    monkeypatch.setattr(lr_finder, "prepare", lambda task, fold: ("model", f"batches of {fold}"))
    monkeypatch.setattr(lr_finder, "find_rate", lambda *arguments: drawn.append(arguments) or curve)
    monkeypatch.setattr(figures, "learning_rates", lambda *arguments: drawn.append(arguments))
    run = SimpleNamespace(
        config=SimpleNamespace(training="settings"),
        network=lambda name: tmp_path / name,
        figure=lambda name: tmp_path / f"{name}.png",
        data_name="test images",
    )
    lr_finder.find_and_draw(SimpleNamespace(name="baseline", run=run, folds=["fold 0", "fold 1"]))
    assert drawn[0] == ("model", "batches of fold 0", "settings")
    path, shown, rising, suggestion, title = drawn[1]
    assert path == tmp_path / "learning_rates_baseline.png" and shown is curve and "baseline" in title
    assert (rising, suggestion) == lr_finder.suggest(curve)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "baseline" / "learning_rates.csv"), curve)
    text = capsys.readouterr().out
    assert f"--set training.learning_rate={suggestion:.1e}" in text and str(path) in text
