"""The segment caches: selector, base, limit and attributes of each segment register, and two scratch ones."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.isa.layout import shape
from rtl.isa.segments import (
    ATTR_DB,
    ATTR_G,
    ATTR_P,
    ATTR_S,
    TYPE_ACCESSED,
    TYPE_CODE,
    TYPE_READABLE,
    TYPE_WRITABLE,
    Attributes,
    SystemType,
)

from .uop import Aseg

__all__ = ["SegmentCaches"]

_ROWS = 10
_CODE = ATTR_P | ATTR_S | TYPE_CODE | TYPE_READABLE | TYPE_ACCESSED | ATTR_DB | ATTR_G
_DATA = ATTR_P | ATTR_S | TYPE_WRITABLE | TYPE_ACCESSED | ATTR_DB | ATTR_G
_LDT = ATTR_P | SystemType.LDT
_TSS = ATTR_P | SystemType.TSS32_BUSY
#: A Multiboot loader leaves CS and the data segments in its own table; these are the selectors QEMU's has.
_SELECTORS = [0x10, 0x08, 0x10, 0x10, 0x10, 0x10]


class SegmentCaches(wiring.Component):
    """What the processor remembers of the descriptors it has loaded. SDM vol. 3A, 3.4.3.

    1. A reads base, limit and attributes of segment ``a_seg`` combinationally; X reads and writes ``x_seg``.
    2. A write is seen from the next cycle on.
    3. ``x_load`` unpacks a descriptor (``x_high``, ``x_low``) into base, byte limit and attributes; the other writes
       change one field to ``x_data``: attributes lie there as in the high doubleword of a descriptor. With
       ``x_write_word`` it has the selector in 15:0 and the attributes in 27:16, as in a VMCB.
    4. After reset the six segments are flat, the state a Multiboot loader hands over.

    Members
    -------
    a_seg : In(4); a_base, a_limit : Out(32); a_attr : Out(Attributes)
    x_seg : In(4); x_sel : Out(16); x_base, x_limit : Out(32); x_attr : Out(Attributes)
    x_load, x_write_sel, x_write_base, x_write_limit, x_write_attr, x_write_word : In(1)
    x_high, x_low, x_data : In(32)
    cs_base, cs_limit : Out(32)
    cs_32, ss_32 : Out(1)
        The D bit of CS, the B bit of SS.
    """

    def __init__(self):
        super().__init__({
            "a_seg": In(4), "a_base": Out(32), "a_limit": Out(32), "a_attr": Out(shape(Attributes)),
            "x_seg": In(4), "x_sel": Out(16), "x_base": Out(32), "x_limit": Out(32), "x_attr": Out(shape(Attributes)),
            "x_load": In(1), "x_write_sel": In(1), "x_write_base": In(1), "x_write_limit": In(1),
            "x_write_attr": In(1), "x_write_word": In(1), "x_high": In(32), "x_low": In(32), "x_data": In(32),
            "cs_base": Out(32), "cs_limit": Out(32, init=0xFFFFFFFF), "cs_32": Out(1, init=1), "ss_32": Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        flat = [_DATA, _CODE, _DATA, _DATA, _DATA, _DATA, _LDT, _TSS]
        m.submodules.selector = selector = Memory(shape=16, depth=_ROWS, init=_SELECTORS)
        m.submodules.base = base = Memory(shape=32, depth=_ROWS, init=[])
        m.submodules.limit = limit = Memory(shape=32, depth=_ROWS, init=[0xFFFFFFFF] * 6 + [0xFFFF] * 2)
        m.submodules.attributes = attributes = Memory(shape=12, depth=_ROWS, init=flat)

        def read(memory, row, out):
            port = memory.read_port(domain="comb")
            m.d.comb += [port.addr.eq(row), out.eq(port.data)]

        for memory, out in ((base, self.a_base), (limit, self.a_limit)):
            read(memory, self.a_seg, out)
        read(attributes, self.a_seg, self.a_attr.as_value())
        for memory, out in ((selector, self.x_sel), (base, self.x_base), (limit, self.x_limit)):
            read(memory, self.x_seg, out)
        read(attributes, self.x_seg, self.x_attr.as_value())

        high, low = self.x_high, self.x_low
        scaled = Signal(32)
        m.d.comb += scaled.eq(Mux(high[23], Cat(C(0xFFF, 12), low[:16], high[16:20]),
                                  Cat(low[:16], high[16:20])))

        def write(memory, enable, value):
            port = memory.write_port()
            m.d.comb += [port.addr.eq(self.x_seg), port.en.eq(enable), port.data.eq(value)]
            return port

        load, given = self.x_load, self.x_data
        access = Mux(load, high, given)
        write(selector, self.x_write_sel | self.x_write_word, given)
        base_port = write(base, load | self.x_write_base,
                          Mux(load, Cat(low[16:32], high[0:8], high[24:32]), given))
        limit_port = write(limit, load | self.x_write_limit, Mux(load, scaled, given))
        attr_port = write(attributes, load | self.x_write_attr | self.x_write_word,
                          Mux(self.x_write_word, given[16:28], Cat(access[8:16], access[20:24])))

        # Copies for the stages that need one segment in every cycle.
        db = shape(Attributes)(attr_port.data).db
        with m.If(self.x_seg == Aseg.CS):
            with m.If(base_port.en):
                m.d.sync += self.cs_base.eq(base_port.data)
            with m.If(limit_port.en):
                m.d.sync += self.cs_limit.eq(limit_port.data)
            with m.If(attr_port.en):
                m.d.sync += self.cs_32.eq(db)
        with m.If((self.x_seg == Aseg.SS) & attr_port.en):
            m.d.sync += self.ss_32.eq(db)
        return m
