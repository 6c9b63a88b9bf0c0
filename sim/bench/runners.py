"""The engines and Verilator behind one face for timing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from sim.design import RETIRE, board_design
from sim.engines import Engine, EngineError, State, build
from sim.engines.verilog import export_verilog

_HARNESS = Path(__file__).with_name("verilator_harness.cc")
_FNV_START, _FNV_PRIME, _M64 = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1
#: What a digest covers of each retirement; the harness of Verilator does the same.
_DIGESTED = ("cycle", "eip", "eax")


class Mismatch(EngineError):
    """A peer did not execute what the native engine executed, so its speed says nothing."""


class Runner(Protocol):
    """A simulation of the computer that can be timed.

    Members
    -------
    build_seconds : wall time of building it with nothing cached.
    """

    name: str
    build_seconds: float

    def digest(self, cycles: int) -> int:
        """Run ``cycles``; a digest of cycle, EIP and EAX of everything retired in them."""

    def seconds(self, cycles: int) -> float:
        """Run ``cycles``; processor time they took, so that a busy machine disturbs it less."""

    def close(self) -> None:
        """Give back what it holds."""


class EngineRunner:
    """One of our engines."""

    def __init__(self, name: str, engine: Engine, build_seconds: float = 0.0) -> None:
        self.name = name
        self.engine = engine
        self.build_seconds = build_seconds

    @classmethod
    def built(cls, name: str, state: State, compiler: str | None = None) -> EngineRunner:
        """Build the engine in an empty cache and start it from ``state``.

        Raises
        ------
        EngineError
            If ``compiler`` is not installed, or the engine cannot be built.
        """
        before = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as folder, _environment(compiler):
            engine = build(board_design(), name, folder, state["ram"].copy())
        runner = cls(name, engine, time.perf_counter() - before)
        engine.load(state)
        return runner

    def digest(self, cycles: int) -> int:
        self.engine.set_tap(RETIRE, True)
        self.engine.run(cycles)
        self.engine.set_tap(RETIRE, False)
        return digest_of(self.engine.drain_tap(RETIRE))

    def seconds(self, cycles: int) -> float:
        before = time.process_time()
        ran = self.engine.run(cycles)
        taken = time.process_time() - before
        if ran.cycles != cycles:
            raise EngineError(f"{self.name} ran {ran.cycles} of {cycles} cycles and stopped: {ran.why.value}")
        return taken

    def close(self) -> None:
        pass


@contextmanager
def _environment(compiler: str | None) -> Iterator[None]:
    """CXXRTL takes its compiler and flags from the environment."""
    if compiler is None:
        yield
        return
    if shutil.which(compiler) is None:
        raise EngineError(f"{compiler} is not installed")
    own = {"CXX": compiler, "GIGOGNE_CXXFLAGS": "-O3"}
    old = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def digest_of(records: np.ndarray) -> int:
    """FNV-1a over whole fields instead of bytes."""
    value = _FNV_START
    for row in zip(*(records[name].tolist() for name in _DIGESTED), strict=True):
        for field in row:
            value = (value ^ field) * _FNV_PRIME & _M64
    return value


class VerilatorRunner:
    """Verilator -O3 on our exported Verilog, with a bare C++ loop around it.

    Parameters
    ----------
    fresh, state : the computer before and after the image was loaded; what differs becomes initial values.
    compiler : of what Verilator writes.

    Raises
    ------
    EngineError
        If Verilator or the compiler is not installed, or fails.
    """

    name = "verilator"

    def __init__(self, fresh: State, state: State, compiler: str) -> None:
        for tool in ("verilator", compiler):
            if shutil.which(tool) is None:
                raise EngineError(f"{tool} is not installed")
        self._folder = tempfile.TemporaryDirectory(prefix="gigogne-bench-")
        folder = Path(self._folder.name)
        before = time.perf_counter()
        try:
            self._compile(folder, fresh, state, compiler)
        except BaseException:
            self._folder.cleanup()
            raise
        self.build_seconds = time.perf_counter() - before
        np.asarray(state["ram"], dtype=np.uint32).tofile(folder / "ram.bin")
        self._process = subprocess.Popen([str(folder / "obj" / "Vtop")], cwd=folder, text=True, bufsize=1,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @staticmethod
    def _compile(folder: Path, fresh: State, state: State, compiler: str) -> None:
        design = board_design()
        registers = {name: value for name, value in state["signals"].items()
                     if name not in design.inputs and value != fresh["signals"][name]}
        (folder / "design.v").write_text(with_initial_values(export_verilog(design), registers))
        (folder / "main.cc").write_text(_HARNESS.read_text())
        (folder / "setup.inc").write_text("".join(
            f"t->port_in_{name} = {state['signals'][name]}u;\n" for name in design.inputs if name in state["signals"]))
        # Verilator's makefile puts its own -Os after everything -CFLAGS gives.
        flags = " ".join(f"{name}='-O3 -march=native'" for name in ("OPT_FAST", "OPT_SLOW", "OPT_GLOBAL"))
        command = ["verilator", "--cc", "--exe", "--build", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style",
                   "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-MAKEFLAGS", f"CXX={compiler} {flags}",
                   "--top-module", "top", "--prefix", "Vtop", "--Mdir", "obj", "design.v", "main.cc"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "rror" in line] or ["no message"]
            raise EngineError(f"Verilator failed: {lines[0]}")

    def _ask(self, command: str, cycles: int) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{command} {cycles}\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise EngineError(f"the simulation by Verilator ended with status {self._process.wait()}")
        return answer

    def digest(self, cycles: int) -> int:
        return int(self._ask("digest", cycles), 16)

    def seconds(self, cycles: int) -> float:
        return float(self._ask("time", cycles))

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._folder.cleanup()


def with_initial_values(verilog: str, values: dict[str, int]) -> str:
    """The text with other initial values of registers, found by module and name, through assignments if need be.

    Raises
    ------
    EngineError
        If a register has no initial value in the text.
    """
    for name, value in values.items():
        path, _dot, register = name.rpartition(".")
        module = ".".join(["top", "top", *filter(None, path.split("."))])
        start = max(verilog.find(f"module \\{module} "), 0)
        end = verilog.find("\nendmodule", start)
        found = None
        while found is None:
            found = re.compile(rf"^ *reg (?:\[.*\] )?{re.escape(register)} = (.*);$", re.M).search(verilog, start, end)
            alias = re.compile(rf"^ *assign {re.escape(register)} = (\w+);$", re.M).search(verilog, start, end)
            if found is None and alias is None:
                raise EngineError(f"Register '{name}' has no initial value in the Verilog text")
            register = alias[1] if alias is not None else register
        verilog = f"{verilog[:found.start(1)]}{value.bit_length() or 1}'h{value:x}{verilog[found.end(1):]}"
    return verilog
