"""OpenCV's own threads: switched off where other processes or threads use the cores."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2


def use_one_thread() -> None:
    """Let OpenCV use one thread in this process from now on."""
    cv2.setNumThreads(1)


@contextmanager
def single_thread() -> Iterator[None]:
    """Let OpenCV use one thread within the block, in this process; restore the previous number at its end.

    Used in the tasks of `lib.parallel.run`, which already occupy one core each.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
