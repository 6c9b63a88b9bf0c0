"""Registers, segments, paging, TSS: layouts against the manual, methods that mean the same in hardware and Python."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from rtl.isa import paging, registers, segments, tss
from rtl.isa.layout import Struct, join, select, shape
from rtl.isa.segments import Attributes, Descriptor, Gate, Selector, SystemType


@pytest.mark.parametrize(("mask", "value"), [
    (registers.Eflags.CF, 1), (registers.Eflags.ZF, 0x40), (registers.Eflags.IF, 0x200), (registers.Eflags.OF, 0x800),
    (registers.Eflags.IOPL, 0x3000), (registers.Eflags.NT, 0x4000), (registers.Eflags.AC, 0x40000),
    (registers.Eflags.ID, 0x200000), (registers.EFLAGS_FIXED, 2), (registers.EFLAGS_WRITABLE, 0x257FD5),
    (registers.Cr0.WP, 0x10000), (registers.Cr0.PG, 0x8000_0000), (registers.CR0_RESET, 0x6000_0010),
    (registers.Cr4.PSE, 0x10), (registers.Cr4.PGE, 0x80), (registers.Cr4.PCE, 0x100),
    (registers.DR6_FIXED, 0xFFFF_0FF0), (registers.DR7_FIXED, 0x400), (registers.Dr6.BS, 0x4000),
    (registers.Dr7.GD, 0x2000), (registers.DR7_LOCAL, 0x155), (registers.DR7_WRITABLE, 0xFFFF_23FF),
    (paging.PTE_PS, 0x80), (paging.PTE_G, 0x100), (paging.FRAME_MASK, 0xFFFF_F000),
    (paging.PDE_LARGE_MASK, 0xFFC0_0000), (paging.PDE_LARGE_RESERVED, 0x003F_F000), (paging.PF_RSVD, 8),
    (segments.ATTR_DB, 0x400), (segments.ATTR_G, 0x800), (segments.ACCESS_CODE, 0x9B), (segments.ACCESS_DATA, 0x93),
    (segments.ACCESS_TSS32, 0x89), (segments.FLAGS_FLAT32, 0xC),
])
def test_masks_of_the_manual(mask: int, value: int) -> None:
    assert int(mask) == value


@pytest.mark.parametrize(("struct", "width"), [
    (registers.EflagsLayout, 32), (registers.Cr0Layout, 32), (registers.Cr3Layout, 32), (registers.Cr4Layout, 32),
    (registers.Dr6Layout, 32), (registers.Dr7Layout, 32), (Descriptor, 64), (Gate, 64), (Selector, 16),
    (Attributes, 12), (paging.PageTableEntry, 32), (paging.LargePageEntry, 32), (paging.LinearAddress, 32),
    (paging.PageFaultCode, 32),
])
def test_sizes(struct: type[Struct], width: int) -> None:
    assert sum(struct.widths.values()) == shape(struct).as_shape().size == width


def test_flat_code_descriptor() -> None:
    flat = Descriptor.from_bits(0x00CF_9B00_0000_FFFF)
    assert segments.descriptor(0, 0xFFFFF, segments.ACCESS_CODE, segments.FLAGS_FLAT32) == 0x00CF_9B00_0000_FFFF
    assert (flat.base(), flat.limit(), flat.scaled_limit()) == (0, 0xFFFFF, 0xFFFF_FFFF)
    attributes = Attributes.from_bits(flat.attributes())
    assert flat.attributes() == 0xC9B
    assert attributes.is_code() and attributes.is_readable() and not attributes.is_data()
    assert not attributes.is_writable() and not attributes.is_conforming() and not attributes.is_expand_down()


def test_data_and_system_attributes() -> None:
    expand_down = Attributes.from_bits(0x096)
    assert expand_down.is_data() and expand_down.is_expand_down() and expand_down.is_writable()
    busy = Attributes.from_bits(0x08B)
    assert busy.is_system(SystemType.TSS32_BUSY) and not busy.is_code() and not busy.is_readable()
    assert Attributes.from_bits(0x09E).is_conforming()


def test_gate_and_selector() -> None:
    gate = Gate.from_bits(0x1122_EE05_0008_3344)
    assert (gate.offset(), gate.selector, gate.count, gate.dpl, gate.p) == (0x1122_3344, 8, 5, 3, 1)
    assert gate.is_32() and gate.type == SystemType.INTERRUPT_GATE32
    assert Selector.from_bits(3).is_null() and not Selector.from_bits(4).is_null()
    assert Selector.from_bits(0x2B).offset() == 0x28


def test_page_table_entry() -> None:
    entry = paging.PageTableEntry.from_bits(0x0040_0083)
    assert entry.is_leaf(1, 1) and not entry.is_leaf(1, 0) and entry.is_leaf(0, 0)
    assert entry.address() == 0x0040_0000
    large = paging.LargePageEntry.from_bits(0x0040_1083)
    assert large.has_reserved() and large.address() == 0x0040_0000


def test_build_refuses_fields_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="^Selector has no field 'nonsense'$"):
        Selector.build(nonsense=1)


def test_build_refuses_values_that_do_not_fit() -> None:
    assert Selector.build(rpl=3, index=0x1FFF) == 0xFFFB
    with pytest.raises(ValueError, match="^4h does not fit into field 'rpl' of Selector$"):
        Selector.build(rpl=4)
    with pytest.raises(ValueError, match="^-1h does not fit into field 'ti' of Selector$"):
        Selector.build(ti=-1)


def test_missing_attribute_is_an_error() -> None:
    with pytest.raises(AttributeError):
        _ = Selector.from_bits(0).nonsense


def test_hardware_takes_and_gives_the_structure() -> None:
    assert shape(Selector) is shape(Selector)
    assert shape(Selector).const(Selector.from_bits(0x2B)).as_bits() == 0x2B
    assert shape(Selector).const({"rpl": 3, "index": 5}).as_bits() == 0x2B
    read = shape(Selector).from_bits(0x2B)
    assert isinstance(read, Selector) and read.as_bits() == 0x2B and read.index == 5


def test_methods_mean_the_same_in_hardware() -> None:
    """Every method of Descriptor and Attributes on a signal and on a constant."""
    m = Module()
    descriptor, attributes = Signal(shape(Descriptor)), Signal(shape(Attributes))
    hardware = {
        "base": descriptor.base(), "scaled_limit": descriptor.scaled_limit(), "attributes": descriptor.attributes()}
    outputs = {name: Signal(32, name=name) for name in hardware}
    m.d.comb += [outputs[name].eq(value) for name, value in hardware.items()]
    m.d.comb += attributes.eq(descriptor.attributes())
    predicates = ("is_code", "is_data", "is_conforming", "is_expand_down", "is_readable", "is_writable")
    flags = {name: Signal(name=name) for name in predicates}
    m.d.comb += [flags[name].eq(getattr(attributes, name)()) for name in predicates]

    async def bench(ctx) -> None:
        for access in range(256):
            raw = segments.descriptor(0x8123_4567 ^ access << 13, 0xABCDE ^ access, access, access >> 4)
            ctx.set(descriptor, Descriptor.from_bits(raw))
            await ctx.delay(1e-6)
            constant = Descriptor.from_bits(raw)
            for name, signal in outputs.items():
                assert ctx.get(signal) == getattr(constant, name)()
            for name, signal in flags.items():
                assert ctx.get(signal) == getattr(Attributes.from_bits(constant.attributes()), name)(), (access, name)
            assert ctx.get(descriptor).base() == constant.base()

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_join_and_select_on_integers() -> None:
    assert join((0x34, 8), (0x12, 8)) == 0x1234
    assert select(1, 2, 3) == 2 and select(0, 2, 3) == 3


def test_task_state_segments() -> None:
    assert tss.TSS32_SIZE == 104 and tss.TSS16_SIZE == 44
    assert tss.Tss32.IO_BASE == 102 and tss.Tss32.LDT == 96 and tss.Tss16.LDT == 42
    assert tss.TSS32_SAVED[0] is tss.Tss32.EIP and tss.TSS32_SAVED[-1] is tss.Tss32.GS and len(tss.TSS32_SAVED) == 16
    assert len(tss.TSS16_SAVED) == 14
    assert tss.TSS32_STACK_STRIDE == 8 and tss.TSS16_STACK_STRIDE == 4
