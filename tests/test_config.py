"""A whole configuration: overrides, contradictions between sections, and the list of settings."""

import dataclasses
import re
from typing import Any

import pytest

from lib import config, presets
from lib.config import Config, Data, Features, Hierarchy, Network, Split, Training, override
from lib.errors import UserError


def make(**sections: Any) -> Config:
    """Construct a configuration of small arrays, as a preset written in Python does."""
    sections = {"data": Data(sizes=(64, 32)), "training": Training(size=64)} | sections
    return Config("mine", "purpose", "cost", "score", **sections)


# sections written in Python, the same by --set, and what the message names
CONTRADICTIONS = {
    "pooling and head": (
        dict(network=Network(head="multilevel", pooling="gem")),
        ["network.head=multilevel", "network.pooling=gem"],
        "network.pooling=gem is for network.head=linear: multilevel pools by mean and maximum",
    ),
    "dropout of avgmax": (
        dict(network=Network(head="avgmax", dropout=0.3)),
        ["network.head=avgmax", "network.dropout=0.3"],
        "network.dropout=0.3 has no effect with network.head=avgmax, whose dropout is 0.5",
    ),
    "normalisation of nothing": (
        dict(network=Network(normalisation="start")),
        ["network.normalisation=start"],
        "network.normalisation=start needs network.start",
    ),
    "no training": (
        dict(network=Network(start="w.pt"), training=Training(size=64, epochs=0)),
        ["network.start=w.pt", "training.epochs=0"],
        "it needs network.start=FILE (or its address, or a network's folder) and network.normalisation=start",
    ),
    "training size": (
        dict(training=Training(size=128)),
        ["training.size=128"],
        "training.size=128 is not among data.sizes=64,32: add it, for example --set data.sizes=64,32,128",
    ),
    "feature size": (
        dict(features=Features(size=16)),
        ["features.size=16"],
        "features.size=16 is not among data.sizes=64,32; 0 selects the largest",
    ),
    "repeated size": (
        dict(data=Data(sizes=(64, 64))),
        ["data.sizes=64,64"],
        "data.sizes=64,64 lists a size twice",
    ),
    "features": (
        dict(network=Network(features="all")),
        ["network.features=all"],
        "network.features=all needs features.columns=all",
    ),
    "trees": (
        dict(network=Network(kind="trees")),
        ["network.kind=trees"],
        "network.kind=trees needs features: network.features=ten or all",
    ),
    "early stopping": (
        dict(training=Training(size=64, early_stopping=6, keep="last")),
        ["training.early_stopping=6", "training.keep=last"],
        "training.early_stopping=6 monitors the validation loss: it needs training.keep=validation_loss",
    ),
    "warm-up of cycles": (
        dict(training=Training(size=64, warmup_epochs=1.0)),
        ["training.warmup_epochs=1"],
        "training.warmup_epochs=1.0 is unused with training.schedule=cyclical",
    ),
    "long warm-up": (
        dict(training=Training(size=64, epochs=2, schedule="cosine", warmup_epochs=2.0)),
        ["training.epochs=2", "training.schedule=cosine", "training.warmup_epochs=2"],
        "training.warmup_epochs=2.0 is too many for training.epochs=2",
    ),
    "long average": (
        dict(training=Training(size=64, epochs=2, average_epochs=3)),
        ["training.epochs=2", "training.average_epochs=3"],
        "training.average_epochs=3 is too many for training.epochs=2",
    ),
    "large start": (
        dict(training=Training(size=64, start_size=64)),
        ["training.start_size=64"],
        "training.start_size=64 must be 16 or more, and below training.size=64",
    ),
    "small start": (
        dict(training=Training(size=64, start_size=8)),
        ["training.start_size=8"],
        "training.start_size=8 must be 16 or more, and below training.size=64",
    ),
    "two averages": (
        dict(training=Training(size=64, average_epochs=2, ema_decay=0.9)),
        ["training.average_epochs=2", "training.ema_decay=0.9"],
        "training.average_epochs=2 excludes training.ema_decay=0.9",
    ),
    "average and early end": (
        dict(training=Training(size=64, average_epochs=2, early_stopping=6)),
        ["training.average_epochs=2", "training.early_stopping=6"],
        "training.average_epochs=2 excludes training.early_stopping=6, which may end the training before",
    ),
    "array size": (
        dict(training=Training(size=16, array_size=48)),
        ["training.size=16", "training.array_size=48"],
        "training.array_size=48 is not among data.sizes=64,32: add it, for example --set data.sizes=64,32,48",
    ),
    "crop outside": (
        dict(training=Training(size=16, array_size=64, crop=(32, 80))),
        ["training.size=16", "training.array_size=64", "training.crop=32,80"],
        "training.crop=32,80: expected the smallest and the largest side, from 16 to 64",
    ),
    "crop reversed": (
        dict(training=Training(size=64, crop=(48, 32))),
        ["training.crop=48,32"],
        "training.crop=48,32: expected the smallest and the largest side, from 16 to 64",
    ),
    "crop of a small share": (
        dict(training=Training(size=64, crop=(0.2, 1))),
        ["training.crop=0.2,1"],
        "training.crop=0.2,1: expected the smallest and the largest side, from 16 to 64",
    ),
    "three crops": (
        dict(training=Training(size=64, crop=(32, 48, 64))),
        ["training.crop=32,48,64"],
        "training.crop=32,48,64: expected the smallest and the largest side, from 16 to 64",
    ),
    "crops of whole images": (
        dict(training=Training(size=64, tta=True, tta_crops=4)),
        ["training.tta=true", "training.tta_crops=4"],
        "training.tta_crops=4 needs training.tta=true, and training.crop",
    ),
    "no square grid": (
        dict(training=Training(size=64, tta=True, tta_crops=5, crop=(32, 48))),
        ["training.tta=true", "training.tta_crops=5", "training.crop=32,48"],
        "training.tta_crops=5: expected 0, 1, 4, 9 or 16",
    ),
    "maximum of one among all": (
        dict(training=Training(size=64, loss="cross_entropy", tta_combine="max")),
        ["training.loss=cross_entropy", "training.tta_combine=max"],
        "training.tta_combine=max needs independent classes, and training.loss=cross_entropy has one",
    ),
    "weights of a balanced loss": (
        dict(training=Training(size=64, loss="distribution_balanced", class_weights="root")),
        ["training.loss=distribution_balanced", "training.class_weights=root"],
        "training.loss=distribution_balanced balances the classes itself, and needs "
        "training.class_weights=none and training.label_smoothing=0",
    ),
    "mixed labels": (
        dict(training=Training(size=64, loss="focal_lovasz_log", cutmix=0.5)),
        ["training.loss=focal_lovasz_log", "training.cutmix=0.5"],
        "training.loss=focal_lovasz_log needs targets of 0 and 1: training.cutmix=0",
    ),
    "mixed features": (
        dict(training=Training(size=64, cutmix=0.5), network=Network(features="ten")),
        ["training.cutmix=0.5", "network.features=ten"],
        "training.cutmix=0.5 mixes images, not their features: it needs network.features=none, not ten",
    ),
    "no validation": (
        dict(split=Split(validation=0)),
        ["split.validation=0"],
        "split.validation=0 leaves no validation samples: set a share, for example 0.2",
    ),
    "no training samples": (
        dict(split=Split(validation=0.5, holdout=0.5)),
        ["split.validation=0.5", "split.holdout=0.5"],
        "split.validation=0.5 and split.holdout=0.5 leave no training samples",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_rejected_in_python_as_by_set(name):
    sections, overrides, message = CONTRADICTIONS[name]
    with pytest.raises(UserError, match=re.escape(message)) as in_python:
        make(**sections)
    with pytest.raises(UserError) as by_set:
        override(make(overrides=tuple(overrides)), ())
    assert str(by_set.value) == str(in_python.value)
    assert "\n" not in str(in_python.value)


@pytest.mark.parametrize(
    "sections",
    [
        dict(split=Split(folds=5, validation=0)),  # unused with folds
        dict(split=Split(folds=5, validation=0.9, holdout=0.2)),
        dict(network=Network(features="all"), features=Features(columns="all", size=32)),
        dict(network=Network(kind="trees", features="ten"), training=Training(size=64, epochs=0)),
        dict(network=Network(start="w.pt", normalisation="start"), training=Training(size=64, epochs=0)),
        dict(network=Network(head="avgmax", dropout=0.5)),
        dict(network=Network(head="avgmax", dropout=0.3, features="ten")),
        dict(training=Training(size=32, early_stopping=6)),
        dict(training=Training(size=64, epochs=2, average_epochs=2)),
        dict(training=Training(size=64, schedule="one_cycle", warmup_epochs=2.5, start_size=32)),
        dict(training=Training(size=16, array_size=64, crop=(40,), tta=True, tta_crops=9)),
        dict(training=Training(size=16, array_size=64, loss="focal_lovasz_log", crop=(16, 64))),
    ],
)
def test_settings_that_agree_are_accepted(sections):
    make(**sections)


def test_crops_are_in_pixels_or_shares_of_the_array():
    for crop, expected in (
        ((0,), (0, 0)),
        ((24,), (24, 24)),
        ((16, 48.0), (16, 48)),
        ((0.667, 1), (43, 64)),
        ((0.5,), (32, 32)),
    ):
        assert Training(size=64, crop=crop).crop_sides == expected
        assert Training(size=16, array_size=64, crop=crop).crop_sides == expected
    row = config.list_settings(make(training=Training(size=64, crop=(16, 48))))
    assert next(one.value for one in row if one.name == "training.crop") == "16,48"


def test_a_preset_uses_features_if_any_of_its_models_does():
    ten = ("network.features=ten",)
    trained = Hierarchy(train="stages")
    for fields, expected in (
        (dict(), False),
        (dict(networks={"plain": (), "fused": ten}), True),
        (dict(hierarchy_networks={"stage_2": ten}), False),  # which is not trained
        (dict(hierarchy_networks={"stage_2": ten}, hierarchy=trained), True),
        (dict(hierarchy=trained), False),
        (dict(overrides=ten), True),
    ):
        assert override(make(**fields), ()).any_uses_features == expected, fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(hierarchy_networks={"stage2": ()}), "'stage2' in hierarchy_networks; there are stage_1 "),
        (dict(networks={"a/b": ()}), "network 'a/b' cannot be a name"),
        (dict(networks={"": ()}), "network '' cannot be a name"),
        (dict(networks={"x" * 300: ()}), "at most 80"),
        (dict(networks={"ensemble": ()}), "'ensemble' cannot name a network: another"),
        (dict(networks={"stage_2_nucleus": ()}), "'stage_2_nucleus' cannot name a network: another"),
        (dict(networks={"all": ()}), "'all' cannot name a network: another"),
        (dict(hierarchies={"two": ()}), "hierarchy 'two': expected a name like hierarchy_two"),
        (dict(networks={"a": (), "a_tta": ()}), "'a_tta' cannot name a network: another"),
        (dict(networks={"a_folds": (), "a": ()}), "'a_folds' cannot name a network: another"),
    ],
)
def test_names_of_networks_are_checked(fields, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make(**fields)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("epochs=3", ["section.field=value", "training.epochs=5"]),
        ("training.epochs", ["section.field=value"]),
        (
            "trainig.epochs=3",
            ["unknown section 'trainig'", "did you mean training?", "simulation data split"],
        ),
        ("training.epoch=3", ["no field 'epoch'", "did you mean epochs?", "epochs batch_size"]),
        ("split.fold=1", ["no field 'fold'", "did you mean folds?"]),
        ("training.epochs=many", ["a whole number", "'many'"]),
        ("training.epochs=1.5", ["a whole number", "'1.5'"]),
        ("training.epochs=", ["a whole number", "''"]),
        ("training.learning_rate=fast", ["a number", "'fast'"]),
        ("training.learning_rate=nan", ["1e-08 to 10"]),
        ("network.pretrained=yes", ["true or false", "'yes'"]),
        ("data.sizes=64,big", ["whole numbers separated by commas", "'64,big'"]),
        ("data.sizes=", ["whole numbers separated by commas"]),
        ("data.sizes=8", ["16 to 4096"]),
        ("training.augmentation=flip", ["one of none flips flips_affine", "did you mean flips?"]),
    ],
)
def test_an_invalid_override_names_what_is_valid(text, messages):
    with pytest.raises(UserError) as error:
        override(make(overrides=(text,)), ())
    assert str(error.value).startswith(f"--set {text}: ")
    for message in messages:
        assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_overrides_are_typed_and_leave_the_original_alone():
    original = make()
    chosen = override(
        original,
        ("training.epochs=7", "data.sizes=64,32,16", "network.pretrained=True", "split.holdout=0",
         "network.start=a=b.pt"),
    )  # fmt: skip
    assert (chosen.training.epochs, chosen.data.sizes) == (7, (64, 32, 16))
    assert chosen.network.pretrained is True and chosen.network.start == "a=b.pt"
    assert chosen.split.holdout == 0.0 and isinstance(chosen.split.holdout, float)
    assert chosen.training.batch_size == original.training.batch_size
    assert original == make()


def test_a_network_has_its_own_settings_and_the_command_line_takes_precedence():
    networks = {"plain": (), "scaled": ("network.features=ten", "network.feature_factor=10")}
    chosen = make(networks=networks, overrides=("training.epochs=3",))
    scaled = chosen.for_network("scaled")
    assert scaled.network.feature_factor == 10.0 and scaled.training.epochs == 3
    assert scaled.uses_features and not chosen.for_network("plain").uses_features
    stronger = make(networks=networks, overrides=("scaled:network.feature_factor=2",))
    assert stronger.for_network("scaled").network.feature_factor == 2.0
    assert stronger.for_network("plain").network.feature_factor == 1.0
    with pytest.raises(UserError, match=r"preset mine: network.feature_factor=-1.0: "):
        make(networks={"bad": ("network.feature_factor=-1",)}).for_network("bad")


def test_hierarchy_networks_have_their_own_settings():
    chosen = make(hierarchy_networks={"stage_2": ("training.epochs=5",)})
    assert chosen.for_hierarchy_network("stage_2").training.epochs == 5
    assert chosen.for_hierarchy_network("stage_1") == override(chosen, ())
    losses = {kind: chosen.for_hierarchy_network(kind).training.loss for kind in config.HIERARCHY_NETWORKS}
    assert losses.pop("stage_1_single") == "cross_entropy" and set(losses.values()) == {"bce"}
    trees = make(network=Network(kind="trees", features="ten"))
    with pytest.raises(UserError, match=r"hierarchy.train=none needs networks, not network.kind=trees"):
        trees.for_hierarchy_network("stage_1")


NETWORKS = {"plain": (), "deep": ("network.architecture=resnet101",)}


@pytest.mark.parametrize(
    ("overrides", "architectures"),
    [
        (("plain:network.architecture=x",), ["x", "resnet101", "resnet34"]),
        (("deep:network.architecture=x",), ["resnet34", "x", "resnet34"]),
        (("all:network.architecture=x",), ["x", "x", "x"]),
        (
            ("network.architecture=resnet101",),
            ["resnet101", "resnet101", "resnet101"],
        ),  # changes no own value
        (("network.architecture=x", "deep:network.architecture=y"), ["x", "y", "x"]),
        (("deep:network.architecture=y", "all:network.architecture=x"), ["x", "y", "x"]),
    ],
)
def test_an_override_with_a_target_applies_to_that_network_alone(overrides, architectures):
    chosen = override(make(networks=NETWORKS, overrides=overrides), ())
    found = [chosen.for_network(name) for name in NETWORKS] + [chosen.for_hierarchy_network("stage_2")]
    assert [one.network.architecture for one in found] == architectures
    assert chosen.network.architecture == architectures[2], "of the run itself"


def test_an_override_without_a_target_never_replaces_what_a_network_has_of_its_own():
    chosen = override(make(networks=NETWORKS, overrides=("network.architecture=x",)), ())
    with pytest.raises(UserError) as error:
        chosen.for_network("deep")
    for words in ("network.architecture=x: deep has its own", "resnet101", " all plain deep stage_1 ",
                  "plain:network.architecture=x"):  # fmt: skip
        assert words in str(error.value)
    assert "\n" not in str(error.value)
    kinds = make(hierarchy_networks={"stage_2": ("training.epochs=5",)}, overrides=("training.epochs=3",))
    with pytest.raises(UserError, match=r"stage_2 has its own, training\.epochs=5"):
        kinds.for_hierarchy_network("stage_2")


def test_a_further_hierarchy_keeps_its_own_settings_unless_it_is_the_target():
    two = {"hierarchy_two": ("hierarchy.grouping=two",)}
    for overrides, expected in (
        ((), [("atlas", "without"), ("two", "without")]),
        (("hierarchy.grouping=g.csv", "hierarchy.other=with"), [("g.csv", "with"), ("two", "with")]),
        (("hierarchy_two:hierarchy.other=with",), [("atlas", "without"), ("two", "with")]),
        (("all:hierarchy.grouping=g.csv",), [("g.csv", "without"), ("g.csv", "without")]),
    ):
        chosen = override(make(hierarchies=two, overrides=overrides), ())
        found = [chosen.for_hierarchy(name).hierarchy for name in ("hierarchy", "hierarchy_two")]
        assert [(one.grouping, one.other) for one in found] == expected, overrides
    with pytest.raises(UserError, match=r"no hierarchy 'hierarchy_x'; it has hierarchy hierarchy_two"):
        make(hierarchies=two).for_hierarchy("hierarchy_x")
    for own in ("hierarchy.train=joint", "training.epochs=3"):
        with pytest.raises(UserError, match=r"hierarchy_x: .* section hierarchy alone, without train"):
            make(hierarchies={"hierarchy_x": (own,)}).for_hierarchy("hierarchy_x")


def test_features_are_computed_on_the_largest_arrays_unless_a_size_is_set():
    assert make().feature_size == 64
    assert make(features=Features(size=32)).feature_size == 32


def test_a_section_is_given_with_its_name():
    assert make(split=Split(seed=4)).section("split")["split.seed"] == 4
    names = ("sizes", "shard_rows", "groups", "max_bad_images", "projection")
    assert set(make().section("data")) == {f"data.{name}" for name in names}
    assert "split.strata" not in make().section("split")


def test_every_seed_has_the_range_of_all_generators():
    seeds = [
        section
        for section, kind in config.SECTIONS.items()
        for item in dataclasses.fields(kind)
        if "seed" in item.name
    ]
    assert len(seeds) == 3
    for section in seeds:
        for outside in (-1, 2**32, 10**30):
            with pytest.raises(UserError, match=rf"{section}\.seed={outside}: expected 0 to 4294967295"):
                override(presets.SMOKE, (f"{section}.seed={outside}",))
        override(presets.SMOKE, (f"{section}.seed={2**32 - 1}",))


def test_every_setting_is_listed_with_its_value_and_meaning():
    chosen = make(training=Training(size=64, epochs=7))
    text = config.describe_settings(chosen)
    rows = {row.name: row for row in config.list_settings(chosen)}
    for section, kind in config.SECTIONS.items():
        for item in dataclasses.fields(kind):
            row = rows[f"{section}.{item.name}"]
            assert f"{row.name}={row.value}" in text and item.metadata["meaning"] in text
            assert all(choice in row.meaning for choice in item.metadata["choices"])
    assert (rows["training.epochs"].value, rows["training.epochs"].is_default) == ("7", False)
    assert (rows["data.sizes"].value, rows["split.folds"].is_default) == ("64,32", True)
    networks = {"plain": (), "own": ("training.epochs=9", "network.dropout=0.5")}
    own = make(networks=networks, overrides=("plain:training.epochs=3",))
    last = config.describe_settings(own).splitlines()
    assert [line.split() for line in last[-2:]] == [
        ["plain", "training.epochs=3"], ["own", "network.dropout=0.5", "training.epochs=9"]
    ]  # fmt: skip
    # what is listed can be passed to --set
    again = override(presets.DEMO, tuple(f"{row.name}={row.value}" for row in rows.values()))
    assert all(getattr(again, section) == getattr(chosen, section) for section in config.SECTIONS)


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "a/b", "x" * 300, "cache", "Train", "test"])
def test_the_folder_of_simulated_cells_lies_in_data_and_is_its_own(name):
    with pytest.raises(UserError, match=r"simulation\.name"):
        presets.load("smoke", [f"simulation.name={name}"])
