"""Elaboration of a ``SimDesign`` and the one list of names all engines use."""

from __future__ import annotations

import re
from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Fragment, Instance, MemoryInstance, Module, Shape, Signal, Value
from amaranth.hdl._ast import SignalDict
from amaranth.hdl._ir import Design, PortDirection

from .base import Kind, SignalInfo
from .design import DesignError, SimDesign

#: Names of the ports through which the netlist meets the engine; a colon cannot occur in a signal's name.
CLOCK = "clk"
STOP = "sim:stop"
RAM_FIELDS = ("en", "addr", "we", "wdata")
RDATA = "ram:rdata"
RDATA_NAME = "ram.rdata"
_TOP = "top"


def ram_port(field: str) -> str:
    """Port that carries a field of the RAM port."""
    return f"ram:{field}"


def input_port(name: str) -> str:
    """Port that carries a pokeable input."""
    return f"in:{name}"


def tap_port(tap: str, field: str | None) -> str:
    """Port that carries a tap's field, or its ``valid`` for ``None``."""
    return f"tap:{tap}" if field is None else f"tap:{tap}:{field}"


class _Harness(Elaboratable):
    """The design under a clock domain whose reset is tied low: registers start at their initial values."""

    def __init__(self, top: Elaboratable) -> None:
        self.domain = ClockDomain("sync")
        self.top = top

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = self.domain
        m.d.comb += self.domain.rst.eq(0)
        m.submodules[_TOP] = self.top
        return m


@dataclass(frozen=True)
class Elaborated:
    """A design ready for simulation or conversion.

    Members
    -------
    design : Amaranth's prepared design. clk : the signal of its only clock.
    infos : every visible name, sorted. signals, memories : what a name stands for (a memory's data object).
    ports : netlist port name -> signal, for everything the engine drives or samples.
    """

    design: Design
    clk: Signal
    infos: tuple[SignalInfo, ...]
    signals: dict[str, Signal]
    memories: dict[str, MemoryInstance]
    ports: dict[str, Signal]

    def rtlil(self, *, keep: bool) -> str:
        """RTLIL text; with ``keep``, every named wire survives optimisation, otherwise only registers do."""
        text, _names = rtlil.convert_fragment(self.design, emit_src=False)
        text = _signed_shifts(text)
        return _keep_all(text) if keep else text


def _signed_shifts(text: str) -> str:
    # Yosys fills a $shift of a signed operand by a constant with zeroes instead of the sign; $sshr means the same here.
    return re.sub(r"cell \$shift (\S+)\n    parameter \\A_SIGNED 1", r"cell $sshr \1\n    parameter \\A_SIGNED 1", text)


def _keep_all(text: str) -> str:
    return re.sub(r"^(  (?:wire|memory) [^\n]*\\[^\n]*)$", r"  attribute \\keep 1\n\1", text, flags=re.M)


def elaborate(sim_design: SimDesign) -> Elaborated:
    """Elaborate ``sim_design`` and collect its names.

    Raises
    ------
    DesignError
        If the design uses a clock domain other than ``sync``, or contains a foreign instance.
    """
    harness = _Harness(sim_design.top)
    ports = _port_signals(sim_design)
    inputs = {RDATA, *(input_port(name) for name in sim_design.inputs)}
    fragment = Fragment.get(harness, None)
    design = fragment.prepare(
        ports={
            CLOCK: (harness.domain.clk, PortDirection.Input),
            **{
                name: (signal, PortDirection.Input if name in inputs else PortDirection.Output)
                for name, signal in ports.items()
            },
        },
        hierarchy=(_TOP,),
        missing_domain=_reject_domain,
    )
    signals: dict[str, Signal] = {}
    memories: dict[str, MemoryInstance] = {}
    kinds = SignalDict()
    owners = SignalDict()
    for signal in sim_design.inputs.values():
        kinds[signal] = Kind.INPUT
    for name, signal in sim_design.inputs.items():
        signals[name] = signal
        owners[signal] = name
    if sim_design.ram is not None:
        kinds[sim_design.ram.rdata] = Kind.INPUT
        signals[RDATA_NAME] = sim_design.ram.rdata
        owners[sim_design.ram.rdata] = RDATA_NAME
    for fragment, info in design.fragments.items():
        path = info.name[2:]
        if isinstance(fragment, MemoryInstance):
            memories[".".join(path)] = fragment
            names = design.fragments[info.parent].signal_names
            for port in fragment._read_ports:
                for signal in port._data._rhs_signals():
                    if signal in names:
                        owners[signal] = ".".join((*path[:-1], names[signal]))
                    if port._domain != "comb":
                        kinds[signal] = Kind.REGISTER
            continue
        if isinstance(fragment, Instance):
            raise DesignError(
                f"Instance '{fragment.type}' at {'.'.join(path)} is foreign; only Amaranth code is simulated")
        if len(info.name) == 1:
            continue
        for domain, statements in fragment.statements.items():
            for signal in statements._lhs_signals():
                if signal in info.signal_names:  # the signals of `fsm.ongoing()` have no name
                    owners[signal] = ".".join((*path, info.signal_names[signal]))
                if domain != "comb":
                    kinds[signal] = Kind.REGISTER
        for signal, name in info.signal_names.items():
            if signal is not harness.domain.clk and signal is not harness.domain.rst and len(signal):
                signals.setdefault(".".join((*path, name)), signal)
    for name, signal in signals.items():
        if signal not in owners:
            owners[signal] = name
    infos = [
        SignalInfo(name, len(signal), kinds.get(signal, Kind.WIRE),
                   alias=None if owners[signal] == name else owners[signal])
        for name, signal in signals.items()
    ]
    infos += [
        SignalInfo(name, Shape.cast(memory._data.shape).width, Kind.MEMORY, memory._data.depth)
        for name, memory in memories.items()
    ]
    infos.sort(key=lambda info: info.name)
    return Elaborated(design, harness.domain.clk, tuple(infos), signals, memories, ports)


def _reject_domain(name: str) -> None:
    raise DesignError(f"Clock domain '{name}' is used, but a simulated design has the one domain 'sync'")


def _port_signals(sim_design: SimDesign) -> dict[str, Signal]:
    ports: dict[str, Signal] = {}
    if sim_design.stop is not None:
        ports[STOP] = _signal(sim_design.stop)
    if sim_design.ram is not None:
        for name in (*RAM_FIELDS, "rdata"):
            ports[ram_port(name)] = _signal(getattr(sim_design.ram, name))
    for tap in sim_design.taps:
        ports[tap_port(tap.name, None)] = _signal(tap.valid)
        for name, signal in tap.fields:
            ports[tap_port(tap.name, name)] = _signal(signal)
    for name, signal in sim_design.inputs.items():
        ports[input_port(name)] = _signal(signal)
    return ports


def _signal(value: object) -> Signal:
    cast = Value.cast(value)  # type: ignore[arg-type]
    if not isinstance(cast, Signal):
        raise DesignError(f"{value!r} is not a signal; give taps, the RAM port and inputs plain signals")
    return cast
