"""The system registers against the manual's rules for who may change which bit."""

import random

import pytest

from rtl.cpu.flags import Flags
from rtl.cpu.sysregs import SystemRegisters
from rtl.cpu.uop import FlagOp, Size, Sys
from rtl.isa.registers import Cr0, Cr4, Dr6, Dr7, Eflags
from rtl.isa.segments import SystemType
from tests.rtl.simulation import simulate

_M32 = 0xFFFF_FFFF
_STATUS = {"cf": Eflags.CF, "pf": Eflags.PF, "af": Eflags.AF, "zf": Eflags.ZF, "sf": Eflags.SF, "of": Eflags.OF}
_ARITHMETIC = int(sum(_STATUS.values()))
_PULSES = ("write", "flags_en", "flag_op", "popf", "iret", "rf_clear", "cr2_en", "debug_done", "live")
_IOPL_SHIFT = 12


class _Bench:
    """One simulated unit; `do` is one cycle with the inputs given and no others."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut

    async def do(self, **inputs):
        idle = dict.fromkeys((*_PULSES, "dr6_set"), 0)
        for name, value in (idle | inputs).items():
            self.ctx.set(getattr(self.dut, name), value)
        pulses = self.ctx.get(self.dut.inv_all), self.ctx.get(self.dut.inv_nonglobal), self.ctx.get(self.dut.sti)
        await self.ctx.tick()
        for name in idle:
            self.ctx.set(getattr(self.dut, name), 0)
        return pulses

    async def write(self, register, value, **others):
        return await self.do(write=1, sys=register, data=value, **others)

    def read(self, register, **others):
        for name, value in (dict(sys=register) | others).items():
            self.ctx.set(getattr(self.dut, name), value)
        return self.ctx.get(self.dut.read)

    @property
    def eflags(self):
        return self.read(Sys.EFLAGS)

    async def privilege(self, cpl, iopl, eflags=2):
        """Set CPL and IOPL and the other flags, as a task switch could."""
        await self.write(Sys.CPL, cpl)
        await self.write(Sys.EFLAGS, eflags & ~Eflags.IOPL | iopl << _IOPL_SHIFT)


def _simulate(body):
    dut = SystemRegisters()

    async def testbench(ctx):
        await body(_Bench(ctx, dut))

    simulate(dut, testbench)


_LEVELS = [(cpl, iopl) for cpl in range(4) for iopl in range(4)]


def _loaded(old, image, writable, cpl, iopl):
    if cpl == 0:
        writable |= Eflags.IOPL
    if cpl <= iopl:
        writable |= Eflags.IF
    return old & ~int(writable) | image & int(writable)


@pytest.mark.parametrize("size", (Size.W, Size.D), ids=lambda size: size.name)
@pytest.mark.parametrize("how", ("popf", "iret"))
def test_popf_and_iret_masks(how, size):
    """SDM vol. 2B, POPF/POPFD table 4-16 and vol. 2A, IRET: IOPL at CPL 0, IF at CPL <= IOPL, VM never."""
    rng = random.Random(size)
    writable = _ARITHMETIC | Eflags.TF | Eflags.DF | Eflags.NT
    if size == Size.D:
        writable |= Eflags.AC | Eflags.ID | (Eflags.RF if how == "iret" else 0)

    async def body(bench):
        for cpl, iopl in _LEVELS:
            for _ in range(4):
                await bench.privilege(cpl, iopl, rng.getrandbits(32))
                old, image = bench.eflags, rng.getrandbits(32)
                await bench.do(**{how: 1}, data=image, size=size)
                assert bench.eflags == _loaded(old, image, writable, cpl, iopl), f"CPL {cpl} IOPL {iopl}"

    _simulate(body)


def test_a_whole_image_is_a_task_switch():
    """Every flag that exists, at any CPL; bit 1 is one, the others read as zero."""
    async def body(bench):
        exist = _ARITHMETIC | Eflags.TF | Eflags.IF | Eflags.DF | Eflags.IOPL | Eflags.NT | Eflags.RF | Eflags.AC | (
            Eflags.ID)
        for cpl in range(4):
            await bench.write(Sys.CPL, cpl)
            await bench.write(Sys.EFLAGS, _M32)
            assert bench.eflags == int(exist) | 2
            await bench.write(Sys.EFLAGS, 0)
            assert bench.eflags == 2

    _simulate(body)


def test_rf_lasts_for_one_instruction():
    """The instruction that loads RF keeps it, whether it ends at once or later; the next one loses it."""
    async def body(bench):
        for image, ends_at_once in ((Eflags.RF, False), (Eflags.RF, True)):
            await bench.do(iret=1, data=image, size=Size.D, rf_clear=int(ends_at_once))
            if not ends_at_once:
                await bench.do()
                await bench.do(rf_clear=1)
            assert bench.eflags & Eflags.RF, "IRET leaves RF set for the instruction it returns to"
            await bench.do(rf_clear=1)
            assert not bench.eflags & Eflags.RF
        await bench.write(Sys.EFLAGS, Eflags.RF)
        await bench.do(popf=1, data=_M32, size=Size.D)
        await bench.do(rf_clear=1)
        assert bench.eflags & Eflags.RF, "a task switch sets it for the first instruction of the task"
        await bench.do(rf_clear=1)
        assert not bench.eflags & Eflags.RF

    _simulate(body)


def test_delivery_clears_flags():
    """TF, NT and RF always, IF only through an interrupt gate."""
    async def body(bench):
        for gate in (SystemType.INTERRUPT_GATE32, SystemType.TRAP_GATE32, SystemType.INTERRUPT_GATE16,
                     SystemType.TRAP_GATE16):
            await bench.write(Sys.EFLAGS, _M32)
            before = bench.eflags
            await bench.write(Sys.IFTF, 0xABCDE000 | gate << 8)
            interrupt = gate in (SystemType.INTERRUPT_GATE32, SystemType.INTERRUPT_GATE16)
            cleared = Eflags.TF | Eflags.NT | Eflags.RF | (Eflags.IF if interrupt else 0)
            assert bench.eflags == before & ~int(cleared)

    _simulate(body)


def test_single_flags():
    async def body(bench):
        effects = {FlagOp.CLC: (Eflags.CF, 0), FlagOp.STC: (Eflags.CF, 1), FlagOp.CLD: (Eflags.DF, 0),
                   FlagOp.STD: (Eflags.DF, 1), FlagOp.CLI: (Eflags.IF, 0), FlagOp.STI: (Eflags.IF, 1)}
        for start in (0, _M32):
            for kind, (flag, value) in effects.items():
                await bench.write(Sys.EFLAGS, start)
                before = bench.eflags
                *_, sti = await bench.do(flag_op=1, flag_kind=kind)
                assert bench.eflags == (before | flag if value else before & ~int(flag)), kind
                assert sti == (kind == FlagOp.STI and not before & Eflags.IF), "an STI that changes nothing is a NOP"
            before = bench.eflags
            await bench.do(flag_op=1, flag_kind=FlagOp.CMC)
            assert bench.eflags == before ^ Eflags.CF
            for value in (1, 0):
                await bench.write(Sys.NT, value)
                assert bool(bench.eflags & Eflags.NT) == value

    _simulate(body)


def test_arithmetic_flags_by_mask():
    rng = random.Random(3)

    async def body(bench):
        for _ in range(80):
            old, new, mask = bench.eflags, rng.getrandbits(6), rng.getrandbits(6)
            await bench.do(flags_en=1, flags_in=Flags.from_bits(new), flags_mask=Flags.from_bits(mask))
            expected = old
            for bit, flag in enumerate(_STATUS.values()):
                if mask >> bit & 1:
                    expected = expected & ~int(flag) | (flag if new >> bit & 1 else 0)
            assert bench.eflags == expected
            assert bench.ctx.get(bench.dut.flags).as_bits() == sum(
                bool(expected & flag) << bit for bit, flag in enumerate(_STATUS.values()))

    _simulate(body)


_PLAIN = {
    Sys.CR2: _M32, Sys.CR3: _M32, Sys.GDT_BASE: _M32, Sys.GDT_LIMIT: 0xFFFF, Sys.IDT_BASE: _M32, Sys.IDT_LIMIT: 0xFFFF,
    Sys.CPL: 3, Sys.NCPL: 3, Sys.SYSENTER_CS: _M32, Sys.SYSENTER_ESP: _M32, Sys.SYSENTER_EIP: _M32,
}
_CR0 = Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG
_DR6 = Dr6.B0 | Dr6.B1 | Dr6.B2 | Dr6.B3 | Dr6.BD | Dr6.BS | Dr6.BT
_FIXED = {
    Sys.CR0: (_CR0, Cr0.ET), Sys.CR4: (Cr4.TSD | Cr4.DE | Cr4.PSE | Cr4.PGE | Cr4.PCE, 0),
    Sys.DR6: (_DR6, 0xFFFF0FF0), Sys.DR7: (0xFFFF0300 | Dr7.ENABLES | Dr7.GD, 0x400),
}


def test_every_register_keeps_what_it_can():
    """Written with random values in random order; each read back alone, with its fixed bits."""
    rng = random.Random(4)
    bits = {register: (mask, 0) for register, mask in _PLAIN.items()} | {
        register: (int(mask), int(ones)) for register, (mask, ones) in _FIXED.items()}

    async def body(bench):
        values = {register: bench.read(register) for register in bits}
        for _ in range(150):
            register, value = rng.choice(list(bits)), rng.getrandbits(32)
            await bench.write(register, value)
            mask, ones = bits[register]
            values[register] = value & mask | ones
            assert {register: bench.read(register) for register in bits} == values

    _simulate(body)


def test_debug_registers_by_number():
    """DR4 and DR5 are DR6 and DR7; DR6 bits are added by events and stay."""
    async def body(bench):
        for number in range(4):
            await bench.write(Sys.DR, 0x1000 * (number + 1), dr_index=number)
        assert [bench.read(Sys.DR, dr_index=number) for number in range(4)] == [0x1000, 0x2000, 0x3000, 0x4000]
        for number, register, (mask, ones) in ((4, Sys.DR6, _FIXED[Sys.DR6]), (6, Sys.DR6, _FIXED[Sys.DR6]),
                                               (5, Sys.DR7, _FIXED[Sys.DR7]), (7, Sys.DR7, _FIXED[Sys.DR7])):
            for value in (0, _M32, 0x55555555):
                await bench.write(Sys.DR, value, dr_index=number)
                assert bench.read(register) == value & int(mask) | int(ones)
                assert bench.read(Sys.DR, dr_index=number) == bench.read(register)
        await bench.write(Sys.DR6, 0)
        for added in (Dr6.B1, Dr6.BS):
            await bench.do(dr6_set=int(added))
        assert bench.read(Sys.DR6) == 0xFFFF0FF0 | Dr6.B1 | Dr6.BS

    _simulate(body)


def test_delivery_of_debug_exceptions_clears_gd():
    """So that the handler may use the debug registers. SDM vol. 3B, 18.2.4."""
    async def body(bench):
        await bench.write(Sys.DR7, _M32)
        before = bench.read(Sys.DR7)
        assert before & Dr7.GD
        await bench.do(debug_done=1)
        assert bench.read(Sys.DR7) == before & ~int(Dr7.GD)

    _simulate(body)


def test_page_fault_address():
    async def body(bench):
        await bench.do(cr2_en=1, cr2_data=0xDEADBEEF)
        assert bench.read(Sys.CR2) == 0xDEADBEEF

    _simulate(body)


def test_what_flushes_the_tlbs():
    """CR3 the non-global entries; CR4, and changes of PG, WP or PE in CR0, all."""
    async def body(bench):
        reset = bench.read(Sys.CR0)
        assert await bench.write(Sys.CR0, reset) == (0, 0, 0)
        for bit in Cr0:
            if bit & _CR0:
                pulses = await bench.write(Sys.CR0, bench.read(Sys.CR0) ^ bit)
                assert pulses == (bool(bit & (Cr0.PG | Cr0.WP | Cr0.PE)), 0, 0), bit
        assert await bench.write(Sys.CR3, 0x1000) == (0, 1, 0)
        assert await bench.write(Sys.CR4, Cr4.PSE) == (1, 0, 0)
        assert await bench.write(Sys.TS, 1) == (0, 0, 0)
        assert bench.read(Sys.CR0) & Cr0.TS
        assert (await bench.write(Sys.TS, 0), bench.read(Sys.CR0) & Cr0.TS) == ((0, 0, 0), 0)

    _simulate(body)


def test_paging_control_follows_the_registers():
    async def body(bench):
        await bench.write(Sys.CR3, 0x12345FFF)
        await bench.write(Sys.CR0, Cr0.PE | Cr0.PG | Cr0.WP)
        await bench.write(Sys.CR4, Cr4.PSE)
        control = bench.ctx.get(bench.dut.control)
        assert (control.paging, control.wp, control.pse, control.pge, control.cr3_base, control.cache_disable) == (
            1, 1, 1, 0, 0x12345, 0)
        await bench.write(Sys.CR0, Cr0.PE | Cr0.CD)
        await bench.write(Sys.CR4, Cr4.PGE)
        control = bench.ctx.get(bench.dut.control)
        assert (control.paging, control.wp, control.pse, control.pge, control.cache_disable) == (0, 0, 0, 1, 1)

    _simulate(body)


def test_time_stamp_counts_every_clock():
    async def body(bench):
        await bench.write(Sys.TSC_HI, 7)
        await bench.write(Sys.TSC_LO, _M32 - 4)
        values = []
        for _ in range(4):
            low = bench.read(Sys.TSC_LO)
            await bench.do(live=1)
            values.append(bench.read(Sys.TSC_HI) << 32 | low)
            await bench.do()
        assert values == [(7 << 32) + _M32 - 4 + 2 * n for n in range(4)]

    _simulate(body)
