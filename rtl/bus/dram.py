"""Memory controller: timing of main memory and the way to memory-mapped registers."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.config import MemoryConfig
from rtl.bus.memory import MemorySignature, RamSignature
from rtl.bus.mmio import MmioSignature

__all__ = ["MemoryController"]


class MemoryController(wiring.Component):
    """Serve the memory bus from RAM with SDRAM-like timing; pass what is not RAM to the MMIO bus.

    1. The first word of a RAM request moves `latency` cycles after the cycle it was taken in, the others one per
       cycle, reads and writes alike. The next request is taken in the last word's cycle at the earliest.
    2. A single word outside RAM becomes one access on the MMIO bus, begun in the next cycle.
    3. A line outside RAM is not passed on: it reads all ones, and a write of it is lost, with RAM timing.

    Parameters
    ----------
    config : MemoryConfig

    Members
    -------
    bus : In(MemorySignature())
    ram : Out(RamSignature())
    mmio : Out(MmioSignature())
    ram_size_words : In(30)
        Constant while running.
    """

    bus: In(MemorySignature())
    ram: Out(RamSignature())
    mmio: Out(MmioSignature())
    ram_size_words: In(30)

    def __init__(self, config=None):
        self._config = config if config is not None else MemoryConfig()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        bus, ram, mmio = self.bus, self.ram, self.mmio

        word = Signal(30)
        line = Signal()
        write = Signal()
        mask = Signal(4)
        in_ram = Signal()
        wait = Signal(range(self._config.latency))
        left = Signal(3)
        answered = Signal()

        m.d.comb += [
            ram.addr.eq(word),
            ram.wdata.eq(bus.wdata),
            mmio.addr.eq(Cat(Const(0, 2), word)),
            mmio.write.eq(write),
            mmio.mask.eq(mask),
            mmio.wdata.eq(bus.wdata),
            bus.rdata.eq(Mux(in_ram, ram.rdata, 0xFFFF_FFFF)),
        ]
        # A read word reaches the bus one cycle after the RAM was enabled.
        with m.If(answered):
            m.d.comb += bus.rvalid.eq(1)
            m.d.sync += answered.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += bus.ready.eq(1)
                with m.If(bus.valid):
                    m.d.sync += [
                        word.eq(bus.addr[2:]),
                        line.eq(bus.line),
                        write.eq(bus.write),
                        mask.eq(bus.mask),
                        in_ram.eq(bus.addr[2:] < self.ram_size_words),
                        # A read spends its last cycle of latency in the RAM.
                        wait.eq(Mux(bus.write, self._config.latency - 1, self._config.latency - 2)),
                        left.eq(Mux(bus.line, 7, 0)),
                    ]
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(~in_ram & ~line):
                    m.d.comb += mmio.valid.eq(1)
                    with m.If(mmio.ready):
                        m.d.comb += [
                            bus.rdata.eq(mmio.rdata),
                            bus.rvalid.eq(~write),
                            bus.wready.eq(write),
                        ]
                        m.next = "IDLE"
                with m.Elif(wait != 0):
                    m.d.sync += wait.eq(wait - 1)
                with m.Else():
                    m.d.comb += [
                        ram.en.eq(in_ram),
                        ram.we.eq(Mux(write, mask, 0)),
                        bus.wready.eq(write),
                    ]
                    m.d.sync += [
                        word[:3].eq(word[:3] + 1),
                        answered.eq(~write),
                        left.eq(left - 1),
                    ]
                    with m.If(left == 0):
                        m.next = "IDLE"
        return m
