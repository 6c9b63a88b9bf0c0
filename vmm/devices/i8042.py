"""8042 keyboard controller in software; rules in `rtl/dev/i8042.py`."""

from enum import IntEnum

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
    KbcStatus,
    KbdCommand,
)
from vmm.devices.device import Device, Output, nowhere


class Next(IntEnum):
    """What the next byte written to the data port is."""

    KEYBOARD = 0
    MODE = 1
    OUTPUT_PORT = 2
    LOOP = 3
    AUX = 4
    LOST = 5


EXPECTING = {
    KbcCommand.WRITE_OUTPUT: Next.OUTPUT_PORT,
    KbcCommand.LOOP_KBD: Next.LOOP,
    KbcCommand.LOOP_AUX: Next.LOOP,
    KbcCommand.WRITE_AUX: Next.AUX,
}
ANSWERS = {
    KbcCommand.TEST_AUX: KBC_AUX_STUCK,
    KbcCommand.SELF_TEST: KBC_SELF_TEST_OK,
    KbcCommand.TEST_KBD: 0,
    KbcCommand.READ_INPUT: KBC_INPUT_PORT,
}


class Kbc8042(Device):
    """`on_irq` is told each new level of IRQ 1, `on_reset` is called with 1 when the processor is to be reset."""

    STATE = ("mode", "last_command", "output", "obf", "expect", "kbd_argument", "queue", "queue_count", "a20")

    def __init__(self, on_irq: Output = nowhere, on_reset: Output = nowhere) -> None:
        self.mode = int(KBC_FIRMWARE_MODE)
        self.last_command = self.output = self.obf = 0
        self.expect: int = Next.KEYBOARD
        self.kbd_argument = self.queue = self.queue_count = 0
        self.a20 = 1
        self.on_irq = on_irq
        self.on_reset = on_reset
        self._irq = 0

    @property
    def irq(self) -> int:
        return self.obf & self.mode & KbcMode.IRQ1

    def _signal(self) -> None:
        level = self.irq
        if level != self._irq:
            self._irq = level
            self.on_irq(level)

    def _settle(self) -> None:
        """Show the interrupt line, then let the keyboard fill an empty buffer."""
        self._signal()
        if self.queue_count and not self.obf and not self.mode & KbcMode.KBD_OFF:
            self._answer(self.queue & 0xFF)
            self.queue >>= 8
            self.queue_count -= 1
            self._signal()

    def _answer(self, value: int) -> None:
        self.output, self.obf = value, 1

    def _keyboard(self, *values: int) -> None:
        self.queue = int.from_bytes(bytes(values), "little")
        self.queue_count = len(values)

    def read(self, offset: int) -> int:
        if offset == KbcReg.DATA:
            self.obf = 0
            value = self.output
            self._settle()
            return value
        if offset == KbcReg.COMMAND:
            status = KbcStatus.UNLOCKED
            if self.obf:
                status |= KbcStatus.OBF
            if self.mode & KbcMode.SYS:
                status |= KbcStatus.SYS
            if self.last_command:
                status |= KbcStatus.COMMAND
            return int(status)
        return UNCLAIMED

    def write(self, offset: int, value: int) -> None:
        if offset == KbcReg.DATA:
            self.last_command = 0
            expected, self.expect = self.expect, Next.KEYBOARD
            self._data(Next(expected), value)
        elif offset == KbcReg.COMMAND:
            self.last_command, self.expect = 1, Next.KEYBOARD
            self._command(value)
        self._settle()

    def _command(self, value: int) -> None:
        if value in EXPECTING:
            self.expect = EXPECTING[KbcCommand(value)]
        elif value in ANSWERS:
            self._answer(ANSWERS[KbcCommand(value)])
        elif value & 0xE0 == KbcCommand.READ_MODE:
            self._answer(self.mode if value == KbcCommand.READ_MODE else 0)
        elif value & 0xE0 == KbcCommand.WRITE_MODE:
            self.expect = Next.MODE if value == KbcCommand.WRITE_MODE else Next.LOST
        elif value in (KbcCommand.AUX_OFF, KbcCommand.AUX_ON):
            self._switch(KbcMode.AUX_OFF, value == KbcCommand.AUX_OFF)
        elif value in (KbcCommand.KBD_OFF, KbcCommand.KBD_ON):
            self._switch(KbcMode.KBD_OFF, value == KbcCommand.KBD_OFF)
        elif value == KbcCommand.READ_OUTPUT:
            self._answer(KBC_OUTPUT_PORT | self.a20 << 1 | self.obf << 4)
        elif value in (KbcCommand.A20_OFF, KbcCommand.A20_ON):
            self.a20 = int(value == KbcCommand.A20_ON)
        elif value & KbcCommand.PULSE == KbcCommand.PULSE and not value & 1:
            self.on_reset(1)

    def _switch(self, bit: KbcMode, on: bool) -> None:
        self.mode = self.mode & ~int(bit) | (int(bit) if on else 0)

    def _data(self, expected: Next, value: int) -> None:
        match expected:
            case Next.KEYBOARD:
                self._switch(KbcMode.KBD_OFF, False)
                self._to_keyboard(value)
            case Next.MODE:
                self.mode = value
            case Next.OUTPUT_PORT:
                self.a20 = value >> 1 & 1
                if not value & 1:
                    self.on_reset(1)
            case Next.LOOP:
                self._answer(value)
            case Next.AUX:
                self._answer(KBD_RESEND)
            case Next.LOST:
                pass

    def _to_keyboard(self, value: int) -> None:
        if self.kbd_argument:
            self.kbd_argument = 0
            self._keyboard(KBD_ACK)
        elif value in (KbdCommand.LEDS, KbdCommand.SCANCODE_SET, KbdCommand.RATE):
            self.kbd_argument = 1
            self._keyboard(KBD_ACK)
        elif value == KbdCommand.ECHO:
            self._keyboard(KbdCommand.ECHO)
        elif value == KbdCommand.IDENTIFY:
            self._keyboard(KBD_ACK, *(KBD_ID_TRANSLATED if self.mode & KbcMode.TRANSLATE else KBD_ID))
        elif value == KbdCommand.RESET:
            self._keyboard(KBD_ACK, KBD_TEST_OK)
        else:
            self._keyboard(KBD_ACK if value >= 0xF0 else KBD_RESEND)

    def load(self, state: dict[str, int | bytes]) -> None:
        super().load(state)
        self._irq = self.irq
