"""A whole configuration: overrides and their targets, and the list of settings."""

import dataclasses

import pytest

from lib import config, presets
from lib.config import override
from lib.errors import UserError
from lib.sections import Features, Hierarchy, Network, Split, Training
from tests.test_contradictions import make


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
