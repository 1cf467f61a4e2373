"""Overrides by hand: how they are read, which target they apply to, and which is the stronger."""

import re

import pytest

from lib import overrides
from lib.config import SECTIONS
from lib.errors import UserError

TARGETS = {"all": ("network", "hierarchy"), "small": ("network",), "deep": ("network",), "h": ("hierarchy",)}


def parse(text):
    return overrides.parse(text, "--set ", SECTIONS)


def test_an_override_is_read_with_and_without_a_target():
    plain, targeted = parse("training.epochs=3"), parse("deep:network.start=C:/a=b.pt")
    assert (plain.target, plain.path, plain.value) == ("", "training.epochs", 3)
    assert (targeted.target, targeted.section, targeted.field) == ("deep", "network", "start")
    assert targeted.value == "C:/a=b.pt" and str(targeted.error("no")) == f"--set {targeted.text}: no"
    for text in (":training.epochs=3", "deep:epochs=3", "deep:training.epochs"):
        with pytest.raises(UserError, match=r"expected section\.field=value"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dep:network.dropout=0", ("'dep'", "did you mean deep?", "there are all small deep h")),
        ("deep:split.seed=1", ("deep has no split of its own", "leave out the target")),
        ("h:network.dropout=0", ("h has no network of its own", "its targets are all small deep")),
    ],
)
def test_a_target_that_does_not_exist_or_fit_lists_those_that_do(text, words):
    with pytest.raises(UserError) as error:
        overrides.check_targets([parse("split.seed=1"), parse(text)], TARGETS)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_the_more_specific_override_is_the_stronger_in_any_order():
    own = [parse("network.dropout=0.1")]
    given = [parse(f"{target}network.dropout={value}") for target, value in
             (("deep:", 0.4), ("small:", 0.5), ("all:", 0.3), ("", 0.2))]  # fmt: skip
    values = [one.value for one in overrides.for_target(own, given, "deep")]
    assert values == [0.2, 0.1, 0.3, 0.4]  # the last counts
    assert [one.value for one in overrides.for_target([], given, "")] == [0.2, 0.3]


def test_without_a_target_no_own_value_is_changed():
    own = [parse("network.architecture=resnet101"), parse("network.dropout=0.1")]
    for given in (
        ["network.channels=RGB"],  # another setting
        ["network.architecture=resnet101"],  # the same value
        ["network.architecture=x", "deep:network.architecture=y"],
        ["all:network.architecture=x", "network.architecture=y"],
    ):
        overrides.check_untargeted(own, [parse(text) for text in given], "deep", TARGETS)
    for given in (["network.architecture=x"], ["small:network.architecture=x", "network.architecture=x"]):
        with pytest.raises(UserError) as error:
            overrides.check_untargeted(own, [parse(text) for text in given], "deep", TARGETS)
        line = "--set network.architecture=x: deep has its own, network.architecture=resnet101; .*"
        assert re.fullmatch(line + "small:network.architecture=x; .* all small deep", str(error.value))
