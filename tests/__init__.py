"""The tests; they mirror lib/."""

import lib.figures  # noqa: F401  a notebook's MPLBACKEND is replaced before a test imports matplotlib
