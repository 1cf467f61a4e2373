"""Groups of classes that a hierarchy predicts first (Hoogenboom 2019, table 1), and their combinations.

Shape letters: G groups, M combinations of groups.
"""

import itertools
import os
import re
from pathlib import Path

import numpy as np

from lib import tables
from lib.errors import UserError, quote
from lib.labels import CLASSES, LOCATION_GROUPS

LocationGroups = dict[str, tuple[int, ...]]  # class numbers by group

GROUPINGS: dict[str, LocationGroups] = {
    "atlas": LOCATION_GROUPS,
    # the thesis's suggestion for further research, section 4
    "two": {
        "Nucleus": LOCATION_GROUPS["Nucleus"],
        "Cytoplasm & secretory": tuple(sorted(LOCATION_GROUPS["Cytoplasm"] + LOCATION_GROUPS["Secretory"])),
    },
}
MOST_COMBINED = 6  # groups: 63 combinations
LONGEST_NAME = 80  # characters of a group's name, which becomes part of a folder's name


def read(name: str) -> LocationGroups:
    """Return the location groups that the setting ``hierarchy.grouping`` names.

    Parameters
    ----------
    name : str
        An entry of `GROUPINGS`, or a CSV file with the columns group and label and one row per class; a label
        is a class's name or number.

    Raises
    ------
    UserError
        If there is no such file or it lacks a column, or a class is unknown, in no group or in two, or there
        are fewer than two groups, or two groups' networks would have the same name.
    """
    if name in GROUPINGS:
        return _checked(GROUPINGS[name], f"lib/location_groups.py, {name}")
    path = Path(name)
    if not os.path.lexists(name):
        raise UserError(
            f"hierarchy.grouping={name}: expected {' or '.join(GROUPINGS)}, or a CSV file with the columns "
            f"group,label"
        )
    group_of: dict[int, str] = {}
    for line, label, group in tables.read_class_table(path, ("group", "label"), class_column="label"):
        if not 0 < len(short(group)) <= LONGEST_NAME:
            raise UserError(
                f"{path}, line {line}: {CLASSES[label]} has the group {quote(group)}; expected a name with "
                f"letters a-z or digits, at most {LONGEST_NAME} characters"
            )
        group_of[label] = group
    groups = {
        group: tuple(sorted(label for label in group_of if group_of[label] == group))
        for group in dict.fromkeys(group_of.values())
    }
    return _checked(groups, str(path))


def short(group: str) -> str:
    """Return a group's name for file names: lower-case letters, digits and underscores.

    >>> short("Cytoplasm & secretory")
    'cytoplasm_secretory'
    """
    return re.sub(r"[^a-z0-9]+", "_", group.lower()).strip("_")


def membership(truth_NC: np.ndarray, groups: LocationGroups) -> np.ndarray:
    """Return which groups each sample has a label of: truth_NG, bool."""
    return np.stack([truth_NC[:, list(labels)].any(axis=1) for labels in groups.values()], axis=1)


def combinations(groups: int) -> np.ndarray:
    """Return all combinations of at least one group, single ones first, then pairs, and so on.

    For Nucleus, Cytoplasm, Secretory: N, C, S, NC, NS, CS, NCS, the 7 outputs of the single-label network of
    Hoogenboom 2019, section 2.3.

    Returns
    -------
    ndarray of shape (M, G), bool
        M is ``2 ** G - 1``.

    Raises
    ------
    UserError
        If there are more than `MOST_COMBINED` groups.
    """
    if groups > MOST_COMBINED:
        raise UserError(
            f"{groups} groups have {2**groups - 1:,} combinations, one output each: expected at most "
            f"{MOST_COMBINED} groups, or --set hierarchy.stage_1=multi_label"
        )
    chosen = [set(c) for size in range(1, groups + 1) for c in itertools.combinations(range(groups), size)]
    return np.array([[group in combination for group in range(groups)] for combination in chosen])


def to_combinations(truth_NG: np.ndarray) -> np.ndarray:
    """Turn groups into one combination per sample: truth_NM, bool; none for a sample in no group."""
    combination_MG = combinations(truth_NG.shape[1])
    return (truth_NG[:, None, :] == combination_MG[None]).all(axis=2)


def from_combinations(probabilities_NM: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn probabilities of combinations back into groups.

    Returns
    -------
    probabilities_NG : ndarray of float32
        Of each group: the sum over the combinations that contain it.
    decision_NG : ndarray of bool
        The groups of the most probable combination, as in Hoogenboom 2019, section 3.
    """
    combination_MG = combinations(groups)
    probabilities_NG = (probabilities_NM @ combination_MG).clip(0, 1).astype(np.float32)
    return probabilities_NG, combination_MG[probabilities_NM.argmax(axis=1)]


def _checked(groups: LocationGroups, source: str) -> LocationGroups:
    """Return the groups if each of the 28 classes is in one of several, else raise a `UserError`."""
    labels = [label for members in groups.values() for label in members]
    missing = [name for label, name in enumerate(CLASSES) if label not in labels]
    if missing:
        raise UserError(
            f"{source}: in no group: {', '.join(missing)}; expected each of the 28 classes in one"
        )
    if len(labels) > len(CLASSES):
        raise UserError(f"{source}: a class is in two groups, or is none of 0-27; expected each in one")
    if len(groups) < 2:
        raise UserError(f"{source} has one group, {next(iter(groups))}: expected at least two")
    # with an output for other samples, a group's network has the name of the group and "other"
    group_of: dict[str, str] = {}
    for group in groups:
        for name in (short(group), f"{short(group)}_other"):
            if name in group_of:
                raise UserError(
                    f"{source}: the networks of the groups {quote(group_of[name])} and {quote(group)} would "
                    f"both be called {name}: rename one; names must differ in more than case, punctuation "
                    f"and the ending 'other'"
                )
            group_of[name] = group
    return groups
