"""One instruction as text, through capstone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

MAX_LENGTH = 15


@lru_cache(maxsize=2)
def _disassembler(big: bool) -> Any:
    # Most runs disassemble nothing.
    from capstone import CS_ARCH_X86, CS_MODE_16, CS_MODE_32, Cs

    return Cs(CS_ARCH_X86, CS_MODE_32 if big else CS_MODE_16)


@lru_cache(maxsize=1 << 14)
def disassemble(code: bytes, eip: int, big: bool = True) -> tuple[str, int]:
    """Text and length of the instruction that starts `code`; "(bad)" and 0 for what capstone does not know."""
    for _address, size, mnemonic, operands in _disassembler(big).disasm_lite(code[:MAX_LENGTH], eip, 1):
        return f"{mnemonic} {operands}".rstrip(), size
    return "(bad)", 0
