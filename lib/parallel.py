"""One function applied to many tasks, in several processes or on a Dask cluster, with one progress bar."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from lib import signals
from lib.console import Progress, info
from lib.errors import UserError

CONNECT_SECONDS = 10  # within which a Dask scheduler must answer


@contextmanager
def dask(address: str | None) -> Iterator[None]:
    """Send the tasks of `run` to a Dask cluster within the block, through joblib's Dask backend.

    Parameters
    ----------
    address : str or None
        Address of the scheduler, for example ``tcp://host:8786``; None: no cluster. The workers need the
        project's folder as their working folder, its environment, and ``data/`` and ``outputs/`` at the same
        paths.

    Raises
    ------
    UserError
        If the package distributed is not installed, or no scheduler answers.
    """
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise UserError("--dask needs the package distributed: pip install dask distributed") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--dask {address}: no scheduler answers ({error}); expected an address such as tcp://host:8786"
        ) from None
    with client, parallel_config(backend="dask"):
        info(f"using the Dask cluster {address} with {sum(client.ncores().values())} cores")
        yield


def run(function: Callable, tasks: list, workers: int, progress: Progress) -> Iterator[Any]:
    """Yield ``function(task)`` for every task, in the order in which they finish.

    Parameters
    ----------
    function : callable
        Defined in a module of `lib`, since it is sent to other processes by name.
    workers : int
        Number of processes; 1: this process alone. A Dask cluster uses its own number.
    progress : Progress
        Advanced by ``len(task)`` for tasks that have a length, else by 1.

    Raises
    ------
    UserError
        If a worker process was killed; errors of tasks are raised unchanged.
    """
    pool = Parallel(n_jobs=min(workers, max(len(tasks), 1)), return_as="generator_unordered")
    try:
        with signals.deaf_to_hang_up():
            results = pool(delayed(_counted)(function, task, os.getpid()) for task in tasks)
        for count, result in results:
            progress.update(count)
            yield result
    except TerminatedWorkerError:
        raise UserError(
            f"{progress.label}: a worker process was killed, most often because memory ran out; "
            f"run the same command again with fewer processes, for example --workers {max(workers // 2, 1)}"
        ) from None


def _counted(function: Callable, task: Any, parent: int) -> tuple[int, Any]:
    # a process of the pool; a cluster's worker has another parent, or works in a thread
    if os.getppid() == parent and threading.current_thread() is threading.main_thread():
        signals.follow(parent)
    return (len(task) if hasattr(task, "__len__") else 1), function(task)
