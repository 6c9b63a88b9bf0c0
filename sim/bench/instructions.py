"""Cycles of simple instructions in steady state, from rows of them in a loop."""

from __future__ import annotations

import numpy as np

from sim.machine import MIN_RAM
from sim.rtlmachine import RtlMachine
from sim.stop import Reason

from .figures import Figure
from .guests import GuestFailed

_CODE, _DATA, _STACK = 0x100000, 0x108000, 0x110000
_SHORT, _LONG, _PASSES = 32, 96, 20
_MAX_CYCLES = 200_000

#: Machine code of one instruction by what it is. ESI points to data, the zero flag is clear before a row.
ROWS: dict[str, bytes] = {
    "register ALU": b"\x01\xd8",      # add eax, ebx
    "load": b"\x8b\x06",              # mov eax, [esi]
    "store": b"\x89\x06",             # mov [esi], eax
    "push": b"\x50",                  # push eax
    "pop": b"\x58",                   # pop eax
    "not-taken branch": b"\x74\x00",  # jz to the next
    "taken branch": b"\x75\x00",      # jnz to the next
    "jump": b"\xeb\x00",              # jmp to the next
}


def program(row: bytes, length: int, passes: int) -> bytes:
    """A loop over ``length`` copies of an instruction, ended by HLT with interrupts off."""
    word = lambda value: value.to_bytes(4, "little")  # noqa: E731
    body = (b"\xbc" + word(_STACK)      # mov esp, stack
            + b"\x85\xe4"               # test esp, esp
            + row * length
            + b"\x49")                  # dec ecx
    back = -(len(body) + 6) & 0xFFFFFFFF
    return (b"\xbe" + word(_DATA)       # mov esi, data
            + b"\xb9" + word(passes)    # mov ecx, passes
            + body
            + b"\x0f\x85" + word(back)  # jnz to the body
            + b"\xfa\xf4")              # cli; hlt


def measure() -> list[Figure]:
    """For each kind, what a copy more costs in a pass of the loop, once the caches have it."""
    machine = RtlMachine(ram_bytes=MIN_RAM)
    figures = []
    for name, row in ROWS.items():
        costs = [_steady(machine, row, length) for length in (_SHORT, _LONG)]
        figures.append(Figure(f"cycles of {name}", "", (costs[1] - costs[0]) / (_LONG - _SHORT)))
    return figures


def _steady(machine: RtlMachine, row: bytes, length: int) -> float:
    """Cycles of a pass after the first ones."""
    once, twice = (_cycles(machine, program(row, length, passes)) for passes in (_PASSES, 2 * _PASSES))
    return (twice - once) / _PASSES


def _cycles(machine: RtlMachine, code: bytes) -> int:
    machine.reset()
    code += bytes(-len(code) % 4)
    machine.engine.ram[_CODE // 4:(_CODE + len(code)) // 4] = np.frombuffer(code, dtype=np.uint32)
    machine.engine.poke("core.eip", _CODE)
    stop = machine.run(_MAX_CYCLES)
    if stop.reason is not Reason.HALT_FOREVER:
        raise GuestFailed(f"a row of instructions ended by {stop.reason.value} instead of HLT")
    return stop.cycle
