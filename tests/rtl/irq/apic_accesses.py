"""Random accesses to the APICs between those to the ports."""

import random
from collections.abc import Iterable, Iterator

from rtl.isa.apic import ApicReg, IoApicIndex
from rtl.isa.platform import REGION

LOCAL, IO = REGION["LOCAL_APIC"].base, REGION["IO_APIC"].base
_PERIODIC, _MASKED, _LEVEL = 1 << 17, 1 << 16, 1 << 15
_VECTORS = (0x30, 0x41, 0x52, 0x63)


def with_apics(operations: Iterable[tuple], seed: int) -> Iterator[tuple]:
    """The operations, and ("load", address) and ("store", address, value) between them; interrupts get their end.

    The 8259A pair's INT is passed on as ExtINT or not at all: as an edge it would show the order in which devices that
    software looks at late have changed within one cycle.
    """
    generator = random.Random(seed)
    choose = generator.choice
    for operation in operations:
        yield operation
        if operation[0] == "ack":
            yield "store", LOCAL + ApicReg.EOI, 0
        if generator.random() < 0.5:
            continue
        match generator.choices(("load", "timer", "count", "entry", "pin0", "lint", "end", "self", "priority"),
                                (6, 2, 2, 4, 1, 1, 6, 2, 1))[0]:
            case "load":
                yield "load", choose((LOCAL, IO)) + choose((*ApicReg, 0x210, 0x110, 0x00, 0x10))
            case "timer":
                yield "store", LOCAL + ApicReg.LVT_TIMER, choose(_VECTORS) | choose((0, 0, _PERIODIC, _MASKED))
            case "count":
                yield "store", LOCAL + ApicReg.TIMER_DIVIDE, choose((0, 3, 11))
                yield "store", LOCAL + ApicReg.TIMER_INITIAL, choose((0, 7, 100, 500))
            case "entry":
                yield "store", IO, IoApicIndex.ENTRY + 2 * choose((1, 2, 2, 4, 4, 8))
                yield "store", IO + 0x10, choose(_VECTORS) | choose((0, 0, 0, _LEVEL, _MASKED, 0x2000))
            case "pin0":
                yield "store", IO, IoApicIndex.ENTRY
                yield "store", IO + 0x10, 0x44 | choose((0x700, _MASKED))
            case "lint":
                yield "store", LOCAL + ApicReg.LVT_LINT0, 0x55 | choose((0x8700, 0x8700, _MASKED))
            case "end":
                yield "store", LOCAL + ApicReg.EOI, 0
            case "self":
                yield "store", LOCAL + ApicReg.ICR_LOW, 0x40000 | choose((*_VECTORS, 3))
            case "priority":
                yield "store", LOCAL + ApicReg.TPR, choose((0, 0, 0x42))
