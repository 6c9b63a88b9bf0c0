"""Small programs on a whole board under pysim: one board for all, put back to power-on before each program."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from sim.design import board_design
from sim.engines import Engine, State, build
from sim.rtlstate import read_counters

CODE, STACK = 0x1000, 0x8000
#: Where `tables` puts them, and the handlers.
_IDT, _GDT, _HANDLERS = 0x3000, 0x4000, 0x6000
_RAM_WORDS = 1 << 16
_HLT = 0xF4


@dataclass
class Ended:
    """The board after a program."""
    engine: Engine
    cycles: int

    def __getattr__(self, register: str) -> int:
        """A general register by name."""
        return self.engine.peek(f"core.regs.{register}")

    def system(self, name: str) -> int:
        """A register of the system register unit."""
        return self.engine.peek(f"core.sysregs.{name}")

    @property
    def counters(self) -> dict[str, int]:
        return read_counters(self.engine)


@functools.cache
def _machine() -> tuple[Engine, State]:
    engine = build(board_design(), "pysim")
    return engine, engine.save()


def run(*code: str, cycles: int = 1500, words: dict[int, int] | None = None,
        pokes: dict[str, int] | None = None) -> Ended:
    """Run hexadecimal `code` at `CODE` until the HLT put behind it, or any other, with registers preset by `pokes`."""
    engine, state = _machine()
    engine.load(state | {"ram": np.zeros_like(engine.ram)})
    engine.poke("ram_size_words", _RAM_WORDS)
    program = bytes.fromhex("".join(code)) + bytes((_HLT,))
    engine.ram.view(np.uint8)[CODE:CODE + len(program)] = np.frombuffer(program, np.uint8)
    for address, value in (words or {}).items():
        engine.ram[address >> 2] = value
    engine.poke("core.eip", CODE)
    for register, value in {"core.regs.esp": STACK, **(pokes or {})}.items():
        engine.poke(register, value)
    result = engine.run(cycles)
    assert engine.peek("core.halted"), "the program does not end"
    return Ended(engine, result.cycles)


#: Code that loads the tables of `tables`: LGDT [2010h]; LIDT [2000h].
LOAD_TABLES = "0F011510200000" "0F011D00200000"


def tables(**handlers: str) -> dict[int, int]:
    """Words of a GDT (flat code at 8) and of an IDT: `v13="..."` is hexadecimal code of the handler of vector 13, at
    ring 0 through an interrupt gate; a HLT follows it."""
    words = {0x2000: _IDT << 16 | 0x7FF, 0x2004: _IDT >> 16, 0x2010: _GDT << 16 | 0xFF,
             0x2014: _GDT >> 16, _GDT + 8: 0x0000FFFF, _GDT + 12: 0x00CF9B00}
    for number, (name, code) in enumerate(handlers.items()):
        place, gate = _HANDLERS + 64 * number, _IDT + 8 * int(name[1:])
        words |= {gate: 8 << 16 | place, gate + 4: 0x8E00}
        body = bytes.fromhex(code) + bytes((_HLT,))
        body += bytes(-len(body) % 4)
        words |= {place + n: int.from_bytes(body[n:n + 4], "little") for n in range(0, len(body), 4)}
    return words
