"""The board as programs see it: what its wires bring to the processor, and why it stops.

One board for all tests, put back to power-on before each program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from rtl.isa.devices import DEBUGCON_ID
from rtl.isa.platform import PORT
from rtl.isa.stop import StopReason
from sim.design import DEBUG, IO, LOAD, SERIAL, board_design
from sim.engines import Engine, State, Why, build

from .cpu.board_bench import CODE, LOAD_TABLES, STACK, tables

#: The end of RAM, behind the VGA text memory.
RAM_END = 0x10_0000
FOREVER = "EBFE"
ONES = 0xFFFF_FFFF
_TAPS = (DEBUG, IO, LOAD, SERIAL)


@dataclass
class Computer:
    """The board on its engine."""
    engine: Engine
    power_on: State

    def load(self, *code: str, words: dict[int, int] | None = None) -> None:
        """Hexadecimal `code` at `CODE` with a HLT behind it, `words` in RAM, the processor before the first cycle."""
        self.engine.load(self.power_on | {"ram": np.zeros_like(self.engine.ram)})
        for name in _TAPS:
            self.engine.drain_tap(name)
        program = bytes.fromhex("".join(code) + "F4")
        self.engine.ram.view(np.uint8)[CODE:CODE + len(program)] = np.frombuffer(program, np.uint8)
        for address, value in (words or {}).items():
            self.engine.ram[address >> 2] = value
        for name, value in {"ram_size_words": RAM_END >> 2, "core.eip": CODE, "core.regs.esp": STACK}.items():
            self.engine.poke(name, value)

    def go_on(self, cycles: int = 2500) -> StopReason:
        """Run until the board stops, or for `cycles`."""
        result = self.engine.run(cycles)
        assert (result.why is Why.STOP) == (result.stop != 0)
        return StopReason(result.stop)

    def run(self, *code: str, words: dict[int, int] | None = None) -> StopReason:
        self.load(*code, words=words)
        return self.go_on()

    def __getattr__(self, register: str) -> int:
        """A general register by name."""
        return self.engine.peek(f"core.regs.{register}")

    def word(self, address: int) -> int:
        """A word in the RAM chips, past the caches."""
        return int(self.engine.ram[address >> 2])


@pytest.fixture(scope="module")
def built() -> Computer:
    engine = build(board_design(), "native", ram=np.zeros(RAM_END >> 2, np.uint32))
    for name in _TAPS:
        engine.set_tap(name, True)
    return Computer(engine, engine.save())


@pytest.fixture
def pc(built: Computer) -> Iterator[Computer]:
    yield built


def _imm(value: int) -> str:
    return value.to_bytes(4, "little").hex()


def _out(port: int, value: int) -> str:
    """MOV AL, value; OUT port, AL."""
    return bytes((0xB0, value, 0xE6, port)).hex()


@pytest.mark.parametrize(("code", "reason"), [
    ("F4", StopReason.STUCK),
    ("FAF4", StopReason.STUCK),
    ("0F011D00200000" "0F0B", StopReason.SHUTDOWN),       # LIDT of a table without room; UD2
    (_out(0x64, 0xFE) + FOREVER, StopReason.RESET),       # keyboard controller: pulse the reset line
    (_out(0x92, 0x01) + FOREVER, StopReason.RESET),       # system control port A
    ("FBF4", StopReason.NONE),                            # an interrupt could come
    (_out(0x64, 0xFF) + FOREVER, StopReason.NONE),        # a pulse of no line
    (_out(0x92, 0x02) + FOREVER, StopReason.NONE),        # A20 alone
    (FOREVER, StopReason.NONE),
])
def test_why_it_stops(pc, code, reason):
    assert pc.run(code) is reason


@pytest.mark.parametrize("value", (0, 1, 0x2A, 0xFF))
def test_exit_port_stops_with_its_value(pc, value):
    assert pc.run(_out(PORT["EXIT"].base, value)) is StopReason.EXIT
    assert pc.engine.peek("exit_value") == value


def test_the_doorbell_stops_and_the_program_goes_on(pc):
    """MOV EAX, 5; MOV DX, 600h; OUT DX, AL; INC EAX; HLT."""
    pc.load("B805000000", "66BA0006" "EE" "40" "F4")
    pc.engine.poke("doorbell_enable", 1)
    assert pc.go_on() is StopReason.DOORBELL
    assert pc.engine.peek("core.regs.eax") == 5
    assert pc.go_on() is StopReason.STUCK
    assert pc.engine.peek("core.regs.eax") == 6


def test_nobody_notices_a_kick_outside_of_a_guest_with_interrupts_off(pc):
    pc.engine.poke("kick", 1)
    assert pc.run("40" "F4") is StopReason.STUCK
    assert pc.engine.peek("core.regs.eax") == 1


def test_exit_comes_before_halt(pc):
    """The HLT behind the OUT must not win: EXIT is a pulse of one cycle."""
    assert pc.run(_out(PORT["EXIT"].base, 7), "F4") is StopReason.EXIT
    assert pc.go_on() is StopReason.STUCK


def test_wide_exit_is_one_exit(pc):
    """MOV EAX, 44332211h; OUT F4h, EAX: the lowest byte counts, the other three only complete the access."""
    assert pc.run("B811223344", "E7F4") is StopReason.EXIT
    assert pc.engine.peek("exit_value") == 0x11
    assert pc.go_on() is StopReason.STUCK


#: EBX, ECX, EAX = 8, 16 and 32 bits from port DX into zero.
_READ_PORT = "31C0" "EC" "89C3" "31C0" "66ED" "89C1" "31C0" "ED"


@pytest.mark.parametrize("port", (0x0000, 0x0066, 0x0084, 0x0204, 0x0600, 0x1234, 0xFFF0))
def test_unclaimed_port_reads_ones(pc, port):
    assert pc.run("BA" + _imm(port), _READ_PORT) is StopReason.STUCK
    assert (pc.ebx, pc.ecx, pc.eax) == (0xFF, 0xFFFF, ONES)


def test_unclaimed_port_ignores_writes(pc):
    """MOV EDX, 1234h; OUT DX, AL; OUT DX, AX; OUT DX, EAX."""
    assert pc.run("BA34120000", "EE66EFEF", _READ_PORT) is StopReason.STUCK
    assert (pc.ebx, pc.ecx, pc.eax) == (0xFF, 0xFFFF, ONES)


def test_wide_access_is_one_port_a_byte(pc):
    """IN EAX, E8h: only E9h is claimed, and that is the second byte."""
    pc.run("E5E8")
    assert pc.eax == 0xFFFF_00FF | DEBUGCON_ID << 8


def test_debug_console(pc):
    """It reads its own number and gives bytes to the host, in order; every access leaves by the I/O tap."""
    pc.run(_out(0xE9, 0x68), _out(0xE9, 0x69), "31C0", "E4E9")
    assert pc.eax == DEBUGCON_ID == 0xE9
    assert bytes(pc.engine.drain_tap(DEBUG)["data"].tolist()) == b"hi"
    records = pc.engine.drain_tap(IO)
    assert [(int(r["write"]), int(r["port"]), int(r["size"])) for r in records] == [
        (1, 0xE9, 0), (1, 0xE9, 0), (0, 0xE9, 0)]
    assert [int(r["data"]) & 0xFF for r in records] == [0x68, 0x69, DEBUGCON_ID]


def test_post_code(pc):
    pc.run(_out(0x80, 0x5A))
    assert pc.engine.peek("post_code") == 0x5A
    pc.run(_out(0x80, 0xA5))
    assert pc.engine.peek("post_code") == 0xA5


def test_serial_port_both_ways(pc):
    """MOV EDX, 3F8h; MOV AL, 'x'; OUT DX, AL; wait for data ready (3FDh bit 0); IN AL, DX."""
    pc.load("BAFD030000", "31C0", "EC", "A801", "74FB", "B2F8", "EC", "0420", "EE", FOREVER)
    pc.engine.poke("rx_data", ord("x") - 0x20)
    pc.engine.poke("rx_valid", 1)
    while not pc.engine.peek("rx_ready"):
        pc.engine.run(1)
    pc.engine.run(1)
    pc.engine.poke("rx_valid", 0)
    assert pc.go_on(12_000) is StopReason.NONE
    assert bytes(pc.engine.drain_tap(SERIAL)["data"].tolist()) == b"x"


@pytest.mark.parametrize("address", (RAM_END, 0x0200_0000, 0xE000_0000, 0xFED8_0000, 0xFFFF_FFF0))
def test_memory_hole_reads_ones(pc, address):
    """EBX, ECX, EAX = 8, 16 and 32 bits from [ESI], before and after writing there."""
    read = "31DB31C931C0" "8A1E" "668B0E" "8B06"
    write = "880666890E" "C70678563412"
    for code in (read, write + read):
        assert pc.run("BE" + _imm(address), code) is StopReason.STUCK
        assert (pc.ebx, pc.ecx, pc.eax) == (0xFF, 0xFFFF, ONES)


def test_access_over_the_end_of_ram(pc):
    """MOV dword [FFFFEh], 12345678h; MOV EAX, [FFFFEh]: the half in RAM is kept, the other is lost."""
    pc.run("C705FEFF0F0078563412", "A1FEFF0F00")
    assert pc.eax == 0xFFFF_5678


@pytest.mark.parametrize("address", (0xB_8000, 0xB_8FA2, 0xB_FFF4))
def test_text_memory_is_ram(pc, address):
    """A cell by each size, read back by each; the chips have it at once: a host that draws the screen looks there."""
    code = ("BE" + _imm(address), "66C706410F", "C6460242", "C6460307", "31DB31C9", "8A1E", "668B4E02", "8B06")
    assert pc.run(*code) is StopReason.STUCK
    assert (pc.ebx, pc.ecx, pc.eax) == (0x41, 0x0742, 0x0742_0F41)
    given = pc.word(address) >> 8 * (address & 3) | pc.word(address + 4) << 32 - 8 * (address & 3)
    assert given & ONES == 0x0742_0F41


def test_graphics_window_is_ram(pc):
    assert pc.run("C7050000000ADDCCBBAA".replace("0000000A", "00000A00"), "A100000A00") is StopReason.STUCK
    assert pc.eax == pc.word(0xA_0000) == 0xAABB_CCDD


#: Interrupt controller at vectors 20h and 28h with the timer alone enabled, the timer at its fastest useful rate.
_TIMER = (_out(0x20, 0x11) + _out(0x21, 0x20) + _out(0x21, 0x04) + _out(0x21, 0x01) + _out(0x21, 0xFE)
          + _out(0x43, 0x34) + _out(0x40, 20) + _out(0x40, 0))


def test_timer_interrupt_reaches_the_processor(pc):
    """Through timer, controller, INTR, acknowledge and vector; the second comes after the EOI."""
    code = (LOAD_TABLES, _TIMER, "31DB", "FB", "F4", FOREVER)
    # INC EBX; MOV AL, 20h; OUT 20h, AL; CMP EBX, 2; JE to the HLT behind; STI; HLT; JMP to the STI
    handler = "43" + _out(0x20, 0x20) + "83FB02" "7404" "FB" "F4" "EBFC"
    assert pc.run(*code, words=tables(v32=handler)) is StopReason.STUCK
    assert pc.ebx == 2


#: MOV dword [address], value; MOV EAX, [address].
def _store(address: int, value: int) -> str:
    return "C705" + _imm(address) + _imm(value)


def _load(address: int) -> str:
    return "A1" + _imm(address)


def test_apics_are_in_memory(pc):
    """Whole words of the local APIC and of the I/O APIC, parts of them, and what lies beside."""
    assert pc.run(_store(0xFEE0_0080, 0x35), _load(0xFEE0_00A0)) is StopReason.STUCK
    assert pc.eax == 0x35
    assert [int(word) for word in pc.engine.drain_tap(LOAD)["data"]] == [0x35]
    pc.run(_load(0xFEE0_0032))
    assert pc.eax == 5
    pc.run(_store(0xFEC0_0000, 1), _load(0xFEC0_0010))
    assert pc.eax == 0x0017_0011
    pc.run(_load(0xFEE0_1030))
    assert pc.eax == ONES


#: MOV ECX, 1Bh; RDMSR or, with EDX clear, WRMSR.
_RDMSR = "B91B000000" "0F32"


def _wrmsr(value: int) -> str:
    return "B91B000000" "B8" + _imm(value) + "31D2" "0F30"


def test_apic_base(pc):
    """Its enable bit takes the local APIC off the bus; a write of anything else is refused."""
    pc.run(_RDMSR)
    assert pc.eax == 0xFEE0_0900
    assert pc.run(_wrmsr(0xFEE0_0100), _load(0xFEE0_0030), "89C3", _RDMSR) is StopReason.STUCK
    assert pc.ebx == ONES and pc.eax == 0xFEE0_0100
    pc.run(_wrmsr(0xFEE0_0100), _wrmsr(0xFEE0_0900), _load(0xFEE0_0030))
    assert pc.eax == 0x0005_0014
    for refused in (0xFEE0_0800, 0xFEE0_1900, 0):
        pc.run(LOAD_TABLES, "31DB", _wrmsr(refused), "EBFE", words=tables(v13="43" "F4"))
        assert pc.ebx == 1
        assert pc.engine.peek("core.sysregs.apic_enable") == 1


def test_messages_of_nmi_and_init(pc):
    """An NMI comes whatever IF says, once per IRET; INIT resets."""
    send = _store(0xFEE0_0300, 0x4400)
    # INC EBX; CMP EBX, 1; JNE to the HLT; send twice; IRET
    handler = "43" "83FB01" "7514" + send + send + "CF"
    assert pc.run(LOAD_TABLES, "31DB", send, "90" * 40, "FA", words=tables(v2=handler)) is StopReason.STUCK
    assert pc.ebx == 2
    assert pc.run(_store(0xFEE0_0300, 0x4500), FOREVER) is StopReason.RESET


def test_apic_id_is_cheap(pc):
    """Kernels read it very often: not much slower than memory, and independent of its latency."""
    def cycles(count: int) -> int:
        pc.run("BE20 00E0FE".replace(" ", ""), "8B06" * count)
        return pc.engine.cycle
    assert (cycles(40) - cycles(8)) / 32 <= 6


def test_self_interrupt_and_level_of_the_io_apic(pc):
    """An interrupt by the command register, and the timer by the I/O APIC's input 2, the 8259A pair staying masked."""
    code = (LOAD_TABLES, _TIMER, _out(0x21, 0xFF), _store(0xFEC0_0000, 0x14), _store(0xFEC0_0010, 0x20), "31DB",
            _store(0xFEE0_0300, 0x40028), "FB", FOREVER)
    # INC EBX or ADD EBX, 16; end of interrupt; IRET
    end = _store(0xFEE0_00B0, 0) + "CF"
    assert pc.run(*code, words=tables(v32="43" + end, v40="83C310" + end)) is StopReason.NONE
    assert pc.ebx & 0xF > 1 and pc.ebx >> 4 == 1


def test_masked_timer_stays_away(pc):
    assert pc.run(LOAD_TABLES, _TIMER, _out(0x21, 0xFF), "31DB", "FB", "F4", words=tables(v32="43")) is StopReason.NONE
    assert pc.ebx == 0


def test_two_runs_are_the_same_run(pc):
    """To the cycle, with interrupts, in every register, row and byte."""
    handler = "43" + _out(0x20, 0x20) + "83FB03" "7404" "FB" "F4" "EBFC"
    ends = []
    for _ in range(2):
        pc.load(LOAD_TABLES, _TIMER, "31DB", "FB", "FF0500500000", "EBF8", words=tables(v32=handler))
        ends.append((pc.go_on(4000), pc.engine.cycle, pc.engine.save()))
    (reason, cycle, state), (_, again, other) = ends
    assert reason is StopReason.STUCK and cycle == again > 1000
    assert state["signals"] == other["signals"] and np.array_equal(state["ram"], other["ram"])
    assert all(np.array_equal(rows, other["memories"][name]) for name, rows in state["memories"].items())
