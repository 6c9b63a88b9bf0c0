"""Machine code of the host as text: labels for jumps, and the names of what translated code reaches."""

from __future__ import annotations

import ctypes
import platform
from typing import Any

from vmm.engine.dbt.show import Shown, part_of

#: How ghccc passes the context, the guest's registers and the budget on x86-64.
CONVENTION = ("on entry: context r13, eax rbp, ecx r12, edx rbx, ebx r14, esp rsi, ebp rdi, esi r8, edi r9, "
              "budget r15")
_WIDE = {f"{letter}x": f"r{letter}x" for letter in "abcd"} | {name: f"r{name}" for name in ("si", "di", "bp", "sp")}


def listing(shown: Shown) -> list[str]:
    """The machine code of a translation; as numbers on hosts other than x86-64."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return [shown.code[at:at + 16].hex(" ") for at in range(0, len(shown.code), 16)]
    from capstone import CS_ARCH_X86, CS_MODE_64, Cs

    disassembler = Cs(CS_ARCH_X86, CS_MODE_64)
    disassembler.detail = True
    found = list(disassembler.disasm(shown.code, shown.address))
    places = {insn.address for insn in found}
    targets = sorted({target for insn in found if (target := _target(insn)) is not None and target in places})
    labels = {target: f"L{number}" for number, target in enumerate(targets, 1)}
    contexts, elsewhere = {"r13"}, dict[int, set[str]]()
    lines = [f"; {CONVENTION}"]
    for insn in found:
        contexts = elsewhere.get(insn.address, contexts)
        if insn.address in labels:
            lines.append(f"{labels[insn.address]}:")
        target = _target(insn)
        operands = insn.op_str if target is None else labels.get(target, f"{target - shown.address:+#x}")
        text = f"  {insn.address - shown.address:04x}  {insn.mnemonic} {operands}".rstrip()
        remark = _remark(insn, shown, contexts)
        lines.append(f"{text:<64}; {remark}" if remark else text)
        contexts = _following(insn, contexts)
        if target is not None:
            elsewhere.setdefault(target, contexts)
    return lines


def _target(insn: Any) -> int | None:
    """Where a jump or call with a fixed target goes."""
    from capstone import CS_GRP_CALL, CS_GRP_JUMP
    from capstone.x86 import X86_OP_IMM

    if (insn.group(CS_GRP_JUMP) or insn.group(CS_GRP_CALL)) and insn.operands[0].type == X86_OP_IMM:
        return int(insn.operands[0].imm)
    return None


def _remark(insn: Any, shown: Shown, contexts: set[str]) -> str | None:
    """The part of the context, or the word of the module, that an operand in memory is."""
    from capstone.x86 import X86_OP_MEM

    for operand in insn.operands:
        if operand.type == X86_OP_MEM:
            base = insn.reg_name(operand.mem.base) if operand.mem.base else ""
            if base == "rip":
                place = insn.address + insn.size + operand.mem.disp
                # ours, or the linker's word with its address
                return shown.words.get(place) or shown.words.get(ctypes.c_uint64.from_address(place).value)
            if base in contexts:
                return part_of(operand.mem.disp)
    return None


def _following(insn: Any, contexts: set[str]) -> set[str]:
    """The registers that hold the context behind an instruction."""
    from capstone.x86 import X86_OP_REG

    if insn.mnemonic == "call":
        return contexts
    written = {_whole(insn.reg_name(register)) for register in insn.regs_access()[1]}
    copied = insn.mnemonic == "mov" and insn.operands[1].type == X86_OP_REG and insn.reg_name(
        insn.operands[1].reg) in contexts
    return contexts | written if copied else contexts - written


def _whole(name: str) -> str:
    """The 64-bit register a register is part of."""
    if name[:1] == "r" and name[1:2].isdigit():
        return name.rstrip("dwb")
    stem = name.removeprefix("e")
    if len(stem) == 2 and stem[1] in "lh" and stem[0] in "abcd":
        stem = f"{stem[0]}x"
    return _WIDE.get(stem.removesuffix("l") if stem in ("sil", "dil", "bpl", "spl") else stem, name)
