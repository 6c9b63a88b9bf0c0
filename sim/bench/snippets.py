"""The pieces of code whose cycles are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sim.randprog import asm

from .stage import CODE0, COUNTER, DATA, DATA2, FAR, GATE_SEL, NEAR, TASK_SEL


@dataclass(frozen=True)
class Snippet:
    """One line of the table.

    Members
    -------
    group : heading it stands under.
    code : hexadecimal bytes, or a function from the address of the copy to its bytes.
    note : a few words beside the figure.
    setup : hexadecimal bytes that run before each row of copies.
    ring : privilege level. copies : how many stand in a row.
    contract : the most cycles it may take, where that is promised.
    worst : the slowest copy counts, not the average.
    shown : how many instructions at the end are named; 0 for all.
    """

    group: str
    code: str | Callable[[int], bytes]
    note: str = ""
    setup: str = ""
    ring: int = 0
    copies: int = 16
    contract: float | None = None
    worst: bool = False
    shown: int = 0

    def at(self, address: int) -> bytes:
        """The bytes of the copy at `address`."""
        return bytes.fromhex(self.code) if isinstance(self.code, str) else self.code(address)


#: Code, note, and the cycles promised if any.
Row = tuple[str] | tuple[str, str] | tuple[str, str, float]


def _group(group: str, rows: list[Row], setup: str = "") -> Iterator[Snippet]:
    for row in rows:
        yield Snippet(group, row[0], row[1] if len(row) > 1 else "", setup, contract=row[2] if len(row) > 2 else None)


def _one(*codes: str) -> list[Row]:
    """Simple instructions: one cycle each is promised."""
    return [(code, "", 1.0) for code in codes]


def _plain(*codes: str) -> list[Row]:
    return [(code,) for code in codes]


def _add_elsewhere(here: int) -> bytes:
    """add [ebx + disp8], eax"""
    return bytes([0x01, 0x43, here // 3 % 16 * 4])


def _near_call(here: int) -> bytes:
    return asm.call(here, NEAR)


def _far_call(_here: int) -> bytes:
    return asm.far_call(CODE0, FAR)


def _gate_call(_here: int) -> bytes:
    return asm.far_call(GATE_SEL, 0)


def _outer_gate_call(_here: int) -> bytes:
    return asm.far_call(GATE_SEL | 3, 0)


def _task_call(_here: int) -> bytes:
    return asm.far_call(TASK_SEL, 0)


def _far_jump(here: int) -> bytes:
    return asm.far_jump(CODE0, here + 7)


def _indirect_jump(here: int) -> bytes:
    return asm.mov(asm.EAX, here + 7) + b"\xFF\xE0"


def _sysenter(here: int) -> bytes:
    """mov edx, next; mov ecx, esp; sysenter: what SYSEXIT wants."""
    return asm.mov(asm.EDX, here + 9) + b"\x89\xE1\x0F\x34"


def _repeated(operation: str, source: int, target: int, counts: tuple[int, ...]) -> Iterator[Snippet]:
    """REP with its registers set before each copy. EAX is not in memory."""
    for count in counts:
        moves = asm.mov(asm.ECX, count) + asm.mov(asm.ESI, source) + asm.mov(asm.EDI, target)
        yield Snippet("String operations", moves.hex() + operation, f"ECX = {count}, with three moves that set it up",
                      copies=8, shown=1)


#: A number that differs from round to round: mov eax, [COUNTER]; imul eax, eax, 9E3779B1h
_MIXED = "a1" + asm.imm32(COUNTER).hex() + "69c0b179379e"

SNIPPETS: tuple[Snippet, ...] = (
    *_group("Registers", [
        *_one("01c8", "83c005", "0578563412", "00c8", "11c8", "29c8", "39c8", "85c0", "31c8", "40", "f7d8", "f7d0",
              "89c8", "b804030201", "b001", "8d443304", "8d448b04", "0fb6c1", "0fbec1", "0fc8", "98", "0f94c0",
              "0f44c1", "90", "f8"),
        ("6601c8", "a prefix takes a cycle"),
        *_plain("99", "91", "87c8", "fc", "9e", "9f", "27", "37", "d40a", "d50a")]),
    *_group("Shifts and bits", [*_one("d1e0", "c1e005", "d3e0", "d3c8", "0fa3c8", "0fabc8"),
                                *_plain("c1d005", "0fa4c805", "0fa5c8", "0fbcc1", "0fbdc1")]),
    *_group("Memory", [
        *_one("8b03", "8b4304", "8b448bfc", "8a03", "0fb603", "0303", "3b03", "8503", "8903", "8803", "c70301000000"),
        ("648b03", "a prefix takes a cycle"), ("0103", "the word that was just written"),
        *_plain("830301", "ff03", "f713", "d123", "0fab0b", "0fc103", "8703"),
        *_plain("f00103", "f00fb10b", "f00fc70b"),
        ("8b4301", "across words"), ("8b431e", "across lines"), ("894301", "across words"),
        ("89431e", "across lines")]),
    Snippet("Memory", _add_elsewhere, "another word each time"),
    *_group("Stack", [*_one("50", "58", "6a01", "6878563412"),
                      *_plain("ff33", "8f03", "06", "0607", "60", "61", "9c", "9d", "c8080000c9", "c8080001c9")]),
    *_group("Multiplication and division", [
        *_plain("0fafc1", "69c178563412", "f7e1", "f6e1", "f7e9"),
        ("31d2f7f1", "64 by 32 bits"), ("31d266f7f1", "32 by 16 bits"), ("0fb6c0f6f1", "16 by 8 bits"),
        ("31d2f7f9", "64 by 32 bits")]),
    *_group("Branches", [("7500", "not taken", 1.0), ("0f8500000000", "not taken, 6 bytes", 1.0),
                         ("7400", "taken, predicted", 3.0), ("eb00", "", 3.0), ("e900000000", "5 bytes", 3.0)], "31c0"),
    Snippet("Branches", "e200", "taken, predicted", "b900010000", contract=3.0),
    Snippet("Branches", "e300", "not taken"),
    Snippet("Branches", _near_call, "and RET, both predicted", contract=6.0),
    Snippet("Branches", _indirect_jump, "predicted, with the move"),
    Snippet("Branches", "d1c87200", "mispredicted, with the rotation", _MIXED, worst=True),
    *_group("String operations", _plain("ac", "ad", "aa", "ab", "a4", "a5", "a6", "ae")),
    *_repeated("f3a5", DATA, DATA2, (0, 1, 16, 64)),
    *_repeated("f3a4", DATA, DATA2, (64,)),
    *_repeated("f3ab", DATA, DATA2, (0, 1, 16, 64)),
    *_repeated("f3a7", DATA2, DATA2, (64,)),
    *_repeated("f2af", DATA2, DATA, (64,)),
    Snippet("Transfers", _far_jump, "same level"),
    Snippet("Transfers", _far_call, "and RETF, same level"),
    Snippet("Transfers", _gate_call, "a call gate, and RETF, same level"),
    Snippet("Transfers", _outer_gate_call, "a call gate, and RETF, from ring 3", ring=3),
    Snippet("Transfers", "cd80", "and IRETD, same level"),
    Snippet("Transfers", "cd80", "and IRETD, from ring 3", ring=3),
    Snippet("Transfers", _sysenter, "and SYSEXIT, from ring 3, with two moves", ring=3, shown=1),
    Snippet("Transfers", "0f0b", "#UD, an ADD and IRETD, same level"),
    Snippet("Transfers", _task_call, "a task, and IRETD: two task switches"),
    *_group("Segments", [("8ec0", "same level"), *_plain("8cc0", "0f02c1", "0f03c1", "0f00e1")],
            "b810000000b908000000"),
    *_group("System", [*_plain("0f20c0"), ("0f22c0", "without a change")], "0f20c0"),
    *_group("System", [*_plain("0f20d8"), ("0f22d8", "flushes the TLBs; with the walk for the code")], "0f20d8"),
    *_group("System", [*_plain("0f013b", "0f21f8", "0f23f8", "fb", "fa", "0f31", "0f06", "0f01e0", "0f0103"),
                       ("31c00fa2", "leaf 0"), ("b9010000000f33", "instructions completed"),
                       ("b9740100000f32", "SYSENTER_CS"), ("0f09", "and the caches filled again")], "31c0"),
    *_group("Ports", [("e461", "one byte"), ("e680", "one byte"), ("ec", "one byte"), ("66ed", "two bytes"),
                      ("ed", "four bytes"), ("ef", "four bytes")], "ba80060000"),
    *_group("Dependencies", [
        ("01c801c1", "a result and its use"), ("8b0301c1", "a load and its use"),
        ("8b1b", "a load, the address of the next"), ("8d5b008b03", "a result, an address"),
        ("83c3008b03", "a result, an address"), ("89038b03", "a store, a load of the word"),
        ("5058", "a push, the pop"), ("b00101c1", "part of a register, then all of it")]),
)
