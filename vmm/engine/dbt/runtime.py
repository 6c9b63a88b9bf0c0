"""The native code every translation leans on: ways in and out, look-ups, memory accesses that are not hits.

    enter     C function: load the guest's registers and run from an entry point until something comes back
    exit      give up an instruction or leave: deliver a fault, or return to Python with its state in the context; RF
              is set again if it was cleared in front of a REP instruction that is not complete yet
    bail      a routine that leaves everything to the interpreter; it stands in until the machine's are compiled
    refill    after a miss in a data table: 1 it is filled, 2 a fault is pending, 0 the interpreter has to look
    lookup    go on at `Context.eip` through the block table, filling the jump cache; exit MISSING
    dispatch  the same behind an instruction that may have changed the machine; exit ATTENTION if somebody must look
    load8s... memory accesses of one size and privilege; the answer is negative when the instruction must be given up
"""

from __future__ import annotations

from rtl.isa.registers import Cr0, Eflags, Seg
from vmm.engine.dbt.codemap import touched
from vmm.engine.dbt.frontend import LIMIT
from vmm.engine.dbt.layout import (
    BLOCK_ENTRIES,
    BLOCKS_AT,
    JUMP_ENTRIES,
    JUMPS_AT,
    MARKS_AT,
    PORTS,
    TABLE_BYTES,
    TABLES_AT,
    Exit,
    Kind,
    offset,
)
from vmm.engine.dbt.mmu import ARMED
from vmm.engine.dbt.native import NO_MODE, ROUTINES
from vmm.engine.dbt.region import PARAMETERS
from vmm.engine.dbt.values import Builder

_TF, _RF, _IF, _AC, _AM = (int(flag) for flag in (Eflags.TF, Eflags.RF, Eflags.IF, Eflags.AC, Cr0.AM))
_ARGUMENTS = ", ".join(["ptr %c", *(f"i32 %r{n}" for n in range(8)), "i64 %b"])
USER_MODE = 1 << 8
ACCESSORS = [f"{what}{bits}{who}" for what in ("load", "change", "store") for bits in (8, 16, 32) for who in "su"]
#: Places among the context's routines.
PLACES = {name: place for place, name in enumerate(
    [*ACCESSORS, *(name.replace(".", "_") for name in ROUTINES), "deliver_pending", *PORTS])}
#: Those that `native.text` defines.
MACHINE = tuple(name for name in PLACES if name not in ACCESSORS and name not in PORTS)


def _at(name: str, place: int | str) -> str:
    return f"%{name} = getelementptr i8, ptr %c, i64 {place}"


def _field(name: str, kind: str = "i32", as_name: str | None = None) -> str:
    """Load a field of the context into %name."""
    result = as_name or name
    return f"{_at(f'{result}_at', offset(name))}\n%{result} = load {kind}, ptr %{result}_at"


def _put(name: str, value: str, stem: str) -> str:
    return f"{_at(stem, offset(name))}\nstore {value}, ptr %{stem}"


def _enter() -> str:
    lines = ["define i32 @enter(ptr %c, ptr %code) {"]
    for n in range(8):
        lines += [_at(f"g{n}", offset("gpr") + 4 * n), f"%r{n} = load i32, ptr %g{n}"]
    lines += [_put("resumed", "i64 -1", "resumed_at"), _field("budget", "i64", "b"),
              f"call ghccc void %code({_ARGUMENTS})", _field("reason"), "ret i32 %reason", "}"]
    return "\n".join(lines)


def _exit() -> str:
    lines = [f"define ghccc void @exit({PARAMETERS}) {{"]
    for n in range(8):
        lines += [_at(f"g{n}", offset("gpr") + 4 * n), f"store i32 %r{n}, ptr %g{n}"]
    lines += [
        _field("reason"), f"%faulted = icmp eq i32 %reason, {int(Exit.FAULT)}",
        "br i1 %faulted, label %deliver, label %leave",
        "deliver:",
        _routine("deliver_pending"), _at("results", offset("results")),
        "%status = call i32 %deliver_pending(ptr %c, ptr %results)",
        "%delivered = icmp eq i32 %status, 0",
        "br i1 %delivered, label %go, label %leave",
        "go:",
        "%b2 = sub i64 %b, 1",
        _field("extra", "i64"), "%extra2 = add i64 %extra, 1", "store i64 %extra2, ptr %extra_at",
        _field("deliveries", "i64"),
        "%more = add i64 %deliveries, 1", "store i64 %more, ptr %deliveries_at",
        _put("resumed", "i64 -1", "anew_at"),
    ]
    lines += [f"%n{n} = load i32, ptr %g{n}" for n in range(8)]
    renewed = ", ".join(["ptr %c", *(f"i32 %n{n}" for n in range(8)), "i64 %b2"])
    lines += [f"musttail call ghccc void @dispatch({renewed})", "ret void",
              "leave:", _put("budget", "i64 %b", "b_at"),
              _field("repeating", "i8"), "%once = icmp eq i8 %repeating, 0", "br i1 %once, label %left, label %again",
              "again:", _field("extra", "i64", "iterated"), "%behind = add i64 %b, %iterated", _field("resumed", "i64"),
              "%same = icmp eq i64 %behind, %resumed", "br i1 %same, label %resume, label %left",
              "resume:", _field("system_flags"), f"%with = or i32 %system_flags, {_RF}",
              "store i32 %with, ptr %system_flags_at", "br label %left",
              "left:", "ret void", "}"]
    return "\n".join(lines)


def _routine(name: str) -> str:
    """Load a routine's entry point into %name."""
    return f"{_at(f'{name}_place', offset('routines') + 8 * PLACES[name])}\n%{name} = load ptr, ptr %{name}_place"


def _refill() -> str:
    return f"""define i32 @bail() {{
ret i32 2
}}
define internal i32 @refill(ptr %c, i32 %linear, i32 %kind) noinline {{
{_routine("mmu_refill")}
{_at("results", offset("results"))}
%a = zext i32 %linear to i64
%k = zext i32 %kind to i64
%status = call i32 %mmu_refill(ptr %c, i64 %a, i64 %k, ptr %results)
switch i32 %status, label %refuse [ i32 0, label %good i32 1, label %fault ]
good:
%there = load i64, ptr %results
%yes = trunc i64 %there to i32
ret i32 %yes
fault:
ret i32 2
refuse:
ret i32 0
}}"""


def _crossing(what: str, bits: int) -> str:
    """An access that reaches into the next page or may match a breakpoint, by the routine of the machine."""
    name = {"load": "load", "change": "load_for_write", "store": "store"}[what]
    value = ", i64 %value_word" if what == "store" else ""
    widen = "%value_word = zext i32 %value to i64\n" if what == "store" else ""
    taken = f"%got_word = load i64, ptr %results\n%kept = and i64 %got_word, {(1 << bits) - 1}\nret i64 %kept"
    return f"""%wraps = icmp ugt i32 %a, {0xFFFF_F000 - (1 << 32)}
br i1 %wraps, label %refuse, label %both
both:
{_routine(name)}
{_at("results", offset("results"))}
{widen}%status = call i32 %{name}(ptr %c, i64 %wide, i64 {bits // 8}{value}, i64 {int(Seg.DS)}, ptr %results)
switch i32 %status, label %refuse [ i32 0, label %crossed i32 1, label %fault ]
crossed:
{"ret i64 0" if what == "store" else taken}"""


def _lookup() -> str:
    user = f"""%who = and i32 %mode, {USER_MODE}
%is_user = icmp ne i32 %who, 0
%base = select i1 %is_user, i64 {TABLES_AT + Kind.USER_READ * TABLE_BYTES}, i64 {TABLES_AT + Kind.READ * TABLE_BYTES}"""
    return f"""define ghccc void @lookup({PARAMETERS}) {{
{_field("eip")}
{_field("mode")}
{user}
%wide = zext i32 %eip to i64
%page = lshr i64 %wide, 12
%scaled = shl i64 %page, 3
%place = add i64 %base, %scaled
{_at("entry_at", "%place")}
%delta = load i64, ptr %entry_at
%unmapped = icmp eq i64 %delta, 0
br i1 %unmapped, label %refill, label %mapped
refill:
%left = icmp sgt i64 %b, 0
br i1 %left, label %walk, label %missing
walk:
{_page_is_armed("%page", "apart", "fill")}
apart:
{_routine("mmu_translate")}
{_at("results", offset("results"))}
%user = zext i1 %is_user to i64
%status = call i32 %mmu_translate(ptr %c, i64 %wide, i64 0, i64 %user, ptr %results)
%translated = icmp eq i32 %status, 0
br i1 %translated, label %placed, label %missing
placed:
%fetched = load i64, ptr %results
{_field("ram", "i64", "own_ram")}
%at_host = add i64 %fetched, %own_ram
%third = sub i64 %at_host, %wide
br label %mapped
fill:
%kind = zext i1 %is_user to i32
%filled = call i32 @refill(ptr %c, i32 %eip, i32 %kind)
%ok = icmp eq i32 %filled, 1
br i1 %ok, label %again, label %missing
again:
%second = load i64, ptr %entry_at
br label %mapped
mapped:
%here = phi i64 [ %delta, %0 ], [ %second, %again ], [ %third, %placed ]
{_field("ram", "i64")}
%host = add i64 %here, %wide
%physical = sub i64 %host, %ram
%m1 = add i32 %mode, 1
%m2 = zext i32 %m1 to i64
%m3 = shl i64 %m2, 32
%away = sub i64 %wide, %physical
%k1 = shl i64 %away, 32
%k2 = or i64 %physical, %m3
%key = or i64 %k2, %k1
%h1 = lshr i64 %physical, 11
%h2 = xor i64 %physical, %h1
%h3 = shl i64 %m2, 4
%start = xor i64 %h2, %h3
br label %probe
probe:
%n = phi i64 [ %start, %mapped ], [ %next, %further ]
%slot = and i64 %n, {BLOCK_ENTRIES - 1}
%bytes = shl i64 %slot, 4
%bytes2 = add i64 %bytes, {BLOCKS_AT}
{_at("block", "%bytes2")}
%found = load i64, ptr %block
%same = icmp eq i64 %found, %key
br i1 %same, label %hit, label %other
other:
%free = icmp eq i64 %found, 0
br i1 %free, label %missing, label %further
further:
%next = add i64 %n, 1
br label %probe
hit:
%code_at = getelementptr i8, ptr %block, i64 8
%code = load ptr, ptr %code_at
%nothing = icmp eq ptr %code, null
br i1 %nothing, label %missing, label %go
go:
{_field("tag", "i64")}
%jtag = or i64 %wide, %tag
%j1 = lshr i32 %eip, 6
%j2 = xor i32 %eip, %j1
%j3 = and i32 %j2, {JUMP_ENTRIES - 1}
%j4 = zext i32 %j3 to i64
%j5 = shl i64 %j4, 4
%j6 = add i64 %j5, {JUMPS_AT}
{_at("jump", "%j6")}
store i64 %jtag, ptr %jump
%jump_code = getelementptr i8, ptr %jump, i64 8
store ptr %code, ptr %jump_code
musttail call ghccc void %code({_ARGUMENTS})
ret void
missing:
{_put("reason", f"i32 {int(Exit.MISSING)}", "reason_at")}
{_put("slot", "i64 0", "slot_at")}
musttail call ghccc void @exit({_ARGUMENTS})
ret void
}}"""


def _dispatch() -> str:
    # an NMI that waits and is not blocked, in one look
    assert offset("nmi_blocked") == offset("nmi_pending") + 1
    return f"""define ghccc void @dispatch({PARAMETERS}) {{
{_field("halted", "i8")}
{_field("shutdown", "i8")}
%still = or i8 %halted, %shutdown
%still2 = zext i8 %still to i32
{_field("pending_debug")}
{_field("shadow")}
{_field("system_flags")}
%tf = and i32 %system_flags, {_TF}
{_field("line", "i8")}
%raised = zext i8 %line to i32
%raised2 = shl i32 %raised, {_IF.bit_length() - 1}
%open = and i32 %raised2, %system_flags
{_field("mode")}
%bad = icmp eq i32 %mode, {NO_MODE - (1 << 32)}
%bad2 = zext i1 %bad to i32
{_field("nmi_pending", "i16", "nmi")}
%open_nmi = icmp eq i16 %nmi, 1
%open_nmi2 = zext i1 %open_nmi to i32
%a0 = or i32 %still2, %open_nmi2
%a1 = or i32 %a0, %pending_debug
%a2 = or i32 %shadow, %tf
%a3 = or i32 %open, %bad2
%a4 = or i32 %a1, %a2
%a5 = or i32 %a3, %a4
%quiet = icmp eq i32 %a5, 0
br i1 %quiet, label %resume, label %attention
resume:
%rf = and i32 %system_flags, {_RF}
%plain = icmp eq i32 %rf, 0
br i1 %plain, label %go, label %flag
flag:
{_field("eip")}
{_armed_at("%eip")}
br i1 %stops, label %attention, label %masked
masked:
%short = icmp slt i64 %b, {LIMIT}
br i1 %short, label %attention, label %clear
clear:
%without = and i32 %system_flags, {~_RF}
store i32 %without, ptr %system_flags_at
{_field("extra", "i64")}
%now = add i64 %b, %extra
{_put("resumed", "i64 %now", "resumed_at")}
br label %go
go:
musttail call ghccc void @lookup({_ARGUMENTS})
ret void
attention:
{_put("reason", f"i32 {int(Exit.ATTENTION)}", "reason_at")}
musttail call ghccc void @exit({_ARGUMENTS})
ret void
}}"""


def _armed_at(address: str) -> str:
    """%stops : whether there may be a breakpoint at an address."""
    lines = []
    for number in (0, 1, 2, 3, 7):
        lines += [_at(f"dr{number}_at", offset("dr") + 4 * number), f"%dr{number} = load i32, ptr %dr{number}_at"]
    lines += [f"%same{n} = icmp eq i32 %dr{n}, {address}" for n in range(4)]
    lines += ["%any01 = or i1 %same0, %same1", "%any23 = or i1 %same2, %same3", "%any = or i1 %any01, %any23",
              "%enabled = and i32 %dr7, 255", "%armed = icmp ne i32 %enabled, 0", "%stops = and i1 %any, %armed"]
    return "\n".join(lines)


def _page_is_armed(page: str, yes: str, no: str) -> str:
    """Go on at one label or the other: whether a data breakpoint keeps a linear page out of the tables."""
    return f"""%mark_index = add i64 {page}, {MARKS_AT}
{_at("mark_at", "%mark_index")}
%mark = load i8, ptr %mark_at
%armed_mark = and i8 %mark, {ARMED}
%unarmed = icmp eq i8 %armed_mark, 0
br i1 %unarmed, label %{no}, label %{yes}"""


def _code_map(bits: int, look: int) -> str:
    """Whether %is_clean, given a page's %centry: no code was made from what is to be written; see `touched`."""
    b = Builder()
    b.emit(f"%is_clean = xor i1 {touched(b, '%centry', '%a', bits, look)}, true")
    return "\n".join(b.main)


def _writable(user: int, index: str, missing: str, bits: int, look: int, clean: str) -> str:
    """Block "writable": ask the checked table, and the code map, whether a write beside code may be done."""
    return f"""writable:
{_at("ctable", TABLES_AT + (Kind.CHECKED + user) * TABLE_BYTES)}
%centry_at = getelementptr i64, ptr %ctable, i64 {index}
%centry = load i64, ptr %centry_at
%cmiss = icmp eq i64 %centry, 0
br i1 %cmiss, label %{missing}, label %map
map:
{_code_map(bits, look)}
br i1 %is_clean, label %{clean}, label %refuse"""


def _accessor(what: str, bits: int, user: int) -> str:
    """What needs no calls, which would cost every access the saving of registers; the rest is a function of its own.

    That is a hit, an aligned write beside code, and a misaligned hit within a page.
    """
    writes = what != "load"
    kind = (Kind.WRITE if writes else Kind.READ) + user
    log2, size, name = bits.bit_length() - 4, bits // 8, f"{what}{bits}{'su'[user]}"
    extra = ", i32 %value" if what == "store" else ""
    turn = f"%turned = call i32 @llvm.fshr.i32(i32 %a, i32 %a, i32 {log2})" if log2 else "%turned = add i32 %a, 0"
    lines = f"""define preserve_mostcc i64 @{name}(ptr %c, i32 %a{extra}) {{
{turn}
%index = lshr i32 %turned, {12 - log2}
%index64 = zext i32 %index to i64
{_at("table", TABLES_AT + kind * TABLE_BYTES)}
%entry_at = getelementptr i64, ptr %table, i64 %index64
%wide = zext i32 %a to i64
%entry = load i64, ptr %entry_at
%miss = icmp eq i64 %entry, 0
br i1 %miss, label %{"writable" if writes else "skew"}, label %access, !prof !0
access:
%delta = phi i64 [ %entry, %0 ], [ %mentry, %page ]{", [ %rentry, %aside ]" if writes else ""}
%host = add i64 %delta, %wide
%where = inttoptr i64 %host to ptr
{_act(what, bits)}
"""
    if writes:
        lines += f"""{_writable(user, "%index64", "skew", bits, 32, "beside")}
beside:
{_field("beside", "i64", "before")}
%left = sub i64 %before, 1
store i64 %left, ptr %before_at
%common = icmp eq i64 %left, 0
br i1 %common, label %leave, label %aside, !prof !0
aside:
{_at("rtable", TABLES_AT + (Kind.READ + user) * TABLE_BYTES)}
%rentry_at = getelementptr i64, ptr %rtable, i64 %index64
%rentry = load i64, ptr %rentry_at
br label %access
leave:
{_put("reason", f"i32 {int(Exit.INTERPRET)}", "reason_at")}
ret i64 -1
"""
    return lines + f"""skew:
%within = and i32 %a, 4095
%crosses = icmp ugt i32 %within, {4096 - size}
br i1 %crosses, label %refuse, label %inside
inside:
{_alignment(user, "page")}
page:
%number = lshr i64 %wide, 12
%mentry_at = getelementptr i64, ptr %table, i64 %number
%mentry = load i64, ptr %mentry_at
%mmiss = icmp eq i64 %mentry, 0
br i1 %mmiss, label %refuse, label %access
refuse:
%late = musttail call preserve_mostcc i64 @{name}_late(ptr %c, i32 %a{extra})
ret i64 %late
}}"""


def _act(what: str, bits: int) -> str:
    """Do the access at %where."""
    if what == "store":
        narrow = f"%datum = trunc i32 %value to i{bits}" if bits < 32 else "%datum = add i32 %value, 0"
        return f"{narrow}\nstore i{bits} %datum, ptr %where, align 1\nret i64 0"
    return f"%got = load i{bits}, ptr %where, align 1\n%wide_got = zext i{bits} %got to i64\nret i64 %wide_got"


def _late(what: str, bits: int, user: int) -> str:
    """Accesses that cross pages, or are to one with a breakpoint; those that hit once a table is refilled; the rest."""
    writes = what != "load"
    kind = (Kind.WRITE if writes else Kind.READ) + user
    size = bits // 8
    extra = ", i32 %value" if what == "store" else ""
    lines = f"""define internal preserve_mostcc i64 @{what}{bits}{"su"[user]}_late(ptr %c, i32 %a{extra}) noinline {{
{_at("table", TABLES_AT + kind * TABLE_BYTES)}
%wide = zext i32 %a to i64
%within = and i32 %a, 4095
%crosses = icmp ugt i32 %within, {4096 - size}
br i1 %crosses, label %across, label %inside
across:
{_crossing(what, bits)}
inside:
%low = and i32 %a, {size - 1}
%skewed = icmp ne i32 %low, 0
br i1 %skewed, label %alignment, label %look
alignment:
{_alignment(user, "look")}
access:
%delta = phi i64 [ %mentry, %found ]{", [ %rentry, %clean ]" if writes else ""}
%host = add i64 %delta, %wide
%where = inttoptr i64 %host to ptr
{_act(what, bits)}
look:
%page = lshr i64 %wide, 12
%mentry_at = getelementptr i64, ptr %table, i64 %page
br label %try
try:
%round = phi i1 [ false, %look ], [ true, %refilled ]
%mentry = load i64, ptr %mentry_at
%mmiss = icmp eq i64 %mentry, 0
br i1 %mmiss, label %{"writable" if writes else "fill"}, label %found
found:
br label %access
"""
    if writes:
        lines += f"""{_writable(user, "%page", "fill", bits, 64, "clean")}
clean:
{_at("rtable", TABLES_AT + (Kind.READ + user) * TABLE_BYTES)}
%rentry_at = getelementptr i64, ptr %rtable, i64 %page
%rentry = load i64, ptr %rentry_at
br label %access
"""
    lines += f"""fill:
br i1 %round, label %refuse, label %absent
absent:
{_page_is_armed("%page", "across", "refill")}
refill:
%filled = call i32 @refill(ptr %c, i32 %a, i32 {int(kind)})
switch i32 %filled, label %refuse [ i32 1, label %refilled i32 2, label %fault ]
fault:
{_put("reason", f"i32 {int(Exit.FAULT)}", "fault_at")}
ret i64 -1
refilled:
br label %try
refuse:
{_put("reason", f"i32 {int(Exit.INTERPRET)}", "reason_at")}
ret i64 -1
}}"""
    return lines


def _alignment(user: int, fine: str) -> str:
    """#AC belongs to the interpreter."""
    if not user:
        return f"br label %{fine}"
    return f"""{_field("system_flags")}
{_field("cr0")}
%ac = and i32 %system_flags, {_AC}
%am = and i32 %cr0, {_AM}
%has_ac = icmp ne i32 %ac, 0
%has_am = icmp ne i32 %am, 0
%checked = and i1 %has_ac, %has_am
br i1 %checked, label %refuse, label %{fine}"""


def text() -> str:
    """The IR of the run-time module."""
    parts = [_refill(), _enter(), _exit(), _lookup(), _dispatch()]
    parts += [part(what, bits, user) for part in (_accessor, _late)
              for what in ("load", "change", "store") for bits in (8, 16, 32) for user in (0, 1)]
    return "\n".join(parts)
