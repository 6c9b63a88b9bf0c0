"""I/O APIC: inputs of devices to messages for the local APICs."""

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.bus.mmio import MmioSignature
from rtl.irq.message import EndSignature, MessageSignature
from rtl.isa.apic import IO_APIC_ID, IO_APIC_INPUTS, IO_APIC_VERSION, IoApicIndex, IoApicReg

__all__ = ["IoApic"]

_ENTRY_BITS = ("mode0", "mode1", "mode2", "logical", None, "active_low", None, "trigger", "mask")
"""Bits 8 to 16 of an entry's low half."""


class IoApic(wiring.Component):
    """Twenty-four redirection entries.

    1. Registers are behind an index and a window, and are written as a whole: other writes are lost.
    2. An edge counts if the entry is not masked when it comes. A level counts while it is there and remote IRR is 0;
       remote IRR is set when the message leaves and cleared by the end of an interrupt with the entry's vector, or when
       the entry is written as an edge-triggered one. Only fixed and lowest-priority interrupts can be level-triggered.
    3. Messages leave one per cycle, the lowest input first, from the second cycle after the change of an input.
    4. An entry in mode ExtINT sends nothing. While its input is asserted, and nothing is on its way, ``external`` is
       high with its destination: the 8259A pair gives the vector.
    5. An end of interrupt is looked up in one cycle per entry with remote IRR; ``end`` is not ready meanwhile.

    Intel 82093AA datasheet (order number 290566).

    Members
    -------
    bus : In(MmioSignature())
    irq : In(24)
    message : Out(MessageSignature()); end : In(EndSignature())
    external, external_dest, external_logical : Out(1), Out(8), Out(1)
    settled : Out(1)
        With inputs that stay as they are and no access, nothing more happens.
    """

    bus: In(MmioSignature())
    irq: In(IO_APIC_INPUTS)
    message: Out(MessageSignature())
    end: In(EndSignature())
    external: Out(1)
    external_dest: Out(8)
    external_logical: Out(1)
    settled: Out(1)

    def elaborate(self, platform):
        m = Module()
        bus, message = self.bus, self.message
        n = IO_APIC_INPUTS
        bits = {name: Signal(n, name=name, init=(1 << n) - 1 if name == "mask" else 0)
                for name in _ENTRY_BITS if name}
        remote, lines, requests, scan = (Signal(n, name=name) for name in ("remote", "lines", "requests", "scan"))
        select, ident = Signal(8, name="select"), Signal(4, name="ident", init=IO_APIC_ID)
        m.submodules.vectors = vectors = Memory(shape=8, depth=n, init=[0] * n)
        m.submodules.dests = dests = Memory(shape=8, depth=n, init=[0] * n)

        # What the inputs ask for.
        active, by_level, is_external, ready, asked = (Signal(n) for _ in range(5))
        m.d.comb += [
            active.eq((self.irq ^ bits["active_low"]) & ~bits["mask"]),
            by_level.eq(bits["trigger"] & ~bits["mode1"] & ~bits["mode2"]),
            is_external.eq(bits["mode0"] & bits["mode1"] & bits["mode2"]),
            asked.eq(active & is_external),
            ready.eq((lines ^ bits["active_low"]) & by_level & ~bits["mask"] & ~remote | requests),
            self.external.eq(asked.any() & ~ready.any() & ~scan.any()),
            self.settled.eq((lines == self.irq) & ~ready.any() & ~scan.any()),
        ]
        sent, edges = Signal(n), Signal(n)
        with m.If(lines != self.irq):
            m.d.comb += edges.eq(active & (self.irq ^ lines) & ~by_level & ~is_external)
            m.d.sync += lines.eq(self.irq)
        with m.If(edges.any() | sent.any()):
            m.d.sync += requests.eq(requests & ~sent | edges)

        # One message per cycle. The entry of a message, of an end of interrupt or of ExtINT is looked at by itself.
        index = Signal(range(n))
        vector, dest = vectors.read_port(domain="comb"), dests.read_port(domain="comb")
        looked_at = Signal(n)
        with m.If(scan.any()):
            m.d.comb += looked_at.eq(scan)
        with m.Elif(ready.any()):
            m.d.comb += looked_at.eq(ready)
        with m.Else():
            m.d.comb += looked_at.eq(asked)
        with m.If(looked_at.any()):
            for pin in reversed(range(n)):
                with m.If(looked_at[pin]):
                    m.d.comb += index.eq(pin)

        def of_entry(name, entry):
            return bits[name].bit_select(entry, 1)

        m.d.comb += [
            vector.addr.eq(index), dest.addr.eq(index),
            message.valid.eq(~scan.any() & ready.any()), message.vector.eq(vector.data), message.dest.eq(dest.data),
            message.mode.eq(Cat(of_entry(f"mode{bit}", index) for bit in range(3))),
            message.level.eq(by_level.bit_select(index, 1)), message.logical.eq(of_entry("logical", index)),
            self.external_dest.eq(dest.data), self.external_logical.eq(of_entry("logical", index)),
            self.end.ready.eq(~scan.any()),
        ]
        # Whole words are written, so that a simulator passes over them all while nothing happens.
        set_remote, clear_remote, clear_written = Signal(n), Signal(n), Signal(n)
        with m.If(set_remote.any() | clear_remote.any() | clear_written.any()):
            m.d.sync += remote.eq((remote | set_remote) & ~clear_remote & ~clear_written)
        with m.If(message.valid & message.ready):
            m.d.comb += sent.eq(1 << index)
            with m.If(message.level):
                m.d.comb += set_remote.eq(sent)
        ended = Signal(8)
        with m.If(scan.any()):
            m.d.sync += scan.eq(scan & (scan - 1))
            with m.If(vector.data == ended):
                m.d.comb += clear_remote.eq(1 << index)
        with m.Elif(self.end.valid):
            m.d.sync += [scan.eq(remote), ended.eq(self.end.vector)]

        # Registers.
        entry = Signal(range(32))
        write_vector, write_dest = vectors.write_port(), dests.write_port()
        read_vector, read_dest = vectors.read_port(domain="comb"), dests.read_port(domain="comb")
        is_entry, chosen = Signal(), Signal(n)
        low = Cat(read_vector.data, (of_entry(name, entry) if name else C(0, 1) for name in _ENTRY_BITS[:6]),
                  remote.bit_select(entry, 1), of_entry("trigger", entry), of_entry("mask", entry))
        for port in (write_vector, write_dest, read_vector, read_dest):
            m.d.comb += port.addr.eq(entry)
        m.d.comb += [
            bus.ready.eq(1), entry.eq(select[1:] - (IoApicIndex.ENTRY >> 1)),
            chosen.eq(1 << entry), is_entry.eq((select >= IoApicIndex.ENTRY) & (select < IoApicIndex.ENTRY + 2 * n)),
            write_vector.data.eq(bus.wdata[:8]), write_dest.data.eq(bus.wdata[24:]),
        ]
        with m.If(bus.valid):
            with m.If(bus.addr[2:8] == IoApicReg.SELECT >> 2):
                m.d.comb += bus.rdata.eq(select)
                with m.If(bus.write & bus.mask.all()):
                    m.d.sync += select.eq(bus.wdata)
            with m.Elif(bus.addr[2:8] == IoApicReg.WINDOW >> 2):
                with m.If(is_entry):
                    m.d.comb += bus.rdata.eq(Mux(select[0], Cat(C(0, 24), read_dest.data), low))
                with m.Elif((select == IoApicIndex.ID) | (select == IoApicIndex.ARBITRATION)):
                    m.d.comb += bus.rdata.eq(Cat(C(0, 24), ident))
                with m.Elif(select == IoApicIndex.VERSION):
                    m.d.comb += bus.rdata.eq(IO_APIC_VERSION)
                with m.If(bus.write & bus.mask.all()):
                    with m.If(is_entry & select[0]):
                        m.d.comb += write_dest.en.eq(1)
                    with m.Elif(is_entry):
                        m.d.comb += write_vector.en.eq(1)
                        for place, name in enumerate(_ENTRY_BITS):
                            if name:
                                m.d.sync += bits[name].eq(
                                    Mux(bus.wdata[8 + place], bits[name] | chosen, bits[name] & ~chosen))
                        with m.If(~bus.wdata[15] | bus.wdata[9:11].any()):
                            m.d.comb += clear_written.eq(chosen)
                    with m.Elif(select == IoApicIndex.ID):
                        m.d.sync += ident.eq(bus.wdata[24:])
        return m
