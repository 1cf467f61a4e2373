"""Failures of the machine are one line with a remedy; errors of other kinds are left as they are."""

import errno
import os
from pathlib import Path

import pytest

from lib import machine
from lib.errors import UserError

FULL = "No space left on device"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "df -i"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "--work FOLDER"),
        (errno.EIO, "dmesg"),
        (errno.ESTALE, "dmesg"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EACCES, "--work FOLDER"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EAGAIN, "ulimit -u"),
        (errno.ENOMEM, "memory"),
    ],
)
def test_errors_of_the_system_name_the_place_and_the_remedy(tmp_path, number, remedy):
    line = machine.explain(OSError(number, os.strerror(number), str(tmp_path / "file")))
    assert remedy in line and "\n" not in line
    with pytest.raises(UserError) as error, machine.one_line_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(error.value) and (remedy in str(error.value) or str(tmp_path) in str(error.value))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (MemoryError("Unable to allocate 3 GiB"), "--workers"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "batch_size"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"), "nvidia-smi"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "training.batch_size"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: " + FULL), "--shm-size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. "), "--shm-size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "--workers"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "--workers"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
        (
            OSError("Caught OSError in a process.\nOriginal ...\nOSError: [Errno 24] Too many open files"),
            "ulimit",
        ),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "TMPDIR"),
        (OSError(errno.ENOSPC, FULL), "TMPDIR"),
    ],
)
def test_errors_known_by_their_text_have_a_remedy(error, remedy):
    assert remedy in machine.explain(error) and "\n" not in machine.explain(error)


def test_the_error_below_one_of_torch_is_explained(tmp_path):
    with pytest.raises(UserError, match=rf"{tmp_path}: {FULL}"), machine.one_line_errors(tmp_path):
        try:
            raise OSError(errno.ENOSPC, FULL)
        finally:
            raise RuntimeError("inline_container.cc: unexpected pos 768 vs 662")


@pytest.mark.parametrize(
    "error", [ValueError("memory"), RuntimeError("shapes differ"), OSError("bad"), KeyError(1)]
)
def test_other_errors_are_raised_unchanged(error):
    assert machine.explain(error) is None
    with pytest.raises(type(error)) as raised, machine.one_line_errors(Path("x")):
        raise error
    assert raised.value is error
