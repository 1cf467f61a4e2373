from dataclasses import replace

import pytest

from lib import files
from lib.figures import epochs, network
from lib.learning.network_spec import NetworkSpec
from lib.report import method_figures
from tests.report.conftest import report_of


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn, by file name."""
    given = {}

    def record(path, content, *_title):
        given[path.stem] = content
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"drawn")

    monkeypatch.setattr(epochs, "learning_rate_schedules", record)
    monkeypatch.setattr(network, "draw", record)
    return given


def with_networks(run, networks):
    return replace(report_of(run), run=replace(run, config=replace(run.config, networks=networks)))


def train(run, *names):
    """Let networks appear to be trained."""
    for name in names:
        files.write_bytes(run.network(name) / "weights.safetensors", b"")


def test_trained_networks_of_one_schedule_share_a_panel(copied, drawn):
    train(copied, "short", "same", "long")
    networks = {
        "short": ("training.epochs=2",),
        "same": ("training.epochs=2", "network.channels=RGB"),
        "long": ("training.epochs=4", "training.schedule=cosine", "training.early_stopping=2"),
        "trees": ("network.kind=trees", "network.features=ten"),
        "untrained": (),
    }
    method_figures.draw(with_networks(copied, networks))
    assert list(drawn) == ["schedules"], "no network takes features"
    (first, short), (second, long) = drawn["schedules"].items()
    assert "short, same" in first and "cycles of 2 epochs" in first
    assert "long" in second and "cosine" in second and "cycles" not in second
    assert "early stopping" in second and "early stopping" not in first
    assert short["epoch"].max() == pytest.approx(2, abs=0.02) and long["epoch"].max() > 3.9


def test_a_network_that_predicts_as_it_is_has_no_schedule(copied, drawn):
    train(copied, "start", "one")
    as_it_is = ("training.epochs=0", "network.start=x.pth", "network.normalisation=start")
    method_figures.draw(with_networks(copied, {"start": as_it_is}))
    assert not drawn
    method_figures.draw(with_networks(copied, {"start": as_it_is, "one": ()}))
    assert len(drawn["schedules"]) == 1 and "one" in next(iter(drawn["schedules"]))


def test_networks_that_differ_in_the_warm_up_have_panels_of_their_own(copied, drawn):
    train(copied, "at_once", "slowly")
    constant = ("training.epochs=2", "training.schedule=constant")
    slowly = (*constant, "training.warmup_epochs=1")
    method_figures.draw(with_networks(copied, {"at_once": constant, "slowly": slowly}))
    (first, at_once), (second, rising) = drawn["schedules"].items()
    assert "warm-up" not in first and "1 epochs of warm-up" in second
    assert at_once["learning_rate"][0] > 10 * rising["learning_rate"][0]


def test_figures_are_drawn_once_and_again_when_the_schedule_changes(copied, drawn):
    train(copied, "one")
    method_figures.draw(with_networks(copied, {"one": ()}))
    drawn.clear()
    method_figures.draw(with_networks(copied, {"one": ()}))
    assert not drawn
    method_figures.draw(with_networks(copied, {"one": ("training.learning_rate=0.5",)}))
    assert drawn["schedules"].popitem()[1]["learning_rate"].max() == pytest.approx(0.5, rel=0.02)


def test_a_trained_network_that_takes_features_is_drawn_from_its_checkpoint(copied, drawn):
    from lib.learning import models

    spec = NetworkSpec(
        "test_resnet", "RGB", 16, "unit", ["a", "b"], [0, 1], features=["one"], fusion="logits"
    )
    folder = copied.network("fused")
    spec.write(folder)
    backbone = models.backbones.create("test_resnet", 3, 28, 0.0)
    models.save_weights(folder / "weights.safetensors", models.Classifier(spec, backbone).state_dict())
    fused = ("network.features=ten",)
    method_figures.draw(with_networks(copied, {"fused": fused, "untrained": fused, "baseline": ()}))
    assert set(drawn) == {"schedules", "network_fused"}
    output = drawn["network_fused"].output
    assert (output[0].operation, output[0].shape) == ("concatenation", "29") and output[-1].shape == "2"
