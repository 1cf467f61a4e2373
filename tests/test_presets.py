"""The presets are valid, and those of the two papers state what the papers do."""

import dataclasses
import re
from itertools import pairwise

import pytest
import timm

from lib import presets
from lib.config import Config
from lib.errors import UserError
from lib.presets import PRESETS
from lib.report import liu_tables
from tests.conftest import ROOT

RECIPE_PAGE = ROOT / "docs" / "recipe.md"


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
    chosen = presets.load("demo", ["all:training.epochs=3", "training.tta=true"])
    assert PRESETS["demo"].training.epochs == 8
    for own in (chosen, chosen.for_network("baseline"), chosen.for_hierarchy_network("stage_2")):
        assert own.training.epochs == 3 and own.training.tta
    with pytest.raises(UserError, match=r"training.epochs=4: resnet18 has its own, training.epochs=2"):
        presets.load("demo", ["training.epochs=4"])
    # those of stage_1 count only where it is trained
    of_networks = ["training.epochs=4", "resnet18:training.epochs=4"]
    with pytest.raises(UserError, match=r"stage_1 has its own, training.epochs=1"):
        presets.load("demo", of_networks)
    presets.load("demo", [*of_networks, "hierarchy.train=none"])


def test_a_deeper_baseline_keeps_its_architecture():
    with pytest.raises(UserError, match=r"baseline_resnet34 has its own.* all baseline baseline_resnet34"):
        presets.load("hoogenboom", ["network.architecture=resnet10t"])
    chosen = presets.load("hoogenboom", ["baseline:network.architecture=resnet10t"])
    names = [chosen.for_network(name).network.architecture for name in chosen.networks]
    assert names == ["resnet10t", "resnet34", "resnet50", "resnet101"]


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


def test_each_step_of_the_ladder_adds_to_the_one_before_and_they_lead_to_strong():
    ladder, strong = PRESETS["ladder"], PRESETS["strong"]
    *steps, second, variant = ladder.networks
    assert set(ladder.networks[variant]) - set(ladder.networks["imagenet"]) == {"network.head=multilevel"}
    for before, after in pairwise(steps):
        assert set(ladder.networks[before]) < set(ladder.networks[after]), after
    first, last, other = (ladder.for_network(name) for name in (steps[0], steps[-1], second))
    assert not first.network.pretrained and last.network.pretrained
    for name in ("crop", "loss", "schedule", "weight_decay", "clip_gradient", "ema_decay", "tta"):
        goal = getattr(strong.training, name)
        assert getattr(last.training, name) == goal != getattr(first.training, name), name
    assert last.network.head == strong.network.head != first.network.head
    assert other.network.architecture == "resnet18" and other.network.head == last.network.head
    assert ladder.ensemble.members == f"{steps[-1]}_tta,{second}_tta" and ladder.ensemble.method == "mean"
    # first edition: dropout before the last layer; avgmax has its own
    assert first.network.dropout == 0.5


def test_strong_has_folds_and_runs_at_any_size():
    strong = PRESETS["strong"]
    assert (strong.split.folds, strong.split.holdout, strong.split.by) == (5, 0.0, "group")
    for size in (256, 384, 1024):  # as the README has it
        small = presets.load("strong", [f"data.sizes={size}", f"training.size={size}"])
        assert small.training.crop_sides == (round(0.667 * size), size)
    assert presets.load("strong", ["split.folds=1"]).split.validation > 0
    # no weights under a licence that forbids what a competitor may do
    for name in ("strong", "strong_full", "strong_ensemble"):
        for network in PRESETS[name].networks:
            architecture = PRESETS[name].for_network(network).network.architecture
            assert timm.get_pretrained_cfg(architecture).license in ("apache-2.0", "bsd-3-clause", "mit")


def test_strong_full_cuts_its_crops_from_larger_arrays():
    full, strong = PRESETS["strong_full"], PRESETS["strong"]
    assert full.data.sizes == (768,) and full.array_size == 768 and full.training.crop_sides == (448, 640)
    changed = {"array_size": 0, "crop": strong.training.crop, "tta_crops": 0}
    assert dataclasses.replace(full.training, **changed) == strong.training
    (larger,) = re.findall(r"--preset strong_full --run \w+ --set ([^\n]*)", RECIPE_PAGE.read_text())
    larger = presets.load("strong_full", larger.split())
    assert (larger.array_size, larger.training.size, larger.network.stem_pool) == (1536, 1024, True)
    assert larger.training.batch_size * larger.training.accumulate == strong.training.batch_size


def test_strong_ensemble_is_the_mean_of_two_networks():
    chosen = PRESETS["strong_ensemble"]
    assert chosen.ensemble.members == ",".join(f"{name}_tta" for name in chosen.networks)
    assert [chosen.for_network(name).network.architecture for name in chosen.networks] == [*chosen.networks]
    assert chosen.for_network("densenet121").training == PRESETS["strong"].training


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
    # section 4: two groups, without "other"; and with it, to compare
    two = chosen.for_hierarchy("hierarchy_two").hierarchy
    assert (two.grouping, two.stage_1, two.other) == ("two", "multi_label", "both")


def test_lius_networks_at_512_px_have_no_yellow():
    liu = PRESETS["liu"]
    networks = {name: liu.for_network(name) for name in liu.networks if name.startswith("rgb_512")}
    for chosen in networks.values():
        assert chosen.network.channels == "RGB" and chosen.training.size == 512
        assert chosen.training.epochs == 50 and chosen.network.dropout == 0.5
        assert chosen.features.denoise == chosen.features.segmentation == "paper"
    assert not networks["rgb_512"].uses_features
    ten = networks["rgb_512_with_ten"].network
    assert (ten.features, ten.fusion, ten.feature_factor, ten.feature_weights) == (
        "ten",
        "logits",
        1,
        "paper",
    )
    # their future work, and our form of the fusion, one change each
    decay = networks["rgb_512_weight_decay"]
    assert decay.training.weight_decay > 0 == networks["rgb_512"].training.weight_decay
    assert decay.network == networks["rgb_512"].network
    for name, change in {
        "rgb_512_with_ten_scaled": {"feature_factor": 10.0},
        "rgb_512_with_all": {"features": "all"},
        "rgb_512_with_ten_pooled": {"fusion": "pooled"},
    }.items():
        assert networks[name].network == dataclasses.replace(ten, **change), name
        assert networks[name].training == networks["rgb_512_with_ten"].training


def test_lius_thresholds_are_those_of_the_test_set():
    threshold = PRESETS["liu"].threshold
    assert (threshold.method, threshold.frequencies) == ("frequency", "estimated")


def test_the_rows_of_lius_tables_are_the_networks_of_the_preset():
    networks = {name: PRESETS["liu"].for_network(name) for name in PRESETS["liu"].networks}
    tta = {f"{name}_tta" for name, chosen in networks.items() if chosen.training.tta}
    rows = {row.predictor for row in liu_tables.TABLE_1} | {row.network for row in liu_tables.SECTION_6_3}
    assert rows == {*networks, *tta}
    for row in liu_tables.TABLE_1:
        if row.epochs:
            assert networks[row.predictor.removesuffix("_tta")].training.epochs == row.epochs
    first_weights = [networks[name].network.fourth_channel for name in ("zero_20", "zero", "copied")]
    assert first_weights == ["zero", "zero", "copy"]
    assert networks["copied_dropout"].network.dropout == 0.5
    # torchvision's weights, which they had in 2018
    architectures = {name: chosen.network.architecture for name, chosen in networks.items()}
    assert architectures.pop("zero_20_resnet50") == "resnet50.tv_in1k"
    assert set(architectures.values()) == {"resnet34.tv_in1k"}
    for chosen in networks.values():
        training, network = chosen.training, chosen.network
        assert (training.batch_size, training.learning_rate, training.loss) == (64, 0.01, "bce")
        assert network.pretrained
