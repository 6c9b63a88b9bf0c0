"""The board without its processor: the I/O bus and what is on it. Creates and connects, nothing else."""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.bus.io import IoSignature
from rtl.bus.iobridge import IoBridge
from rtl.bus.mmio import MmioSignature
from rtl.dev.isa_bus import IsaBus, elapse_shape
from rtl.irq.apics import Apics
from rtl.isa.devices import DeviceConfig

__all__ = ["DeviceBoard"]


class DeviceBoard(wiring.Component):
    """The devices of a `Board` for a processor that is not hardware.

    1. ``io`` is the port of the processor, one cycle per byte. An access takes place whether time goes by or not.
    2. ``elapse``, ``until_tick`` and ``settled`` let somebody else say when time goes by: see `IsaBus`.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    io : In(IoSignature())
    mmio : In(MmioSignature())
    apic_enable : In(1)
    intr, ack, vector : Out(1), In(1), Out(8)
    nmi, init : Out(1)
    uart_tx_valid, uart_tx_data, debug_valid, debug_data, exit_valid, exit_value, reset_request : Out
    uart_rx_valid, uart_rx_data, uart_rx_ready : In(1), In(8), Out(1)
    elapse, until_tick, settled : In, Out, Out(1)
    """

    def __init__(self, config=DeviceConfig()):  # noqa: B008 - frozen
        self._config = config
        span = elapse_shape(config)
        super().__init__({
            "io": In(IoSignature()), "mmio": In(MmioSignature()), "apic_enable": In(1, init=1),
            "intr": Out(1), "ack": In(1), "vector": Out(8), "nmi": Out(1), "init": Out(1),
            "uart_tx_valid": Out(1), "uart_tx_data": Out(8), "debug_valid": Out(1), "debug_data": Out(8),
            "exit_valid": Out(1), "exit_value": Out(8), "reset_request": Out(1),
            "uart_rx_valid": In(1), "uart_rx_data": In(8), "uart_rx_ready": Out(1),
            "elapse": In(span), "until_tick": Out(span), "settled": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.io = io = IoBridge(recovery=1)
        m.submodules.isa = isa = IsaBus(self._config)
        connect(m, flipped(self.io), io.io)
        connect(m, io.bus, isa.bus)
        m.submodules.apics = apics = Apics(elapse_shape(self._config))
        connect(m, flipped(self.mmio), apics.mmio)
        m.d.comb += [
            apics.irq.eq(isa.lines), apics.pic_intr.eq(isa.intr), isa.ack.eq(apics.pic_ack),
            apics.pic_vector.eq(isa.vector), apics.nmi_in.eq(isa.nmi), apics.ack.eq(self.ack),
            apics.enable.eq(self.apic_enable), apics.elapse.eq(self.elapse),
            self.intr.eq(apics.intr), self.vector.eq(apics.vector), self.nmi.eq(apics.nmi),
            self.reset_request.eq(isa.reset_request), self.init.eq(apics.init),
            self.settled.eq(isa.settled & apics.settled),
            self.until_tick.eq(Mux(isa.until_tick < apics.until_tick, isa.until_tick, apics.until_tick)),
        ]
        for name in ("uart_rx_valid", "uart_rx_data", "elapse"):
            m.d.comb += getattr(isa, name).eq(getattr(self, name))
        for name in ("uart_tx_valid", "uart_tx_data", "debug_valid", "debug_data", "exit_valid", "exit_value",
                     "uart_rx_ready"):
            m.d.comb += getattr(self, name).eq(getattr(isa, name))
        return m
