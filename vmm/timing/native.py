"""The dynamic part of the model as native code: which of its methods, and what stands for memory under them."""

from __future__ import annotations

from ctypes import Structure, c_uint8, c_uint32, c_uint64

from vmm.lowering.binding import Binding
from vmm.lowering.intrinsics import host_read
from vmm.lowering.program import lower

from .caches import Caches
from .record import TimingState

__all__ = ["METHODS", "TimingContext", "text"]


class TimingContext(Structure):
    """What native code of the model works on: the record, and RAM for the walks.

    The fields of a fault are there because native routines have them; the model raises none.
    """

    _fields_ = [
        ("state", TimingState), ("ram", c_uint64), ("ram_size", c_uint64),
        ("fault_vector", c_uint32), ("fault_error", c_uint32), ("fault_has_error", c_uint8), ("fault_cr2", c_uint32),
        ("fault_has_cr2", c_uint8),
    ]


class NativeTables:
    """Physical memory as far as page tables lie in RAM; elsewhere all ones, as on the bus."""

    ram: int
    ram_size: int

    def read32(self, address: int) -> int:
        if address + 4 > self.ram_size:
            return 0xFFFF_FFFF
        return host_read(self.ram + address, 4)


class NativeCaches(Caches):
    """The methods over native memory."""

    memory: NativeTables


#: What executors call; see `Branches`, `Caches` and `Tlbs`.
METHODS = ("conditional", "refetch", "call", "jump_back", "indirect", "data", "data_across", "fetch", "control",
           "load_directory", "invalidate", "write_back_all")


def text(context: type[Structure] = TimingContext, state: str = "state", ram: str = "ram",
         ram_size: str = "ram_size") -> str:
    """IR of all methods, each an entry point under the name ``timing_`` and its own.

    Parameters
    ----------
    context : the structure that native code works on. state, ram, ram_size : names in it of the `TimingState`, of the
        host address of RAM, and of its size.
    """
    binding = Binding(cls=NativeCaches, context=context, objects={"memory": NativeTables},
                      fields={"state": state, "memory.ram": ram, "memory.ram_size": ram_size})
    return lower({f"timing_{name}": name for name in METHODS}, binding)
