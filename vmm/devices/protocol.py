"""What an emulated processor asks of the devices, whatever they are made of."""

from __future__ import annotations

from typing import Any, Protocol


class Platform(Protocol):
    """The devices of the computer on virtual time.

    1. Time moves only in `advance`; an access to a port or to memory takes place at the time that has come, and takes
       none. Memory is by physical address; where no device is, reads give ones.
    2. After `next_event` cycles without an access a device could first raise an interrupt: the answer may be early,
       never late. None says that no device will by itself. While `intr` is high the answer means nothing: the interrupt
       is taken first.
    3. `intr` and what `ack` gives are those of the present.
    4. `take_nmi` says whether a non-maskable interrupt has come since it was last asked, `take_init` whether an INIT
       has.
    5. `steady` is what a read of memory gives if that stays so until the next write and the read changes nothing; else
       None.
    6. `enable_apic` follows bit 11 of IA32_APIC_BASE, which is the processor's and no part of this state.
    7. The state is by the names of the hardware's registers, and any other platform loads it.

    Members
    -------
    cycles : time. intr : a maskable interrupt waits. a20, nmi_masked : lines.
    serial_out, debug_out : bytes the guest has sent; the owner clears them.
    exit_value : with what the guest has asked to stop, or None; rung : what it has written to the doorbell, or None;
        reset_requested : whether it has asked for a reset. The owner clears them.
    """

    exit_value: int | None
    rung: int | None
    reset_requested: bool

    @property
    def cycles(self) -> int: ...

    @property
    def serial_out(self) -> bytearray: ...

    @property
    def debug_out(self) -> bytearray: ...

    @property
    def intr(self) -> bool: ...

    @property
    def a20(self) -> bool: ...

    @property
    def nmi_masked(self) -> bool: ...

    def read(self, port: int, size: int) -> int: ...
    def write(self, port: int, size: int, value: int) -> None: ...
    def ack(self) -> int: ...
    def take_nmi(self) -> bool: ...
    def take_init(self) -> bool: ...
    def enable_apic(self, enabled: bool) -> None: ...
    def steady(self, address: int, size: int) -> int | None: ...
    def read_memory(self, address: int, size: int) -> int: ...
    def write_memory(self, address: int, size: int, value: int) -> None: ...
    def receive(self, byte: int) -> bool: ...
    def advance(self, cycles: int) -> None: ...
    def next_event(self) -> int | None: ...
    def save(self) -> dict[str, Any]: ...
    def load(self, state: dict[str, Any]) -> None: ...
