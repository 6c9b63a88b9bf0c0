"""Waveforms from any engine: same names, same bytes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from vcd import VCDWriter

from sim.engines import Engine, EngineError, Kind

#: Cycles recorded at a time; bounds memory, changes nothing in the file.
_CHUNK = 4096


@dataclass(frozen=True)
class Text:
    """A string variable beside the signals: ``decode`` of the values of ``signals`` in the same cycle.

    ``name`` is a dotted path like a signal's, and must not be one.
    """

    name: str
    signals: tuple[str, ...]
    decode: Callable[..., str]


def enumeration(name: str, signal: str, names: Mapping[int, str]) -> Text:
    """A signal's value by name; a value without one is shown in hexadecimal."""
    return Text(name, (signal,), lambda value: names.get(value, f"{value:#x}"))


def all_signals(engine: Engine) -> list[str]:
    """Every signal under its own name, without aliases and memories."""
    return [info.name for info in engine.signals() if info.kind is not Kind.MEMORY and info.alias is None]


def write_vcd(engine: Engine, path: Path | str, signals: Sequence[str], window: tuple[int, int], *,
              texts: Sequence[Text] = (), cycle_ns: int = 10) -> int:
    """Run the engine to the end of ``window`` and write the signals' values in it; give the last cycle written + 1.

    1. The window is [from, to) in cycles; a cycle's values appear from ``cycle * cycle_ns`` on, the clock ``clk`` is
       high in its first half.
    2. The run ends early where the engine's does; the file then ends there.
    3. The file appears whole or not at all.

    Raises
    ------
    EngineError
        If the window is empty or begins before the engine's cycle.
    UnknownSignal
        If a name is not one of the engine's.
    """
    first, last = window
    if last <= first:
        raise EngineError(f"The window from cycle {first} to {last} is empty")
    if first < engine.cycle:
        raise EngineError(f"The window begins at cycle {first}, but the engine is already at {engine.cycle}")
    widths = _widths(engine, signals, texts)
    if first > engine.cycle:
        engine.run(first - engine.cycle)
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            end = engine.cycle
            if end == first:
                end = _write(engine, file, signals, widths, texts, last, cycle_ns)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return end


def _widths(engine: Engine, signals: Sequence[str], texts: Sequence[Text]) -> dict[str, int]:
    infos = {info.name: info for info in engine.signals()}
    widths = {}
    for name in [*signals, *(name for text in texts for name in text.signals)]:
        engine.peek(name)
        info = infos[name] if name in infos else infos[name.rpartition("[")[0]]
        widths[name] = info.width
    return widths


def _scope(name: str) -> tuple[str, str]:
    scope, _, leaf = name.rpartition(".")
    return f"top.{scope}" if scope else "top", leaf


def _write(engine: Engine, file: TextIO, signals: Sequence[str], widths: dict[str, int], texts: Sequence[Text],
           last: int, cycle_ns: int) -> int:
    first = engine.cycle
    with VCDWriter(file, timescale="1 ns", date="", version="Gigogne", init_timestamp=first * cycle_ns) as writer:
        clock = writer.register_var("top", "clk", "wire", size=1, init=1)
        variables = {name: writer.register_var(*_scope(name), "wire", size=widths[name], init=engine.peek(name))
                     for name in dict.fromkeys(signals)}
        strings = {text.name: writer.register_var(
            *_scope(text.name), "string", init=text.decode(*map(engine.peek, text.signals))) for text in texts}
        while engine.cycle < last:
            start = engine.cycle
            wanted = min(_CHUNK, last - start)
            values = engine.record(list(widths), wanted)
            done = engine.cycle - start
            events: list[list[tuple[Any, Any]]] = [[] for _ in range(done)]
            for name, variable in variables.items():
                for index in _changes(values[name]):
                    events[index].append((variable, int(values[name][index])))
            for text in texts:
                columns = [values[name] for name in text.signals]
                for index in sorted(set().union(*map(_changes, columns))):
                    shown = text.decode(*(int(column[index]) for column in columns))
                    events[index].append((strings[text.name], shown))
            for index, changed in enumerate(events):
                time = (start + index) * cycle_ns
                writer.change(clock, time, 1)
                for variable, value in changed:
                    writer.change(variable, time, value)
                writer.change(clock, time + cycle_ns // 2, 0)
            if done < wanted:
                break
        return engine.cycle


def _changes(column: np.ndarray) -> list[int]:
    """Indices at which a column differs from the row before; the first row always counts."""
    if not len(column):
        return []
    return [0, *(int(index) + 1 for index in np.flatnonzero(column[1:] != column[:-1]))]
