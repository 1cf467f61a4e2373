"""What a script prints: lines, progress bars, sizes and durations."""

import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from lib.distributed import is_primary

PLAIN_LINE_SECONDS = 10.0  # between two progress lines when the output is not a terminal
PLAIN_LINE_LEFT = 20.0  # seconds; no line when less time remains

quiet = False  # whether only warnings and errors are shown
unread = False  # whether nobody reads the output any more: a closed pipe


def prepare_streams() -> None:
    """Let text that a terminal or pipe cannot encode be printed escaped, and closed streams be ignored."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by `>&-`: the next file to be opened would take its number
            stream = Path(os.devnull).open(mode)  # noqa: SIM115  it stays open
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def info(text: str) -> None:
    """Print one line immediately, above a progress bar if there is one; nothing with --quiet."""
    if is_primary() and not quiet:
        _print(text, sys.stdout)


def warn(text: str) -> None:
    """Print one warning to standard error, also with --quiet."""
    if is_primary():
        _print(f"warning: {text}", sys.stderr)


def error(text: str) -> None:
    """Print one line to standard error, from every process."""
    _print(text, sys.stderr)


def last_line(text: str) -> None:
    """Print one line, also with --quiet."""
    if is_primary():
        _print(text, sys.stdout)


def flush() -> None:
    """Write what has been printed; at exit, the interpreter would do it, with a traceback where it fails."""
    _print(None, sys.stdout)


def _print(text: str | None, stream: TextIO) -> None:
    """Print a line above a progress bar; the work does not fail because its output does.

    A pipe that nobody reads any more (``| head``, a lost connection) interrupts it, like SIGTERM.
    """
    global unread
    try:
        if text is not None:
            tqdm.write(text, file=stream)
        stream.flush()
    except OSError as problem:
        # the stream then leads nowhere, also for what it still holds and would write at exit
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        if stream is not sys.stdout:
            return
        if isinstance(problem, BrokenPipeError):
            unread = True
            signal.raise_signal(signal.SIGTERM)
        else:
            warn(f"standard output cannot be written ({problem.strerror}): what would be printed is lost")


def format_bytes(count: float) -> str:
    """Format a size, in powers of 1000.

    >>> format_bytes(45_000_000_000), format_bytes(512)
    ('45.0 GB', '512 bytes')
    """
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 1000 or unit == "TB":
            break
    return f"{count:.1f} {unit}"


def format_seconds(seconds: float) -> str:
    """Format a duration.

    >>> format_seconds(0.24), format_seconds(75), format_seconds(7322)
    ('0.2 s', '1 min 15 s', '2 h 02 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """A progress bar with rate and remaining time; occasional plain lines when not on a terminal.

    Parameters
    ----------
    total : int
        Number of units of work.
    label : str
        What is being done.
    unit : str
        What is counted, plural.
    done : int
        Units that an earlier, interrupted run has finished.
    """

    def __init__(self, total: int, label: str, unit: str, done: int = 0) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = self.done_before = done
        self.started = self.last_line = time.monotonic()
        self.metrics = ""
        self.bar = None
        if sys.stderr.isatty() and is_primary() and not quiet:
            self.bar = tqdm(
                total=total, initial=done, desc=label, unit=f" {unit}", file=sys.stderr,
                leave=False, dynamic_ncols=True,
            )  # fmt: skip

    def update(self, count: int = 1, metrics: str = "") -> None:
        """Count finished units; `metrics`, for example a loss, are shown after them."""
        self.done += count
        self.metrics = metrics or self.metrics
        if self.bar is not None:
            self.bar.set_postfix_str(self.metrics, refresh=False)
            self.bar.update(count)
        elif time.monotonic() - self.last_line >= PLAIN_LINE_SECONDS:
            self._plain_line()

    def _plain_line(self) -> None:
        now = time.monotonic()
        rate = max(self.done - self.done_before, 1e-9) / max(now - self.started, 1e-9)
        left = (self.total - self.done) / rate
        if left < PLAIN_LINE_LEFT:
            return
        self.last_line = now
        info(
            f"  {self.label}: {self.done:,} of {self.total:,} {self.unit}, {rate:,.1f} per second, "
            f"{format_seconds(left)} left" + (f", {self.metrics}" if self.metrics else "")
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()
