"""Timed processes."""

import sys

import pytest

from sim.bench.process import ProcessFailed, run


def test_what_a_process_leaves() -> None:
    program = "import os, sys; print(os.environ['WORD']); sys.exit('bad\\r\\n')"
    ran = run([sys.executable, "-c", program], {"WORD": "good"})
    assert (ran.status, ran.output, ran.errors) == (1, "good\n", "bad\r\n\n")
    assert ran.wall > 0 and ran.processor > 0


def test_only_work_is_processor_time() -> None:
    idle = run([sys.executable, "-S", "-c", "import time; time.sleep(0.5)"])
    assert idle.wall > 0.5 and idle.processor < idle.wall - 0.2


def test_a_process_that_hangs() -> None:
    with pytest.raises(ProcessFailed, match=r"^not done after 0\.2 s$"):
        run([sys.executable, "-c", "while True: pass"], timeout=0.2)


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(ProcessFailed, match="^/nowhere/qemu cannot be started: No such file or directory$"):
        run(["/nowhere/qemu"])
