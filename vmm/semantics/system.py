"""System instructions: what they read and write is here, what they decide is in the machine's routines."""

from __future__ import annotations

from rtl.isa.registers import Seg
from rtl.isa.segments import LAR_MASK, LAR_MASK_16
from vmm.semantics import intercepts
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value

LDTR, TR = int(Seg.LDTR), int(Seg.TR)


def load_segment(o: Ops, segment: int, selector: Value) -> None:
    """Load ES, SS, DS, FS or GS with every check; CS cannot be loaded this way."""
    o.call("load_segment", segment, selector)


def move_control(o: Ops, x: Operands) -> None:
    if x.kinds[0].name == "Cd":
        o.call("write_control", x.insn.reg, o.reg(x.insn.rm, 32))
    else:
        o.set_reg(x.insn.rm, o.call("read_control", x.insn.reg, returns=32))


def move_debug(o: Ops, x: Operands) -> None:
    if x.kinds[0].name == "Dd":
        o.call("write_debug", x.insn.reg, o.reg(x.insn.rm, 32))
    else:
        o.set_reg(x.insn.rm, o.call("read_debug", x.insn.reg, returns=32))


def sldt(o: Ops, x: Operands) -> None:
    x.write(0, o.zext(o.selector(LDTR), x.bits(0)))


def str_(o: Ops, x: Operands) -> None:
    x.write(0, o.zext(o.selector(TR), x.bits(0)))


def lldt(o: Ops, x: Operands) -> None:
    o.call("load_ldt", x.read(0))


def ltr(o: Ops, x: Operands) -> None:
    o.call("load_task", x.read(0))


def verr(o: Ops, x: Operands) -> None:
    o.set_zero(o.call("verify", x.read(0), 0, returns=1))


def verw(o: Ops, x: Operands) -> None:
    o.set_zero(o.call("verify", x.read(0), 1, returns=1))


def _describe(o: Ops, x: Operands, routine: str, mask: int) -> None:
    """The routine gives a 32-bit answer with bit 32 set when the descriptor may be looked at."""
    answer = o.call(routine, x.read(1), returns=64)
    accepted = o.trunc(o.shr(answer, 32), 1)
    with o.if_(accepted):
        x.write(0, o.trunc(o.and_(o.trunc(answer, 32), o.const(mask, 32)), x.size))
    o.set_zero(accepted)


def lar(o: Ops, x: Operands) -> None:
    _describe(o, x, "access_rights", LAR_MASK if x.size == 32 else LAR_MASK_16)


def lsl(o: Ops, x: Operands) -> None:
    _describe(o, x, "segment_limit", 0xFFFF_FFFF if x.size == 32 else 0xFFFF)


def arpl(o: Ops, x: Operands) -> None:
    """The destination is written in both cases, as a read-modify-write is."""
    a, b = x.read_for_write(0), x.read(1)
    rpl = o.const(3, 16)
    a_level, b_level = o.and_(a, rpl), o.and_(b, rpl)
    raised = o.ult(a_level, b_level)
    x.write(0, o.select(raised, o.or_(o.and_(a, o.const(~3, 16)), b_level), a))
    o.set_zero(raised)


def _store_table(o: Ops, x: Operands, which: str) -> None:
    """Six bytes, the base in full whatever the operand size."""
    o.check_write(x.segment, x.address(), 2)
    o.check_write(x.segment, x.displaced(2), 4)
    o.store(x.segment, x.address(), o.call(f"{which}_limit", returns=16))
    o.store(x.segment, x.displaced(2), o.call(f"{which}_base", returns=32))


def sgdt(o: Ops, x: Operands) -> None:
    _store_table(o, x, "gdtr")


def sidt(o: Ops, x: Operands) -> None:
    _store_table(o, x, "idtr")


def _load_table(o: Ops, x: Operands, which: str) -> None:
    """A 16-bit operand size takes 24 bits of base."""
    limit = o.load(x.segment, x.address(), 16)
    base = o.load(x.segment, x.displaced(2), 32)
    if x.size == 16:
        base = o.and_(base, o.const(0xFF_FFFF, 32))
    o.call(f"load_{which}", base, limit)


def lgdt(o: Ops, x: Operands) -> None:
    _load_table(o, x, "gdtr")


def lidt(o: Ops, x: Operands) -> None:
    _load_table(o, x, "idtr")


def smsw(o: Ops, x: Operands) -> None:
    x.write(0, o.trunc(o.call("read_control", 0, returns=32), x.bits(0)))


def lmsw(o: Ops, x: Operands) -> None:
    o.call("load_status_word", x.read(0))


def clts(o: Ops, x: Operands) -> None:
    o.call("clear_task_switched")


def invlpg(o: Ops, x: Operands) -> None:
    o.call("invalidate_page", x.segment, x.address())


def cache_control(o: Ops, x: Operands) -> None:
    """INVD and WBINVD: there is no cache in the software engines, so nothing is lost or written back."""


def _pair(o: Ops, value: Value) -> None:
    o.set_reg(0, o.trunc(value, 32))
    o.set_reg(2, o.trunc(o.shr(value, 32), 32))


def rdtsc(o: Ops, x: Operands) -> None:
    _pair(o, o.call("read_time", returns=64))


def rdmsr(o: Ops, x: Operands) -> None:
    _pair(o, o.call("read_msr", o.reg(1, 32), returns=64))


def rdpmc(o: Ops, x: Operands) -> None:
    _pair(o, o.call("read_counter", o.reg(1, 32), returns=64))


def wrmsr(o: Ops, x: Operands) -> None:
    value = o.or_(o.shl(o.zext(o.reg(2, 32), 64), 32), o.zext(o.reg(0, 32), 64))
    o.call("write_msr", o.reg(1, 32), value)


def cpuid(o: Ops, x: Operands) -> None:
    o.call("identify")


def cli(o: Ops, x: Operands) -> None:
    o.call("clear_interrupt_flag")


def sti(o: Ops, x: Operands) -> None:
    o.call("set_interrupt_flag")


def in_(o: Ops, x: Operands) -> None:
    port = o.zext(x.read(1), 16)
    size = x.bits(0) // 8
    o.call("check_port", port, size)
    intercepts.port(o, x, port, size)
    x.write(0, o.call("port_in", port, size, returns=8 * size))


def out(o: Ops, x: Operands) -> None:
    port = o.zext(x.read(0), 16)
    size = x.bits(1) // 8
    o.call("check_port", port, size)
    intercepts.port(o, x, port, size)
    o.call("port_out", port, size, x.read(1))


def esc(o: Ops, x: Operands) -> None:
    o.call("x87_escape")


def wait(o: Ops, x: Operands) -> None:
    o.call("x87_wait")
