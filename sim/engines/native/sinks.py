"""The effects of a cycle besides registers and memories, and what every effect reads."""

from __future__ import annotations

from dataclasses import dataclass

from .netlist import Netlist, Sig
from .program import Do


@dataclass(frozen=True)
class TapSigs:
    """A tap in the netlist: whether the host listens, its valid bit, and the signals of its fields."""

    enabled: Sig
    valid: Sig
    fields: tuple[Sig, ...]


@dataclass(frozen=True)
class Sinks:
    """The netlist's other effects: taps, stop signal, and the RAM port (en, addr, we, wdata) with its rdata input."""

    taps: tuple[TapSigs, ...]
    stop: Sig | None
    ram: tuple[Sig, Sig, Sig, Sig] | None
    rdata: int = -1


def nodes_of(sigs: tuple[Sig, ...]) -> set[int]:
    """Nodes whose bits occur in the signals."""
    return {chunk.node for sig in sigs for chunk in sig if chunk.node >= 0}


def watched(sinks: Sinks) -> tuple[Sig, ...]:
    """The signals of taps, stop and RAM port."""
    sigs = [sig for tap in sinks.taps for sig in (tap.enabled, tap.valid, *tap.fields)]
    return (*sigs, *([] if sinks.stop is None else [sinks.stop]), *(sinks.ram or ()))


def sink_inputs(net: Netlist, sinks: Sinks) -> dict[Do, set[int]]:
    """Every effect of a cycle with the nodes it reads."""
    effects: dict[Do, set[int]] = {}
    if sinks.stop is not None:
        effects[Do("stop")] = nodes_of((sinks.stop,))
    for index, tap in enumerate(sinks.taps):
        effects[Do("tap", index)] = nodes_of((tap.enabled, tap.valid, *tap.fields))
    if sinks.ram is not None:
        effects[Do("ram")] = nodes_of(sinks.ram)
    for index, write in enumerate(net.writes):
        effects[Do("memory", index)] = nodes_of((write.addr, write.data, write.en))
    for index, register in enumerate(net.registers):
        effects[Do("register", index)] = nodes_of((register.d,) if register.en is None else (register.d, register.en))
    return effects
