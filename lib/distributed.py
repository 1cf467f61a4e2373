"""Several processes that train one network together, started by torchrun; each takes a share of every batch.

In a process that was started alone, the functions return immediately and torch is not imported. Code that
writes a file, takes a lock or prints for the user checks `is_primary` first.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WORLD = int(os.environ.get("WORLD_SIZE", "1"))  # processes that train together
# on this machine, also those that train a network each: they share its cores and its memory
LOCAL_WORLD = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
RANK = int(os.environ.get("RANK", "0")) if WORLD > 1 else 0


def is_primary() -> bool:
    """Return whether this process writes and prints; the others only compute."""
    return RANK == 0


@contextmanager
def process_group() -> Iterator[None]:
    """Connect the processes that torchrun started, for the block."""
    if WORLD == 1:
        yield
        return
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # objects are exchanged with gloo on the CPU, gradients with nccl where there are GPUs
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        distributed.barrier()  # else an early exit aborts the others
    finally:
        distributed.destroy_process_group()
        # gloo's threads end with the last object that refers to their group, such as a network in a cycle of
        # references; one that still held a tensor while Python shuts down would abort the process
        gc.collect()


def broadcast(value: Any) -> Any:
    """Return the primary process's value, in every process."""
    if WORLD == 1:
        return value
    from torch import distributed

    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def gather(value: Any) -> list[Any]:
    """Return every process's value, by rank, in every process."""
    if WORLD == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * WORLD
    distributed.all_gather_object(values, value)
    return values


def maximum(value: int) -> int:
    """Return the largest of all processes' numbers, in every process; cheap enough to call at every step."""
    if WORLD == 1:
        return value
    import torch
    from torch import distributed

    tensor = torch.tensor(value)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return int(tensor)


def barrier() -> None:
    """Wait until every process has reached this point."""
    broadcast(None)
