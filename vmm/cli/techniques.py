"""Who executes the guest, by the name of the technique. What only one of them needs is imported for that one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sim.machine import ConsoleSink

if TYPE_CHECKING:
    from sim.rtlmachine import RtlMachine
    from vmm.cli.emulated import Emulated

    Computer: TypeAlias = RtlMachine | Emulated

TECHNIQUES = ("native", "emulate", "dbt")


def make_computer(technique: str, *, engine: str, ram_bytes: int, console: ConsoleSink) -> Computer:
    """The computer for a technique of TECHNIQUES; ``engine`` is the simulation engine of ``native``.

    Raises
    ------
    EngineError
        The engine cannot be built here.
    """
    if technique == "native":
        from sim.rtlmachine import RtlMachine

        return RtlMachine(engine=engine, ram_bytes=ram_bytes, console=console)
    from vmm.cli.emulated import Emulated

    if technique == "emulate":
        return Emulated(ram_bytes=ram_bytes, console=console)
    from vmm.engine.dbt.translator import Translator

    return Emulated(ram_bytes=ram_bytes, console=console, processor=Translator)
