"""Breakpoints of the guest: found exactly where the interpreter finds them, and no hindrance to anything else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from sim.randprog import asm
from tests.vmm.engine.dbt import armed, corners, scenes
from tests.vmm.engine.dbt.armed import ACCESS, EXECUTE, PORT, WRITE, Breakpoint, arm, arm_randomly, control
from tests.vmm.engine.dbt.lockstep import BLOCKS, REGIONS, memory_differs, states_differ
from tests.vmm.engine.dbt.scenes import DATA, RWX, calls, loop, on, paging
from tests.vmm.engine.dbt.test_scenes import advance, alike
from tests.vmm.engine.machine import CODE, STACK, machine
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.engine.interpreter import Interpreter

_VARIANTS = {"blocks": BLOCKS, "regions": REGIONS, "mixed": Thresholds(warm=3, entered=4, hot=5, background=False)}
_OTHERS = scenes.SCENES | corners.CORNERS


def _maker(variant: str) -> Callable[..., Interpreter]:
    return lambda memory: Translator(memory, thresholds=_VARIANTS[variant])


@pytest.mark.parametrize("variant", ["regions", "mixed", pytest.param("blocks", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", armed.SCENES)
def test_scene(name: str, variant: str) -> None:
    for seed, longest in ((1, 400), (2, 7)):
        alike(armed.SCENES[name](Interpreter), armed.SCENES[name](_maker(variant)), seed, longest)


@pytest.mark.parametrize("name", armed.SCENES)
def test_a_scene_meets_its_breakpoints(name: str) -> None:
    cpu = armed.SCENES[name](Interpreter)
    advance(cpu, 4000)
    assert cpu.state.gpr[5]


#: Adds to memory, reads, calls, and again.
_BUSY = b"\x01\x0D" + asm.imm32(DATA) + b"\x03\x1D" + asm.imm32(DATA + 0x10)


def _busy(count: int, *breakpoints: Breakpoint) -> Translator:
    cpu = machine(loop(lambda here: _BUSY + calls(0x7100)(here + len(_BUSY)), count), _maker("mixed"))
    cpu.memory.load_blob(0x7100, b"\x42\xC3")
    assert isinstance(cpu, Translator)
    arm(cpu, *breakpoints)
    return cpu


@pytest.mark.parametrize("breakpoints", [
    [(0x7180, EXECUTE, 1)], [(DATA + 0x1000, WRITE, 4)], [(DATA + 0x1000, ACCESS, 4)], [(0x70, PORT, 1)],
    [(DATA + 0x20, WRITE, 4)], [(DATA + 0x20, ACCESS, 4)], [(0x7200, ACCESS, 4)], [(STACK - 0x20, ACCESS, 4)],
    [(DATA + 0x20, ACCESS, 4), (CODE + 0x100, ACCESS, 4), (0x7200, ACCESS, 4), (STACK - 0x20, ACCESS, 4)],
], ids=str)
def test_what_is_not_at_a_breakpoint_stays_native(breakpoints: list[Breakpoint]) -> None:
    """One that was armed anywhere used to leave every instruction to the interpreter."""
    cpu = _busy(2000, *breakpoints)
    while not cpu.state.halted:
        cpu.burst(1 << 20)
    found = cpu.statistics()
    assert found.native_steps > 0.98 * cpu.steps and sum(found.native_exits.values()) < 40
    assert cpu.state.gpr[5] == 0


@pytest.mark.parametrize(
    "breakpoints", [[(0x7100, EXECUTE, 1)], [(DATA, WRITE, 4)], [(DATA + 0x10, ACCESS, 4)]], ids=str)
def test_armed_by_an_interrupt_in_the_middle_of_a_loop(breakpoints: list[Breakpoint]) -> None:
    """The loop, a region by then, is interrupted; the handler arms, and the next interrupt disarms."""
    golden = machine(loop(lambda here: _BUSY + calls(0x7100)(here + len(_BUSY)), 60))
    tested = _busy(60)
    golden.memory.load_blob(0x7100, b"\x42\xC3")
    toggle = b"\x50\x0F\x21\xF8\x35" + asm.imm32(control(breakpoints) ^ control([])) + b"\x0F\x23\xF8\x58\xCF"
    hits, steps = 0, 0
    for cpu in (golden, tested):
        arm(cpu)
        on(cpu, 0x21, toggle)
        cpu.state.dr[0] = breakpoints[0][0]
        cpu.state.eflags |= 0x200
        cpu.state_changed()
    while not golden.state.halted:
        steps += 100
        for cpu in (golden, tested):
            if steps > 100 and cpu.can_interrupt:
                cpu.deliver_interrupt(0x21)
            advance(cpu, steps)
        assert not states_differ(golden, tested) + memory_differs(golden, tested)
        hits += golden.state.gpr[5] > 0
    assert hits and tested.statistics().regions


def test_nothing_of_an_armed_instruction_is_published() -> None:
    """Its translations stay, for when it is armed no more; so may one come that was being compiled."""
    cpu = _busy(200)
    while not cpu.state.halted:
        cpu.burst(1 << 20)
    store, address = cpu.translations, frozenset((0x7100,))
    unit = next(unit for unit in store.units if len(unit.blocks) > 1)
    translation, blocks = unit.translation, unit.blocks
    assert translation is not None and any(block.has_any(address) for block in blocks[1:])
    store.bar(address, frozenset())
    assert not unit.alive and not any(block.has_any(address) for unit in store.units for block in unit.blocks)
    another = store.add(unit.mode, blocks[0])
    assert not store.publish(another, translation, blocks) and not another.code
    store.bar(frozenset(), frozenset())
    assert store.publish(another, translation, blocks)


def test_versions_of_rewritten_code_with_an_armed_instruction_go() -> None:
    """A function whose first byte is that of MOV EAX, imm32 at first, and then NOP by turns: INC EBX comes and goes."""
    def body(here: int) -> bytes:
        # mov al, cl; and al, 1; imul eax, eax, -40; add al, 184; mov [7100h], al: 184 or 144
        put = b"\x88\xC8\x83\xE0\x01\x6B\xC0\xD8\x04\xB8\xA2" + asm.imm32(0x7100)
        return put + calls(0x7100)(here + len(put))
    golden, tested = (machine(loop(body, 100), make) for make in (Interpreter, _maker("regions")))
    for cpu in (golden, tested):
        cpu.memory.load_blob(0x7100, b"\xB8\x43\x42\x46\x90\x47\xC3")
        advance(cpu, 1000)
        arm(cpu, (0x7101, EXECUTE, 1))
        advance(cpu, 4000)
    assert isinstance(tested, Translator) and not states_differ(golden, tested) + memory_differs(golden, tested)
    assert golden.state.gpr[5] and golden.state.halted


def test_the_interpreter_keeps_its_fast_paths() -> None:
    cpu = _busy(10, (0x7200, WRITE, 4), (DATA + 0x1000, ACCESS, 4))
    advance(cpu, 60)
    reads, writes = cpu.mmu.reads[0], cpu.mmu.writes[0]
    cpu.read(DATA + 0x1000, 4, False)
    cpu.read(0x7200, 4, False)
    cpu.write(0x7204, 4, 0, False)
    assert [reads.get(page) is not None for page in (0xC, 0xD, 7)] == [True, False, True]
    assert [writes.get(page) is not None for page in (0xC, 0xD, 7)] == [True, False, False]


@pytest.mark.parametrize("late", [False, True])
def test_code_of_a_page_with_a_breakpoint_on_reads_does_not_look_for_it(late: bool) -> None:
    """A region of several pages asks the tables where they lie, which do not have this one, and would leave at once."""
    cpu = machine(loop(calls(0x2_6100), 400), _maker("mixed"))
    cpu.memory.load_blob(0x7100, b"\x43" + asm.jump(0x2_6101, 0x2_8100))
    cpu.memory.load_blob(0xA100, b"\x42\xC3")
    paging(cpu, {0x26: 0x7000 | RWX, 0x28: 0xA000 | RWX})
    for place in (CODE, 0x2_6000):
        if late:
            advance(cpu, cpu.steps + 500)
            assert cpu.statistics().regions
        arm(cpu, (place + 0x800, ACCESS, 4), (0xB000, ACCESS, 4))
    advance(cpu, 10_000)
    assert cpu.state.halted and cpu.statistics().native_exits.get("remapped", 0) < 3
    assert sum(cpu.statistics().native_exits.values()) < 80


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", _OTHERS)
def test_other_scenes_with_breakpoints_at_random(name: str, seed: int) -> None:
    """Some never end, for their handler meets what it handles."""
    plain, executed = _OTHERS[name](Interpreter), []
    while not (plain.state.halted or plain.state.shutdown) and len(executed) < 300:
        executed.append(plain.state.eip)
        plain.step()
    golden, tested = _OTHERS[name](Interpreter), _OTHERS[name](_maker("regions"))
    for cpu in (golden, tested):
        arm_randomly(cpu, random.Random(seed), executed)
    rng, steps = random.Random(seed), 0
    while steps < 1500 and not (golden.state.halted or golden.state.shutdown):
        since, steps = golden.state.eip, steps + rng.randrange(1, 100)
        advance(golden, steps)
        advance(tested, steps)
        found = states_differ(golden, tested) + memory_differs(golden, tested)
        assert not found, f"at step {golden.steps}, from {since:#x}: {'; '.join(found)}"
