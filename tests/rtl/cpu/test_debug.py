"""The breakpoint comparators against the bytes that breakpoints and accesses cover."""

import random

from rtl.cpu.debug import DebugUnit
from rtl.cpu.uop import Mem, Size
from rtl.isa.registers import BREAKPOINT_LENGTHS, DR7_FIXED, BreakpointType

from .vectors import Vectors

_M32 = 0xFFFF_FFFF


def _dr7(*breakpoints):
    """DR7 of (enable bits, type, length code) for each breakpoint."""
    value = DR7_FIXED
    for number, (enables, kind, length) in enumerate(breakpoints):
        value |= enables << 2 * number | (kind | length << 2) << 16 + 4 * number
    return value


def _bytes(start, count):
    return {start + n & _M32 for n in range(count)}


def _model(vector):
    faults = hits = 0
    ports = _bytes(vector["io_port"], 1 << vector["io_size"]) if vector["io"] else set()
    touched = _bytes(vector["linear"], 1 << vector["width"]) if vector["mem"] in (Mem.LOAD, Mem.STORE) else set()
    covered = {BreakpointType.IO.value: ports, BreakpointType.ACCESS.value: touched,
               BreakpointType.WRITE.value: touched if vector["mem"] == Mem.STORE else set()}
    for number in range(4):
        if not vector["dr7"] >> 2 * number & 3:
            continue
        field = vector["dr7"] >> 16 + 4 * number & 15
        kind, length = field & 3, BREAKPOINT_LENGTHS[field >> 2]
        register = vector["dr"] >> 32 * number & _M32
        if kind == BreakpointType.EXECUTE.value:
            faults |= (register == vector["eip"] and not vector["rf"]) << number
        elif vector["access"]:
            hits |= bool(covered[kind] & _bytes(register & ~(length - 1), length)) << number
    return faults, hits


def _random(rng):
    where = rng.choice((rng.getrandbits(32), rng.getrandbits(16), 0, _M32, 0x1000))
    near = [where + rng.randrange(-6, 7) & _M32 for _ in range(4)]
    io = rng.random() < 0.3
    return {
        "dr": sum(address << 32 * number for number, address in enumerate(near)),
        "dr7": _dr7(*((rng.choice((0, 1, 2, 3)), rng.randrange(4), rng.randrange(4)) for _ in range(4))),
        "rf": rng.random() < 0.2, "eip": where, "linear": where, "mem": rng.choice(tuple(Mem)),
        "width": rng.choice((Size.B, Size.W, Size.D)), "access": rng.random() < 0.9, "io": io,
        "io_port": where & 0xFFFF, "io_size": rng.choice((Size.B, Size.W, Size.D)),
    }


def test_against_the_bytes_covered():
    rng, fired = random.Random(1), [0, 0]
    for vector, answer in Vectors(DebugUnit()).run(_random(rng) for _ in range(4000)):
        faults, hits = _model(vector)
        assert (answer["x_fault_bits"], answer["x_execute"]) == (faults, faults != 0), vector
        assert answer["x_data_hits"] == hits, f"{vector} hits {answer['x_data_hits']:04b}, not {hits:04b}"
        fired[0] += faults != 0
        fired[1] += hits != 0
    assert min(fired) > 100


def test_ranges():
    """The example of SDM vol. 3B, table 18-1: a breakpoint covers the aligned block of its length."""
    one, two, four = 0, 1, 3
    read_write, write = BreakpointType.ACCESS.value, BreakpointType.WRITE.value
    dr = [0xA0001, 0xB0002, 0xC0000, 0x4]
    common = {"dr": sum(address << 32 * number for number, address in enumerate(dr)), "access": 1, "io": 0,
              "dr7": _dr7((1, read_write, one), (1, read_write, two), (1, write, four), (0, read_write, one))}
    cases = [
        (Mem.LOAD, 0xA0001, Size.B, 0b0001), (Mem.LOAD, 0xA0000, Size.W, 0b0001), (Mem.STORE, 0xA0001, Size.W, 0b0001),
        (Mem.LOAD, 0xB0002, Size.B, 0b0010), (Mem.LOAD, 0xB0001, Size.D, 0b0010), (Mem.STORE, 0xB0003, Size.W, 0b0010),
        (Mem.STORE, 0xC0003, Size.D, 0b0100), (Mem.STORE, 0xC0001, Size.W, 0b0100), (Mem.LOAD, 0xC0000, Size.D, 0),
        (Mem.LOAD, 0xA0000, Size.B, 0), (Mem.STORE, 0xA0002, Size.B, 0), (Mem.STORE, 0xB0004, Size.D, 0),
        (Mem.STORE, 0xC0004, Size.D, 0), (Mem.LOAD, 0x4, Size.B, 0),
    ]
    vectors = [common | {"mem": mem, "linear": linear, "width": width} for mem, linear, width, _ in cases]
    for (_, answer), (mem, linear, width, expected) in zip(Vectors(DebugUnit()).run(vectors), cases, strict=True):
        assert answer["x_data_hits"] == expected, f"{mem.name} {linear:x} {width.name}"
