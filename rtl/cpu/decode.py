"""Instruction decoder: the bytes after the prefixes to the first micro-operation and its operands."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.isa.opcodes import ImmKind
from rtl.isa.registers import Gpr, Seg

from .decode_rom import RM_DIGIT, DecodeRoms, Entry, OpcodeRow, Select

__all__ = ["WINDOW", "Decoder", "Operands", "Prefixes"]

#: Bytes the decoder looks at: opcode (2), ModRM, SIB, displacement (4), immediate (4).
WINDOW = 12


class Prefixes(data.Struct):
    """What the prefixes of an instruction say. `repeat` is 0, 2 (F2) or 3 (F3)."""
    opsize: 1        # 66 seen
    adsize: 1        # 67 seen
    lock: 1
    repeat: 2
    override: 1
    segment: 3


class Operands(data.Struct):
    """The operands of the instruction as decode knows them."""
    imm: 32
    imm2: 16
    disp: 32
    base: 3
    has_base: 1
    index: 3
    has_index: 1
    scale: 2
    segment: 3       # of the memory operand: the override or the default
    reg: 3           # ModRM.reg
    rm: 3
    opcode: 8
    sreg: 3          # segment register named by ModRM.reg or by the opcode
    memory: 1        # the ModRM operand is in memory
    opsize16: 1
    adsize16: 1


class Decoder(wiring.Component):
    """Decodes one instruction, combinationally.

    1. ``bytes`` starts behind the prefixes; bytes beyond the valid ones may be anything.
    2. ``length`` counts from the first byte of ``bytes``. The outputs mean something once ``length`` bytes are valid.
    3. ``known`` bytes are enough to know ``entry.check`` and ``entry.lock``: #UD needs no more of the instruction.

    Parameters
    ----------
    roms : DecodeRoms

    Members
    -------
    bytes : In(96)
    prefixes : In(Prefixes)
    code32 : In(1)
        The D bit of CS.
    entry : Out(Entry)
    operands : Out(Operands)
    length : Out(4)
    known : Out(2)
    """
    bytes: In(8 * WINDOW)
    prefixes: In(Prefixes)
    code32: In(1)
    entry: Out(Entry)
    operands: Out(Operands)
    length: Out(4)
    known: Out(2)

    def __init__(self, roms: DecodeRoms):
        self._roms = roms
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        roms = self._roms
        m.submodules.opcode_rom = opcode_rom = Memory(shape=OpcodeRow, depth=len(roms.opcodes), init=[
            OpcodeRow.from_bits(row) for row in roms.opcodes])
        m.submodules.entry_rom = entry_rom = Memory(shape=Entry, depth=len(roms.entries), init=[
            Entry.from_bits(row) for row in roms.entries])
        opcode_port = opcode_rom.read_port(domain="comb")
        entry_port = entry_rom.read_port(domain="comb")
        ops = self.operands

        two_byte = Signal()
        window = Signal(8 * (WINDOW - 1))
        m.d.comb += [
            two_byte.eq(self.bytes[:8] == 0x0F),
            window.eq(Mux(two_byte, self.bytes[8:], self.bytes)),
            opcode_port.addr.eq(Cat(window[:8], two_byte)),
        ]
        row = opcode_port.data
        opcode, modrm, sib = window[0:8], window[8:16], window[16:24]
        rm, reg, mod = modrm[0:3], modrm[3:6], modrm[6:8]

        opsize16 = Signal()
        adsize16 = Signal()
        in_memory = Signal()
        m.d.comb += [
            opsize16.eq(self.prefixes.opsize ^ ~self.code32),
            adsize16.eq(self.prefixes.adsize ^ ~self.code32),
            in_memory.eq(row.has_modrm & ~row.reg_only & (mod != 3)),
        ]

        variant = Signal(5)
        with m.Switch(row.select):
            with m.Case(Select.MEMORY):
                m.d.comb += variant.eq(in_memory)
            with m.Case(Select.GROUP):
                m.d.comb += variant.eq(Cat(in_memory, reg))
            with m.Case(Select.GROUP_RM):
                m.d.comb += variant.eq(Mux((reg == RM_DIGIT) & ~in_memory, 16 + rm, Cat(in_memory, reg)))
            with m.Case(Select.REP):
                m.d.comb += variant.eq(self.prefixes.repeat[1])
        m.d.comb += [
            entry_port.addr.eq(row.first + variant),
            self.entry.eq(entry_port.data),
            self.known.eq(1 + two_byte + row.has_modrm),
        ]

        # Addressing form: SDM vol. 2A, tables 2-1 to 2-3.
        has_sib = Signal()
        disp_size = Signal(3)
        base = Signal(3)
        has_base = Signal()
        index = Signal(3)
        has_index = Signal()
        with m.If(in_memory):
            with m.If(adsize16):
                with m.Switch(mod):
                    with m.Case(0):
                        m.d.comb += disp_size.eq(Mux(rm == 6, 2, 0))
                    with m.Case(1):
                        m.d.comb += disp_size.eq(1)
                    with m.Case(2):
                        m.d.comb += disp_size.eq(2)
                with m.Switch(rm):
                    with m.Case(0, 1, 7):
                        m.d.comb += base.eq(Gpr.EBX)
                    with m.Case(2, 3, 6):
                        m.d.comb += base.eq(Gpr.EBP)
                    with m.Case(4):
                        m.d.comb += base.eq(Gpr.ESI)
                    with m.Case(5):
                        m.d.comb += base.eq(Gpr.EDI)
                m.d.comb += [
                    has_base.eq((rm != 6) | (mod != 0)),
                    index.eq(Mux(rm[0], Gpr.EDI, Gpr.ESI)),
                    has_index.eq(~rm[2]),
                ]
            with m.Else():
                m.d.comb += [
                    has_sib.eq(rm == 4),
                    base.eq(Mux(has_sib, sib[0:3], rm)),
                    has_base.eq((base != 5) | (mod != 0)),
                    index.eq(sib[3:6]),
                    has_index.eq(has_sib & (index != 4)),
                ]
                with m.Switch(mod):
                    with m.Case(0):
                        m.d.comb += disp_size.eq(Mux(base == 5, 4, 0))
                    with m.Case(1):
                        m.d.comb += disp_size.eq(1)
                    with m.Case(2):
                        m.d.comb += disp_size.eq(4)

        imm_start = Signal(4)
        tail = Signal(48)
        m.d.comb += [
            imm_start.eq(1 + row.has_modrm + has_sib + disp_size),
            tail.eq(window >> (imm_start << 3)),
        ]
        disp_bytes = Mux(has_sib, window[24:56], window[16:48])
        with m.If(in_memory):
            with m.Switch(disp_size):
                with m.Case(1):
                    m.d.comb += ops.disp.eq(disp_bytes[:8].as_signed())
                with m.Case(2):
                    m.d.comb += ops.disp.eq(disp_bytes[:16].as_signed())
                with m.Case(4):
                    m.d.comb += ops.disp.eq(disp_bytes)

        imm_size = Signal(3)
        with m.Switch(self.entry.imm):
            with m.Case(ImmKind.B):
                m.d.comb += [imm_size.eq(1), ops.imm.eq(tail[:8])]
            with m.Case(ImmKind.BS):
                m.d.comb += [imm_size.eq(1), ops.imm.eq(tail[:8].as_signed())]
            with m.Case(ImmKind.W):
                m.d.comb += [imm_size.eq(2), ops.imm.eq(tail[:16])]
            with m.Case(ImmKind.V):
                m.d.comb += [imm_size.eq(Mux(opsize16, 2, 4)), ops.imm.eq(Mux(opsize16, tail[:16], tail[:32]))]
            with m.Case(ImmKind.FAR):
                m.d.comb += [
                    imm_size.eq(Mux(opsize16, 4, 6)),
                    ops.imm.eq(Mux(opsize16, tail[:16], tail[:32])),
                    ops.imm2.eq(Mux(opsize16, tail[16:32], tail[32:48])),
                ]
            with m.Case(ImmKind.MOFFS):
                m.d.comb += [imm_size.eq(Mux(adsize16, 2, 4)), ops.disp.eq(Mux(adsize16, tail[:16], tail[:32]))]
            with m.Case(ImmKind.ENTER):
                m.d.comb += [imm_size.eq(3), ops.imm.eq(tail[:16]), ops.imm2.eq(tail[16:24])]

        stack_based = Mux(adsize16, base == Gpr.EBP, base[1:] == Gpr.ESP >> 1) & has_base
        m.d.comb += [
            self.length.eq(two_byte + imm_start + imm_size),
            ops.base.eq(base),
            ops.has_base.eq(has_base),
            ops.index.eq(index),
            ops.has_index.eq(has_index),
            ops.scale.eq(Mux(adsize16, 0, sib[6:8])),
            ops.segment.eq(Mux(self.prefixes.override, self.prefixes.segment,
                               Mux(stack_based, C(Seg.SS, 3), C(Seg.DS, 3)))),
            ops.reg.eq(reg),
            ops.rm.eq(rm),
            ops.opcode.eq(opcode),
            ops.sreg.eq(Mux(row.has_modrm, reg, opcode[3:6])),
            ops.memory.eq(in_memory),
            ops.opsize16.eq(opsize16),
            ops.adsize16.eq(adsize16),
        ]
        return m
