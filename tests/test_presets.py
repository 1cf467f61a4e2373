"""The presets are valid, and those of the two papers state what the papers do."""

import dataclasses

import pytest

from lib import presets
from lib.config import Config
from lib.errors import UserError
from lib.presets import PRESETS
from lib.report import paper_tables


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_described_and_frozen(name):
    preset = PRESETS[name]
    assert preset.name == name and preset.purpose and preset.cost and preset.score
    assert isinstance(presets.load(name, []), Config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset.training.epochs = 3
    text = presets.describe()
    assert all(words in text for words in (name, preset.purpose, preset.cost, preset.score))


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(UserError) as error:
        presets.load("domo", [])
    assert all(word in str(error.value) for word in ("'domo'", "did you mean demo?", *PRESETS))


def test_overrides_apply_to_all_networks_of_a_preset():
    chosen = presets.load("demo", ["training.epochs=3", "training.tta=true"])
    assert PRESETS["demo"].training.epochs == 16
    assert chosen.for_network("baseline").training.epochs == 3
    assert chosen.for_hierarchy_network("stage_2").training.epochs == 3


@pytest.mark.parametrize("field", ["networks", "hierarchy_networks"])
def test_overrides_written_into_a_preset_are_validated(monkeypatch, field):
    bad = {
        "networks": {"mine": ("training.epoch=3",)},
        "hierarchy_networks": {"joint": ("training.epoch=3",)},
    }
    monkeypatch.setitem(
        PRESETS, "bad", dataclasses.replace(PRESETS["smoke"], name="bad", **{field: bad[field]})
    )
    with pytest.raises(UserError, match=r"preset bad: training.epoch=3: training has no field 'epoch'"):
        presets.load("bad", [])


def test_a_hierarchy_needs_networks():
    with pytest.raises(UserError, match=r"hierarchy.train=all needs networks, not network.kind=trees"):
        presets.load("smoke", ["network.kind=trees", "network.features=ten"])
    presets.load("smoke", ["network.kind=trees", "network.features=ten", "hierarchy.train=none"])


def test_hoogenbooms_choices_are_his_preset():
    chosen = PRESETS["hoogenboom"]
    assert (chosen.data.sizes, chosen.network.normalisation, chosen.network.architecture) == (
        (256,), "unit", "resnet18",
    )  # fmt: skip
    split, training = chosen.split, chosen.training
    assert (split.validation, split.holdout, split.rare_class_minimum) == (0.2, 0.2, 0.01)
    assert (training.loss, training.early_stopping, training.augmentation) == ("soft_margin", 6, "none")
    assert (chosen.threshold.method, chosen.threshold.fixed) == ("fixed", 0.5)
    hierarchy = chosen.hierarchy
    assert (hierarchy.train, hierarchy.stage_1, hierarchy.other, hierarchy.transfer) == (
        "all", "both", "both", True,
    )  # fmt: skip


def test_lius_networks_at_512_px_have_no_yellow():
    alone, fused = (PRESETS["liu"].for_network(name) for name in ("rgb_512", "rgb_512_with_ten"))
    for chosen in (alone, fused):
        assert chosen.network.channels == "RGB" and chosen.training.size == 512
        assert chosen.training.epochs == 50 and chosen.network.dropout == 0.5
    assert not alone.uses_features and fused.uses_features
    assert fused.features.denoise == fused.features.segmentation == "paper"


def test_the_rows_of_lius_table_are_the_networks_of_the_preset():
    networks = {name: PRESETS["liu"].for_network(name) for name in PRESETS["liu"].networks}
    predictors = {name: chosen for name, chosen in networks.items()}
    predictors |= {f"{name}_tta": chosen for name, chosen in networks.items() if chosen.training.tta}
    assert {row.predictor for row in paper_tables.LIU} == set(predictors)
    for row in paper_tables.LIU:
        assert predictors[row.predictor].training.epochs == row.epochs
    first_weights = [networks[name].network.fourth_channel for name in ("zero_20", "zero", "copied")]
    assert first_weights == ["zero", "zero", "copy"]
    assert networks["copied_dropout"].network.dropout == 0.5
    for chosen in networks.values():
        training, network = chosen.training, chosen.network
        assert (training.batch_size, training.learning_rate, training.loss) == (64, 0.01, "bce")
        assert network.architecture == "resnet34" and network.pretrained
