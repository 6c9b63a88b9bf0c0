"""The ISA devices of the PC on one bus."""

from amaranth import C, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.dev.cmos import CmosRtc
from rtl.dev.debugcon import DebugConsole
from rtl.dev.doorbell import Doorbell
from rtl.dev.exit import ExitPort
from rtl.dev.i8042 import Kbc8042
from rtl.dev.pit import Pit8254
from rtl.dev.postcode import PostCode
from rtl.dev.sysctl import SystemControlA, SystemControlB
from rtl.dev.uart import Uart16550
from rtl.dev.vga import VgaRegisters
from rtl.irq.pic import PicPair
from rtl.isa.devices import UNCLAIMED, DeviceConfig, cmos_image
from rtl.isa.platform import ISA_LINES, PIT_HZ, PORT, RTC_HZ, Irq

__all__ = ["IsaBus", "elapse_shape"]


def elapse_shape(config):
    """Shape of the cycles that can go by for the devices at once."""
    return range(max(config.pit_divider, config.uart_divider) + 1)


class IsaBus(wiring.Component):
    """Decodes ports, holds the devices behind them, and brings their interrupts together.

    1. ``bus`` follows the rules of :class:`RegisterPort`. A port that no device claims reads as ones.
    2. Console bytes, exit requests and resets are pulses of one cycle, in the cycle after their cause; the host is
       always ready.
    3. On a board the clocks of the devices go on by one processor cycle in each cycle. Where time is another's,
       ``elapse`` says how far they go on: 0 stops them, and no more than ``until_tick`` is allowed at once.

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
    lines : ``Out(16)``
        All lines, as the interrupt controllers see them.
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
    doorbell_enable, doorbell_valid : ``In(1)``, ``Out(1)``
        There is a monitor; it is called.
    post_code : ``Out(8)``
        The last POST code.
    elapse : ``In``
        Processor cycles of device time that go by in this cycle. 1 if not connected.
    until_tick : ``Out``
        Processor cycles up to and with the next clock of a device that has work for it.
    settled : ``Out(1)``
        What happened so far has reached ``intr``: while ``elapse`` is 0 and no access comes, nothing changes.
    """

    def __init__(self, config=DeviceConfig()):  # noqa: B008 - frozen
        self._config = config
        span = elapse_shape(config)
        super().__init__({
            "bus": In(RegisterPort(16)),
            "irq": In(ISA_LINES),
            "lines": Out(ISA_LINES),
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
            "doorbell_enable": In(1),
            "doorbell_valid": Out(1),
            "post_code": Out(8),
            "elapse": In(span, init=1),
            "until_tick": Out(span),
            "settled": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.pic = pic = PicPair()
        m.submodules.pit = pit = Pit8254()
        m.submodules.uart = uart = Uart16550()
        m.submodules.rtc = rtc = CmosRtc(cmos_image(self._config))
        m.submodules.kbc = kbc = Kbc8042()
        m.submodules.vga = vga = VgaRegisters()
        m.submodules.control_a = control_a = SystemControlA()
        m.submodules.control_b = control_b = SystemControlB()
        m.submodules.debugcon = debugcon = DebugConsole()
        m.submodules.exit = exit_port = ExitPort()
        m.submodules.doorbell = doorbell = Doorbell()
        m.submodules.post = post = PostCode()

        ports = {
            "PIC_MASTER": pic.master,
            "PIT": pit.bus,
            "I8042_DATA": kbc.bus,
            "SYSTEM_CONTROL_B": control_b.bus,
            "I8042_COMMAND": kbc.bus,
            "CMOS": rtc.bus,
            "POST": post.bus,
            "SYSTEM_CONTROL_A": control_a.bus,
            "PIC_SLAVE": pic.slave,
            "DEBUGCON": debugcon.bus,
            "EXIT": exit_port.bus,
            "VGA_CRTC": vga.bus,
            "VGA_STATUS": vga.bus,
            "UART": uart.bus,
            "ELCR": pic.elcr,
            "DOORBELL": doorbell.bus,
        }
        for port in {id(port): port for port in ports.values()}.values():
            # A device sees the low bits of the port: its ranges are aligned to the span of its registers.
            m.d.comb += [port.addr.eq(self.bus.addr), port.w_data.eq(self.bus.w_data)]
        m.d.comb += self.bus.r_data.eq(UNCLAIMED)
        with m.If(self.bus.r_stb | self.bus.w_stb):
            with m.Switch(self.bus.addr):
                for name, port in ports.items():
                    free_bits = PORT[name].size.bit_length() - 1
                    with m.Case(f"{PORT[name].base >> free_bits:0{16 - free_bits}b}" + "-" * free_bits):
                        m.d.comb += [
                            port.r_stb.eq(self.bus.r_stb),
                            port.w_stb.eq(self.bus.w_stb),
                            self.bus.r_data.eq(port.r_data),
                        ]

        self._divide_clocks(m, pit, rtc, uart)
        m.d.comb += [
            control_b.refresh.eq(pit.out[1]),
            control_b.out2.eq(pit.out[2]),
            pit.gate2.eq(control_b.gate2),
            pic.irq.eq(self.lines),
            self.lines.eq(self.irq | (pit.out[0] << Irq.PIT) | (kbc.irq << Irq.KEYBOARD) | (uart.irq << Irq.UART)
                       | (rtc.irq << Irq.RTC)),
            pic.ack.eq(self.ack),
            self.intr.eq(pic.intr),
            self.vector.eq(pic.vector),
            self.nmi.eq(self.nmi_request & ~rtc.nmi_mask),
            self.a20.eq(kbc.a20 | control_a.a20),
            self.reset_request.eq(kbc.reset_request | control_a.reset_request),
            self.uart_tx_valid.eq(uart.tx_valid),
            self.uart_tx_data.eq(uart.tx_data),
            uart.rx_valid.eq(self.uart_rx_valid),
            uart.rx_data.eq(self.uart_rx_data),
            self.uart_rx_ready.eq(uart.rx_ready),
            self.debug_valid.eq(debugcon.valid),
            self.debug_data.eq(debugcon.data),
            self.exit_valid.eq(exit_port.valid),
            self.exit_value.eq(exit_port.value),
            doorbell.enable.eq(self.doorbell_enable),
            self.doorbell_valid.eq(doorbell.valid),
            self.post_code.eq(post.code),
            self.settled.eq(pic.settled & ~rtc.updating),
        ]
        return m

    def _divide_clocks(self, m, pit, rtc, uart):
        def every(name, cycles):
            """A clock that ticks in one of `cycles` cycles, first in the last of them, and the cycles till it ticks."""
            if cycles == 1:
                return self.elapse != 0, C(1)
            left = Signal(range(cycles), init=cycles - 1, name=name)
            tick = left < self.elapse
            m.d.sync += left.eq(Mux(tick, cycles - 1, left - self.elapse))
            return tick, left + 1

        uart_tick, uart_wait = every("uart_left", self._config.uart_divider)
        pit_tick, pit_wait = every("pit_left", self._config.pit_divider)
        # A clock without divider has no phase to keep, and may be left out while the UART sleeps.
        uart_first = uart_wait < pit_wait
        if self._config.uart_divider == 1:
            uart_first &= uart.active
        m.d.comb += [
            uart.baud_tick.eq(uart_tick), pit.tick.eq(pit_tick),
            self.until_tick.eq(Mux(uart_first, uart_wait, pit_wait)),
        ]
        # 32.768 kHz is no whole fraction of the timer's clock: the ticks whose sum passes it are exact on average.
        phase = Signal(range(PIT_HZ))
        passed = phase >= PIT_HZ - RTC_HZ
        m.d.comb += rtc.tick.eq(pit.tick & passed)
        with m.If(pit.tick):
            m.d.sync += phase.eq(Mux(passed, phase - (PIT_HZ - RTC_HZ), phase + RTC_HZ))
