"""The software timer moves any number of ticks at once. Its registers are tested with the hardware, in `tests/rtl`."""

import random

import pytest

from vmm.devices.misc import SystemControlB
from vmm.devices.pic import PicPair
from vmm.devices.pit import Pit8254

CONTROL = 3


class Board:
    """A timer and those who watch its outputs."""

    def __init__(self):
        self.pit, self.pic = Pit8254(), PicPair()
        self.port_b = SystemControlB(self.pit.set_gate2)
        self.edges = 0
        self.pit.channels[0].on_out = self.on_out0
        self.pit.channels[1].on_out = self.port_b.refresh
        self.pit.channels[2].on_out = self.port_b.set_out2

    def on_out0(self, level):
        self.edges += 1
        self.pic.set_irq(0, level)

    def visible(self):
        chip = self.pic.chip0
        return {**self.pit.save(), "line": chip.line, "latch": chip.latch, "port_b": self.port_b.read(0),
                "rises": [channel.ticks_to_rise() for channel in self.pit.channels]}


def random_operation(generator, bcd):
    """Something a guest does to a timer, as (method of the timer or board, arguments)."""
    channel = generator.randrange(3)
    kinds = ("control", "count", "latch", "read_back", "read", "gate", "ack")
    kind = generator.choices(kinds, (3, 5, 1, 1, 3, 1, 1))[0]
    match kind:
        case "control":
            mode = generator.choice((0, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 7))
            return "write", CONTROL, channel << 6 | generator.choice((0x10, 0x20, 0x30)) | mode << 1 | bcd
        case "count":
            return "write", channel, generator.choice((0, 0, 1, 1, 2, 3, 4, 5, 7, 0x10, 0x21, 0x99, 0xFF))
        case "latch":
            return "write", CONTROL, channel << 6
        case "read_back":
            return "write", CONTROL, 0xC0 | generator.randrange(64)
        case "read":
            return "read", channel
        case "gate":
            return "set_gate2", generator.randrange(2)
    return ("ack",)


def perform(board, operation):
    name, *arguments = operation
    return board.pic.ack() if name == "ack" else getattr(board.pit, name)(*arguments)


@pytest.mark.parametrize("bcd", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_many_ticks_are_as_many_single_ticks(seed, bcd):
    generator = random.Random(seed)
    long, short = Board(), Board()
    for _ in range(400):
        operation = random_operation(generator, bcd)
        assert perform(long, operation) == perform(short, operation)
        ticks = generator.choice((0, 1, 1, 2, 3, 7, 40, 301, 1001))
        long.pit.advance(ticks)
        for _ in range(ticks):
            short.pit.advance(1)
        assert long.visible() == short.visible()


@pytest.mark.parametrize("mode", [2, 3])
@pytest.mark.parametrize("bcd", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 9, 18, 0x99, 0x1234, 0xFFFF])
def test_periods(mode, bcd, count):
    """Any number of ticks, in one piece and in pieces of less than a period."""
    generator = random.Random(count)
    boards = Board(), Board()
    for board in boards:
        for channel in range(3):
            board.pit.write(CONTROL, channel << 6 | 0x30 | mode << 1 | bcd)
            board.pit.write(channel, count & 0xFF)
            board.pit.write(channel, count >> 8)
    whole, parts = boards
    whole.pit.set_gate2(1)
    parts.pit.set_gate2(1)
    for _ in range(3):
        left = ticks = generator.randrange(1, 60 * max(count, 30))
        whole.pit.advance(ticks)
        while left:
            part = min(left, generator.randrange(1, max(count, 2)))
            parts.pit.advance(part)
            left -= part
        assert whole.visible() == parts.visible()


def test_time_costs_nothing():
    """Symptom: a year took hours, for every period of every channel was gone through."""
    board = Board()
    board.pit.advance(1 << 45)
    assert board.edges < 10
    assert board.pit.channels[0].ce == -(1 << 45) & 0xFFFF
    assert board.pit.channels[1].ce == 18 - (1 << 45) % 18
