"""Why a machine stopped, and how the processor stood then."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from rtl.isa.registers import Cr0, Cr4, Eflags

from .disassembly import disassemble

#: Architectural state as a JSON-able dictionary, the shape in which every machine gives and takes it.
ArchState = dict[str, Any]
#: D/B in the attributes of a code segment.
_DB = 0x400


class Reason(enum.Enum):
    """Why a machine stopped; the value is the phrase of messages."""

    GUEST_EXIT = "guest exit"
    TRIPLE_FAULT = "triple fault"
    HALT_FOREVER = "HLT with interrupts off"
    RESET = "reset requested by the guest"
    DOORBELL = "doorbell of the monitor"
    CYCLE_LIMIT = "cycle limit reached"
    INSTRUCTION_LIMIT = "instruction limit reached"
    BREAKPOINT = "breakpoint"
    USER_INTERRUPT = "interrupted by the user"
    UNSUPPORTED = "unsupported feature"


def place_of(reason: Reason, state: ArchState) -> int:
    """`Stop.place`. The last byte of a HLT with any prefixes is its opcode."""
    return int(state["eip"]) - (reason is Reason.HALT_FOREVER) & 0xFFFF_FFFF


@dataclass(frozen=True)
class Stop:
    """A typed stop.

    Members
    -------
    reason : why. value : what the guest wrote to the exit port, for GUEST_EXIT.
    cycle, instructions : counts since the start.
    state : architectural state after the last completed instruction.
    symbol, code : name and bytes of `place`; empty when unknown.
    detail : a sentence that goes with UNSUPPORTED.
    """

    reason: Reason
    cycle: int
    instructions: int
    state: ArchState
    value: int | None = None
    symbol: str = ""
    code: bytes = b""
    detail: str = ""

    @property
    def eip(self) -> int:
        return int(self.state["eip"])

    @property
    def place(self) -> int:
        """Address of the instruction a person wants to see: the next one, or the HLT that nothing ends."""
        return place_of(self.reason, self.state)

    @property
    def disassembly(self) -> str:
        """The instruction at `place`; empty when it is unknown."""
        big = bool(self.state["segments"]["cs"]["attributes"] & _DB)
        return disassemble(self.code, self.place, big)[0] if self.code else ""

    def describe(self) -> str:
        """Headline, place and registers, as a person wants them in a terminal."""
        place = f" at {self.place:08X}" + (f" <{self.symbol}>" if self.symbol else "")
        if self.code:
            place += f": {self.disassembly}"
        detail = f" ({self.detail})" if self.detail else ""
        return (f"{self.reason.value}{detail}{place}, cycle {self.cycle}, {self.instructions} instructions\n"
                f"{register_dump(self.state)}")


_FLAG_LETTERS = ("CF", "PF", "AF", "ZF", "SF", "TF", "IF", "DF", "OF", "NT", "RF", "AC", "ID")
#: Numbers of the general registers in the lines of a dump.
GPR_ROWS = ((0, 3, 1, 2), (6, 7, 5, 4))
_GPR_NAMES = ("EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI")


def flag_text(eflags: int) -> str:
    """The flags that are set, by name."""
    names = [name for name in _FLAG_LETTERS if eflags & int(Eflags[name])]
    iopl = eflags >> 12 & 3
    return " ".join(names + ([f"IOPL={iopl}"] if iopl else []))


def register_dump(state: ArchState) -> str:
    """Registers in the layout of QEMU's `info registers`."""
    gpr = state["gpr"]
    lines = []
    for row in GPR_ROWS:
        lines.append(" ".join(f"{_GPR_NAMES[index]}={gpr[index]:08X}" for index in row))
    lines.append(f"EIP={state['eip']:08X} EFL={state['eflags']:08X} [{flag_text(state['eflags'])}] "
                 f"CPL={state['cpl']} HLT={int(state['halted'])}")
    for name, segment in state["segments"].items():
        lines.append(f"{name.upper():<4} {segment['selector']:04X} base {segment['base']:08X} "
                     f"limit {segment['limit']:08X} attributes {segment['attributes']:03X}")
    lines.append(f"GDTR base {state['gdtr_base']:08X} limit {state['gdtr_limit']:04X}   "
                 f"IDTR base {state['idtr_base']:08X} limit {state['idtr_limit']:04X}")
    bits = [bit.name for bit in Cr0 if state["cr0"] & bit] + [bit.name for bit in Cr4 if state["cr4"] & bit]
    lines.append(f"CR0={state['cr0']:08X} CR2={state['cr2']:08X} CR3={state['cr3']:08X} CR4={state['cr4']:08X} "
                 f"[{' '.join(name for name in bits if name)}]")
    return "\n".join(lines)
