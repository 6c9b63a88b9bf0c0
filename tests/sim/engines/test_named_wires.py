"""A wire with a name shows its value even where nothing depends on it.

Symptom: a decoder's wire "following" read 16 under the native engine and 0 under pysim, though every register agreed.
Cause: Yosys infers a register's enable by letting the multiplexers before it go undefined where the enable is off, and
does not see that their output has a name. Fix: enables are only inferred at the register itself.
"""

from pathlib import Path

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sim.engines import SimDesign, build


class Prefix(wiring.Component):
    """Collects a flag while ``byte`` is a prefix, forgets it otherwise."""

    byte: In(8)
    flag: Out(1)

    def elaborate(self, platform):
        m = Module()
        following = Signal()
        is_prefix = Signal()
        m.d.comb += following.eq(self.flag)
        with m.Switch(self.byte):
            with m.Case(1):
                m.d.comb += is_prefix.eq(1)
            with m.Case(2):
                m.d.comb += [is_prefix.eq(1), following.eq(1)]
        with m.If(is_prefix):
            m.d.sync += self.flag.eq(following)
        with m.Elif(self.byte == 3):
            m.d.sync += self.flag.eq(0)
        return m


def test_wire_behind_an_enable(tmp_path: Path) -> None:
    engines = []
    for name in ("pysim", "native"):
        top = Prefix()
        engines.append(build(SimDesign(top=top, inputs={"byte": top.byte}), name, tmp_path))
    for byte in (0, 1, 2, 0, 1, 3, 0, 1, 9):
        for engine in engines:
            engine.poke("byte", byte)
        one, two = ([engine.peek(name) for name in ("following", "is_prefix", "flag")] for engine in engines)
        assert one == two
        for engine in engines:
            engine.run(1)
