"""What LLVM refuses stays with the interpreter, and is counted."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import pytest

from tests.vmm.engine.dbt.lockstep import BLOCKS, REGIONS, CachingCompiler, states_differ
from tests.vmm.engine.dbt.scenes import loop
from tests.vmm.engine.machine import CODE, machine
from vmm.engine.dbt import translator as module
from vmm.engine.dbt.compiler import Compiled, CompileError, Effort
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.region import Region
from vmm.engine.dbt.translator import Translator
from vmm.engine.interpreter import Interpreter

#: A loop of several blocks.
_CODE = loop(b"\x43\xEB\x00\x0F\xCB\xEB\x00\x01\xDA")


class Refusing(CachingCompiler):
    """Refuses all code of the guest that is compiled with one of `efforts`."""

    efforts: tuple[Effort, ...] = ()

    def compile(self, text: str, effort: Effort, names: list[str]) -> Compiled:
        if effort in self.efforts and "enter" not in names and "raise_fault" not in names:
            raise CompileError("not today")
        return super().compile(text, effort, names)


def _translated(monkeypatch: pytest.MonkeyPatch, *efforts: Effort) -> Translator:
    monkeypatch.setattr(Refusing, "efforts", efforts)
    monkeypatch.setattr(module, "Compiler", Refusing)
    golden = machine(_CODE, Interpreter)
    tested = machine(_CODE, lambda memory: Translator(memory, thresholds=REGIONS if efforts[-1:] == (Effort.HOT,)
                                                      else BLOCKS))
    golden.run(1000)
    tested.run(1000)
    assert golden.state.halted and not states_differ(golden, tested)
    return tested  # type: ignore[return-value]


def test_blocks_that_are_refused_are_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = _translated(monkeypatch, Effort.WARM)
    assert tested.tiers.warm == 0 and tested.tiers.failures > 2 and tested.tiers.failure == "not today"
    assert tested.statistics().native_steps == 0


def test_a_region_that_is_refused_leaves_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = _translated(monkeypatch, Effort.HOT)
    assert tested.tiers.regions == 0 and tested.tiers.failures > 0 and tested.tiers.warm > 2
    assert tested.statistics().native_steps > 50


_PARENT = os.getpid()
#: Where the loop's second block begins.
_FATAL = CODE + _CODE.index(b"\x0F\xCB")


def deadly(name: str, head: Block, *args: Any, **options: Any) -> Region:
    """A region, except for one block: that kills the process that compiles."""
    if head.eip == _FATAL and os.getpid() != _PARENT:
        os.kill(os.getpid(), signal.SIGKILL)
    return Region(name, head, *args, **options)


def test_a_block_that_kills_the_process_that_compiles() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this host cannot copy processes")
    golden = machine(_CODE, Interpreter)
    tested = machine(_CODE, lambda memory: Translator(memory, thresholds=replace(BLOCKS, background=True)))
    assert isinstance(tested, Translator)
    tested.tiers.region = deadly
    try:
        for _ in range(20):
            tested.run(40)
            tested.tiers.settle()
        golden.run(800)
        assert golden.state.halted and not states_differ(golden, tested)
        assert tested.tiers.failures == 1 and "process" in tested.tiers.failure
        assert tested.tiers.warm > 2 and tested.statistics().native_steps > 20
    finally:
        tested.close()


def deadly_text(*_arguments: Any) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def test_routines_that_kill_the_process_that_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this host cannot copy processes")
    monkeypatch.setattr(module.native, "text", deadly_text)
    golden = machine(_CODE, Interpreter)
    tested = machine(_CODE, lambda memory: Translator(memory, thresholds=replace(BLOCKS, background=True)))
    assert isinstance(tested, Translator)
    try:
        for _ in range(20):
            tested.run(40)
            tested.tiers.settle()
        golden.run(800)
        assert golden.state.halted and not states_differ(golden, tested)
        assert tested.tiers.failures == 1 and tested.tiers.warm > 2
    finally:
        tested.close()
