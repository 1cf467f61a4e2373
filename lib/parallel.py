"""The same function over many tasks, in several processes, with one progress bar.

joblib's engine: ``joblib.parallel_config(backend="dask")`` around a call sends the tasks to a
Dask cluster instead.
"""

from collections.abc import Callable, Iterator
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from lib.console import Progress
from lib.errors import UserError


def run(function: Callable, tasks: list, workers: int, progress: Progress) -> Iterator[Any]:
    """Yield ``function(task)`` for every task, in the order in which they finish.

    Parameters
    ----------
    function : callable
        Defined in a module of `lib` (it is sent to other processes by name).
    workers : int
        Number of processes; 1 works in this process.
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
