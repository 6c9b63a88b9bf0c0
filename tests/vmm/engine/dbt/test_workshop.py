"""A process that works for another one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

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


def pipes(_compiler: Compiler) -> set[int]:
    """The inodes of all that the process has open."""
    found = set()
    for number in range(1024):
        with suppress(OSError):
            found.add(os.fstat(number).st_ino)
    return found


def test_two_that_are_made_at_once_do_not_keep_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process ends when nobody can ask it any more: not both may have the end through which the other is asked."""
    fork = getattr(os, "fork", None)
    if fork is None:
        pytest.skip("this host cannot copy processes")

    def slowly() -> int:
        time.sleep(0.1)
        return fork()

    monkeypatch.setattr(os, "fork", slowly)
    both = Workshop(Compiler()), Workshop(Compiler())
    threads = [threading.Thread(target=one.open) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        ends = [os.fstat(one._requests.fileno()).st_ino for one in both]
        assert not (ends[0] in both[1].do(pipes) and ends[1] in both[0].do(pipes))
    finally:
        for one in both:
            one.close()
