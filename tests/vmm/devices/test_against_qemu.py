"""Register behaviour against QEMU's devices, as an oracle that is not ours.

A stopped QEMU answers port reads and writes over its test protocol; no time passes in it. Where QEMU departs from the
datasheets (`docs/devices.md`) the operations avoid the difference.
"""

import random
import re
import shutil
import subprocess

import pytest

from vmm.devices.device import Device
from vmm.devices.i8042 import Kbc8042
from vmm.devices.pic import PicPair
from vmm.devices.pit import Pit8254
from vmm.devices.uart import Uart16550

QEMU = shutil.which("qemu-system-i386")
pytestmark = pytest.mark.skipif(QEMU is None, reason="qemu-system-i386 is not installed")
MACHINE = ("-M", "pc", "-display", "none", "-nodefaults", "-S")


class Qemu:
    """Ports of a stopped PC."""

    def __init__(self):
        self._process = subprocess.Popen([QEMU, *MACHINE, "-serial", "null", "-qtest", "stdio", "-qtest-log", "none"],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.communicate()

    def command(self, text):
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        while answer and answer[0] == "IRQ":
            answer = self._process.stdout.readline().split()
        assert answer and answer[0] == "OK", f"{text}: {answer}"
        return answer[1:]

    def read(self, port):
        return int(self.command(f"inb {port:#x}")[0], 16)

    def write(self, port, value):
        self.command(f"outb {port:#x} {value:#x}")


class Both:
    """QEMU's device and ours at the same ports."""

    def __init__(self, qemu, devices: dict[int, Device]):
        self.qemu = qemu
        self.devices = devices
        self.log = []

    def _locate(self, port):
        base = max(base for base in self.devices if base <= port)
        return self.devices[base], port - base

    def write(self, port, value):
        self.log.append(f"write {port:#x} {value:#x}")
        self.qemu.write(port, value)
        device, offset = self._locate(port)
        device.write(offset, value)

    def read(self, port, mask=0xFF):
        device, offset = self._locate(port)
        theirs, ours = self.qemu.read(port), int(device.read(offset))
        self.log.append(f"read {port:#x}: QEMU {theirs:#x}, ours {ours:#x}")
        assert theirs & mask == ours & mask, "\n".join(self.log[-40:])
        return ours


def pic_paths():
    tree = subprocess.run([QEMU, *MACHINE, "-monitor", "stdio"], input="info qom-tree\nquit\n", capture_output=True,
                          text=True, timeout=30).stdout
    return [f"/machine/unattached/{name}" for name in re.findall(r"/(device\[\d+\]) \(isa-i8259\)", tree)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pic(seed):
    generator, paths, pair = random.Random(seed), pic_paths(), PicPair()
    chips = {0x20: pair.chip0, 0xA0: pair.chip1}
    polled = 0
    with Qemu() as qemu:
        both = Both(qemu, {0x20: pair.master, 0xA0: pair.slave})

        def line(number, level):
            both.log.append(f"line {number} {level}")
            qemu.command(f"set_irq_in {paths[number >> 3]} unnamed-gpio-in {number & 7} {level}")
            pair.set_irq(number, level)

        def command(port, value):
            """OCW2, unless it would change which of the slave's requests are allowed once the master knows of them, or
            end a masked service by a non-specific EOI."""
            chip = chips[port]
            if value >> 5 in (1, 5) and chip.special_mask and chip.isr & chip.imr:
                return
            if port == 0xA0 and value >> 5 in (5, 6, 7) and chip.irr:
                return
            both.write(port, value)

        for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2),
                            (0xA1, 1)):
            both.write(port, value)
        for number in {*range(16)} - {2}:
            line(number, 0)
        for _ in range(400):
            port = generator.choice((0x20, 0xA0))
            match generator.choices(("rise", "eoi", "poll", "command", "mode", "mask", "read"),
                                    (6, 3, 5, 2, 2, 1, 4))[0]:
                case "rise":
                    number = generator.choice([0, 1, *range(3, 16)])
                    if not (pair.chip0, pair.chip1)[number >> 3].latch >> (number & 7) & 1:
                        line(number, 0)
                        line(number, 1)
                case "eoi":
                    command(0xA0, 0x20)
                    command(0x20, 0x20)
                case "poll":
                    both.write(0x20, 0x0C)
                    answer = both.read(0x20)
                    polled += answer >> 7
                    if answer == 0x82:
                        both.write(0xA0, 0x0C)
                        both.read(0xA0)
                case "command":
                    command(port, generator.choice((0x20, 0x60, 0xA0, 0xE0, 0xC0)) | generator.randrange(8))
                case "mode":
                    both.write(port, generator.choice((0x0A, 0x0B, 0x68, 0x48) if port == 0x20 else (0x0A, 0x0B)))
                case "mask":
                    if port == 0x20 or not pair.chip1.irr:
                        both.write(port + 1, generator.randrange(256) & generator.randrange(256))
                case "read":
                    both.read(port + generator.randrange(2))
    assert polled > 20


@pytest.mark.parametrize("seed", [1, 2])
def test_uart_registers(seed):
    generator, uart = random.Random(seed), Uart16550()
    with Qemu() as qemu:
        both = Both(qemu, {0x3F8: uart})
        for register, value in ((3, 0x83), (0, 1), (1, 0), (3, 0x03)):
            both.write(0x3F8 + register, value)
        for _ in range(500):
            register = generator.randrange(8)
            value = generator.randrange(256)
            if generator.random() < 0.7:
                if register != 2 and not (register == 0 and not uart.fifo_enable):
                    both.read(0x3F8 + register, 0xF0 if register == 6 else 0xFF)
            elif register == 0 and uart.mcr & 0x10 and uart.fifo_enable:
                both.write(0x3F8, value)
            elif register == 2:
                both.write(0x3FA, value & 0xC0 | generator.choice((1, 1, 3, 0)))
            elif register in (1, 3, 4, 7):
                both.write(0x3F8 + register, value & {1: 0x0F, 3: 0x3F, 4: 0x1F, 7: 0xFF}[register])
            for _ in range(400):  # QEMU sends in no time; not so long that a receiver times out
                if uart.tx_busy or uart.tx_count:
                    uart.advance(1)


def test_keyboard_controller():
    with Qemu() as qemu:
        kbc = Kbc8042()
        both = Both(qemu, {0x60: kbc})

        def answers(count, mask):
            for _ in range(count):
                both.read(0x64, 0x15)
                both.read(0x60, mask)
            both.read(0x64, 0x01)

        # Command, data, number of answers. Of the output port only A20 is compared.
        for command, data, count in ((0x60, (0x45,), 0), (0xAA, (), 1), (0x60, (0x45,), 0), (0x20, (), 1),
                                     (0xAB, (), 1), (0xAD, (), 0), (0x20, (), 1), (0xAE, (), 0), (0x20, (), 1),
                                     (0xC0, (), 1), (0xD0, (), 1), (0xDD, (), 0), (0xD0, (), 1), (0xDF, (), 0),
                                     (0xD0, (), 1), (0xD1, (0xDD,), 0), (0xD0, (), 1), (0xD2, (0x5A,), 1),
                                     (None, (0xF2,), 3), (None, (0xED,), 1), (None, (0x07,), 1), (None, (0xEE,), 1),
                                     (None, (0xF3,), 1), (None, (0x20,), 1), (None, (0xF4,), 1), (None, (0xFF,), 2)):
            if command is not None:
                both.write(0x64, command)
            for byte in data:
                both.write(0x60, byte)
            answers(count, 0x02 if command == 0xD0 else 0xFF)


@pytest.mark.parametrize("seed", [1, 2])
def test_pit_latches_and_access(seed):
    """Counters that do not run: which byte comes when, what is latched, what status says. Not modes 2 and 4, whose
    output QEMU has upside down."""
    generator, pit = random.Random(seed), Pit8254()
    with Qemu() as qemu:
        both = Both(qemu, {0x40: pit})

        def program(channel):
            while pit.channels[channel].status_latched or pit.channels[channel].count_latched:
                both.read(0x40 + channel)  # a control word ends a latch; QEMU keeps it
            access, mode, bcd = generator.randrange(1, 4), generator.choice((0, 3)), generator.randrange(2)
            both.write(0x43, channel << 6 | access << 4 | mode << 1 | bcd)
            for _ in range(2 if access == 3 else 1):
                both.write(0x40 + channel, generator.choice((0x12, 0x34, 0x56, 0x98)))
            pit.channels[channel].tick()  # QEMU has loaded the count already

        for channel in range(3):
            program(channel)
        for _ in range(300):
            channel = generator.randrange(3)
            match generator.choices(("read", "latch", "back", "program"), (8, 3, 3, 1))[0]:
                case "read":
                    # Bytes in pairs, as the datasheet asks: a latch between two has no meaning.
                    while pit.channels[channel].status_latched:
                        both.read(0x40 + channel)
                    for _ in range(2 if pit.channels[channel].control >> 4 == 3 else 1):
                        both.read(0x40 + channel)
                case "latch":
                    both.write(0x43, channel << 6)
                case "back":
                    both.write(0x43, 0xC0 | generator.randrange(64) & ~1)
                case "program":
                    program(channel)
