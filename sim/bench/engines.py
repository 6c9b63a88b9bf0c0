"""Cycles per second of every engine and of Verilator on one design, in one run of one program.

Processor time of this process and its children is counted, so that a busy machine disturbs the figures less; each
figure is the best of several runs. Run ``python -m sim.bench.engines --help``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sim.engines import Engine, EngineError, SimDesign, build
from sim.engines.verilog import export_verilog

#: Prepares an engine at cycle 0: program in RAM, registers set.
Setup = Callable[[Engine], None]

_HARNESS = Path(__file__).with_name("verilator_harness.cc")


@dataclass(frozen=True)
class Timing:
    """``build`` seconds from an empty cache, ``cycles`` per run, ``rate`` in cycles per second of processor time."""

    engine: str
    build: float
    cycles: int
    rate: float


def time_engine(design: Callable[[], SimDesign], setup: Setup, name: str, cycles: int, repeat: int = 3) -> Timing:
    """Build in an empty cache, run ``cycles`` to warm up, then time ``repeat`` runs of ``cycles``."""
    with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as folder:
        before = time.perf_counter()
        engine = build(design(), name, folder)
        built = time.perf_counter() - before
        setup(engine)
        engine.run(cycles)
        rates = []
        for _ in range(repeat):
            start = time.process_time()
            ran = engine.run(cycles).cycles
            rates.append(ran / (time.process_time() - start))
    return Timing(name, built, cycles, max(rates))


def time_verilator(design: Callable[[], SimDesign], setup: Setup, cycles: int, repeat: int = 3) -> Timing:
    """Verilator -O3 with a bare C++ harness; the program and the registers come from an engine prepared by ``setup``.

    Raises
    ------
    EngineError
        If Verilator is not installed, or fails.
    """
    if shutil.which("verilator") is None:
        raise EngineError("Verilator is not installed (Debian: apt install verilator)")
    described = design()
    reference = build(described, "pysim")
    fresh = reference.save()
    setup(reference)
    state = reference.save()
    changed = {name: value for name, value in state["signals"].items() if value != fresh["signals"].get(name)}
    before = time.perf_counter()
    text = _with_initial_values(export_verilog(design()), changed)
    with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as folder:
        Path(folder, "design.v").write_text(text)
        Path(folder, "main.cc").write_text(_HARNESS.read_text())
        np.asarray(state["ram"], dtype=np.uint32).tofile(Path(folder, "ram.bin"))
        inputs = [f"t->port_in_{name} = {changed[name]}u;" for name in described.inputs if name in changed]
        Path(folder, "setup.inc").write_text("\n".join(inputs))
        command = ["verilator", "--cc", "--exe", "--build", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style",
                   "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-CFLAGS", "-O3 -march=native",
                   "--top-module", "top", "--prefix", "Vtop", "--Mdir", "obj", "design.v", "main.cc"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineError(f"Verilator failed: {done.stderr.strip().splitlines()[0]}")
        built = time.perf_counter() - before
        rates = []
        for _ in range(repeat):
            result = subprocess.run([str(Path(folder, "obj", "Vtop")), str(cycles), str(cycles)], cwd=folder,
                                    capture_output=True, text=True, check=True)
            rates.append(cycles / float(result.stdout))
    return Timing("verilator", built, cycles, max(rates))


def _with_initial_values(verilog: str, values: dict[str, int]) -> str:
    """Replace the initial values of registers, found by module and name; inputs are not registers and are skipped."""
    for name, value in values.items():
        *path, register = name.split(".")
        start = verilog.find(f"module \\{'.'.join(['top', 'top', *path])} ")
        place = verilog.find(f" {register} =", start)
        end = verilog.find(";", place)
        if start < 0 or place < 0 or "\n" in verilog[place:end]:
            continue
        width = value.bit_length() or 1
        verilog = f"{verilog[:place]} {register} = {width}'h{value:x}{verilog[end:]}"
    return verilog


def compare(design: Callable[[], SimDesign], setup: Setup, engines: list[str], cycles: int) -> list[Timing]:
    """Timings of ``engines``, among which "verilator" may be; pysim runs a thousandth of the cycles."""
    timings = []
    for name in engines:
        if name == "verilator":
            timings.append(time_verilator(design, setup, cycles))
        else:
            timings.append(time_engine(design, setup, name, max(cycles // 1000, 50) if name == "pysim" else cycles))
    return timings


def main() -> None:
    """Time the engines on the computer running a flat binary, and print JSON."""
    from sim.design import board_design

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("binary", type=Path, help="flat 32-bit program, loaded at 1 MiB and entered there")
    parser.add_argument("--engines", default="native,cxxrtl,verilator,pysim")
    parser.add_argument("--cycles", type=int, default=300_000)
    parser.add_argument("--entry", type=lambda text: int(text, 0), default=0x100000)
    options = parser.parse_args()
    program = options.binary.read_bytes()
    program += bytes(-len(program) % 4)

    def setup(engine: Engine) -> None:
        engine.ram = np.zeros(1 << 20, dtype=np.uint32)
        engine.ram[1 << 18:(1 << 18) + len(program) // 4] = np.frombuffer(program, dtype=np.uint32)
        engine.poke("ram_size_words", len(engine.ram))
        engine.poke("core.eip", options.entry)

    timings = compare(board_design, setup, options.engines.split(","), options.cycles)
    print(json.dumps([asdict(timing) for timing in timings], indent=2))


if __name__ == "__main__":
    main()
