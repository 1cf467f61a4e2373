import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from lib import schema
from lib.errors import UserError


@dataclass(frozen=True)
class Fold:
    number: int
    mean: list[float]

    def __post_init__(self):
        if self.number < 0:
            raise UserError(f"number {self.number}: expected at least 0")


@dataclass(frozen=True)
class Content:
    name: str
    share: float
    finished: bool
    folds: list[Fold]
    sizes: dict[str, int] = field(default_factory=dict)
    network: str | None = None
    more: Any = None


GOOD = {"name": "a", "share": 0.5, "finished": True, "folds": [{"number": 0, "mean": [1, 2.5]}]}


def test_objects_become_dataclasses():
    content = schema.parse(GOOD | {"sizes": {"64": 1}, "network": None, "more": [{}]}, Content)
    assert content == Content("a", 0.5, True, [Fold(0, [1.0, 2.5])], {"64": 1}, None, [{}])
    assert isinstance(content.folds[0].mean[0], float)
    assert schema.parse(GOOD, Content).sizes == {}
    assert schema.parse([["x"]], list[list[str]]) == [["x"]]


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"name": 3}, ("name is 3", "text")),
        ({"name": "a\nb"}, ("name contains control characters",)),
        ({"name": "\ud800"}, ("name contains control characters",)),
        ({"share": "0.5"}, ("share is '0.5'", "number")),
        ({"share": float("nan")}, ("share is nan", "finite")),
        ({"share": 10**400}, ()),
        ({"finished": 1}, ("finished is 1", "true or false")),
        ({"folds": {}}, ("folds is an object", "a list")),
        ({"folds": [None]}, ("folds[0] is null", "an object")),
        ({"folds": [{"number": True, "mean": []}]}, ("number is True", "whole number")),
        ({"folds": [{"number": 1.0, "mean": []}]}, ("number is 1.0", "whole number")),
        ({"folds": [{"number": -1, "mean": []}]}, ("number -1",)),
        ({"folds": [{"number": 1}]}, ("folds[0] lacks the entry mean",)),
        ({"sizes": {"64": None}}, ("sizes '64' is null",)),
        ({"sizes": {"\x1b": 1}}, ("control characters",)),
        ({"network": 1}, ("network is 1",)),
        ({"colour": 1}, ("unknown entry 'colour'",)),
    ],
)
def test_what_does_not_fit_is_named(changes, messages):
    with pytest.raises((ValueError, OverflowError)) as error:
        schema.parse(GOOD | changes, Content)
    assert all(message in str(error.value) for message in messages), error.value
    assert str(error.value).isprintable()


@pytest.mark.parametrize("value", json.loads('[null, [], "a", 1, 1.5, true]'))
def test_a_dataclass_needs_an_object(value):
    with pytest.raises(ValueError, match=r"its content is .*, expected an object"):
        schema.parse(value, Content)
