"""The look at the code map that goes before a write to a page with code, as LLVM IR."""

from __future__ import annotations

from vmm.engine.dbt.llvmops import CONTEXT
from vmm.engine.dbt.values import Builder


def touched(b: Builder, entry: str, address: str, bits: int, look: int) -> str:
    """Whether code was made from what an access within a page is going to write, an i1.

    Parameters
    ----------
    entry : what a CHECKED table has for the page. address : linear.
    look : bits of the map that are loaded, from a multiple of 32 on: 32 are enough for an aligned access.
    """
    first = b.let(f"inttoptr i64 {entry} to ptr")
    word = b.let(f"zext i32 {b.let(f'lshr i32 {address}, 5')} to i64")
    place = b.let(f"getelementptr i32, ptr {first}, i64 {word}")
    code = b.let(f"load i{look}, ptr {place}, align 4{CONTEXT}")
    within = b.let(f"and i32 {address}, 31")
    if look > 32:
        within = b.let(f"zext i32 {within} to i{look}")
    bytes_ = b.let(f"and i{look} {b.let(f'lshr i{look} {code}, {within}')}, {(1 << bits // 8) - 1}")
    return b.let(f"icmp ne i{look} {bytes_}, 0")
