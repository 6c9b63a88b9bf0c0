"""The general registers and the temporaries of microprograms."""

from amaranth.hdl import Array, C, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.isa.registers import Gpr

from .uop import Reg, Size

__all__ = ["RegisterFile"]

_FIRST_TEMP = Reg.T0.value


class RegisterFile(wiring.Component):
    """Eight general registers, sixteen temporaries.

    1. Reads are combinational and see the writes of earlier cycles. Row numbers are those of `Reg` up to T15.
    2. ``x_write`` writes ``x_data`` to ``x_dst``: of a general register the part that ``x_size`` (resolved to B, W, D)
       and ``x_high`` (AH to BH) name, of a temporary the value zero-extended from ``x_size``.
    3. ``x_step`` writes ``x_step_data`` to general register ``x_step_reg``, its lower half with ``x_step_half``.
       If both write the same register, the bytes of ``x_dst`` win.
    4. ``x_mark`` remembers ESP as it is before the writes of the same cycle; ``x_restore`` puts the remembered ESP
       back and excludes the writes.

    Members
    -------
    a_base, a_index : In(5), In(3)
        Rows read by address generation; ``a_base_data``, ``a_index_data`` their values.
    x_a, x_b, x_a_high, x_b_high : In
        Rows read by execution, and whether bits 15:8 are meant; ``x_a_data``, ``x_b_data`` their values.
    x_write, x_dst, x_size, x_high, x_data : In
    x_step, x_step_reg, x_step_half, x_step_data : In
    x_mark, x_restore : In(1)
        See rules 2 to 4.
    gpr : Out(32) x 8
        The general registers.
    """

    def __init__(self):
        super().__init__({
            "a_base": In(5), "a_base_data": Out(32),
            "a_index": In(3), "a_index_data": Out(32),
            "x_a": In(5), "x_a_high": In(1), "x_a_data": Out(32),
            "x_b": In(5), "x_b_high": In(1), "x_b_data": Out(32),
            "x_write": In(1), "x_dst": In(5), "x_size": In(Size), "x_high": In(1), "x_data": In(32),
            "x_step": In(1), "x_step_reg": In(3), "x_step_half": In(1), "x_step_data": In(32),
            "x_mark": In(1), "x_restore": In(1),
            "gpr": Out(32).array(8),
        })

    def elaborate(self, platform):
        m = Module()
        registers = [Signal(32, name=register.name.lower()) for register in Gpr]
        for out, register in zip(self.gpr, registers, strict=True):
            m.d.comb += out.eq(register)
        m.submodules.temps = temps = Memory(shape=32, depth=16, init=[])

        def read(row):
            port = temps.read_port(domain="comb")
            m.d.comb += port.addr.eq(row[:4] ^ C(_FIRST_TEMP, 4))
            return Mux(row >= _FIRST_TEMP, port.data, Array(registers)[row[:3]])

        m.d.comb += [
            self.a_base_data.eq(read(self.a_base)),
            self.a_index_data.eq(Array(registers)[self.a_index]),
        ]
        for row, high, value, name in ((self.x_a, self.x_a_high, self.x_a_data, "x_a_row"),
                                       (self.x_b, self.x_b_high, self.x_b_data, "x_b_row")):
            whole = Signal(32, name=name)
            m.d.comb += [whole.eq(read(row)), value.eq(Mux(high, whole[8:16], whole))]

        temp_port = temps.write_port()
        m.d.comb += [
            temp_port.addr.eq(self.x_dst[:4] ^ C(_FIRST_TEMP, 4)),
            temp_port.en.eq(self.x_write & (self.x_dst >= _FIRST_TEMP)),
        ]
        with m.Switch(self.x_size):
            with m.Case(Size.B):
                m.d.comb += temp_port.data.eq(self.x_data[:8])
            with m.Case(Size.W):
                m.d.comb += temp_port.data.eq(self.x_data[:16])
            with m.Default():
                m.d.comb += temp_port.data.eq(self.x_data)

        # AH to BH and AL to BL both come from data bits 7:0.
        low = Signal()
        high = Signal()
        upper = Signal()
        second = Mux(self.x_high, self.x_data[:8], self.x_data[8:16])
        m.d.comb += [
            low.eq(~self.x_high),
            high.eq(self.x_high | (self.x_size != Size.B)),
            upper.eq(self.x_size == Size.D),
        ]
        esp_mark = Signal(32)
        esp = registers[Gpr.ESP]
        with m.If(self.x_mark):
            m.d.sync += esp_mark.eq(esp)
        with m.If(self.x_step):
            for number, register in enumerate(registers):
                with m.If(self.x_step_reg == number):
                    m.d.sync += register[:16].eq(self.x_step_data[:16])
                    with m.If(~self.x_step_half):
                        m.d.sync += register[16:].eq(self.x_step_data[16:])
        with m.If(self.x_write):
            for number, register in enumerate(registers):
                with m.If(self.x_dst == number):
                    with m.If(low):
                        m.d.sync += register[:8].eq(self.x_data[:8])
                    with m.If(high):
                        m.d.sync += register[8:16].eq(second)
                    with m.If(upper):
                        m.d.sync += register[16:].eq(self.x_data[16:])
        with m.If(self.x_restore):
            m.d.sync += esp.eq(esp_mark)
        return m
