"""Emulated machines on estimated time: the same time however they are run, and whoever executes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from rtl.isa.decoder import Insn, decode
from rtl.isa.platform import PORT
from tests.vmm.timing.code import COSTS
from vmm.engine.emulate import EmulatedMachine, StopReason
from vmm.engine.interpreter import Interpreter
from vmm.memory import PhysicalMemory
from vmm.timing.machine import TimedMachine, Timing
from vmm.timing.model import TimingModel
from vmm.timing.observer import TimedInterpreter
from vmm.timing.pipeline import RUN_LIMIT
from vmm.timing.shape import Flow, shape_of

RAM, BASE, DATA, STACK = 1 << 20, 0x1_0000, 0x2_0000, 0x3_0000


def imm(value: int) -> str:
    return struct.pack("<I", value).hex()


#: Loops over calls, returns, an indirect jump, loads, stores, multiplications, stack, REP, words across lines.
PROGRAM = bytes.fromhex(
    f"b8{imm(7)} bb{imm(DATA)} be{imm(60)} bc{imm(STACK)}"
    # again:
    "89c2 0fafd0 8913 8b4b04 01c8 a3" + imm(DATA + 0x40) +
    "83c31d 39c0 7402 0f0b"                          # over a #UD that is never met
    "e810000000"                                     # call function
    "b9" + imm(5) + "89df f3ab"
    "4e 75d8"                                        # dec esi; jne again
    "e680 90 f4"                                     # out 80h, al; nop; hlt
    # function:
    "50 8b0424 89c1 83e107 d3e0 8b4c2404 51 59 58 c3")


def place(memory: PhysicalMemory, cpu: Interpreter, program: bytes = PROGRAM) -> None:
    memory.load_blob(BASE, program)
    cpu.state.eip = BASE
    cpu.state_changed()


def machine(program: bytes = PROGRAM) -> TimedMachine:
    made = TimedMachine(RAM, Timing(COSTS))
    place(made.memory, made.timed, program)
    return made


def test_the_program_is_what_it_seems() -> None:
    plain, timed = EmulatedMachine(RAM), machine()
    place(plain.memory, plain.cpu)
    assert plain.run(10_000).reason is timed.run(10_000).reason is StopReason.HALT_FOREVER
    assert plain.cpu.state.to_dict() == timed.timed.state.to_dict()
    assert plain.memory.blob(0, RAM) == timed.memory.blob(0, RAM)
    assert plain.cpu.state.instructions > 1000


@pytest.mark.parametrize("piece", [1, 2, 7, 100])
def test_time_does_not_depend_on_how_a_run_is_cut(piece: int) -> None:
    whole, pieces = machine(), machine()
    whole.run(10_000)
    while pieces.run(piece).reason is StopReason.LIMIT:
        pass
    assert pieces.model.cycles == whole.model.cycles > whole.timed.state.instructions
    assert bytes(pieces.model.state) == bytes(whole.model.state)
    assert pieces.platform.cycles == whole.platform.cycles == whole.model.cycles


class Blocks:
    """An executor that works like translated code: one run at a time, filters before calls, cycles added at the end."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory(RAM)
        self.cpu = Watched(self.memory)
        place(self.memory, self.cpu)
        self.model = TimingModel(COSTS, self.memory, RAM)
        self.model.control(0x11, 0, 0)
        self.last_line, self.jumped = -1, True

    def insns(self, eip: int) -> Iterator[Insn]:
        for number in range(RUN_LIMIT):
            if number and eip >> 12 != BASE >> 12:
                return
            insn = decode(self.memory.blob(eip, 15))
            if number and shape_of(insn).flow is Flow.REPEAT:
                return
            yield insn
            eip += insn.length
            if shape_of(insn).flow is not Flow.NEXT:
                return

    def block(self) -> None:
        """Execute one run."""
        state, model, eip = self.cpu.state, self.model, self.cpu.state.eip
        insns = list(self.insns(eip))
        run = model.run(insns, eip)
        fetched, follows = -1, -2 if self.jumped else self.last_line
        for number, insn in enumerate(insns):
            here, shape, offset = state.eip, shape_of(insn), run.before[number]
            for line in (here >> 5, here + insn.length - 1 >> 5):
                if line != fetched:
                    if model.state.code[line & 127] != line + 1:
                        model.fetch(max(here, line << 5), max(here, line << 5), int(follows == line - 1), offset)
                    fetched = follows = self.last_line = line
            if shape.flow is Flow.REPEAT:
                self.repeat(shape.each, run.cycles)
                return
            self.cpu.accesses.clear()
            self.cpu.step()
            self.touch(offset)
        model.add(run.cycles)
        self.end(shape.flow, here, insns[-1], run.bubble, shape.backward)

    def touch(self, offset: int) -> None:
        state = self.model.state
        for linear, size, write in self.cpu.accesses:
            line, table = linear >> 5, state.writes if write else state.reads
            if (linear & 3) + size > 4 or table[line & 127] != line + 1:
                self.model.data(linear, linear, size, write, offset)

    def repeat(self, each: str, cycles: int) -> None:
        eip, first = self.cpu.state.eip, True
        while self.cpu.state.eip == eip:
            if first:
                self.model.add(cycles)
            count, first = self.cpu.state.gpr[1], False
            self.cpu.accesses.clear()
            self.cpu.step()
            self.touch(0)
            self.model.add(COSTS.cycles[each] if count else 0)
            # Each iteration is a run of its own, and its line may have to be looked at again.
            line = eip >> 5
            if self.cpu.state.eip == eip and self.model.state.code[line & 127] != line + 1:
                self.model.fetch(eip, eip, 0, 0)
        self.jumped = False

    def end(self, flow: Flow, eip: int, insn: Insn, bubble: int, backward: bool) -> None:
        model, target, after = self.model, self.cpu.state.eip, eip + insn.length
        self.jumped = flow not in (Flow.NEXT, Flow.SYSTEM)
        if flow is Flow.CONDITIONAL:
            self.jumped = target != after
            model.conditional(eip, backward, self.jumped, bubble)
        elif flow in (Flow.JUMP, Flow.CALL):
            model.add(bubble)
        elif flow is Flow.RETURN:
            model.jump_back(target, bubble)
        if flow is Flow.CALL:
            model.call(after)


class Watched(Interpreter):
    """An interpreter that tells its accesses."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self.accesses: list[tuple[int, int, int]] = []
        super().__init__(memory)
        self.mmu.set_fast(False, False)

    def choose_paths(self) -> None:
        self.mmu.set_fast(False, False)

    def pieces(self, linear: int, size: int, write: bool, user: bool) -> list[tuple[int, int]]:
        self.accesses.append((linear, size, int(write)))
        return super().pieces(linear, size, write, user)


def test_blocks_with_filters_take_the_time_of_single_instructions() -> None:
    blocks = Blocks()
    memory = PhysicalMemory(RAM)
    single = TimedInterpreter(memory, None, COSTS)
    place(memory, single)
    count = 0
    while not blocks.cpu.state.halted:
        blocks.block()
        while single.state.instructions < blocks.cpu.state.instructions or not single.between_runs:
            single.step()
        assert (single.state.eip, single.model.cycles) == (blocks.cpu.state.eip, blocks.model.cycles)
        assert bytes(single.model.state) == bytes(blocks.model.state)
        count += 1
    assert count > 300 and single.model.state.data_misses > 50


def test_a_long_run_ends_at_its_limit_and_at_the_end_of_a_page() -> None:
    memory = PhysicalMemory(RAM)
    cpu = TimedInterpreter(memory, None, COSTS)
    place(memory, cpu, b"\x90" * 0x1100)
    ends = []
    for number in range(1, 0x1080):
        cpu.step()
        if cpu.between_runs:
            ends.append(number)
    assert ends[:3] == [RUN_LIMIT, 2 * RUN_LIMIT, 3 * RUN_LIMIT] and 0x1000 in ends


def test_devices_live_by_the_estimate_and_sleep_is_counted_apart() -> None:
    # The counter of channel 0 is latched and read twice, around a loop of some thousand cycles.
    pit = PORT["PIT"].base
    latch = f"30c0e6{pit + 3:02x} e4{pit:02x} 88c3 e4{pit:02x} 88c7"
    made = machine(bytes.fromhex(f"{latch} 6689d9 ba{imm(3000)} 4a 75fd {latch} fa f4"))
    assert made.run(100_000).reason is StopReason.HALT_FOREVER
    gpr = made.timed.state.gpr
    ticks = (gpr[1] - gpr[3] & 0xFFFF) * made.platform.config.pit_divider  # type: ignore[attr-defined]
    assert ticks == pytest.approx(3000 * 3, rel=0.05)
    assert made.idle == 0 and made.counters()["halted"] == 0


def test_a_timer_wakes_the_processor_at_its_time() -> None:
    pic, pit = PORT["PIC_MASTER"].base, PORT["PIT"].base
    gate = 0x400 + 8 * 0x20
    handler = BASE + 0x200
    outs = [(pic, 0x11), (pic + 1, 0x20), (pic + 1, 4), (pic + 1, 1), (pic + 1, 0xFE), (pit + 3, 0x34), (pit, 0),
            (pit, 1)]
    code = bytes.fromhex(f"bc{imm(STACK)} 0f011d{imm(0x300)}") + b"".join(
        bytes([0xB0, value, 0xE6, port]) for port, value in outs) + bytes.fromhex("fb f4 fa f4")
    made = machine(code.ljust(0x200, b"\x90") + bytes.fromhex("b020e620cf"))
    memory, state = made.memory, made.timed.state
    memory.load_blob(0x300, struct.pack("<HI", 0x7FF, 0x400))
    memory.load_blob(gate, struct.pack("<HHHH", handler & 0xFFFF, 0x80, 0x8E00, handler >> 16))
    memory.load_blob(0x600, b"\0" * 0x80)
    memory.load_blob(0x680, struct.pack("<Q", 0x00CF9B000000FFFF))
    state.gdtr_base, state.gdtr_limit = 0x600, 0xFF
    state.segments[1].selector = 0x80
    made.timed.state_changed()
    assert made.run(1000).reason is StopReason.HALT_FOREVER
    period = 256 * made.platform.config.pit_divider  # type: ignore[attr-defined]
    assert 0.9 * period < made.idle < period
    assert made.platform.cycles == made.model.cycles > made.idle


def test_saved_time_goes_on() -> None:
    first, second = machine(), machine()
    first.run(700)
    image = first.save()
    second.memory.load_blob(0, first.memory.blob(0, RAM))
    second.load(image)
    assert second.model.cycles == first.model.cycles == second.platform.cycles
    second.run(100)
    assert second.model.cycles > first.model.cycles


def test_a_run_is_resumed_in_its_middle() -> None:
    """Whoever leaves native code within a run tells where the run began, and nothing is lost."""
    whole, broken = machine().timed, machine().timed
    start, middles = BASE, 0
    for number in range(1200):
        for cpu in (whole, broken):
            cpu.step()
        if broken.between_runs:
            start = broken.state.eip
        elif number % 3 == 0:
            broken.resume(start)
            middles += 1
        assert (broken.model.cycles, broken.between_runs) == (whole.model.cycles, whole.between_runs)
    assert middles > 100
    assert bytes(broken.model.state) == bytes(whole.model.state)


def test_the_instruction_under_a_shadow_is_a_run_of_its_own() -> None:
    made = machine(bytes.fromhex("8cd0 8ed0 90 90 90 eb00"))   # mov eax, ss; mov ss, eax
    made.timed.state.gdtr_base, made.timed.state.gdtr_limit = 0x600, 0xFF
    made.memory.load_blob(0x610, struct.pack("<Q", 0x00CF93000000FFFF))
    ends = []
    for number in range(6):
        made.timed.step()
        if made.timed.between_runs:
            ends.append(number)
    assert ends == [1, 2, 5]


def test_a_repeated_instruction_and_one_across_pages_begin_runs() -> None:
    rep = machine(bytes.fromhex(f"b9{imm(3)} bf{imm(DATA)} 90 f3ab 90 eb00"))
    ends = []
    for number in range(8):
        rep.timed.step()
        if rep.timed.between_runs:
            ends.append(number)
    assert ends == [2, 3, 4, 5, 7]
    across = machine(b"\xEB\x00".rjust(2) + b"\x90" * 0xFF8 + bytes.fromhex("eb00 90 b878563412 90 eb00"))
    across.timed.state.eip = BASE + 0xFFA
    ends = []
    for number in range(5):
        across.timed.step()
        if across.timed.between_runs:
            ends.append(number)
    assert ends == [0, 1, 2, 4]
