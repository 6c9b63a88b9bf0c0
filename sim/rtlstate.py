"""Architectural state of the RTL processor: which register of the netlist holds what."""

from __future__ import annotations

from typing import Any

from rtl.isa.apic import APIC_BASE_ENABLE
from rtl.isa.msrs import MSRS, Msr, PerfEvent
from rtl.isa.registers import EFLAGS_FIXED, Eflags

from .engines import Engine, Kind
from .rtlsvm import HOST, read_svm, write_svm
from .stop import ArchState

GPRS = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
_CS, _SS = 1, 2
_DB = 0x400
_FLAGS = {"cf": Eflags.CF, "pf": Eflags.PF, "af": Eflags.AF, "zf": Eflags.ZF, "sf": Eflags.SF, "of": Eflags.OF,
          "tf": Eflags.TF, "if": Eflags.IF, "df": Eflags.DF, "iopl": Eflags.IOPL, "nt": Eflags.NT, "rf": Eflags.RF,
          "ac": Eflags.AC, "id": Eflags.ID}
_SYSTEM = {"cpl": "cpl", "cr0": "cr0", "cr2": "cr2", "cr3": "cr3", "cr4": "cr4", "gdtr_base": "gdt_base",
           "gdtr_limit": "gdt_limit", "idtr_base": "idt_base", "idtr_limit": "idt_limit"}
_MSRS = {"0x174": "sysregs.sysenter_cs", "0x175": "sysregs.sysenter_esp", "0x176": "sysregs.sysenter_eip",
         "0xc0010114": "guestmode.svm.loaded_vm_cr", "0xc0010117": "guestmode.svm.loaded_hsave"}
#: EFER has one bit.
_EFER, _SVME = "0xc0000080", 12
#: IA32_APIC_BASE, which is in a state only when it is not as after reset.
_APIC_BASE, _APIC_DISABLED = "0x1b", MSRS[Msr.APIC_BASE].reset & ~APIC_BASE_ENABLE
#: Where events wait for the end of an instruction.
_BOUNDARY = "core.exceptions.boundary"
_EDGES = ("nmi_pending", "nmi_blocked", "init_pending")
_DR = {**{index: f"dr__{index}" for index in range(4)}, 6: "dr6", 7: "dr7"}
_SHADOW_STI, _SHADOW_MOV_SS = 1, 2
M64 = (1 << 64) - 1
#: Where the devices are in the netlist; those of the ISA bus go by their names below it.
_ISA, _DEVICES = "isa.", ("isa.", "apics.")


def read_state(engine: Engine) -> ArchState:
    """The state after the last completed instruction, as the registers of the netlist hold it now.

    Precise when no micro-operation of an instruction that has not completed has committed.
    """
    peek = engine.peek
    eflags = EFLAGS_FIXED
    for name, mask in _FLAGS.items():
        bit = int(mask) & -int(mask)
        eflags |= peek(f"core.sysregs.eflags_{name}") * bit
    state: ArchState = {name: peek(f"core.sysregs.{register}") for name, register in _SYSTEM.items()}
    shadow = (_SHADOW_MOV_SS if peek(f"{_BOUNDARY}.shadow_stack") else
              _SHADOW_STI if peek(f"{_BOUNDARY}.shadow") else 0)
    state |= {
        "eip": peek("core.eip"),
        "eflags": eflags,
        "gpr": [peek(f"core.regs.{name}") for name in GPRS],
        "segments": {name: {field: peek(f"core.segments.{memory}[{row}]") for field, memory in (
            ("selector", "selector"), ("base", "base"), ("limit", "limit"), ("attributes", "attributes"))}
            for row, name in enumerate(SEGMENTS)},
        "dr": [peek(f"core.sysregs.{_DR[index]}") if index in _DR else 0 for index in range(8)],
        "msrs": {number: value for number, register in _MSRS.items() if (value := peek(f"core.{register}"))},
        "instructions": peek("core.perf.instructions"),
        "tsc_offset": (peek("core.sysregs.tsc") - engine.cycle) & M64,
        "shadow": shadow,
        "pending_debug": peek(f"{_BOUNDARY}.trap_bits") if peek(f"{_BOUNDARY}.trap_pending") else 0,
        "repeating": bool(peek("core.retirement.partial")),
        "halted": bool(peek("core.halted")),
        "shutdown": bool(peek("shutdown")),
    }
    if peek("core.guestmode.svm.svme"):
        state["msrs"][_EFER] = 1 << _SVME
    if not peek("core.sysregs.apic_enable"):
        state["msrs"][_APIC_BASE] = _APIC_DISABLED
    state |= {name: True for name in _EDGES if peek(f"{_BOUNDARY}.{name}")}
    svm = read_svm(engine)
    if svm != HOST:
        state["svm"] = svm
    return state


def write_state(engine: Engine, state: ArchState) -> None:
    """Give a processor that has not yet run a cycle the state, so that it goes on from there."""
    poke = engine.poke
    for name, register in _SYSTEM.items():
        poke(f"core.sysregs.{register}", state[name])
    poke("core.eip", state["eip"])
    for name, mask in _FLAGS.items():
        bit = int(mask) & -int(mask)
        poke(f"core.sysregs.eflags_{name}", (state["eflags"] & int(mask)) // bit)
    for name, value in zip(GPRS, state["gpr"], strict=True):
        poke(f"core.regs.{name}", value)
    for row, name in enumerate(SEGMENTS):
        for field, value in state["segments"][name].items():
            poke(f"core.segments.{field}[{row}]", value)
    code, stack = state["segments"]["cs"], state["segments"]["ss"]
    poke("core.segments.cs_base", code["base"])
    poke("core.segments.cs_limit", code["limit"])
    poke("core.segments.cs_32", int(bool(code["attributes"] & _DB)))
    poke("core.segments.ss_32", int(bool(stack["attributes"] & _DB)))
    for index, register in _DR.items():
        poke(f"core.sysregs.{register}", state["dr"][index])
    for number, register in _MSRS.items():
        poke(f"core.{register}", state["msrs"].get(number, 0))
    poke("core.guestmode.svm.svme", state["msrs"].get(_EFER, 0) >> _SVME)
    poke("core.sysregs.apic_enable", int(_APIC_BASE not in state["msrs"] or bool(
        state["msrs"][_APIC_BASE] & APIC_BASE_ENABLE)))
    for name in _EDGES:
        poke(f"{_BOUNDARY}.{name}", int(state.get(name, False)))
    write_svm(engine, state.get("svm", HOST))
    poke("core.perf.instructions", state["instructions"])
    poke("core.sysregs.tsc", (state["tsc_offset"] + engine.cycle) & M64)
    poke(f"{_BOUNDARY}.shadow", int(state["shadow"] != 0))
    poke(f"{_BOUNDARY}.shadow_stack", int(state["shadow"] == _SHADOW_MOV_SS))
    poke(f"{_BOUNDARY}.trap_bits", state["pending_debug"])
    poke(f"{_BOUNDARY}.trap_pending", int(state["pending_debug"] != 0))
    poke(f"{_BOUNDARY}.held", state["pending_debug"] & 0xF if state["shadow"] == _SHADOW_MOV_SS else 0)
    poke("core.retirement.partial", int(state["repeating"]))
    poke("core.halted", int(state["halted"]))
    poke("shutdown", int(state["shutdown"]))


def read_devices(engine: Engine) -> dict[str, Any]:
    """Registers and memories of the devices by their names; a memory is a list."""
    values: dict[str, Any] = {}
    for info in engine.signals():
        if info.alias is None and info.name.startswith(_DEVICES):
            name = info.name.removeprefix(_ISA)
            if info.kind is Kind.MEMORY:
                values[name] = engine.rows(info.name).tolist()
            elif info.kind is Kind.REGISTER:
                values[name] = engine.peek(info.name)
    # Dividers that are 1 have no register.
    return {"uart_left": 0, "pit_left": 0} | values | {"cycles": engine.cycle}


def write_devices(engine: Engine, values: dict[str, Any]) -> None:
    """Take over what `read_devices`, or the software devices, gave."""
    for info in engine.signals():
        value = values.get(info.name.removeprefix(_ISA)) if info.name.startswith(_DEVICES) else None
        if value is None or info.alias is not None:
            continue
        if info.kind is Kind.MEMORY:
            for row, entry in enumerate(value):
                engine.poke(f"{info.name}[{row}]", entry)
        elif info.kind is Kind.REGISTER:
            engine.poke(info.name, int(value))


def read_counters(engine: Engine) -> dict[str, int]:
    """Performance counters by the name of their event."""
    return {event.name.lower(): engine.peek(f"core.perf.{event.name.lower()}") for event in PerfEvent}
