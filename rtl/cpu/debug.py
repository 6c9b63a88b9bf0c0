"""The breakpoint comparators."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.registers import BREAKPOINT_LENGTHS, BreakpointType, Dr7

from .uop import Mem, Size

__all__ = ["DebugUnit"]


class DebugUnit(wiring.Component):
    """Compares instruction and data addresses with DR0-DR3. Combinational. SDM vol. 3B, 18.2.

    1. ``x_execute``: an enabled instruction breakpoint is at linear address ``eip`` and RF is clear. A fault, with
       ``x_fault_bits`` for DR6.
    2. ``x_data_hits``: the enabled data or I/O breakpoints that a committing micro-operation (``access``) touches by
       its access to memory (``mem``, ``linear``, ``width``) or to a port. Traps. RMW does not count: a STORE to the
       same place follows, or it only probes a stack frame.

    Members
    -------
    dr : In(32) x 4; dr7 : In(32); rf : In(1)
        Instruction breakpoints are masked.
    eip, linear : In(32)
    mem : In(Mem); width : In(Size); access : In(1)
    io : In(1); io_port : In(16); io_size : In(Size)
        An IN or OUT commits, and CR4.DE is set.
    x_execute : Out(1); x_fault_bits : Out(4); x_data_hits : Out(4)
    """

    def __init__(self):
        super().__init__({
            "dr": In(32).array(4), "dr7": In(32), "rf": In(1), "eip": In(32), "linear": In(32), "mem": In(Mem),
            "width": In(Size), "access": In(1), "io": In(1), "io_port": In(16), "io_size": In(Size),
            "x_execute": Out(1), "x_fault_bits": Out(4), "x_data_hits": Out(4),
        })

    def elaborate(self, platform):
        m = Module()
        enabled = Signal()
        m.d.comb += enabled.eq((self.dr7 & int(Dr7.ENABLES)) != 0)

        def extra(size):
            """How many bytes an access covers behind its first one."""
            return Mux(size == Size.B, 0, Mux(size == Size.W, 1, 3))

        with m.If(enabled):
            for index, register in enumerate(self.dr):
                on = self.dr7[2 * index:2 * index + 2] != 0
                kind = self.dr7[16 + 4 * index:18 + 4 * index]
                length = self.dr7[18 + 4 * index:20 + 4 * index]
                mask = Signal(2, name=f"mask{index}")
                with m.Switch(length):
                    for code, bytes_ in enumerate(BREAKPOINT_LENGTHS):
                        with m.Case(code):
                            m.d.comb += mask.eq(bytes_ - 1)
                first = Signal(32, name=f"first{index}")
                touched = Signal(name=f"touched{index}")
                wanted = Signal(name=f"wanted{index}")
                # INS and OUTS touch a port and memory at once.
                is_io = kind == BreakpointType.IO.value
                address = Mux(is_io, self.io_port, self.linear)
                after = Mux(is_io, extra(self.io_size), extra(self.width))
                m.d.comb += [
                    first.eq(Cat(register[:2] & ~mask, register[2:])),
                    # Two ranges overlap when each begins before the other ends.
                    touched.eq(((first - address)[:32] <= after) | ((address - first)[:32] <= mask)),
                    wanted.eq((is_io & self.io)
                              | ((kind == BreakpointType.WRITE.value) & (self.mem == Mem.STORE))
                              | ((kind == BreakpointType.ACCESS.value)
                                 & ((self.mem == Mem.LOAD) | (self.mem == Mem.STORE)))),
                    self.x_data_hits[index].eq(self.access & on & wanted & touched),
                    self.x_fault_bits[index].eq(
                        on & (kind == BreakpointType.EXECUTE.value) & (register == self.eip) & ~self.rf),
                ]
        m.d.comb += self.x_execute.eq(self.x_fault_bits != 0)
        return m
