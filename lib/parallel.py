"""The same function over many tasks, in several processes or on a Dask cluster, with one progress bar."""

import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from lib.console import Progress, pass_on, say
from lib.errors import UserError

ANSWER_SECONDS = 10  # that a Dask scheduler has to answer in


@contextmanager
def dask(address: str | None) -> Iterator[None]:
    """Within the block, send the tasks of `run` to a Dask cluster; without an address, not.

    joblib's backend does it; nothing else changes.

    Parameters
    ----------
    address : str or None
        Of the scheduler, ``tcp://host:8786`` for example. Its workers need the project's folder as
        their working folder, its environment, and ``data/`` and ``outputs/`` under the same paths.

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
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--dask {address}: no scheduler answers ({error}); expected an address such as tcp://host:8786"
        ) from None
    with client, parallel_config(backend="dask"):
        say(f"on the Dask cluster {address}: {sum(client.ncores().values())} cores")
        yield


def run(function: Callable, tasks: list, workers: int, progress: Progress) -> Iterator[Any]:
    """Yield ``function(task)`` for every task, in the order in which they finish.

    Parameters
    ----------
    function : callable
        Defined in a module of `lib` (it is sent to other processes by name).
    workers : int
        Number of processes; 1 works in this process. A Dask cluster has its own number.
    progress : Progress
        Advanced by ``len(task)`` for a task that has a length, else by 1.

    Raises
    ------
    UserError
        What a task raised, or that a worker process was killed.
    """
    engine = Parallel(n_jobs=min(workers, max(len(tasks), 1)), return_as="generator_unordered")
    try:
        for count, result in engine(delayed(_counted)(function, task) for task in tasks):
            progress.update(count)
            yield result
    except TerminatedWorkerError:
        raise UserError(
            f"{progress.label}: a worker process was killed, most often for lack of memory; "
            f"run the same command again with fewer processes, for example --workers {max(workers // 2, 1)}"
        ) from None


def _counted(function: Callable, task: Any) -> tuple[int, Any]:
    return (len(task) if hasattr(task, "__len__") else 1), function(task)


def programs(
    commands: dict[str, list[str]], at_once: int, environment: Callable[[int, int], dict[str, str]]
) -> None:
    """Run programs, some at once, and show their lines, each behind its name.

    An interruption is passed on to those that run, and waited for.

    Parameters
    ----------
    commands : dict of list of str
        By name.
    environment : callable
        Of the place that a program runs in, 0 to `at_once` - 1, and `at_once`: what it finds in its
        environment besides what this process does.

    Raises
    ------
    UserError
        If programs end with an error; the others are brought to their end first.
    """
    places: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in range(at_once):
        places.put(place)
    running: dict[str, subprocess.Popen] = {}
    stopping = threading.Event()

    def one(name: str) -> int:
        place = places.get()
        try:
            if stopping.is_set():
                return 0
            own = os.environ | environment(place, at_once)
            with subprocess.Popen(
                commands[name], env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,  # Ctrl-C comes through this process, once
            ) as process:  # fmt: skip
                running[name] = process
                for line in process.stdout:
                    pass_on(f"[{name}] {line.rstrip()}")
            del running[name]
            return process.returncode
        finally:
            places.put(place)

    with ThreadPoolExecutor(at_once) as pool:
        results = {name: pool.submit(one, name) for name in commands}
        try:
            failed = [name for name, result in results.items() if result.result()]
        except KeyboardInterrupt:
            stopping.set()
            for process in list(running.values()):
                process.terminate()
            raise
    if failed:
        raise UserError(f"failed: {', '.join(failed)}; the lines above say why. What is finished is kept")
