"""Locks on cached arrays: any number of readers or any number of writers, but never both.

Each process locks its own side, shared, and then makes sure that nobody holds the other. The system releases
a lock when the process ends, and its forked worker processes with it.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib import files
from lib.errors import InUseError, UserError

PATIENCE = 5.0  # seconds within which another process may turn out to have been about to finish
SIDES = {"readers": ("writers", "written"), "writers": ("readers", "read")}


@contextmanager
def hold(folder: Path, side: str) -> Iterator[None]:
    """Lock an array for this process.

    Parameters
    ----------
    folder : Path
        The array's.
    side : str
        readers or writers.

    Raises
    ------
    UserError
        If processes of the other side hold the array, and still do after `PATIENCE`.
    """
    if side == "readers" and not os.access(folder, os.W_OK):
        yield  # where nothing can be written, nothing can be replaced
        return
    other, verb = SIDES[side]
    deadline = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(files.lock(folder / f".{side}", shared=True))
                with files.lock(folder / f".{other}"):
                    break
            except InUseError as error:
                stack.close()
                if time.monotonic() > deadline:
                    number = f" ({error.holder})" if error.holder else ""
                    raise UserError(
                        f"{folder} is being {verb} by another process{number}: "
                        f"wait until it has finished, or use another cache with --work FOLDER"
                    ) from None
                time.sleep(random.uniform(0.02, 0.1))
        yield
