"""Microprograms of the instructions that are more than one row, and which form uses which.

`PROGRAMS` maps the key of an opcode-table form to the program of its register form (or without a repeat prefix) and the
program of its memory form (or with a repeat prefix). Forms, or halves of forms, without a program are in
`rtl.cpu.hardwired`. `assembled()` is the ROM; its routine "event" delivers an exception or interrupt.
"""
from functools import cache

from rtl.cpu.microasm import Rom, assemble

# Importing a family defines its programs in the library.
from . import (  # noqa: F401
    cpuid,
    event,
    exchange,
    far,
    io,
    msrs,
    returns,
    segments,
    stack,
    strings,
    svm,
    system,
    tails,
    task,
    various,
)
from .cpuid import CPUID_ROM
from .macros import LIBRARY

__all__ = ["CPUID_ROM", "PROGRAMS", "assembled"]

Names = tuple[str | None, str | None]


def _both(name: str) -> Names:
    return name, name


def _rm(stem: str, suffix: str = "") -> Names:
    return f"{stem}_r{suffix}", f"{stem}_m{suffix}"


def _memory(name: str) -> Names:
    return None, name


PROGRAMS: dict[str, Names] = {
    "60": _both("pusha"), "61": _both("popa"), "62": _memory("bound"), "63": _rm("arpl"),
    "86": _rm("xchg", "_b"), "87": _rm("xchg", "_v"),
    "8C/0": _rm("mov", "_sreg"), "8F/0": _memory("pop_m"), "9A": _both("callf_a"),
    "9C": _both("pushf"), "9D": _both("popf"), "C4": _memory("les"), "C5": _memory("lds"), "C8": _both("enter"),
    "CA": _both("retf"), "CB": _both("retf"), "CC": _both("int3"), "CD": _both("int"), "CE": _both("into"),
    "CF": _both("iret"), "D4": _both("aam"), "D5": _both("aad"), "D6": _both("salc"), "D7": _both("xlat"),
    "E4": _both("in_imm_b"), "E5": _both("in_imm_v"), "E6": _both("out_imm_b"), "E7": _both("out_imm_v"),
    "EA": _both("jmpf_a"), "EC": _both("in_dx_b"), "ED": _both("in_dx_v"), "EE": _both("out_dx_b"),
    "EF": _both("out_dx_v"), "F1": _both("icebp"), "F4": _both("hlt"),
    "FF/3": _memory("callf_m"), "FF/5": _memory("jmpf_m"), "FF/6": _memory("push_m"),
    "0F00/0": _rm("sldt"), "0F00/1": _rm("str"), "0F00/2": _rm("lldt"), "0F00/3": _rm("ltr"),
    "0F00/4": _rm("verr"), "0F00/5": _rm("verw"),
    "0F01/0": _memory("sgdt"), "0F01/1": _memory("sidt"), "0F01/2": _memory("lgdt"), "0F01/3": _memory("lidt"),
    "0F01/4": _rm("smsw"), "0F01/6": _rm("lmsw"), "0F01/7": _memory("invlpg"),
    "0F01D8": _both("vmrun"), "0F01D9": _both("vmmcall"), "0F01DA": _both("vmload"), "0F01DB": _both("vmsave"),
    "0F01DC": _both("stgi"), "0F01DD": _both("clgi"), "0F01DE": _both("skinit"), "0F01DF": _both("invlpga"),
    "0F02": _rm("lar"), "0F03": _rm("lsl"), "0F06": _both("clts"), "0F08": _both("invd"), "0F09": _both("wbinvd"),
    "0F21": _both("mov_r_dr"), "0F23": _both("mov_dr_r"),
    "0F30": _both("wrmsr"), "0F31": _both("rdtsc"), "0F32": _both("rdmsr"), "0F33": _both("rdpmc"),
    "0F34": _both("sysenter"), "0F35": _both("sysexit"), "0FA2": _both("cpuid"),
    "0FA3": _memory("bt_string"), "0FAB": _memory("bts_string"), "0FB3": _memory("btr_string"),
    "0FBB": _memory("btc_string"),
    "0FB0": _rm("cmpxchg", "_b"), "0FB1": _rm("cmpxchg", "_v"), "0FC0": _rm("xadd", "_b"), "0FC1": _rm("xadd", "_v"),
    "0FB2": _memory("lss"), "0FB4": _memory("lfs"), "0FB5": _memory("lgs"), "0FC7/1": _memory("cmpxchg8b"),
}
PROGRAMS |= {f"8C/{number}": _rm("mov", "_sreg") for number in range(6)}
PROGRAMS |= {f"9{number}": _both("xchg_eax") for number in range(1, 8)}
for _number in (0, 2, 3, 4, 5):
    PROGRAMS[f"8E/{_number}"] = _rm("mov_ss" if _number == 2 else "mov_sreg")
PROGRAMS |= {opcode: _both("push_sreg") for opcode in ("06", "0E", "16", "1E", "0FA0", "0FA8")}
PROGRAMS |= {opcode: _both("pop_sreg") for opcode in ("07", "1F", "0FA1", "0FA9")}
PROGRAMS["17"] = _both("pop_ss")
for _number in system.CONTROL:
    PROGRAMS[f"0F20/{_number}"] = _both(f"mov_r_cr{_number}")
    PROGRAMS[f"0F22/{_number}"] = _both(f"mov_cr{_number}")
for _opcode, _name in ((0x6C, "ins"), (0x6E, "outs"), (0xA4, "movs"), (0xA6, "cmps"), (0xAA, "stos"), (0xAC, "lods"),
                       (0xAE, "scas")):
    for _wide, _suffix in enumerate("bv"):
        PROGRAMS[f"{_opcode + _wide:02X}"] = (f"{_name}_{_suffix}", f"rep_{_name}_{_suffix}")


@cache
def assembled() -> Rom:
    """The microcode ROM of the processor."""
    return assemble(LIBRARY)
