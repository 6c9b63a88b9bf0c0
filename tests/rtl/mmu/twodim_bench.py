"""The two-dimensional walker on a memory that answers at once or by chance, one walk at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth import Cat, Elaboratable, Module, Signal, Value

from rtl.mmu.control import PagingControl
from rtl.mmu.twodim import TwoDimensionalWalker
from rtl.mmu.walkport import Outcome, Translation
from sim.engines import RamPort, SimDesign, Tap, build

RAM_WORDS = 1 << 21
PULSES = ("cache_hit", "cache_miss", "nested_cache_hit", "nested_cache_miss", "nested_tlb_hit", "nested_tlb_miss")


class Top(Elaboratable):
    """The walker, RAM behind its memory port, and what the taps look at."""

    def __init__(self, config):
        self.walker = TwoDimensionalWalker(config)
        self.en, self.addr, self.we = Signal(), Signal(30), Signal(4)
        self.wdata, self.rdata = Signal(32), Signal(32)
        self.slow = Signal()
        self.done = Signal()
        self.taken = Signal()
        self.pulsed = Signal()
        self.reads = Signal(4)      # entries read: guest for d, for i, nested for d, for i

    def elaborate(self, platform):
        m = Module()
        m.submodules.walker = walker = self.walker
        memory = walker.memory
        chance = Signal(16, init=1)
        m.d.sync += chance.eq(Cat(chance[1:], chance[0] ^ chance[2] ^ chance[3] ^ chance[5]))
        answering = Signal()
        m.d.comb += [
            memory.ready.eq(~answering & memory.valid & (chance[0] | ~self.slow)),
            self.taken.eq(memory.ready),
            self.en.eq(self.taken),
            self.addr.eq(memory.addr[2:]),
            self.we.eq(memory.write.replicate(4) & memory.mask),
            self.wdata.eq(memory.wdata),
            memory.rdata.eq(self.rdata),
            memory.rvalid.eq(answering & (chance[1] | ~self.slow)),
            self.done.eq(walker.d.done | walker.i.done),
            self.pulsed.eq(Cat(getattr(walker, name) for name in PULSES).any()),
            self.reads.eq(Cat(walker.reference_d, walker.reference_i,
                              walker.nested_reference_d, walker.nested_reference_i)),
        ]
        with m.If(self.taken & ~memory.write):
            m.d.sync += answering.eq(1)
        with m.Elif(memory.rvalid):
            m.d.sync += answering.eq(0)
        return m


@dataclass(frozen=True)
class Answer:
    """What a walk gave: cycles, its outcome, and the traffic as ("guest" or "nested" or "write", address)."""

    cycles: int
    outcome: Outcome
    code: int
    gpa: int
    table: int
    translation: dict[str, int]
    traffic: list[tuple[str, int]]
    pulses: dict[str, int]


class TwoDimBench:
    """`walk` makes one walk to its end; `poke` sets what is not part of a walk."""

    def __init__(self, config, engine="native"):
        self.top = top = Top(config)
        walker = top.walker
        inputs = {"slow": top.slow, "control": Value.cast(walker.control)}
        inputs |= {f"{side}_{name}": getattr(getattr(walker, side), name)
                   for side in "di" for name in ("valid", "page", "write", "user")}
        inputs |= {name: getattr(walker.maintenance, name)
                   for name in ("inv_all", "inv_asid", "inv_nonglobal", "inv_page", "inv_linear")}
        inputs["asid"] = walker.maintenance.asid
        memory = walker.memory
        fields = ("outcome", "fault_code", "fault_gpa", "fault_table", "translation")
        self.engine = build(SimDesign(
            top=top, inputs=inputs, stop=top.done,
            ram=RamPort(en=top.en, addr=top.addr, we=top.we, wdata=top.wdata, rdata=top.rdata, words=RAM_WORDS),
            taps=[
                Tap("answer", top.done, tuple((f"{side}_{name}", Value.cast(getattr(getattr(walker, side), name)))
                                              for side in "di" for name in ("done", *fields))),
                Tap("traffic", top.taken, (("addr", memory.addr), ("write", memory.write), ("lock", memory.lock),
                                           ("reads", top.reads))),
                Tap("pulses", top.pulsed, tuple((name, getattr(walker, name)) for name in PULSES)),
            ]), engine)
        for name in ("answer", "traffic", "pulses"):
            self.engine.set_tap(name, True)
        self.poke = self.engine.poke

    @property
    def ram(self) -> np.ndarray:
        return self.engine.ram

    def control(self, **fields: int) -> None:
        self.poke("control", PagingControl.const(fields).as_value().value)

    def pulse(self, name: str, **payload: int) -> None:
        for key, value in payload.items():
            self.poke(key, value)
        self.poke(name, 1)
        self.engine.run(1)
        self.poke(name, 0)

    def walk(self, page: int, *, write: int = 0, user: int = 0, side: str = "d") -> Answer:
        for name, value in (("page", page), ("write", write), ("user", user), ("valid", 1)):
            self.poke(f"{side}_{name}", value)
        cycles = self.engine.run(2000).cycles
        self.poke(f"{side}_valid", 0)
        self.engine.run(1)
        answer, = self.engine.drain_tap("answer")
        assert answer[f"{side}_done"] and not answer[f"{'di'[side == 'd']}_done"]
        traffic = []
        for record in self.engine.drain_tap("traffic"):
            if record["write"]:
                traffic.append(("write", int(record["addr"])))
            elif record["lock"]:
                assert not record["reads"]
            else:
                kind = {1 << (side == "i"): "guest", 4 << (side == "i"): "nested"}[int(record["reads"])]
                traffic.append((kind, int(record["addr"])))
        pulses = self.engine.drain_tap("pulses")
        bits = Translation.from_bits(int(answer[f"{side}_translation"]))
        return Answer(
            cycles, Outcome(int(answer[f"{side}_outcome"])), *(int(answer[f"{side}_fault_{name}"])
                                                               for name in ("code", "gpa", "table")),
            {name: int(getattr(bits, name)) for name, _ in Translation.as_shape()}, traffic,
            {name: int(pulses[name].sum()) for name in PULSES})
