"""The exception that is meant for the user, and values within its message."""


class UserError(Exception):
    """A problem that the user can fix; a script prints it as one line, without a traceback, exit code 2.

    The message names the file, row or value, what was expected, and what to do next.
    """


class InUseError(UserError):
    """Another process holds a lock; `holder` is its number as text, empty if it is not known."""

    def __init__(self, message: str, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


def quote(text: str, longest: int = 80) -> str:
    r"""Return text from a user's file for a message: in quotes, on one line, and shortened if it is long.

    >>> quote("a\nb"), quote("aaaaaaa", longest=3)
    ("'a\\nb'", "'aaa...'")
    """
    return repr(text if len(text) <= longest else f"{text[:longest]}...")
