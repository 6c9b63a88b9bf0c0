"""What became of guest code: the blocks of a translation, their IR, and the machine code of the host."""

from __future__ import annotations

import ctypes
import struct
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from rtl.isa.registers import Seg
from vmm.engine.dbt import runtime
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.layout import (
    BLOCKS_AT,
    CODE_MAP_AT,
    GUARDS_AT,
    JUMPS_AT,
    TABLE_BYTES,
    TABLES_AT,
    Fields,
    Kind,
    Segment,
    offset,
)
from vmm.engine.dbt.native import mode_key
from vmm.engine.dbt.pool import Translation
from vmm.engine.dbt.translator import Translator
from vmm.semantics.ops import Mode

_SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
_REGISTERS = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
_SYMTAB = 2
_CODE32 = mode_key(Mode(True, False, 1 << int(Seg.CS)), False, False) ^ mode_key(
    Mode(False, False, 1 << int(Seg.CS)), False, False)


@dataclass(frozen=True, slots=True)
class Shown:
    """One translation.

    Members
    -------
    blocks : its guest code, by address; `head` is where it is entered. big : it is 32-bit code.
    ir : as LLVM was given it. code : what LLVM made of it, which is in memory at `address`.
    words : addresses of the words of its own, and what they are.
    """

    head: Block
    blocks: tuple[Block, ...]
    big: bool
    ir: str
    address: int
    code: bytes
    words: dict[int, str]


def in_use(translator: Translator) -> list[Translation]:
    """The translations that units run by now."""
    return [made for made in translator.translations.pool if made.user is not None and made.user.translation is made]


def translations_at(translator: Translator, eip: int) -> list[Translation]:
    """Those in use with the instruction at a linear address: regions first, and of equals the one entered there."""
    found = [made for made in in_use(translator)
             if any(guest.eip == eip for block in made.blocks for guest in block.guests)]
    return sorted(found, key=lambda made: (not made.hot, made.blocks[0].eip != eip))


def show(made: Translation, kept: Mapping[str, str]) -> Shown:
    """All about a translation; its IR is among what the compiler has `kept`.

    Raises
    ------
    ValueError
        It was not compiled by this process, or the host's object files are of another kind than ELF.
    """
    if made.name not in kept:
        raise ValueError(f"the text of '{made.name}' was not kept")
    words = {place: f"slot for {target:08X}" for place, target in zip(made.slots, made.targets, strict=True)}
    for name, address in made.module.symbols.items():
        if name == f"count_{made.name}":
            words[address] = "executions to go"
        elif name == f"pages_{made.name}":
            words |= {address + 8 * n: f"frame of page {page:05X}" for n, page in enumerate(made.pages)}
    code = ctypes.string_at(made.code, size_of(made.module.object_code, made.name))
    return Shown(made.blocks[0], tuple(sorted(made.blocks, key=lambda block: block.eip)), bool(made.mode & _CODE32),
                 _function(kept[made.name], made.name), made.code, code, words)


def _function(text: str, name: str) -> str:
    """One function of a module, with a name that says less and is the same in every process."""
    begin = text.index(f"define ghccc void @{name}(")
    return text[begin:text.index("\n}", begin) + 2].replace(name, "translation")


def size_of(object_code: bytes, name: str) -> int:
    """Bytes of a function in a 64-bit ELF object file, as its symbol table has them.

    Raises
    ------
    ValueError
        There is no such function, or the file is of another kind.
    """
    if object_code[:5] == b"\x7fELF\x02":
        sections, = struct.unpack_from("<Q", object_code, 40)
        width, count = struct.unpack_from("<HH", object_code, 58)
        headers = [struct.unpack_from("<IIQQQQIIQQ", object_code, sections + width * n) for n in range(count)]
        for _name, kind, _flags, _address, start, size, link, *_rest in headers:
            strings = headers[link][4]
            for at in range(start, start + size, 24) if kind == _SYMTAB else ():
                where, _info, _section, _value, length = struct.unpack_from("<IHHQQ", object_code, at)
                begin = strings + where
                if object_code[begin:object_code.index(0, begin)] == name.encode():
                    return int(length)
    raise ValueError(f"no function '{name}' in a 64-bit ELF object file of {len(object_code)} bytes")


def part_of(distance: int) -> str | None:
    """The part of the context at a distance from its start, or None for what has no name."""
    if distance < JUMPS_AT:
        return _field_at(distance)
    parts = [(JUMPS_AT, "jump cache"), (BLOCKS_AT, "block table")]
    parts += [(TABLES_AT + kind * TABLE_BYTES, f"{kind.name} table") for kind in Kind]
    parts += [(GUARDS_AT, "guards"), (CODE_MAP_AT, "code map")]
    return parts[bisect_right([start for start, _name in parts], distance) - 1][1]


def _field_at(distance: int) -> str | None:
    within = distance - offset("routines")
    if 0 <= within < 8 * len(runtime.PLACES):
        return next(name for name, place in runtime.PLACES.items() if place == within >> 3)
    within = distance - offset("segment_array")
    if 0 <= within < len(_SEGMENTS) * ctypes.sizeof(Segment):
        number, place = divmod(within, ctypes.sizeof(Segment))
        return f"{_SEGMENTS[number]}.{Segment._fields_[place >> 2][0]}"
    if 0 <= distance < 4 * len(_REGISTERS):
        return _REGISTERS[distance >> 2]
    return next((name for name, *_kind in Fields._fields_ if offset(name) == distance), None)
