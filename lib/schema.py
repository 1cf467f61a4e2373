"""JSON values checked against types: dataclasses, lists and dictionaries, and what they contain."""

import dataclasses
import math
import re
import types
import typing
from typing import Any

from lib.errors import UserError, quote

SCALARS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
# control characters, and halves of characters, which cannot be written to a file or the console
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def parse(value: Any, kind: Any, where: str = "its content") -> Any:
    """Return a JSON value as a type; a dataclass is constructed from an object, and so validates itself.

    Parameters
    ----------
    value : object
        As `json.loads` returns it.
    kind : type
        A dataclass, ``list[...]``, ``dict[str, ...]``, str, int, float, bool, one of these or None, or Any.
    where : str
        What the message calls the value.

    Raises
    ------
    ValueError
        If the value is of another type, a number is not finite, text contains control characters, an entry of
        a dataclass is missing or unknown, or the dataclass rejects them.
    """
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(value, kind, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else parse(value, arguments[0], where)
    if origin is list:
        items = _expect(value, list, "a list", where)
        return [parse(item, arguments[0], f"{where}[{number}]") for number, item in enumerate(items)]
    if origin is dict:
        items = _expect(value, dict, "an object", where)
        return {parse(key, str, where): parse(item, arguments[1], f"{where} {quote(key)}")
                for key, item in items.items()}  # fmt: skip
    return _parse_scalar(value, kind, where)


def _parse_dataclass(value: Any, kind: Any, where: str) -> Any:
    entries, hints = _expect(value, dict, "an object", where), typing.get_type_hints(kind)
    fields = {item.name: item for item in dataclasses.fields(kind) if item.init}
    unknown = next((key for key in entries if key not in fields), None)
    if unknown is not None:
        raise ValueError(f"{where} has the unknown entry {quote(unknown)}")
    for name, item in fields.items():
        required = item.default is item.default_factory is dataclasses.MISSING
        if required and name not in entries:
            raise ValueError(f"{where} lacks the entry {name}")
    parsed = {name: parse(item, hints[name], name) for name, item in entries.items()}
    try:
        return kind(**parsed)
    except UserError as error:
        raise ValueError(str(error)) from None


def _parse_scalar(value: Any, kind: type, where: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is {_short(value)}, expected {SCALARS[kind]}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, expected a finite number")
    if kind is str and UNPRINTABLE.search(value):
        raise ValueError(f"{where} contains control characters: {quote(value)}")
    return value


def _expect(value: Any, kind: type, name: str, where: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{where} is {_short(value)}, expected {name}")
    return value


def _short(value: Any) -> str:
    names = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value)) or (quote(value) if isinstance(value, str) else str(value))
