"""Vectors through a combinational block on pysim: all inputs set at once, all outputs read at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from amaranth import Cat, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator


class Vectors:
    """Inputs and outputs of `dut` by the names of its members; a member that is an array or a structure is one number.

    An input that a vector leaves out keeps the value of the vector before.
    """

    def __init__(self, dut: wiring.Component):
        self.dut = dut
        self._values = {"In": {}, "Out": {}}
        for path, member, value in dut.signature.flatten(dut):
            self._values[member.flow.name].setdefault(str(path[0]), []).append(Value.cast(value))

    def run(self, vectors: Iterable[dict[str, int]]) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
        """Each vector with the outputs it gives."""
        inputs = {name: Cat(values) for name, values in self._values["In"].items()}
        outputs = {name: Cat(values) for name, values in self._values["Out"].items()}
        target, source = Cat(inputs.values()), Cat(outputs.values())
        answers = []

        async def bench(ctx):
            held = dict.fromkeys(inputs, 0)
            for vector in vectors:
                held |= vector
                packed = place = 0
                for name, value in inputs.items():
                    packed |= (int(held[name]) & (1 << len(value)) - 1) << place
                    place += len(value)
                ctx.set(target, packed)
                packed, answer = ctx.get(source), {}
                for name, value in outputs.items():
                    answer[name] = packed & (1 << len(value)) - 1
                    packed >>= len(value)
                answers.append((dict(vector), answer))

        sim = Simulator(self.dut)
        sim.add_testbench(bench)
        sim.run()
        return iter(answers)
