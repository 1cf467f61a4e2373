"""The exception that is meant for the user."""


class UserError(Exception):
    """A problem that the user can fix; a script prints it as one line, without a traceback, exit code 2.

    The message names the file, row or value, what was expected, and what to do next.
    """
