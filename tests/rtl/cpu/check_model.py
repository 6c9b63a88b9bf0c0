"""The descriptor checks, written as the manual words them: a sequence of refusals."""
from __future__ import annotations

from rtl.cpu.descriptor_check import Check

GP, NP, SS, TS = 13, 11, 12, 10


def check_descriptor(kind: Check, high: int, selector: int, cpl: int, ncpl: int, soft: bool,
                     ext: bool) -> tuple[int, int] | None:
    """None when the descriptor may be used, else vector and error code."""
    type_, dpl, present = high >> 8 & 15, high >> 13 & 3, high >> 15 & 1
    is_system = not high >> 12 & 1
    is_code = not is_system and type_ >= 8
    conforming = is_code and type_ & 4 != 0
    readable = not is_system and (type_ < 8 or type_ & 2 != 0)
    writable = not is_system and type_ < 8 and type_ & 2 != 0
    rpl, local = selector & 3, selector & 4 != 0
    code = selector & 0xFFFC | int(ext)

    def data(level: int) -> bool:
        return readable and (conforming or max(level, rpl) <= dpl)

    def system(*types: int) -> bool:
        return is_system and type_ in types

    available, busy = (1, 9), (3, 11)
    wrong, absent = GP, NP
    match kind:
        case Check.DATA:
            good = data(cpl)
        case Check.STACK:
            good, absent = writable and rpl == cpl and dpl == cpl, SS
        case Check.CODE:
            good = is_code and (dpl <= cpl if conforming else rpl <= cpl and dpl == cpl)
        case Check.SYSTEM:
            good = system(*available, 4, 5, 12) and dpl >= cpl and dpl >= rpl and not (type_ in available and local)
        case Check.TARGET:
            good = is_code and dpl <= cpl
        case Check.TARGET_JMP:
            good = is_code and (dpl <= cpl if conforming else dpl == cpl)
        case Check.IDT_GATE:
            good, code = system(5, 6, 7, 14, 15) and (not soft or dpl >= cpl), code | 2
        case Check.RETURN_CODE:
            good = is_code and rpl >= cpl and (dpl <= rpl if conforming else dpl == rpl)
        case Check.RETURN_STACK:
            good, absent = writable and rpl == ncpl and dpl == ncpl, SS
        case Check.INNER_STACK:
            good, wrong, absent = writable and rpl == ncpl and dpl == ncpl, TS, SS
        case Check.LDT:
            good = system(2) and not local
        case Check.TSS_AVAILABLE:
            good = system(*available) and not local
        case Check.TSS_BUSY:
            good, wrong = system(*busy) and not local, TS
        case Check.TASK_LDT:
            good, wrong, absent = system(2) and not local, TS, TS
        case Check.TASK_CODE:
            good, wrong = is_code and (dpl <= rpl if conforming else dpl == rpl), TS
        case Check.TASK_DATA:
            good, wrong = data(ncpl), TS
    if not good:
        return wrong, code
    return None if present else (absent, code)
