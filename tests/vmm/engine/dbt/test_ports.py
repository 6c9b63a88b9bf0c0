"""Port accesses that Python makes in the middle of native code."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.vmm.engine.dbt.lockstep import VARIANTS, Difference, Pair, translator
from vmm.engine.emulate import EmulatedMachine, StopReason

RAM, CODE, STACK = 1 << 20, 0x1000, 0x8000
#: Ends the run: MOV AL, 0; OUT F4h, AL.
END = bytes.fromhex("b000 e6f4")
#: 200 times: MOV EDX, 3FDh; IN AL, DX; ADD EBX, EAX; OUT 80h, AL.
POLL = bytes.fromhex("b9c8000000 bafd030000 ec 01c3 e680 49 75f2") + END


def machine(code: bytes, variant: str | None) -> EmulatedMachine:
    made = EmulatedMachine(RAM) if variant is None else EmulatedMachine(RAM, processor=translator(VARIANTS[variant]))
    made.memory.load_blob(CODE, code)
    made.cpu.state.eip, made.cpu.state.gpr[4] = CODE, STACK
    return made


@pytest.mark.parametrize("variant", ["blocks", "regions"])
def test_stays_native(variant: str) -> None:
    tested = machine(POLL, variant)
    outcome = Pair(machine(POLL, None), tested, random.Random(1)).run(10_000)
    assert not isinstance(outcome, Difference), outcome
    whole = machine(POLL, variant)
    assert whole.run(10_000).reason is StopReason.GUEST_EXIT
    exits = whole.cpu.statistics().native_exits
    assert sum(exits.values()) < 40 and "interpret" not in exits


@pytest.mark.parametrize("variant", ["blocks", "regions"])
def test_an_event_that_the_access_brings_near_is_in_time(variant: str) -> None:
    """The PIT's next event, asked for by a port access, comes before the one that was due when native code began."""
    # PIC: vectors from 20h, only the timer; PIT: 400 clocks, then a loop, then HLT with interrupts off
    start = bytes.fromhex("b011e620 b020e621 b004e621 b001e621 b0fee621 b034e643 b064e640 b000e640") + bytes.fromhex(
        "fb b910270000 49 75fd fa f4")
    machines = machine(start, None), machine(start, variant)
    for made in machines:
        # an IDT with vector 20h at 3000h: INC EBX; MOV AL, 20h; OUT 20h, AL; IRET. A GDT with flat segments
        made.memory.load_blob(0x2000 + 8 * 0x20, bytes.fromhex("00300800008e0000"))
        made.memory.load_blob(0x2800, bytes(8) + bytes.fromhex("ffff0000009acf00 ffff00000092cf00"))
        made.memory.load_blob(0x3000, bytes.fromhex("43 b020 e620 cf"))
        state = made.cpu.state
        state.idtr_base, state.idtr_limit, state.gdtr_base, state.gdtr_limit = 0x2000, 0x7FF, 0x2800, 0x17
        made.cpu.state_changed()
    outcome = Pair(*machines, random.Random(2)).run(60_000)
    assert not isinstance(outcome, Difference), outcome
    assert machines[0].cpu.state.gpr[3] > 5


@pytest.mark.parametrize("variant", ["blocks", "regions"])
@pytest.mark.parametrize("port", [0x80, 0xE9, 0x81])
def test_a_breakpoint_on_a_port(port: int, variant: str) -> None:
    """It is met behind each access, while it is armed: not by native code, nor by what it leaves in the sink."""
    # 40 times: OUT 80h, AL; OUT E9h, AL; INC EBX; on the way at ECX = 30 armed, at 10 disarmed by MOV DR7, EDX
    arm = bytes.fromhex("83f91e 7508 ba010402000f23fa 83f90a 7508 ba000400000f23fa")
    code = bytes.fromhex("b928000000") + (body := bytes.fromhex("e680 e6e9 43") + arm + b"\x49")
    code += b"\x75" + bytes([0x100 - len(body) - 2]) + END
    machines = machine(code, None), machine(code, variant)
    for made in machines:
        made.memory.load_blob(0x2000 + 8, bytes.fromhex("00300800008e0000"))
        made.memory.load_blob(0x2800, bytes(8) + bytes.fromhex("ffff0000009acf00 ffff00000092cf00"))
        made.memory.load_blob(0x3000, bytes.fromhex("46cf"))
        state = made.cpu.state
        state.idtr_base, state.idtr_limit, state.gdtr_base, state.gdtr_limit = 0x2000, 0x7FF, 0x2800, 0x17
        state.cr4, state.dr[0] = 8, port
        made.cpu.state_changed()
    outcome = Pair(*machines, random.Random(3)).run(10_000)
    assert not isinstance(outcome, Difference), outcome
    assert machines[0].cpu.state.gpr[6] == (0 if port == 0x81 else 20)
    assert machines[0].platform.console_out == machines[1].platform.console_out != b""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("done", [False, True])
def test_what_an_access_raises(error: type[BaseException], done: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches who runs the machine, at the instruction or behind it, everything counted; then the run goes on."""
    golden, tested = machine(POLL, None), machine(POLL, "blocks")
    tested.run(60)
    golden.run(60)
    calls = 0
    write: Callable[[int, int, int], None] = tested.platform.write

    def failing(port: int, size: int, value: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            if done:
                write(port, size, value)
                monkeypatch.setattr(tested, "proceed", raising)
                return
            raise error
        write(port, size, value)

    def raising() -> int:
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(tested.platform, "write", failing)
    with pytest.raises(error):
        tested.run(1000)
    golden.run(tested.cpu.state.instructions - golden.cpu.state.instructions)
    assert golden.cpu.state.to_dict() == tested.cpu.state.to_dict() and golden.cpu.steps == tested.cpu.steps
    assert tested.run(10_000) == golden.run(10_000)
    assert golden.cpu.state.to_dict() == tested.cpu.state.to_dict()
