"""Overrides of settings: ``section.field=value``, for all of a run or, after a target, for one network.

A target is the name of a network of stage 02, a kind of network of stage 03, or a further hierarchy; `ALL`
names all of them: ``baseline:network.architecture=resnet34``.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from lib.errors import UserError
from lib.settings import Section, check_value, convert, nearest, type_name

ALL = "all"  # as a target


class Override(NamedTuple):
    """An override.

    Attributes
    ----------
    source : str
        What a message begins with: ``--set``, or the preset.
    text : str
        As it was written.
    target : str
        Empty: none.
    """

    source: str
    text: str
    target: str
    section: str
    field: str
    value: Any

    @property
    def path(self) -> str:
        """The setting: ``section.field``."""
        return f"{self.section}.{self.field}"

    def error(self, reason: str) -> UserError:
        """Return an error that quotes the override."""
        return UserError(f"{self.source}{self.text}: {reason}")


def parse(text: str, source: str, sections: dict[str, type[Section]]) -> Override:
    """Read an override.

    Parameters
    ----------
    source : str
        Begins the message of an error.
    sections : dict of type
        All sections of settings by name.

    Raises
    ------
    UserError
        For an unknown section or field, or a value of the wrong type or out of bounds; the message lists what
        is valid.
    """
    path, equals, word = text.partition("=")
    target, colon, path = path.rpartition(":")
    section, dot, name = path.partition(".")
    if not (equals and dot) or (colon and not target):
        raise UserError(f"{source}{text}: expected section.field=value, for example training.epochs=5")
    if section not in sections:
        raise UserError(
            f"{source}{text}: unknown section {section!r}{nearest(section, sections)}; "
            f"there are {' '.join(sections)}"
        )
    fields = {item.name: item for item in dataclasses.fields(sections[section])}
    if name not in fields:
        raise UserError(
            f"{source}{text}: {section} has no field {name!r}{nearest(name, fields)}; "
            f"it has {' '.join(fields)}"
        )
    try:
        value = convert(word, fields[name].type)
    except ValueError:
        raise UserError(f"{source}{text}: expected {type_name(fields[name].type)}, not {word!r}") from None
    check_value(source + path, value, fields[name])
    return Override(source, text, target, section, name, value)


def check_targets(overrides: Iterable[Override], targets: dict[str, Iterable[str]]) -> None:
    """Raise a `UserError` for an override whose target does not exist or has no such section.

    Parameters
    ----------
    targets : dict of iterable of str
        The sections that each target has settings of its own in.
    """
    for one in overrides:
        if one.target and one.target not in targets:
            hint = nearest(one.target, targets)
            raise one.error(f"unknown target {one.target!r}{hint}; there are {' '.join(targets)}")
        if one.target and one.section not in targets[one.target]:
            known = [name for name, own in targets.items() if one.section in own]
            remedy = f"its targets are {' '.join(known)}" if known else "leave out the target"
            raise one.error(f"{one.target} has no {one.section} of its own: {remedy}")


def for_target(own: list[Override], given: list[Override], target: str) -> list[Override]:
    """Return the overrides that apply to a target, in the order of their precedence.

    Parameters
    ----------
    own : list of Override
        The target's own in the preset; stronger than those of the command line without a target.
    given : list of Override
        Those of the command line.
    target : str
        Empty: of the run itself.
    """
    without, of_all = ([one for one in given if one.target == name] for name in ("", ALL))
    return [*without, *own, *of_all, *(one for one in given if target and one.target == target)]


def check_untargeted(
    own: list[Override], given: list[Override], target: str, targets: dict[str, Iterable[str]]
) -> None:
    """Raise a `UserError` for an override without a target, where the target has a value of its own.

    Otherwise a network that is named after what it sets would become another, or the override be ignored.
    """
    addressed = {one.path for one in given if one.target in (ALL, target)}
    values = {one.path: one for one in own}
    for one in given:
        kept = values.get(one.path)
        if kept and not one.target and one.path not in addressed and kept.value != one.value:
            known = [name for name, sections in targets.items() if one.section in sections]
            raise one.error(
                f"{target} has its own, {kept.text}; name a target, for example {known[1]}:{one.text}; "
                f"there are {' '.join(known)}"
            )
