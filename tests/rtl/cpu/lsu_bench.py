"""A load/store unit with its memory controller, driven cycle by cycle through the engine protocol."""

from __future__ import annotations

import numpy as np
from amaranth import Elaboratable, Module, Value
from amaranth.lib.wiring import connect

from rtl.bus.config import MemoryConfig
from rtl.bus.dram import MemoryController
from rtl.cpu.lsu import Lsu
from sim.engines import RamPort, SimDesign, build

LOAD, RMW, STORE = 1, 2, 3


class LsuTop(Elaboratable):
    """The unit and the controller; everything else is an input or an output of the bench."""

    def __init__(self, cache=None, mmu=None, latency=8):
        self.lsu = Lsu(cache, mmu)
        self.memory = MemoryController(MemoryConfig(latency))

    def elaborate(self, platform):
        m = Module()
        m.submodules.lsu = self.lsu
        m.submodules.memory = self.memory
        connect(m, self.lsu.mem, self.memory.bus)
        m.d.comb += self.memory.ram_size_words.eq(self.lsu.ram_size_words)
        return m


def _ports(component, skip, flow):
    for path, member, value in component.signature.flatten(component):
        if path[0] not in skip and member.flow.name == flow:
            yield "_".join(map(str, path)), Value.cast(value)


class LsuBench:
    """Pokes with the engine's `poke`, reads with `peek`, both by the port's name; advances with `tick`."""

    def __init__(self, engine="pysim", *, cache=None, mmu=None, latency=8, ram_words=1 << 18, cache_dir=None):
        top = LsuTop(cache, mmu, latency)
        ram = top.memory.ram
        inputs = dict(_ports(top.lsu, {"mem"}, "In"))
        inputs.update({f"mmio_{name}": getattr(top.memory.mmio, name) for name in ("ready", "rdata")})
        design = SimDesign(
            top=top,
            ram=RamPort(en=ram.en, addr=ram.addr, we=ram.we, wdata=ram.wdata, rdata=ram.rdata, words=ram_words),
            inputs=inputs,
        )
        self.engine = build(design, engine, cache_dir)
        self.poke = self.engine.poke
        self.poke("ram_size_words", ram_words)
        self._names = {name: f"lsu.{signal.name}" for name, signal in _ports(top.lsu, {"mem"}, "Out")}
        self._names.update({f"mmio_{name}": f"memory.mmio__{name}"
                            for name in ("valid", "addr", "write", "mask", "wdata")})
        self.cycle = 0

    @property
    def ram(self) -> np.ndarray:
        return self.engine.ram

    def peek(self, name: str) -> int:
        return self.engine.peek(self._names.get(name, name))

    def tick(self) -> None:
        self.engine.run(1)
        self.cycle += 1
