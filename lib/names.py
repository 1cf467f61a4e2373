"""Names that become part of a path: of runs, networks, predictors and simulated data sets."""

import re

from lib.errors import UserError, quote

LONGEST = 80  # characters: a file's name, with what is added to it, has at most 255
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# names that stage 04 gives to a predictor or step of its own, and stage 03 to networks and their combinations
RESERVED_NAMES = ("comparison", "ensemble", "ensemble_predictions", "all")
MAIN_HIERARCHY = "hierarchy"  # that of the section itself; begins the names of further ones
HIERARCHY_NAMES = re.compile(r"joint|(stage_[12]|hierarchy)(_.*)?")
HIERARCHY_NETWORKS = ("stage_1", "stage_1_single", "stage_2", "joint")  # kinds of networks of stage 03


def check_name(name: str, what: str) -> str:
    """Return a name that cannot lead out of the folder that it is used in.

    Parameters
    ----------
    name : str
        From the command line, a setting, or a file that may have been edited.
    what : str
        What the message calls it, for example ``--run``.

    Raises
    ------
    UserError
        If the name has other characters than letters, digits and ``. _ -``, begins with one of the latter, or
        is longer than `LONGEST`.

    >>> check_name("my_run.2", "--run")
    'my_run.2'
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise UserError(
            f"{what} {quote(name)} cannot be a name: expected at most {LONGEST} letters, digits and . _ -, "
            f"the first a letter or digit"
        )
    return name
