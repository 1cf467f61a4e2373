"""Several processes that train one network together: torchrun starts them, each takes its part of a batch.

Nothing here does anything in a process that was started alone, and torch is imported only where there
are several. `lib.ranks` says which of them writes and prints.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lib.ranks import WORLD


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that torchrun started, for the block."""
    if WORLD == 1:
        yield
        return
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # objects travel by gloo on the CPU, gradients by nccl where there are GPUs
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        distributed.barrier()  # without it, some exits abort
    finally:
        distributed.destroy_process_group()


def agree(value: Any) -> Any:
    """Return what rank 0 has, in every process."""
    if WORLD == 1:
        return value
    from torch import distributed

    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def gather(value: Any) -> list[Any]:
    """Return what every process has, by rank, in every process."""
    if WORLD == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * WORLD
    distributed.all_gather_object(values, value)
    return values


def largest(value: int) -> int:
    """Return the largest of all processes' numbers, in every process; cheap enough for every step."""
    if WORLD == 1:
        return value
    import torch
    from torch import distributed

    tensor = torch.tensor(value)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return int(tensor)


def wait() -> None:
    """Wait until every process has come here."""
    agree(None)
