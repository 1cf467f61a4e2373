"""The one exception that is meant for the user."""


class UserError(Exception):
    """Something the user can mend: printed as one line, without a traceback, exit code 2.

    The message names the file, row or value, what was expected, and what to do next.
    """
