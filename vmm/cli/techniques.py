"""Who executes the guest, by the name of the technique. What only one of them needs is imported for that one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sim.machine import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtl.isa.devices import DeviceConfig
    from sim.rtlmachine import RtlMachine
    from vmm.cli.emulated import Emulated
    from vmm.cli.monitored import Monitored
    from vmm.devices.protocol import Platform
    from vmm.engine.dbt.diskcache import DiskCache
    from vmm.timing.machine import Timing

    Computer: TypeAlias = RtlMachine | Emulated | Monitored

TECHNIQUES = ("native", "emulate", "dbt", "svm")
DEVICES = ("software", "rtl")


def make_computer(technique: str, *, engine: str, ram_bytes: int, console: ConsoleSink,
                  devices: str | None = None, timing: Timing | None = None,
                  translations: DiskCache | None = None, exit_cost: int = 0) -> Computer:
    """The computer for a technique of TECHNIQUES; ``engine`` is the simulation engine of all of it that is RTL.

    ``devices`` is one of DEVICES; emulated processors have those of software if nothing is said, the RTL its own.
    ``timing`` is what an emulated processor estimates its cycles by, ``translations`` what `dbt` keeps from run to run
    without that, ``exit_cost`` the cycles the monitor of `svm` is said to take at each exit.

    Raises
    ------
    EngineError
        The engine cannot be built here.
    MachineError
        There is no computer with so much RAM.
    """
    if technique == "native":
        from sim.rtlmachine import RtlMachine

        return RtlMachine(engine=engine, ram_bytes=ram_bytes, console=console)
    if technique == "svm":
        from vmm.cli.monitored import Monitored

        return Monitored(engine=engine, ram_bytes=ram_bytes, console=console, exit_cost=exit_cost)
    from vmm.cli.emulated import Emulated
    from vmm.devices.platform import PcPlatform

    platform: Callable[[DeviceConfig], Platform] = PcPlatform
    if devices == "rtl":
        from sim.hybrid.platform import RtlPlatform

        platform = partial(RtlPlatform, engine=engine)
    if timing is not None:
        from vmm.cli.estimated import Estimated

        return Estimated(timing, ram_bytes=ram_bytes, console=console, platform=platform, translate=technique == "dbt")
    if technique == "emulate":
        return Emulated(ram_bytes=ram_bytes, console=console, platform=platform)
    from vmm.engine.dbt.translator import Translator

    return Emulated(ram_bytes=ram_bytes, console=console, processor=partial(Translator, cache=translations),
                    platform=platform)
