"""A process that works for another one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from llvmlite.binding import ffi as LLVM

from vmm.engine.dbt.compiler import CompileError, Compiler, Effort
from vmm.engine.dbt.workshop import Stopped, Workshop

ANSWER = "define dso_local i32 @answer() {\nret i32 42\n}"


def emitted(compiler: Compiler, text: str) -> bytes:
    return compiler.emit(text, Effort.WARM, ["answer"])


def sleeping(_compiler: Compiler) -> None:
    time.sleep(60)


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop(Compiler())
    if not made.open():
        pytest.skip("this host cannot copy processes")
    yield made
    made.close()


def test_gives_back_what_work_returns_and_raises(workshop: Workshop) -> None:
    first = workshop.do(emitted, ANSWER)
    assert "answer" in Compiler().load(first, ["answer"]).symbols
    with pytest.raises(CompileError):
        workshop.do(emitted, "nonsense")
    assert workshop.do(emitted, ANSWER) == first


def test_stops_in_the_middle_of_work(workshop: Workshop) -> None:
    caught: list[Exception] = []

    def ask() -> None:
        try:
            workshop.do(sleeping)
        except Stopped as stopped:
            caught.append(stopped)

    thread = threading.Thread(target=ask)
    thread.start()
    workshop.stop()
    thread.join(20)
    assert caught and not thread.is_alive() and not workshop.is_open


def test_does_not_open_again(workshop: Workshop) -> None:
    workshop.stop()
    assert not workshop.open()
    with pytest.raises(Stopped):
        workshop.do(sleeping)


def test_is_copied_while_another_thread_is_in_llvm() -> None:
    inside, copied = threading.Event(), threading.Event()

    def compile_for_long() -> None:
        with LLVM.lib._lock:
            inside.set()
            copied.wait(0.2)

    made = Workshop(Compiler())
    results: list[bytes] = []
    thread = threading.Thread(target=compile_for_long)
    thread.start()
    inside.wait()
    if not made.open():
        pytest.skip("this host cannot copy processes")
    copied.set()
    asking = threading.Thread(target=lambda: results.append(made.do(emitted, ANSWER)), daemon=True)
    asking.start()
    asking.join(20)
    made.stop()
    thread.join()
    assert results, "the process waits for a lock that nobody there will ever give back"
    made.close()
