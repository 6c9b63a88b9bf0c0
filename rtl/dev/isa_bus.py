"""The ISA devices of the PC on one bus."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.dev.debugcon import DebugConsole
from rtl.dev.exit import ExitPort
from rtl.dev.postcode import PostCode
from rtl.dev.uart import Uart16550
from rtl.irq.pic import PicPair
from rtl.isa.devices import UNCLAIMED, DeviceConfig

__all__ = ["IsaBus"]

RANGES = (
    ("pic1", 0x20, 2),
    ("post", 0x80, 1),
    ("pic2", 0xA0, 2),
    ("debugcon", 0xE9, 1),
    ("exit", 0xF4, 4),
    ("uart", 0x3F8, 8),
    ("elcr", 0x4D0, 2),
)


class IsaBus(wiring.Component):
    """Decodes ports, holds the devices behind them, and brings their interrupts together.

    1. ``bus`` follows the rules of :class:`RegisterPort`. A port that no device claims reads as ones.
    2. Console bytes, exit requests and resets are pulses of one cycle, in the cycle after their cause; the host is
       always ready.

    Parameters
    ----------
    config : DeviceConfig
        Dividers, start date, memory size.

    Members
    -------
    bus : ``In(RegisterPort(16))``
        I/O ports, one byte at a time.
    irq : ``In(16)``
        Lines of devices that are not on this bus; or-ed with those that are.
    intr, ack, vector : ``Out(1)``, ``In(1)``, ``Out(8)``
        Maskable interrupt: the processor raises ``ack`` for one cycle and takes ``vector`` in it.
    nmi_request, nmi : ``In(1)``, ``Out(1)``
        Non-maskable interrupt, before and after the mask of port 70h.
    a20 : ``Out(1)``
        Address line 20 passes.
    reset_request : ``Out(1)``
        The keyboard controller or port 92h resets the processor.
    uart_tx_valid, uart_tx_data : ``Out(1)``, ``Out(8)``
        Serial bytes to the host.
    uart_rx_valid, uart_rx_ready, uart_rx_data : ``In(1)``, ``Out(1)``, ``In(8)``
        Serial bytes from the host.
    debug_valid, debug_data : ``Out(1)``, ``Out(8)``
        Debug console bytes to the host.
    exit_valid, exit_value : ``Out(1)``, ``Out(8)``
        The guest asks the simulation to stop.
    post_code : ``Out(8)``
        The last POST code.
    """

    def __init__(self, config=DeviceConfig()):  # noqa: B008 - frozen
        self._config = config
        super().__init__({
            "bus": In(RegisterPort(16)),
            "irq": In(16),
            "intr": Out(1),
            "ack": In(1),
            "vector": Out(8),
            "nmi_request": In(1),
            "nmi": Out(1),
            "a20": Out(1, init=1),
            "reset_request": Out(1),
            "uart_tx_valid": Out(1),
            "uart_tx_data": Out(8),
            "uart_rx_valid": In(1),
            "uart_rx_ready": Out(1),
            "uart_rx_data": In(8),
            "debug_valid": Out(1),
            "debug_data": Out(8),
            "exit_valid": Out(1),
            "exit_value": Out(8),
            "post_code": Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.pic = pic = PicPair()
        m.submodules.uart = uart = Uart16550()
        m.submodules.debugcon = debugcon = DebugConsole()
        m.submodules.exit = exit_port = ExitPort()
        m.submodules.post = post = PostCode()

        ports = {
            "pic1": pic.master, "pic2": pic.slave, "elcr": pic.elcr, "uart": uart.bus, "debugcon": debugcon.bus,
            "exit": exit_port.bus, "post": post.bus,
        }
        m.d.comb += self.bus.r_data.eq(UNCLAIMED)
        with m.Switch(self.bus.addr):
            for name, base, size in RANGES:
                port = ports[name]
                width = size.bit_length() - 1
                m.d.comb += [port.addr.eq(self.bus.addr), port.w_data.eq(self.bus.w_data)]
                with m.Case(f"{base >> width:0{16 - width}b}" + "-" * width):
                    m.d.comb += [
                        port.r_stb.eq(self.bus.r_stb),
                        port.w_stb.eq(self.bus.w_stb),
                        self.bus.r_data.eq(port.r_data),
                    ]

        m.d.comb += [
            pic.irq.eq(self.irq | (uart.irq << 4)),
            pic.ack.eq(self.ack),
            self.intr.eq(pic.intr),
            self.vector.eq(pic.vector),
            self.nmi.eq(self.nmi_request),
            self.uart_tx_valid.eq(uart.tx_valid),
            self.uart_tx_data.eq(uart.tx_data),
            uart.rx_valid.eq(self.uart_rx_valid),
            uart.rx_data.eq(self.uart_rx_data),
            self.uart_rx_ready.eq(uart.rx_ready),
            self.debug_valid.eq(debugcon.valid),
            self.debug_data.eq(debugcon.data),
            self.exit_valid.eq(exit_port.valid),
            self.exit_value.eq(exit_port.value),
            self.post_code.eq(post.code),
        ]
        if self._config.uart_divider == 1:
            m.d.comb += uart.baud_tick.eq(1)
        else:
            baud = Signal(range(self._config.uart_divider))
            m.d.comb += uart.baud_tick.eq(baud == 0)
            m.d.sync += baud.eq(Mux(uart.baud_tick, self._config.uart_divider - 1, baud - 1))
        return m
