"""Waveforms of the computer: which signals, in which groups, with which texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rtl.isa.exitcodes import ExitCode, exit_name
from rtl.isa.retire import RetireCause
from rtl.isa.stop import StopReason

from .disassembly import MAX_LENGTH, disassemble
from .engines import Engine, SignalInfo
from .paging import read_linear
from .rtlmachine import RtlMachine
from .rtlmemory import CachedMemory
from .rtlstate import GPRS, read_state
from .trace.gtkw import Group, write_gtkw
from .trace.vcd import Text, all_signals, enumeration, write_vcd

CYCLE_NS = 30
_INVALID = ExitCode.INVALID & 0xFFFF_FFFF
_TEXTS = ("text.instruction", "text.symbol", "text.mode", "text.exit", "text.walk", "text.retired", "text.stop")

#: Title, patterns of names, whether the group starts folded. A pattern matches whole names; order is kept.
_GROUPS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("Pipeline", (
        r"core\.eip", r"core\.(issue\.a|m|x)_valid", r"core\.(issue\.a|m|x)_eip", r"core\.x_(alu|first|linear|result)",
        r"core\.addressing\.wait", r"core\.(commit|flush|refetch)", r"core\.branch\.(taken|missed|target)",
        r"core\.exceptions\.(take|event)", r"core\.exceptions\.faults\.(fault|vector|error)",
        r"core\.exceptions\.boundary\.any_event", r"core\.retire__(valid|cause|eip|vector)",
        r"core\.issue\.(starved|drained)", r"core\.fetch\.q_(eip|count)"), False),
    ("Registers", (
        *(rf"core\.regs\.{name}" for name in GPRS), r"core\.sysregs\.eflags_\w+", r"core\.sysregs\.cpl",
        r"core\.sysregs\.cr[0234]", r"core\.segments\.cs_(base|limit)",
        r"core\.sysregs\.(gdt|idt)_(base|limit)"), True),
    ("MMU and caches", (
        r"core\.lsu\.m_(valid|done|linear|data|fault|fault_code)", r"core\.lsu\.store_(valid|paddr|size|data)",
        r"core\.lsu\.cache\.(fsm_state|addr|owner|way|left)", r"core\.fetch\.icache\.(f_linear|r_valid|r_fault)",
        r"core\.sysregs\.inv_(all|nonglobal)"), True),
    ("Page walks", (
        r"core\.lsu\.walker\.guest\.(fsm_state|for_i|page|write|user|directory|table|is_large|reference)",
        r"core\.lsu\.walker\.memory__(valid|ready|addr|write|lock|wdata|rvalid|rdata)"), True),
    ("Nested walk", (
        r"core\.lsu\.walker\.(final|placed|fault_gpa|fault_code|directory_frame|table_frame)",
        r"core\.lsu\.walker\.nested\.(fsm_state|request__(valid|page|write|done)|tlb_(hit|miss))",
        r"core\.lsu\.walker\.nested\.walker\.(fsm_state|directory|table|is_large|reference)",
        r"core\.lsu\.m_fault_(nested|table|gpa)"), True),
    ("Bus", (r"ram__\w+", r"memory\.(bus|mmio)__\w+", r"memory\.fsm_state", r"io_(valid|write|port|size|data)"), True),
    ("Devices", (
        r"apics\.(intr|ack|vector|nmi)", r"apics\.local\.(request|svr|lvt_(timer|lint0))",
        r"apics\.local\.vectors\.(tpr|ppr|waits|waiting|serves|serving)", r"apics\.local\.timer\.left",
        r"apics\.io\.(lines|mask|remote)",
        r"isa\.(intr|ack|vector|nmi)", r"isa\.pic\.irq", r"isa\.pic\.chip[01]\.(irr|isr|imr)",
        r"isa\.pit\.channel0\.(count|value|out|mode)", r"isa\.uart\.(ier|lsr|lcr|irq)", r"(uart|debug)_(valid|data)",
        r"stop", r"exit_value", r"post_code"), True),
)


def signal_groups(infos: Sequence[SignalInfo]) -> list[tuple[str, tuple[str, ...], bool]]:
    """The groups with the names that exist."""
    names = [info.name for info in infos if not info.depth]
    found = []
    for title, patterns, closed in _GROUPS:
        members = [name for pattern in patterns for name in names if re.fullmatch(pattern, name)]
        found.append((title, tuple(dict.fromkeys(members)), closed))
    return found


def _texts(machine: RtlMachine) -> list[Text]:
    """What a person reads beside the signals. Instructions are shown as memory holds them when the file is written."""
    engine = machine.engine
    known: dict[tuple[int, int], str] = {}

    def instruction(valid: int, eip: int) -> str:
        if not valid:
            return ""
        base = engine.peek("core.segments.cs_base")
        if (base, eip) not in known:
            state = read_state(engine)
            code = read_linear(CachedMemory(engine).read, state, base + eip & 0xFFFF_FFFF, MAX_LENGTH)
            known[base, eip] = disassemble(code, eip, bool(engine.peek("core.segments.cs_32")))[0] if code else "?"
        return known[base, eip]

    def mode(guest: int, asid: int, cr0: int, cpl: int, halted: int) -> str:
        parts = [f"guest, ASID {asid}"] if guest else ["host"]
        parts += [f"ring {cpl}", "paging" if cr0 >> 31 else "no paging"] + ["HLT"] * halted
        return ", ".join(parts)

    def left(valid: int, cause: int, code: int) -> str:
        return exit_name(-1 if code == _INVALID else code) if valid and cause == RetireCause.VMEXIT.value else ""

    def walk(guest: int, guest_directory: int, nested: int, nested_directory: int, address: int) -> str:
        if not guest and not nested:
            return ""
        level = "directory" if (nested_directory if nested else guest_directory) else "table"
        return f"{'nested ' if nested else ''}{level} entry at {address:08X}"

    causes = {cause.value: cause.name.lower() for cause in RetireCause}
    return [
        Text("text.instruction", ("core.x_valid", "core.x_eip"), instruction),
        Text("text.symbol", ("core.x_valid", "core.x_eip"),
             lambda valid, eip: machine.symbols.describe(eip) if valid else ""),
        Text("text.mode", ("core.guestmode.svm.guest", "core.guestmode.svm.loaded_asid", "core.sysregs.cr0",
                           "core.sysregs.cpl", "core.halted"), mode),
        Text("text.exit", ("core.retire__valid", "core.retire__cause", "core.retire__error"), left),
        Text("text.walk", (*(f"core.lsu.walker.{dimension}.{name}" for dimension in ("guest", "nested.walker")
                             for name in ("reference", "at_directory")), "core.lsu.walker.memory__addr"), walk),
        Text("text.retired", ("core.retire__valid", "core.retire__cause"),
             lambda valid, cause: causes.get(cause, "?") if valid else ""),
        enumeration("text.stop", "stop", {reason.value: reason.name.lower() for reason in StopReason}),
    ]


def write_waveform(machine: RtlMachine, path: Path | str, last: int, *, everything: bool = True,
                   engine: Engine | None = None) -> int:
    """Run to cycle ``last`` and write what happens on the way, with a ``.gtkw`` savefile beside the VCD file.

    Gives the cycle after the last one written: the run may end earlier. With ``everything``, all signals are written,
    otherwise those of the groups. Both files appear whole or not at all. ``engine`` is who records, if the machine does
    not run by itself.
    """
    engine = engine or machine.engine
    infos = engine.signals()
    groups = signal_groups(infos)
    grouped = list(dict.fromkeys(name for _title, members, _closed in groups for name in members))
    signals = list(dict.fromkeys([*grouped, *all_signals(engine)])) if everything else grouped
    path, first = Path(path), engine.cycle
    end = write_vcd(engine, path, signals, (first, last), texts=_texts(machine), cycle_ns=CYCLE_NS)
    widths = {info.name: info.width for info in infos}
    write_gtkw(path.with_suffix(".gtkw"), path.name,
               [Group("Now", (), _TEXTS), *(Group(title, members, (), closed) for title, members, closed in groups)],
               widths, start_ns=first * CYCLE_NS)
    return end
