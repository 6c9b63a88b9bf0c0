"""Where instructions of a guest ask whether they are intercepted: staged only for code that runs in guest mode.

Rules (AMD64 APM vol. 2, 15.9 and table 15-7; 15.10 for ports, 15.11 for MSRs):

1. PUSHF, POPF, CPUID, PAUSE, IRET, INT n and ICEBP ask before anything else.
2. Everything else asks after #UD and the privilege check, after what TSD, PCE and DR7.GD forbid, and after values that
   a control register does not take, but before its operands in memory are read. Ports are asked about behind IOPL and
   the permission bitmap.
3. INT3 and INTO are exceptions: the intercepts of #BP and #OF, asked about before the gate is looked at.
"""

from __future__ import annotations

from rtl.isa.decoder import Insn
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import CR_READ, CR_WRITE, DR_READ, DR_WRITE, EXCEPTION, ExitCode
from rtl.isa.opcodes import Operand
from rtl.isa.registers import Gpr
from rtl.isa.svm import EVENT_V, MOV_CR, Event, EventType, IoInfo
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value

_FIRST = {"pushf": ExitCode.PUSHF, "popf": ExitCode.POPF, "cpuid": ExitCode.CPUID, "iret": ExitCode.IRET}
_PLAIN = {
    "sldt": ExitCode.LDTR_READ, "str": ExitCode.TR_READ, "lldt": ExitCode.LDTR_WRITE, "ltr": ExitCode.TR_WRITE,
    "sgdt": ExitCode.GDTR_READ, "sidt": ExitCode.IDTR_READ, "lgdt": ExitCode.GDTR_WRITE, "lidt": ExitCode.IDTR_WRITE,
    "smsw": ExitCode.CR0_READ, "clts": ExitCode.CR0_WRITE, "invd": ExitCode.INVD, "wbinvd": ExitCode.WBINVD,
    "hlt": ExitCode.HLT, "vmrun": ExitCode.VMRUN, "vmmcall": ExitCode.VMMCALL, "vmload": ExitCode.VMLOAD,
    "vmsave": ExitCode.VMSAVE, "stgi": ExitCode.STGI, "clgi": ExitCode.CLGI, "skinit": ExitCode.SKINIT,
    "invlpga": ExitCode.INVLPGA,
}
_NOP = 0x90


def _ask(o: Ops, code: int, info1: int = 0) -> None:
    o.call("intercept", code, info1, o.next_eip())


def before(o: Ops, insn: Insn) -> None:
    """What is asked before anything that the instruction might fault for."""
    operation = insn.form.operation
    if operation in _FIRST:
        _ask(o, _FIRST[operation])
    elif operation == "nop" and insn.form.opcode == _NOP and insn.rep == "rep":
        o.call("intercept_pause", o.next_eip())
    elif operation == "int":
        assert insn.imm is not None
        _ask(o, ExitCode.SWINT, insn.imm)
        o.call("begin_event", Event.build(vector=insn.imm, type=EventType.SOFTWARE, v=1))
    elif operation == "icebp":
        _ask(o, ExitCode.ICEBP)
        _begin_exception(o, Vector.DB)
    elif operation == "int3":
        _ask(o, EXCEPTION + Vector.BP)
        _begin_exception(o, Vector.BP)
    elif operation == "into":
        with o.if_(o.flag("of")):
            _ask(o, EXCEPTION + Vector.OF)
            _begin_exception(o, Vector.OF)


def _begin_exception(o: Ops, vector: Vector) -> None:
    o.call("begin_event", vector | EventType.EXCEPTION << 8 | EVENT_V)


def behind_checks(o: Ops, insn: Insn) -> None:
    """What is asked once the instruction may be executed at all."""
    operation, x = insn.form.operation, Operands(o, insn)
    if operation in _PLAIN:
        _ask(o, _PLAIN[operation])
    elif operation == "mov":
        _move(o, x)
    elif operation == "lmsw":
        _ask(o, ExitCode.CR0_WRITE)
        _ask(o, ExitCode.CR0_SEL_WRITE)
    elif operation == "rdtsc":
        o.call("check_time")
        _ask(o, ExitCode.RDTSC)
    elif operation == "rdpmc":
        o.call("check_counter")
        _ask(o, ExitCode.RDPMC)
    elif operation in ("rdmsr", "wrmsr"):
        o.call("intercept_msr", o.reg(Gpr.ECX, 32), int(operation == "wrmsr"), o.next_eip())
    elif operation == "invlpg":
        o.call("intercept_invlpg", x.segment, x.address(), o.next_eip())


def _move(o: Ops, x: Operands) -> None:
    kinds, number, register = x.kinds, x.insn.reg, x.insn.rm
    info = MOV_CR | register
    if Operand.Dd in kinds:
        o.call("check_debug", number)
        _ask(o, (DR_WRITE if kinds[0] is Operand.Dd else DR_READ) + number, register)
    elif kinds[0] is Operand.Cd:
        value = o.reg(register, 32)
        o.call("check_control", number, value)
        _ask(o, CR_WRITE + number, info)
        if number == 0:
            o.call("intercept_cr0", value, info, o.next_eip())
    elif kinds[1] is Operand.Cd:
        _ask(o, CR_READ + number, info)


def port(o: Ops, x: Operands, number: Value, size: int, *, segment: int = 0, string: bool = False) -> None:
    """Ask about an access of `size` bytes to a port; `segment` is that of a string in memory."""
    if not o.mode.guest:
        return
    info = IoInfo.build(
        input=int(x.insn.form.operation in ("in", "ins")), string=int(string),
        rep=int(string and x.insn.rep is not None), segment=segment,
        **{f"size{8 * size}": 1, "address16" if x.insn.adsize == 2 else "address32": 1})
    o.call("intercept_port", number, size, info, o.next_eip())
