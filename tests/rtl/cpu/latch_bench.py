"""Parts of stages on pysim: their members and the latches they read, set at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from amaranth import Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl.cpu.stages import Latch

Vector = dict[str, int]


def answers(dut: wiring.Component, latches: dict[str, Latch], vectors: Iterable[Vector],
            outputs: Iterable[str], *, clocked: bool = False) -> Iterator[tuple[Vector, Vector]]:
    """Each vector with what it makes of `outputs`, after a clock edge if `clocked`.

    "x.valid" is a field of the latch named x, a name without a point a member. What a vector leaves out is 0.
    """
    vectors, outputs, results = list(vectors), list(outputs), []

    def signal(name: str) -> Value:
        latch, _, field = name.rpartition(".")
        return Value.cast(getattr(latches[latch] if latch else dut, field))

    async def bench(ctx):
        for vector in vectors:
            for name, value in vector.items():
                ctx.set(signal(name), int(value))
            if clocked:
                await ctx.tick()
            results.append((vector, {name: ctx.get(signal(name)) for name in outputs}))
            for name in vector:
                ctx.set(signal(name), 0)

    sim = Simulator(dut)
    if clocked:
        sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return iter(results)
