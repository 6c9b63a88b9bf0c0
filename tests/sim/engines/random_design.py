"""Random synchronous designs over everything Amaranth can say, for comparing engines."""

from __future__ import annotations

import random

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring

from sim.engines import SimDesign, Tap

_WIDTHS = (1, 1, 1, 2, 3, 4, 5, 7, 8, 8, 12, 16, 17, 24, 31, 32, 32, 33, 40, 63, 64, 65, 90, 128, 130)


class Child(wiring.Component):
    """A level of hierarchy with random logic over signals handed down by the parent."""

    def __init__(self, seed: int, sources: list[Signal], depth: int) -> None:
        super().__init__({})
        self.rng = random.Random(seed)
        self.pool: list[Value] = list(sources)
        self.depth = depth
        self.made: list[Signal] = []
        self.number = 0

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rng = self.rng
        registers = [self._signal(f"r{i}", rng.randrange(1 << 16)) for i in range(rng.randint(3, 10))]
        self.pool += registers
        self.made += registers
        for _ in range(rng.randint(1, 5)):
            self._wire(m)
        if rng.random() < 0.8:
            self._memory(m)
        if self.depth and rng.random() < 0.8:
            child = Child(rng.getrandbits(32), self._some(5), self.depth - 1)
            m.submodules.child = child
        for _ in range(rng.randint(1, 5)):
            self._wire(m)
        for index in range(0, len(registers), 3):
            self._statement(m, "sync", registers[index:index + 3], 2)
        return m

    def _some(self, count: int) -> list[Signal]:
        return self.rng.sample([value for value in self.pool if isinstance(value, Signal)], count)

    def _signal(self, name: str, init: int = 0) -> Signal:
        width = self.rng.choice(_WIDTHS)
        shape = signed(width) if self.rng.random() < 0.3 else unsigned(width)
        return Signal(shape, name=name, init=Const(init, shape).value)

    def _wire(self, m: Module) -> None:
        wires = [self._signal(f"w{self.number + i}", self.rng.randrange(9)) for i in range(self.rng.randint(1, 2))]
        self.number += len(wires)
        if self.rng.random() < 0.5:
            self._statement(m, "comb", wires, 2)
        else:
            for wire in wires:
                m.d.comb += wire.eq(self._value(2))
        self.pool += wires
        self.made += wires

    def _statement(self, m: Module, domain: str, targets: list[Signal], depth: int) -> None:
        rng = self.rng
        kind = rng.choice(("assign", "if", "switch", "both")) if depth else "assign"
        if kind in ("if", "both"):
            with m.If(self._value(1).bool()):
                self._statement(m, domain, targets, depth - 1)
            if rng.random() < 0.5:
                with m.Elif(self._value(1).bool()):
                    self._statement(m, domain, targets, depth - 1)
            if rng.random() < 0.5:
                with m.Else():
                    self._statement(m, domain, targets, depth - 1)
        if kind in ("switch", "both"):
            test = Signal(rng.randint(1, 6), name=f"s{self.number}")
            self.number += 1
            m.d.comb += test.eq(self._value(1))
            with m.Switch(test):
                for _ in range(rng.randint(1, 5)):
                    patterns = ["".join(rng.choice("01-") for _ in range(len(test))) for _ in range(rng.randint(1, 3))]
                    with m.Case(*patterns):
                        self._statement(m, domain, targets, depth - 1)
                if rng.random() < 0.5:
                    with m.Default():
                        self._statement(m, domain, targets, depth - 1)
        if kind == "assign":
            target = rng.choice(targets)
            if rng.random() < 0.25:
                low = rng.randrange(len(target))
                part: Value = target[low:rng.randint(low + 1, len(target))]
                m.d[domain] += part.eq(self._value(2))
            elif rng.random() < 0.1:
                m.d[domain] += target.bit_select(self._leaf()[:3], 2).eq(self._value(2))
            else:
                m.d[domain] += target.eq(self._value(2))

    def _leaf(self) -> Value:
        if self.rng.random() < 0.15:
            width = self.rng.choice(_WIDTHS)
            return Const(self.rng.getrandbits(width), width)
        return self.rng.choice(self.pool)

    def _value(self, depth: int) -> Value:
        value = self._expression(depth)
        return value if len(value) else Const(1, 1)

    def _expression(self, depth: int) -> Value:
        rng = self.rng
        if depth == 0 or rng.random() < 0.1:
            return self._leaf()
        a, b = self._value(depth - 1), self._value(depth - 1)
        kind = rng.randrange(24)
        if kind < 3:
            return (a & b, a | b, a ^ b)[kind]
        if kind < 6:
            return (a + b, a - b, (a * b)[:70])[kind - 3]
        if kind < 8:
            a, b = a[:40], b[:40]
            a = a.as_signed() if rng.random() < 0.5 else a
            b = b.as_signed() if rng.random() < 0.5 else b
            return a // b if kind == 6 else a % b
        if kind < 12:
            return rng.choice((a == b, a != b, a < b, a <= b, a > b, a >= b))
        if kind < 14:
            amount = b[:rng.randint(1, 4)] if rng.random() < 0.7 else b[:6]
            return (a << amount)[:130] if kind == 12 else a >> amount
        if kind == 14:
            return rng.choice((~a, -a, abs(a)))
        if kind == 15:
            return rng.choice((a.any(), a.all(), a.xor(), a.bool(), ~a | b))
        if kind == 16:
            return Cat(a[:40], b[:40])
        if kind == 17:
            return Mux(self._value(depth - 1), a, b)
        if kind == 18:
            low = rng.randrange(len(a))
            return a[low:rng.randint(low + 1, len(a))]
        if kind == 19:
            # Of a leaf: Amaranth 0.5.10's simulator shifts ones into a part of a complement, its netlist zeroes.
            return self._leaf().bit_select(b[:5], rng.randint(1, 9))
        if kind == 20:
            return self._leaf().word_select(b[:3], rng.randint(1, 9))
        if kind == 21:
            return Array([a, b, self._leaf(), self._leaf()])[self._leaf()[:2]]
        if kind == 22:
            return a.as_signed() if rng.random() < 0.5 else a.as_unsigned()
        return rng.choice((a[:50].replicate(2), a.rotate_left(3), a.shift_right(1), a.shift_left(2)[:130]))

    def _memory(self, m: Module) -> None:
        rng = self.rng
        width = rng.choice((1, 4, 8, 13, 32, 64, 80))
        depth = rng.choice((2, 4, 5, 16, 19))
        m.submodules.mem = mem = memory.Memory(
            shape=width, depth=depth, init=[rng.getrandbits(width) for _ in range(rng.randint(0, depth))])
        writes = []
        # Two ports never write one row in one cycle: nothing defines which of them wins.
        for index in range(rng.randint(0, 2)):
            granularity = rng.choice([None, None, *[g for g in (1, 4, 8, 16) if width % g == 0]])
            port = mem.write_port(granularity=granularity)
            writes.append(port)
            addr = self._leaf()[:8]
            m.d.comb += [port.addr.eq(Cat(index, addr) if depth > 2 else index), port.data.eq(self._leaf()),
                         port.en.eq(self._leaf())]
        for index in range(rng.randint(1, 3)):
            # An asynchronous read of a constant address is not tried: CXXRTL takes it for a constant.
            if rng.random() < 0.5:
                read = mem.read_port(domain="comb")
            else:
                through = [port for port in writes if rng.random() < 0.5]
                read = mem.read_port(transparent_for=through)
                m.d.comb += read.en.eq(self._leaf() if index else 1)
            m.d.comb += read.addr.eq(rng.choice(self.made[:3]))
            self.pool.append(read.data)


class RandomTop(wiring.Component):
    """Three inputs, a few children, a random output."""

    def __init__(self, seed: int) -> None:
        super().__init__({"x": wiring.In(32), "y": wiring.In(signed(9)), "z": wiring.In(1), "valid": wiring.Out(1),
                          "value": wiring.Out(32), "stop": wiring.Out(4)})
        self.rng = random.Random(seed)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sources: list[Signal] = [self.x, self.y, self.z]
        one = Child(self.rng.getrandbits(32), sources, 2)
        m.submodules.one = one
        state = Signal(16, init=1)
        m.d.sync += state.eq(state * 5 + self.x)
        two = Child(self.rng.getrandbits(32), [*sources, state, *one.made], 1)
        m.submodules.two = two
        m.d.comb += [self.valid.eq(state[3]), self.value.eq(self.x ^ state), self.stop.eq(state[4:10].all())]
        return m


def random_design(seed: int) -> SimDesign:
    """The design of a seed; two calls give two equal designs."""
    top = RandomTop(seed)
    return SimDesign(
        top=top, stop=top.stop, taps=(Tap("t", top.valid, (("value", top.value), ("z", top.z))),),
        inputs={"x": top.x, "y": top.y, "z": top.z})
