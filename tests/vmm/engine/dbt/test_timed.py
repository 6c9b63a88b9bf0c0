"""Translated code with the timing model: the very record of the interpreter's, wherever a run is cut."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sim.randprog import asm, generate
from sim.randprog.world import COUNTER
from sim.randprog.world import RAM as WORLD
from tests.vmm.engine.boot import boot
from tests.vmm.engine.dbt import rewriting
from tests.vmm.engine.dbt.armed import ACCESS, EXECUTE, WRITE, Breakpoint, control
from tests.vmm.engine.dbt.lockstep import BLOCKS, memory_differs, states_differ
from tests.vmm.engine.dbt.scenes import DATA, loop
from tests.vmm.engine.machine import CODE
from tests.vmm.timing import test_machine as programs
from tests.vmm.timing.code import COSTS
from vmm.engine.dbt.timed import TimedTranslator
from vmm.engine.dbt.translator import Thresholds
from vmm.engine.emulate import StopReason
from vmm.timing.machine import TimedMachine, Timing

REGIONS = replace(BLOCKS, hot=20)


def machines(ram: int, thresholds: Thresholds, caches: bool = True) -> tuple[TimedMachine, TimedMachine]:
    """One that interprets, one that translates."""
    timing = Timing(COSTS, caches)
    return TimedMachine(ram, timing), TimedMachine(
        ram, timing, processor=partial(TimedTranslator, thresholds=thresholds))


def differences(golden: TimedMachine, tested: TimedMachine) -> list[str]:
    found = states_differ(golden.cpu, tested.cpu)
    if golden.platform.cycles != tested.platform.cycles or golden.idle != tested.idle:
        found.append(f"virtual time {golden.platform.cycles}, {golden.idle} of it asleep, "
                     f"but {tested.platform.cycles}, {tested.idle}")
    one, two = golden.model.state, tested.model.state
    if bytes(one) != bytes(two):
        found += [f"model's {name}: {getattr(one, name)} but {getattr(two, name)}" for name, *_ in type(one)._fields_
                  if bytes(_bytes(one, name)) != bytes(_bytes(two, name))]
    return found


def _bytes(state: object, name: str) -> bytes:
    value = getattr(state, name)
    return repr(value if isinstance(value, int) else list(value)).encode()


def run_both(golden: TimedMachine, tested: TimedMachine, rng: random.Random, limit: int) -> StopReason:
    """Run both in slices of random lengths; they must never differ."""
    try:
        while True:
            length = rng.choice((1, 2, 7, rng.randrange(1, 60), rng.randrange(1, 4000)))
            since = golden.cpu.state.eip
            one, two = golden.run(length), tested.run(length)
            assert not differences(golden, tested), f"in {length} from {since:#x}"
            assert one == two
            if one.reason is not StopReason.LIMIT or golden.cpu.state.instructions >= limit:
                assert not memory_differs(golden.cpu, tested.cpu)
                return one.reason
    finally:
        tested.cpu.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("caches", [True, False])
@pytest.mark.parametrize("thresholds", [BLOCKS, REGIONS], ids=["blocks", "regions"])
def test_a_program(thresholds: Thresholds, caches: bool) -> None:
    golden, tested = machines(programs.RAM, thresholds, caches)
    for machine in (golden, tested):
        programs.place(machine.memory, machine.timed)
    if not caches:
        # what nobody asks is not kept up to date
        run_without_caches(golden, tested)
        return
    assert run_both(golden, tested, random.Random(1), 10_000) is StopReason.HALT_FOREVER
    assert tested.timed.statistics().native_steps > 500


def run_without_caches(golden: TimedMachine, tested: TimedMachine) -> None:
    for machine in (golden, tested):
        assert machine.run(10_000).reason is StopReason.HALT_FOREVER
    assert (tested.model.cycles, tested.platform.cycles) == (golden.model.cycles, golden.platform.cycles)
    assert tested.model.state.data_misses == 0


@pytest.mark.parametrize("breakpoint_", [(DATA + 0x20, ACCESS, 4), (DATA + 0x7C, WRITE, 4), (CODE + 12, EXECUTE, 1)])
def test_breakpoints(breakpoint_: Breakpoint) -> None:
    """A misaligned load from a page with a breakpoint, and a push that may meet it: the model sees each access once."""
    golden, tested = machines(programs.RAM, REGIONS)
    for machine in (golden, tested):
        machine.memory.load_blob(CODE, loop(b"\xFF\x35" + asm.imm32(DATA + 0x31) + b"\x5B", 100))
        state = machine.cpu.state
        state.eip, state.gpr[4] = CODE, DATA + 0x84
        state.dr[0], state.dr[7] = breakpoint_[0], control([breakpoint_])
        machine.cpu.state_changed()
    met = breakpoint_[0] != DATA + 0x20
    assert run_both(golden, tested, random.Random(1), 2000) is (
        StopReason.SHUTDOWN if met else StopReason.HALT_FOREVER)


@pytest.mark.parametrize("seed", [3, 7, 40, 43])
def test_random_programs(seed: int) -> None:
    """Faults, segments, paging, levels, and a timer whose interrupts come between runs."""
    program = generate(seed, 60)
    golden, tested = machines(WORLD, BLOCKS)
    for machine in (golden, tested):
        for segment in program.image.segments:
            machine.memory.load_blob(segment.address, segment.data)
        machine.memory.write32(COUNTER, 3)
        machine.cpu.state.eip = program.image.entry
        machine.cpu.state_changed()
    run_both(golden, tested, random.Random(seed), 2500)


@pytest.mark.parametrize("name, options", [
    ("dhry", "iterations=5"), ("recursion", "iterations=1"), ("strings", "iterations=1"), ("selfmod", "iterations=30"),
    ("syscalls", "iterations=20"), ("timer", "iterations=3"), ("pagefaults", "iterations=1"),
])
def test_guests(name: str, options: str, built: dict[str, Path]) -> None:
    golden, tested = machines(2 << 20, BLOCKS)
    for machine in (golden, tested):
        boot(built[name], options, machine=machine)
    assert run_both(golden, tested, random.Random(name), 40_000) in (StopReason.GUEST_EXIT, StopReason.LIMIT)


def test_compiled_in_the_background() -> None:
    """Code was used before the model's routines it calls were there."""
    golden, tested = machines(programs.RAM, replace(BLOCKS, background=True))
    for machine in (golden, tested):
        programs.place(machine.memory, machine.timed)
    assert run_both(golden, tested, random.Random(1), 10_000) is StopReason.HALT_FOREVER


def test_another_deadline_stops_native_code() -> None:
    """Nothing is run beyond the first end of a run behind the deadline."""
    _golden, tested = machines(programs.RAM, BLOCKS)
    programs.place(tested.memory, tested.timed)
    cpu = tested.timed
    for _ in range(3):
        tested.run(1000)
    cpu.deadline = tested.model.cycles
    while not cpu.between_runs:
        cpu.burst(1000)
    before = cpu.steps
    cpu.burst(1000)
    assert cpu.steps == before
    tested.cpu.close()  # type: ignore[attr-defined]


def test_lines_of_an_instruction_that_is_given_up_are_not_fetched_twice() -> None:
    """The run has dropped its own line from the cache before, and went on with what it had of it."""
    store, load = b"\x89\x0D\x04\x00\x02\x00", b"\xA1\x00\x00\xC0\xFE"
    code = b"\xEB\x06" + bytes(6) + store + b"\x90" * 16 + load + b"\xE9\xD8\xFF\xFF\xFF"
    golden, tested = machines(rewriting.RAM, BLOCKS)
    for machine in (golden, tested):
        rewriting.surround(machine, False)
        machine.memory.load_blob(rewriting.BODY, code)
        machine.cpu.state.eip = rewriting.BODY
        machine.cpu.state_changed()
    assert run_both(golden, tested, random.Random(1), 4000) is StopReason.LIMIT
    assert golden.model.state.code_writes > 100 and tested.timed.statistics().native_exits["interpret"] > 100


def test_a_load_of_ss_that_faults_casts_no_shadow_on_the_handler() -> None:
    """It took the first instruction of the handler for a run of its own; translated code did not."""
    push, stack = b"\x68\x34\x12\x00\x00", rewriting.STACK.to_bytes(4, "little")
    golden, tested = machines(rewriting.RAM, BLOCKS)
    for machine in (golden, tested):
        rewriting.surround(machine, False)
        machine.memory.load_blob(rewriting.BODY, push + b"\x17\x90")
        back = (rewriting.BODY - rewriting.HANDLERS - 10).to_bytes(4, "little")
        machine.memory.load_blob(rewriting.HANDLERS, b"\xBC" + stack + b"\xE9" + back)
        machine.cpu.state.eip = rewriting.BODY
        machine.cpu.state_changed()
    assert run_both(golden, tested, random.Random(1), 2000) is StopReason.LIMIT
    assert tested.timed.statistics().deliveries > 100


def test_port_accesses_are_made_in_the_middle_of_native_code(built: dict[str, Path]) -> None:
    """Devices see the time of the access; that what comes out is the interpreter's, `test_guests` tells."""
    _golden, tested = machines(2 << 20, BLOCKS)
    boot(built["timer"], "iterations=40", machine=tested)
    assert tested.run(1_000_000).reason is StopReason.GUEST_EXIT
    tested.cpu.close()  # type: ignore[attr-defined]
    found = tested.timed.statistics()
    assert found.native_exits.get("interpret", 0) < 10 and found.native_exits["attention"] >= 40


def test_a_device_that_is_programmed_natively_ends_the_run_when_it_is_due() -> None:
    """The timer is set, and its interrupt comes, without Python between: at the interpreter's cycle."""
    out = b"".join(b"\xB0" + bytes((value,)) + b"\xE6" + bytes((port,)) for port, value in (
        (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE), (0x43, 0x30), (0x40, 40), (0x40, 0)))
    body = b"\x40" * 7 + out + b"\xFB\x41\x89\x0D" + rewriting.DATA.to_bytes(4, "little") + b"\xEB\xF7"
    golden, tested = machines(rewriting.RAM, BLOCKS)
    for machine in (golden, tested):
        rewriting.surround(machine, False)
        machine.memory.load_blob(rewriting.BODY, body)
        back = (rewriting.BODY - rewriting.HANDLERS - 10).to_bytes(4, "little")
        machine.memory.load_blob(
            rewriting.HANDLERS, b"\xBC" + rewriting.STACK.to_bytes(4, "little") + b"\xE9" + back)
        machine.cpu.state.eip = rewriting.BODY
        machine.cpu.state_changed()
    assert run_both(golden, tested, random.Random(1), 30_000) is StopReason.LIMIT
    assert tested.timed.statistics().native_exits["attention"] > 10
