"""One process alone needs no torch; several agree (their training together is tested with the training)."""

import os
import socket
import subprocess
import sys

import pytest

from lib import distributed
from tests.conftest import ROOT


def test_a_process_alone_is_the_primary_and_keeps_its_values():
    value = {"any": "object"}
    assert distributed.is_primary() and (distributed.WORLD, distributed.RANK) == (1, 0)
    with distributed.process_group():
        assert distributed.broadcast(value) is value
        assert distributed.gather(value) == [value]
        assert distributed.maximum(3) == 3
        distributed.barrier()


def run(code: str, **environment: str) -> str:
    """Run Python code with these environment variables; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_process_alone_does_not_load_torch():
    code = (
        "import sys; from lib import distributed\n"
        "with distributed.process_group(): distributed.broadcast(1), distributed.barrier()\n"
        "print('torch' in sys.modules, distributed.RANK)"
    )
    assert run(code, RANK="3", WORLD_SIZE="1") == "False 0", "a leftover RANK alone means nothing"


@pytest.mark.parametrize(("rank", "primary"), [("0", True), ("1", False)])
def test_rank_0_of_several_is_the_primary(rank, primary):
    code = (
        "from lib import console, distributed\n"
        "console.info('information'); print(distributed.is_primary(), distributed.WORLD)"
    )
    printed = run(code, WORLD_SIZE="2", RANK=rank).splitlines()
    assert printed[-1] == f"{primary} 2"
    assert ("information" in printed) == primary, "the others print nothing"


TWO = """
from lib import distributed
with distributed.process_group():
    rank = distributed.RANK
    values = distributed.broadcast("from 0" if distributed.is_primary() else "from 1")
    print([values, distributed.gather(rank), distributed.maximum(10 + rank)])
"""


def test_two_processes_agree():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = dict(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO],
            cwd=ROOT,
            env=os.environ | environment | {"RANK": rank, "LOCAL_RANK": rank, "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    printed = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert printed == ["['from 0', [0, 1], 11]"] * 2
