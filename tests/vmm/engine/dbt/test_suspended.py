"""Code of a page that is loaded again and again is compiled once, and comes back as a whole."""

from __future__ import annotations

import pytest

from tests.vmm.engine.dbt.armed import EXECUTE, arm
from tests.vmm.engine.dbt.lockstep import BLOCKS, memory_differs, states_differ
from tests.vmm.engine.dbt.scenes import RWX, entry, loop, paging
from tests.vmm.engine.machine import CODE, machine
from vmm.engine.dbt.translator import Translator
from vmm.engine.interpreter import Interpreter

PAGE, FRAMES, BLOCK = 0x16, (0xD, 0xE), bytes.fromhex("83c301eb00")
#: Ten blocks, each of which adds to EBX, or subtracts from it.
ADDING = BLOCK * 10 + b"\xC3"
SUBTRACTING = BLOCK.replace(b"\xC3", b"\xEB", 1) * 10 + b"\xC3"
LOOP = loop(b"\xB8" + (PAGE << 12).to_bytes(4, "little") + b"\xFF\xD0", 5)


class Machines:
    """The interpreter, and a translator that compiles every block at first sight."""

    def __init__(self) -> None:
        self.tested = machine(LOOP, lambda memory: Translator(memory, thresholds=BLOCKS))
        self.golden = machine(LOOP, Interpreter)
        for cpu in (self.golden, self.tested):
            paging(cpu)

    def run(self, program: bytes, frame: int, load: bool = True) -> None:
        """Load a program into a frame, map it, and call it five times."""
        for cpu in (self.golden, self.tested):
            if load:
                for offset, byte in enumerate(program.ljust(1000, program[1:2])):
                    cpu.memory.write((frame << 12) + offset, 1, byte)
            cpu.memory.write32(entry(PAGE), frame << 12 | RWX)
            cpu.state.eip, cpu.state.halted = CODE, False
            cpu.state_changed()
            cpu.run(1000)
            assert cpu.state.halted
        assert not states_differ(self.golden, self.tested) + memory_differs(self.golden, self.tested)

    def missing(self) -> int:
        """How often native code has come to something that was not there."""
        return self.tested.statistics().native_exits.get("missing", 0)


def test_both_programs_come_back_at_both_frames() -> None:
    machines = Machines()
    for round_ in range(16):
        if round_ == 8:
            found, missing = machines.tested.statistics(), machines.missing()
        machines.run(ADDING, FRAMES[round_ % 2])
        machines.run(SUBTRACTING, FRAMES[round_ // 2 % 2])
    after = machines.tested.statistics()
    # the frames hold the same program at the same time now and then, and each wants code of its own
    assert after.warm - found.warm < 5 and not after.regions
    # one by one, the eleven blocks of the page would be met anew in each of sixteen loads
    assert machines.missing() - missing < 140


def test_units_that_have_lost_a_byte_stay_away() -> None:
    machines = Machines()
    machines.run(ADDING, FRAMES[0])
    machines.run(SUBTRACTING, FRAMES[0])
    patched = bytearray(ADDING)
    patched[5 * 7 + 2] = 9
    machines.run(bytes(patched), FRAMES[0])
    assert machines.golden.state.gpr[3] == (5 * 18) & 0xFFFF_FFFF
    machines.run(ADDING, FRAMES[0])


def test_a_page_that_is_only_mapped_elsewhere_keeps_its_code() -> None:
    machines = Machines()
    machines.run(ADDING, FRAMES[0])
    machines.run(SUBTRACTING, FRAMES[1])
    before = machines.tested.statistics().invalidations
    for frame in FRAMES * 3:
        machines.run(b"", frame, load=False)
    assert machines.tested.statistics().invalidations == before


def test_units_with_an_instruction_that_was_armed_meanwhile_stay_away() -> None:
    machines = Machines()
    machines.run(ADDING, FRAMES[0])
    for cpu in (machines.golden, machines.tested):
        for offset in range(len(ADDING)):
            cpu.memory.write((FRAMES[0] << 12) + offset, 1, 0)
        arm(cpu, ((PAGE << 12) + len(ADDING) - 1, EXECUTE, 1))
    machines.run(ADDING, FRAMES[0])
    assert machines.golden.state.gpr[5]


@pytest.mark.parametrize("frame", FRAMES)
def test_dropping_everything_drops_what_is_suspended(frame: int) -> None:
    machines = Machines()
    machines.run(ADDING, FRAMES[0])
    machines.run(SUBTRACTING, FRAMES[0])
    for cpu in (machines.golden, machines.tested):
        cpu.breakpoints = {0x5000}
        cpu.breakpoints = set()
    machines.run(ADDING, frame)
