"""The interrupt controllers of a PC beyond the 8259A pair: local APIC, I/O APIC, and their wiring."""

from amaranth import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.bus.mmio import MmioDecoder, MmioSignature, Window, address_map
from rtl.irq.ioapic import IoApic
from rtl.irq.lapic import LocalApic
from rtl.isa.apic import EXTINT_INPUT, IO_APIC_INPUTS, io_apic_input
from rtl.isa.platform import ISA_LINES, REGION, Irq

__all__ = ["Apics"]


class Apics(wiring.Component):
    """Stands between the 8259A pair and the processor.

    1. ISA lines go to the I/O APIC inputs of their number, line 0 to input 2. The pair's INT goes to input 0 and to
       LINT0, NMI to LINT1.
    2. A vector comes from the local APIC if it has a request, else from the pair if its INT passes as ExtINT, else it
       is the spurious vector. At power-on the pair passes through and nothing else asks for anything.
    3. While ``enable`` is 0 there is no local APIC: its registers are not on the bus, the pair's INT and NMI go
       straight to the processor.

    Multiprocessor Specification 1.4, 3.6.2.2 (virtual wire mode); Intel SDM vol. 3A, 11.4.3.

    Parameters
    ----------
    span : shape of ``elapse``.

    Members
    -------
    mmio : In(MmioSignature())
        Both windows; unclaimed addresses read as ones.
    enable : In(1)
        IA32_APIC_BASE bit 11. 1 if not connected.
    irq : In(16)
        ISA lines.
    pic_intr, pic_ack, pic_vector : In(1), Out(1), In(8)
        The 8259A pair.
    nmi_in : In(1)
    intr, ack, vector : Out(1), In(1), Out(8)
        The processor, as of `rtl.irq.pic.PicPair`.
    nmi, init : Out(1)
        The processor; NMI counts by rising edges, INIT is a pulse.
    elapse, until_tick, settled : In, Out, Out(1)
        As on `rtl.dev.isa_bus.IsaBus`.
    """

    def __init__(self, span=range(2)):
        self._span = span
        super().__init__({
            "mmio": In(MmioSignature()), "enable": In(1, init=1), "irq": In(ISA_LINES),
            "pic_intr": In(1), "pic_ack": Out(1), "pic_vector": In(8), "nmi_in": In(1),
            "intr": Out(1), "ack": In(1), "vector": Out(8), "nmi": Out(1), "init": Out(1),
            "elapse": In(span, init=1), "until_tick": Out(span), "settled": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        windows = address_map(*(Window(name.lower(), REGION[name].base, REGION[name].size)
                                for name in ("LOCAL_APIC", "IO_APIC")))
        m.submodules.decoder = decoder = MmioDecoder(windows)
        m.submodules.local = local = LocalApic(self._span)
        m.submodules.io = io = IoApic()
        connect(m, flipped(self.mmio), decoder.bus)
        connect(m, decoder.io_apic, io.bus)
        connect(m, io.message, local.message)
        connect(m, local.end, io.end)

        to_local = decoder.local_apic
        for name in ("addr", "write", "mask", "wdata"):
            m.d.comb += getattr(local.bus, name).eq(getattr(to_local, name))
        m.d.comb += [
            local.bus.valid.eq(to_local.valid & self.enable),
            to_local.ready.eq(Mux(self.enable, local.bus.ready, 1)),
            to_local.rdata.eq(Mux(self.enable, local.bus.rdata, 0xFFFF_FFFF)),
        ]

        inputs = {io_apic_input(irq): self.irq[irq] for irq in range(ISA_LINES) if irq != Irq.CASCADE}
        inputs[EXTINT_INPUT] = self.pic_intr
        m.d.comb += [
            io.irq.eq(Cat(inputs.get(pin, 0) for pin in range(IO_APIC_INPUTS))),
            local.lint.eq(Cat(self.pic_intr, self.nmi_in)),
            local.query_dest.eq(io.external_dest), local.query_logical.eq(io.external_logical),
            local.elapse.eq(self.elapse), self.until_tick.eq(local.until_tick),
            self.settled.eq(local.settled & io.settled), self.init.eq(local.init),
        ]

        external = local.external | (io.external & local.query_meant)
        with m.If(self.enable):
            m.d.comb += [
                self.intr.eq(local.request | external), self.nmi.eq(local.nmi),
                local.ack.eq(self.ack), self.pic_ack.eq(self.ack & external & ~local.request),
                self.vector.eq(Mux(external & ~local.request, self.pic_vector, local.vector)),
            ]
        with m.Else():
            m.d.comb += [
                self.intr.eq(self.pic_intr), self.nmi.eq(self.nmi_in), self.pic_ack.eq(self.ack),
                self.vector.eq(self.pic_vector),
            ]
        return m
