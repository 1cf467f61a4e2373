"""Failures of the machine in one line: disk, permissions, memory (also the GPU's), processes, open files."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.errors import UserError

ELSEWHERE = "choose another folder for data and outputs with --work FOLDER"
AGAIN = f"then run the same command again, which resumes, or {ELSEWHERE}"
FEWER = "use fewer processes, for example --workers 2"
MEMORY = f"memory ran out: {FEWER}, or a smaller training.batch_size, or a machine with more memory"
GPU_MEMORY = (
    "the GPU's memory ran out: end other programs that use it (`nvidia-smi` lists them) and run the same "
    "command again, or choose a smaller training.batch_size"
)
OPEN_FILES = f"too many open files: raise their limit with `ulimit -n 4096`, or {FEWER}"
PROCESSES = f"no more processes or threads can be started: raise their limit with `ulimit -u`, or {FEWER}"
SHARED_MEMORY = (
    "too little shared memory in /dev/shm for the processes that load images: start the container with more, "
    "for example `docker run --shm-size=2g`, or use --workers 1"
)
# of errors that name a file or a folder, what to do
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"free some space there (or inodes, `df -i`), {AGAIN}"),
    errno.EFBIG: f"raise the limit on the size of a file (`ulimit -f`), {AGAIN}",
    errno.EROFS: ELSEWHERE,
    **dict.fromkeys((errno.EACCES, errno.EPERM), f"allow it with chmod or chown, {AGAIN}"),
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EREMOTEIO, errno.ENODEV, errno.ETIMEDOUT),
        f"the disk or the connection to it failed: check it (`dmesg`), {AGAIN}",
    ),
}
# of errors whose text alone is known, since another process or a library raised them: the explanation
EXPLANATIONS = {
    r"shared memory|/dev/shm|Bus error": SHARED_MEMORY,
    r"Too many open files|ancdata": OPEN_FILES,  # descriptors are lost when their limit is reached
    r"can't start new thread|Resource temporarily unavailable": PROCESSES,
    r"can't allocate memory|Cannot allocate memory|not enough memory": MEMORY,
    r"CUDA (error: )?out of memory": GPU_MEMORY,
    r"DataLoader worker .*(killed|exited)|Pin memory thread exited": (
        f"a process that loads images was killed, most often because memory ran out: {FEWER}"
    ),
    r"No space left on device|usable temporary directory|AF_UNIX path too long": (
        "no temporary file can be written, or the output of this command: free some space (in /dev/shm: "
        "`docker run --shm-size=2g`), or name another folder for temporary files, `export TMPDIR=/tmp`"
    ),
}


def explain(error: BaseException, place: Path | None = None) -> str | None:
    """Return one line on a failure of the machine, with a remedy; None if the error is of another kind.

    Parameters
    ----------
    place : Path, or None
        The file or folder, where the error does not name it.
    """
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        error = error.__context__  # torch.save raises an error of its own on top of it
    if isinstance(error, MemoryError):
        return MEMORY
    if not isinstance(error, (OSError, RuntimeError)):
        return None
    place = getattr(error, "filename", None) or place
    number = getattr(error, "errno", None)
    if place is not None and number in REMEDIES:
        return f"{place}: {os.strerror(number)}; {REMEDIES[number]}"
    found = (text for pattern, text in EXPLANATIONS.items() if re.search(pattern, str(error)))
    return next(found, None)


@contextmanager
def one_line_errors(folder: Path) -> Iterator[None]:
    """Turn every error of the system while a file in `folder` is written into a `UserError`."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(no_permission(Path(error.filename or folder))) from None
    except (OSError, RuntimeError) as error:
        explanation = explain(error, folder)
        if explanation is None and isinstance(error, OSError) and error.errno:
            explanation = f"{error.filename or folder}: {error.strerror}; {ELSEWHERE}"
        if explanation is None:
            raise
        raise UserError(explanation) from None


def no_permission(folder: Path) -> str:
    """Return the message for a folder or file that cannot be written."""
    return f"{folder}: no permission to write there; {ELSEWHERE}"
