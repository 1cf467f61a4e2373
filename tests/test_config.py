import dataclasses

import pytest

from lib import config, presets
from lib.errors import UserError
from lib.report import paper_tables


def test_presets_are_valid_and_frozen():
    for name, preset in presets.PRESETS.items():
        assert preset.name == name and preset.purpose and preset.cost
        config.check(preset)
    with pytest.raises(dataclasses.FrozenInstanceError):
        presets.DEMO.training.epochs = 3


def test_overrides_are_typed_and_leave_the_preset_alone():
    chosen = presets.load(
        "smoke", ["training.epochs=7", "data.sizes=64,32", "network.pretrained=True", "split.holdout=0"]
    )
    assert (chosen.training.epochs, chosen.data.sizes, chosen.network.pretrained) == (7, (64, 32), True)
    assert chosen.split.holdout == 0.0 and isinstance(chosen.split.holdout, float)
    assert chosen.training.batch_size == presets.SMOKE.training.batch_size
    assert presets.SMOKE.training.epochs == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=3", "--set epochs=3: expected group.field=value, for example training.epochs=5"),
        ("training.epochs", "--set training.epochs: expected group.field=value"),
        ("trainig.epochs=3", "unknown group 'trainig' (did you mean training?); there are simulation data"),
        ("training.epoch=3", "training has no field 'epoch' (did you mean epochs?); it has size epochs"),
        ("training.epochs=many", "expected a whole number, not 'many'"),
        ("training.epochs=1.5", "expected a whole number, not '1.5'"),
        ("training.epochs=0", "--set training.epochs=0: expected at least 1"),
        ("training.learning_rate=fast", "expected a number, not 'fast'"),
        ("training.learning_rate=nan", "expected 1e-08 to 10"),
        ("network.pretrained=yes", "expected true or false, not 'yes'"),
        ("data.sizes=64,big", "expected whole numbers separated by commas, not '64,big'"),
        ("data.sizes=8", "expected 16 to 4096"),
        ("training.augmentation=flip", "expected one of none flips flips_affine"),
        (
            "data.sizes=32",
            "training.size=64 is not among data.sizes=32: add it, for example --set data.sizes=32,64",
        ),
        ("data.sizes=64,64", "data.sizes=64,64 names a size twice"),
        ("split.folds=1", "split.folds=1 leaves nothing to train on"),
        ("split.validation=0", "split.validation=0 leaves nothing to tune on"),
        ("split.validation=0.8", "split.validation=0.8 and split.holdout=0.2 leave nothing to train on"),
    ],
)
def test_bad_overrides_say_what_is_valid(override, message):
    with pytest.raises(UserError) as refusal:
        presets.load("smoke", [override])
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_folds_are_checked_together():
    assert presets.load("smoke", ["split.folds=3", "split.fold=2"]).split.fold == 2
    with pytest.raises(UserError, match=r"split.fold=3 does not exist: split.folds=3 has 0 to 2"):
        presets.load("smoke", ["split.folds=3", "split.fold=3"])


def test_unknown_preset_lists_the_known():
    with pytest.raises(
        UserError, match="unknown preset 'domo'; there are demo smoke fusion hierarchy strong liu hoogenboom"
    ):
        presets.load("domo", [])


def test_a_network_differs_by_its_own_settings_and_the_command_line_is_stronger():
    chosen = presets.load("fusion", ["training.epochs=3", "features.size=96"])
    assert chosen.network.features == "none" and chosen.feature_size == 96
    scaled = chosen.of_network("with_ten_scaled")
    assert (scaled.network.features, scaled.network.feature_factor, scaled.training.epochs) == (
        "ten",
        10.0,
        3,
    )
    louder = presets.load("fusion", ["network.feature_factor=2"]).of_network("with_ten_scaled")
    assert louder.network.feature_factor == 2.0


def test_the_papers_variant_without_yellow_is_a_preset():
    alone, joined = (presets.PRESETS["liu"].of_network(name) for name in ("rgb_512", "rgb_512_with_ten"))
    for settings in (alone, joined):
        assert settings.network.channels == "RGB" and settings.training.size == 512
        assert settings.training.epochs == 50 and settings.network.dropout == 0.5
    assert not alone.uses_features and joined.uses_features and joined.features.denoise == "paper"


def test_the_rows_of_the_papers_table_are_a_preset():
    rows = {name: presets.PRESETS["liu"].of_network(name) for name in presets.PRESETS["liu"].networks}
    assert {row.predictor.removesuffix("_tta") for row in paper_tables.LIU} == set(rows)
    for row in paper_tables.LIU:
        assert rows[row.predictor.removesuffix("_tta")].training.epochs == row.epochs
    assert [rows[name].network.fourth_channel for name in ("zero_20", "zero", "copied")] == [
        "zero",
        "zero",
        "copy",
    ]
    assert rows["copied"].training.tta and rows["copied_dropout"].network.dropout == 0.5
    for settings in rows.values():
        training, network = settings.training, settings.network
        assert (training.batch_size, training.learning_rate, training.loss) == (64, 0.01, "bce")
        assert network.architecture == "resnet34" and network.pretrained


def test_the_largest_arrays_are_measured_unless_others_are_named():
    assert presets.load("fusion", []).feature_size == 256
    with pytest.raises(
        UserError, match=r"features.size=128 is not among data.sizes=256,96; 0 takes the largest"
    ):
        presets.load("fusion", ["features.size=128"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["network.features=all"],
            "network.features=all needs features.columns=all, which stage 01 measures",
        ),
        (
            ["network.kind=trees"],
            "network.kind=trees needs features: network.features=ten or all",
        ),
    ],
)
def test_contradictions_are_refused(overrides, message):
    with pytest.raises(UserError) as refusal:
        presets.load("smoke", overrides)
    assert str(refusal.value) == message


def test_every_setting_is_described():
    text = config.describe_settings(presets.DEMO)
    for group, kind in config.GROUPS.items():
        for item in dataclasses.fields(kind):
            assert f"{group}.{item.name}=" in text and item.metadata["meaning"] in text
