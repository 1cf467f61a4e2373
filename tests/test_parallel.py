import os
import signal
import sys
import threading
import time

import pytest

from lib import parallel
from lib.errors import UserError


def program(code):
    return [sys.executable, "-uc", f"import os, signal, sys, time\n{code}"]


def no_more(_number, _at_once):
    return {}


def test_lines_stand_behind_their_programs_name_and_places_are_taken_in_turn(capfd):
    code = "time.sleep(0.2); print('in place', os.environ['PLACE'])"
    parallel.programs(
        {name: program(code) for name in "abc"},
        2,
        lambda number, at_once: {"PLACE": f"{number} of {at_once}"},
    )
    lines = capfd.readouterr().out.splitlines()
    assert sorted(line[:3] for line in lines) == ["[a]", "[b]", "[c]"]
    assert {line[4:] for line in lines} == {"in place 0 of 2", "in place 1 of 2"}


def test_a_program_that_fails_is_named_after_the_others_have_ended(capfd):
    commands = {"good": program("time.sleep(0.5); print('done')"), "bad": program("sys.exit('broken')")}
    with pytest.raises(UserError, match=r"^failed: bad; the lines above say why. What is finished is kept$"):
        parallel.programs(commands, 2, no_more)
    assert sorted(capfd.readouterr().out.splitlines()) == ["[bad] broken", "[good] done"]


def test_an_interruption_is_passed_on_and_waited_for(capfd):
    code = """
def stop(number, frame):
    time.sleep(0.3)
    print('saved')
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
print('ready')
time.sleep(60)
"""
    started = time.monotonic()
    interrupt = threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        parallel.programs({name: program(code) for name in "abc"}, 2, no_more)
    assert time.monotonic() - started < 30
    lines = sorted(capfd.readouterr().out.splitlines())
    assert lines == ["[a] ready", "[a] saved", "[b] ready", "[b] saved"]  # c was not begun
