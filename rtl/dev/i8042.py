"""8042 keyboard controller with a keyboard on which nobody types."""

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.isa.devices import (
    KBC_AUX_STUCK,
    KBC_FIRMWARE_MODE,
    KBC_INPUT_PORT,
    KBC_OUTPUT_PORT,
    KBC_SELF_TEST_OK,
    KBD_ACK,
    KBD_ID,
    KBD_ID_TRANSLATED,
    KBD_RESEND,
    KBD_TEST_OK,
    UNCLAIMED,
    KbcCommand,
    KbcMode,
    KbcReg,
    KbdCommand,
)

__all__ = ["Next8042", "Kbc8042"]


class Next8042(enum.Enum, shape=3):
    """What the next byte written to the data port is."""

    KEYBOARD = 0
    MODE = 1
    OUTPUT_PORT = 2
    LOOP = 3
    AUX = 4
    LOST = 5


class Kbc8042(wiring.Component):
    """Command byte, self tests, A20, reset, and a keyboard that answers its commands.

    1. The controller is never busy: the input buffer always reads empty.
    2. An answer of the controller is in the output buffer in the next cycle and replaces what was there. The answers
       of the keyboard follow one another as they are read, with at least one cycle of empty buffer between two, so
       that each makes an edge of IRQ 1.
    3. There is no auxiliary port: its interface test says that the clock line is stuck, and a byte for it is answered
       by FEh.

    IBM PS/2 Hardware Interface Technical Reference, Keyboard and Auxiliary Device Controller.

    Members
    -------
    bus : ``In(RegisterPort(3))``
        Data at offset 0, status and command at offset 4; the others read as ones.
    irq : ``Out(1)``
        Output buffer full, when the command byte enables it.
    a20 : ``Out(1)``
        Bit 1 of the output port, high at power-on as firmware leaves it.
    reset_request : ``Out(1)``
        High for one cycle, the one after a write that pulls the reset line.
    """

    bus: In(RegisterPort(3))
    irq: Out(1)
    a20: Out(1, init=1)
    reset_request: Out(1)

    def elaborate(self, platform):
        m = Module()
        bus = self.bus

        mode = Signal(8, init=int(KBC_FIRMWARE_MODE))
        last_command = Signal()
        output = Signal(8)
        obf = Signal()
        expect = Signal(Next8042)
        kbd_argument = Signal()
        queue = Signal(24)
        queue_count = Signal(2)

        with m.Switch(bus.addr):
            with m.Case(KbcReg.DATA):
                m.d.comb += bus.r_data.eq(output)
            with m.Case(KbcReg.COMMAND):
                m.d.comb += bus.r_data.eq(Cat(obf, C(0, 1), mode[2], last_command, C(1, 1)))
            with m.Default():
                m.d.comb += bus.r_data.eq(UNCLAIMED)
        m.d.comb += self.irq.eq(obf & mode[0])

        def answer(value):
            return [output.eq(value), obf.eq(1)]

        def keyboard(*values):
            return [queue.eq(Cat(C(value, 8) if isinstance(value, int) else value for value in values)),
                    queue_count.eq(len(values))]

        m.d.sync += self.reset_request.eq(0)
        with m.If(bus.r_stb & (bus.addr == KbcReg.DATA)):
            m.d.sync += obf.eq(0)
        with m.If(~obf & (queue_count != 0) & ~mode[4] & ~bus.w_stb):
            m.d.sync += [*answer(queue[0:8]), queue.eq(queue >> 8), queue_count.eq(queue_count - 1)]

        with m.If(bus.w_stb & (bus.addr == KbcReg.COMMAND)):
            m.d.sync += [last_command.eq(1), expect.eq(Next8042.KEYBOARD)]
            with m.Switch(bus.w_data):
                with m.Case(KbcCommand.READ_MODE):
                    m.d.sync += answer(mode)
                with m.Case("001-----"):
                    m.d.sync += answer(0)
                with m.Case(KbcCommand.WRITE_MODE):
                    m.d.sync += expect.eq(Next8042.MODE)
                with m.Case("011-----"):
                    m.d.sync += expect.eq(Next8042.LOST)
                with m.Case(KbcCommand.AUX_OFF, KbcCommand.AUX_ON):
                    m.d.sync += mode[5].eq(bus.w_data == KbcCommand.AUX_OFF)
                with m.Case(KbcCommand.TEST_AUX):
                    m.d.sync += answer(KBC_AUX_STUCK)
                with m.Case(KbcCommand.SELF_TEST):
                    m.d.sync += answer(KBC_SELF_TEST_OK)
                with m.Case(KbcCommand.TEST_KBD):
                    m.d.sync += answer(0)
                with m.Case(KbcCommand.KBD_OFF, KbcCommand.KBD_ON):
                    m.d.sync += mode[4].eq(bus.w_data == KbcCommand.KBD_OFF)
                with m.Case(KbcCommand.READ_INPUT):
                    m.d.sync += answer(KBC_INPUT_PORT)
                with m.Case(KbcCommand.READ_OUTPUT):
                    m.d.sync += answer(KBC_OUTPUT_PORT | (self.a20 << 1) | (obf << 4))
                with m.Case(KbcCommand.WRITE_OUTPUT):
                    m.d.sync += expect.eq(Next8042.OUTPUT_PORT)
                with m.Case(KbcCommand.LOOP_KBD, KbcCommand.LOOP_AUX):
                    m.d.sync += expect.eq(Next8042.LOOP)
                with m.Case(KbcCommand.WRITE_AUX):
                    m.d.sync += expect.eq(Next8042.AUX)
                with m.Case(KbcCommand.A20_OFF, KbcCommand.A20_ON):
                    m.d.sync += self.a20.eq(bus.w_data == KbcCommand.A20_ON)
                with m.Case("1111----"):
                    m.d.sync += self.reset_request.eq(~bus.w_data[0])

        with m.If(bus.w_stb & (bus.addr == KbcReg.DATA)):
            m.d.sync += [last_command.eq(0), expect.eq(Next8042.KEYBOARD)]
            with m.Switch(expect):
                with m.Case(Next8042.MODE):
                    m.d.sync += mode.eq(bus.w_data)
                with m.Case(Next8042.OUTPUT_PORT):
                    m.d.sync += [self.a20.eq(bus.w_data[1]), self.reset_request.eq(~bus.w_data[0])]
                with m.Case(Next8042.LOOP):
                    m.d.sync += answer(bus.w_data)
                with m.Case(Next8042.AUX):
                    m.d.sync += answer(KBD_RESEND)
                with m.Case(Next8042.KEYBOARD):
                    # A byte for the keyboard turns its interface on.
                    m.d.sync += [mode[4].eq(0), kbd_argument.eq(0)]
                    with m.If(kbd_argument):
                        m.d.sync += keyboard(KBD_ACK)
                    with m.Else():
                        with m.Switch(bus.w_data):
                            with m.Case(KbdCommand.LEDS, KbdCommand.SCANCODE_SET, KbdCommand.RATE):
                                m.d.sync += [*keyboard(KBD_ACK), kbd_argument.eq(1)]
                            with m.Case(KbdCommand.ECHO):
                                m.d.sync += keyboard(KbdCommand.ECHO)
                            with m.Case(KbdCommand.IDENTIFY):
                                last = Mux(mode[KbcMode.TRANSLATE.bit_length() - 1], KBD_ID_TRANSLATED[1], KBD_ID[1])
                                m.d.sync += keyboard(KBD_ACK, KBD_ID[0], last)
                            with m.Case(KbdCommand.RESET):
                                m.d.sync += keyboard(KBD_ACK, KBD_TEST_OK)
                            with m.Case("1111----"):
                                m.d.sync += keyboard(KBD_ACK)
                            with m.Default():
                                m.d.sync += keyboard(KBD_RESEND)
        return m
