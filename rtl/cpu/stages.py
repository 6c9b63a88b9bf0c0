"""What the pipeline latches carry: each stage's fields in one table, its signals named by the stage letter."""

from amaranth.hdl import Signal

from .decode_rom import Check
from .events import AccessFault
from .uop import Alu, Aseg, Cond, FlagSet, Mem, Next, Reg, Size, Step, Sys

__all__ = ["ADDRESS", "CARRIED", "MEMORY", "RESULT", "Latch"]

#: Fields that a micro-operation keeps from A to X.
CARRIED = {
    # a and b are `Src`, whose first 32 values are `Reg`
    "alu": Alu, "a": 6, "a_high": 1, "b": 6, "b_high": 1,
    "dst": Reg, "dst_high": 1, "dst_size": Size, "size": Size, "flags": FlagSet,
    "sreg": Aseg, "sys": Sys, "const": 8, "imm": 32, "imm2": 16,
    "eip": 32, "length": 4, "first": 1, "event": 1,
    "next": Next, "cond": Cond, "alt": 12, "iteration": 1,
    "opcode": 4, "reg": 3, "rm": 3, "opsize16": 1, "adsize16": 1, "repeat": 2, "memory": 1,
    "taken": 1,         # predicted taken
    "counter": 2, "ras": 3,
    "check": Check, "intercept": 9,
    "uninterruptible": 1,
    "mem": Mem, "width": Size,
    "system_write": 1,  # writes a segment cache or a system register that A uses
    "df_write": 1,      # may write DF
}

#: Fields that end in A.
ADDRESS = {
    "base": Reg, "has_base": 1, "index": 3, "has_index": 1, "scale": 2, "disp": 32, "wrap16": 1,
    "aseg": Aseg, "step": Step, "step_reg": 3, "delta": 32, "supervisor": 1,
    "by_stack": 1,      # the offset wraps by the B bit of the segment
}

#: Fields that A adds for M and X.
MEMORY = {
    "linear": 32, "fault": AccessFault, "fault_seg": 1,
    "physical": 1,      # the access is not translated
    "step_en": 1, "step_reg": 3, "step_half": 1, "step_value": 32,
}

#: Fields that M adds for X.
RESULT = {
    "loaded": 32,
    "page_code": 5,     # of the page fault
    "nested": 1,        # it is of the nested tables: at which guest-physical address is in `linear`
    "table": 1,         # it is at an entry of the guest's tables
    "abandoned": 1,     # the access has not been made: an event goes first
}


class Latch:
    """The registers in front of one stage: ``valid`` and one signal per field, as attributes."""

    def __init__(self, letter: str, *tables: dict):
        self.valid = Signal(name=f"{letter}_valid")
        self.fields = {name: shape for table in tables for name, shape in table.items()}
        for name, shape in self.fields.items():
            setattr(self, name, Signal(shape, name=f"{letter}_{name}"))

    def load(self, source, *tables: dict):
        """Statements that copy the fields of `tables` from another latch."""
        return [getattr(self, name).eq(getattr(source, name)) for table in tables for name in table]
