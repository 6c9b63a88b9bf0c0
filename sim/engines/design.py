"""What an engine is given: a synchronous design with its external memory, its stop condition and its taps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amaranth.hdl import Elaboratable, Signal


class DesignError(Exception):
    """A design that no engine can simulate; the message is one sentence naming what is wrong."""


@dataclass(frozen=True)
class Tap:
    """A stream of records leaving the design.

    1. In each cycle where ``valid`` is 1 before the clock edge and the tap is enabled, one record of all ``fields``,
       sampled before the same edge, is appended to the tap's host buffer.
    2. A record never gets lost: when the buffer is full, ``run()`` returns with ``Why.TAP_FULL`` after that cycle, and
       until the tap is drained it executes none and ``record()`` raises EngineError.

    Members
    -------
    name : name used by ``set_tap()`` and ``drain_tap()``; records are also known by it in saved traces.
    valid : one-bit signal.
    fields : ordered ``(name, signal)`` pairs, each at most 64 bits wide; the array returned by ``drain_tap()`` has
        one column per pair, of the smallest unsigned numpy type that holds the signal.
    """

    name: str
    valid: Signal
    fields: tuple[tuple[str, Signal], ...]


@dataclass(frozen=True)
class RamPort:
    """A synchronous port to memory contents that live on the host, not in the netlist.

    1. At each rising edge with ``en`` = 1, ``rdata`` becomes the word at ``addr`` as it was before the edge, then the
       bytes selected by ``we`` are written from ``wdata``.
    2. With ``en`` = 0, ``rdata`` keeps its value and nothing is written.
    3. An address past the end of the buffer reads all ones; a write there is dropped.

    Members
    -------
    en : one bit. addr : word index. we : byte mask, four bits. wdata : 32 bits, driven by the design.
    rdata : 32 bits, an input of the design.
    words : number of 32-bit words in the buffer made when none is given to ``build()``.
    """

    en: Signal
    addr: Signal
    we: Signal
    wdata: Signal
    rdata: Signal
    words: int = 1 << 18


@dataclass(frozen=True)
class SimDesign:
    """A design and the handles through which a simulation engine drives it.

    1. There is one clock domain, ``sync``; registers start at their ``init`` and the reset is never asserted.
    2. After a cycle in which ``stop`` was not zero before the edge, ``run()`` returns.
    3. ``inputs`` are undriven signals of the design that ``poke()`` may change; they are known by their key.

    Members
    -------
    top : the elaboratable all the signals of this description belong to.
    key : text that changes whenever the elaborated design could change (for example a digest of its sources and its
        configuration). With a key, a warm start does not elaborate the design at all. Without one, every build
        elaborates and the cache is keyed by the netlist.
    """

    top: Elaboratable
    ram: RamPort | None = None
    stop: Signal | None = None
    taps: tuple[Tap, ...] = ()
    inputs: Mapping[str, Signal] = field(default_factory=dict)
    key: str | None = None

    def __post_init__(self) -> None:
        from amaranth.hdl import Value

        names = [tap.name for tap in self.taps]
        for name in names:
            if names.count(name) > 1:
                raise DesignError(f"Tap name '{name}' is used twice; every tap needs a name of its own")
        for tap in self.taps:
            for name, signal in tap.fields:
                if len(Value.cast(signal)) > 64:
                    raise DesignError(
                        f"Field '{name}' of tap '{tap.name}' is {len(Value.cast(signal))} bits wide; at most 64 fit")
