"""The segment caches: descriptors unpacked, fields written, copies kept."""

import random

from rtl.cpu.segments import SegmentCaches
from rtl.cpu.uop import Aseg
from rtl.isa.segments import ATTR_DB, ATTR_P, ATTR_S, TYPE_CODE, Attributes, Descriptor, SystemType
from tests.rtl.simulation import simulate

_ROWS = 10


def _descriptor(high, low):
    """Base, byte limit, attributes of the 8-byte descriptor, by the layout that software uses."""
    descriptor = Descriptor.from_bits(high << 32 | low)
    return int(descriptor.base()), int(descriptor.scaled_limit()), int(descriptor.attributes())


def _simulate(bench):
    dut = SegmentCaches()

    async def testbench(ctx):
        await bench(ctx, dut)

    simulate(dut, testbench)


async def _do(ctx, dut, row, **inputs):
    """One cycle of writing."""
    ctx.set(dut.x_seg, row)
    for name, value in inputs.items():
        ctx.set(getattr(dut, name), value)
    await ctx.tick()
    for name in inputs:
        if name in ("x_load", "x_write_sel", "x_write_base", "x_write_limit", "x_write_attr"):
            ctx.set(getattr(dut, name), 0)


def _read(ctx, dut, row, stage="x"):
    ctx.set(getattr(dut, f"{stage}_seg"), row)
    names = ("base", "limit", "attr") if stage == "a" else ("sel", "base", "limit", "attr")
    values = [ctx.get(getattr(dut, f"{stage}_{name}")) for name in names]
    return *values[:-1], values[-1].as_bits()


def test_reset_is_what_a_loader_hands_over():
    """Flat segments, CS of code; LDTR and TR as after INIT (SDM vol. 3A, table 9-1); scratch caches unusable."""
    async def bench(ctx, dut):
        for row in range(_ROWS):
            selector, base, limit, bits = _read(ctx, dut, row)
            attr = Attributes.from_bits(bits)
            assert base == 0
            assert selector == (0 if row > Aseg.GS else 8 if row == Aseg.CS else 0x10)
            if row < 6:
                assert limit == 0xFFFFFFFF and attr.p and attr.db and attr.dpl == 0
                assert bool(attr.is_code()) == (row == Aseg.CS) and attr.is_readable()
                assert bool(attr.is_writable()) == (row != Aseg.CS)
            elif row in (Aseg.LDTR, Aseg.TR):
                assert limit == 0xFFFF and attr.p and not attr.s
                assert bits & 0xF == (SystemType.LDT if row == Aseg.LDTR else SystemType.TSS32_BUSY)
            else:
                assert not attr.p
        assert ctx.get(dut.cs_32) and ctx.get(dut.ss_32)
        assert (ctx.get(dut.cs_base), ctx.get(dut.cs_limit)) == (0, 0xFFFFFFFF)

    _simulate(bench)


def test_random_traffic():
    rng = random.Random(2)

    async def bench(ctx, dut):
        rows = [list(_read(ctx, dut, row)) for row in range(_ROWS)]
        for _ in range(400):
            row = rng.choice((rng.randrange(_ROWS), Aseg.CS, Aseg.SS))
            kind = rng.choice(("load", "load", "sel", "base", "limit"))
            high, low, data = (rng.getrandbits(32) for _ in range(3))
            if kind == "load":
                await _do(ctx, dut, row, x_load=1, x_high=high, x_low=low, x_data=data)
                rows[row][1:] = _descriptor(high, low)
            else:
                await _do(ctx, dut, row, **{f"x_write_{kind}": 1}, x_high=high, x_low=low, x_data=data)
                rows[row][("sel", "base", "limit").index(kind)] = data & (0xFFFF if kind == "sel" else 0xFFFFFFFF)
            probe = rng.randrange(_ROWS)
            assert list(_read(ctx, dut, probe)) == rows[probe]
            assert list(_read(ctx, dut, row, "a")) == rows[row][1:]
            cs, ss = rows[Aseg.CS], rows[Aseg.SS]
            assert (ctx.get(dut.cs_base), ctx.get(dut.cs_limit), ctx.get(dut.cs_32)) == (
                cs[1], cs[2], bool(cs[3] & ATTR_DB))
            assert ctx.get(dut.ss_32) == bool(ss[3] & ATTR_DB)

    _simulate(bench)


def test_attributes_are_written_as_they_are_read():
    """By the layout of a descriptor's high doubleword, 23:8; 0 makes the segment unusable."""
    async def bench(ctx, dut):
        high = 0x00C0_9A00
        await _do(ctx, dut, Aseg.CS, x_write_attr=1, x_data=high)
        *_, bits = _read(ctx, dut, Aseg.CS)
        assert bits == _descriptor(high, 0)[2] and bits & (ATTR_P | ATTR_S | TYPE_CODE | ATTR_DB)
        await _do(ctx, dut, Aseg.CS, x_write_attr=1, x_data=0)
        assert _read(ctx, dut, Aseg.CS)[-1] == 0 and not ctx.get(dut.cs_32)

    _simulate(bench)
