"""How a setting is declared, validated and read from text; `lib.config` declares the settings themselves."""

import dataclasses
import difflib
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from lib.errors import UserError

MAX_SEED = 2**32 - 1  # of numpy's older generator and of sklearn; torch takes more


def setting(
    default: Any,
    meaning: str,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Declare a field of a section.

    Parameters
    ----------
    default : object
    meaning : str
        Shown by ``--settings``.
    choices : tuple of str
        All valid words, of a field of type str; empty: any.
    low, high : float or None
        Inclusive bounds of a number, or of every number of a tuple.
    """
    return field(default=default, metadata=dict(meaning=meaning, choices=choices, low=low, high=high))


def seed_setting(default: int, meaning: str) -> Any:
    """Declare a seed, within the range that every random number generator takes."""
    return setting(default, meaning, low=0, high=MAX_SEED)


@dataclass(frozen=True)
class Section:
    """Base of all sections: validates the type, choices and bounds of every field on construction.

    Raises
    ------
    UserError
        Naming the field, its value and what was expected.
    """

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, path = getattr(self, item.name), f"{type(self).__name__.lower()}.{item.name}"
            if not _has_type(value, item.type):
                is_tuple = isinstance(item.type, types.GenericAlias)
                expected = f"a tuple of {_members(item.type)}" if is_tuple else type_name(item.type)
                raise UserError(f"{path}={value!r}: expected {expected}")
            check_value(path, value, item)


def check_value(path: str, value: Any, item: dataclasses.Field) -> None:
    """Raise a `UserError` unless a value of the right type is among a field's choices and within its bounds.

    Parameters
    ----------
    path : str
        What the message calls the setting.
    """
    choices, low, high = (item.metadata[key] for key in ("choices", "low", "high"))
    text = format_value(value)
    if choices and value not in choices:
        raise UserError(f"{path}={text}: expected one of {' '.join(choices)}{nearest(text, choices)}")
    if isinstance(value, tuple) and not value:
        raise UserError(f"{path}: expected at least one value")
    for number in value if isinstance(value, tuple) else (value,):
        if (low is not None and not number >= low) or (high is not None and not number <= high):
            bounds = f"at least {low}" if high is None else f"{low} to {high}"
            raise UserError(f"{path}={text}: expected {bounds}")
        if isinstance(number, float) and not math.isfinite(number):
            raise UserError(f"{path}={text}: expected a finite number")


def _has_type(value: Any, kind: Any) -> bool:
    if isinstance(kind, types.GenericAlias):  # tuple[int, ...]
        return isinstance(value, tuple) and all(_has_type(one, typing.get_args(kind)[0]) for one in value)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def convert(text: str, kind: Any) -> Any:
    """Convert text to a value of a type; raises a `ValueError` where that is impossible."""
    if isinstance(kind, types.GenericAlias):  # tuple[int, ...]
        return tuple(convert(word, typing.get_args(kind)[0]) for word in text.split(","))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return kind(text)


def format_value(value: Any) -> str:
    """Format a value as `convert` reads it."""
    return ",".join(f"{one:g}" for one in value) if isinstance(value, tuple) else str(value)


def type_name(kind: Any) -> str:
    """Describe in words what `convert` takes for a type."""
    if isinstance(kind, types.GenericAlias):
        return f"{_members(kind)} separated by commas"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]


def _members(kind: Any) -> str:
    return "whole numbers" if typing.get_args(kind)[0] is int else "numbers"


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """Return a suggestion of the most similar known word, to end a message; empty if none is similar."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
