"""What is taken between instructions, and what a load of SS does to it (SDM vol. 3A, 6.8.3)."""

import random
from dataclasses import dataclass

import pytest

from rtl.cpu.boundary import Boundary, Source
from rtl.cpu.events import Kind
from rtl.isa.exceptions import Vector
from rtl.isa.registers import Dr6
from tests.rtl.simulation import simulate


class _Bench:
    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut

    async def cycle(self, **pulses):
        for name, value in pulses.items():
            self.ctx.set(getattr(self.dut, name), value)
        await self.ctx.tick()
        for name in pulses:
            self.ctx.set(getattr(self.dut, name), 0)

    def get(self, name):
        return int(self.ctx.get(getattr(self.dut, name)))


def _simulate(body):
    dut = Boundary()

    async def testbench(ctx):
        await body(_Bench(ctx, dut))

    simulate(dut, testbench)


def test_an_iret_that_is_undone_leaves_nmis_as_they_were():
    async def body(b):
        for blocked in (0, 1):
            await b.cycle(nmi_unblock=1)
            await b.cycle(nmi_as_before=1)
            await b.cycle(nmi=1)
            assert b.get("any_event") != blocked
            await b.cycle(take=1, take_event=1)
        await b.cycle(nmi_unblock=1)
        assert b.get("any_event"), "it has waited"
    _simulate(body)


def test_breakpoint_of_a_load_of_ss_outlives_int_n():
    """The trap used to be lost: any event forgot what was pending."""
    async def body(b):
        await b.cycle(data_hits=2, stack_load=1, done=1)
        assert not b.get("any_event") and b.get("stack_shadow")
        await b.cycle(data_hits=1)          # the instruction in the shadow touches another, then becomes an event
        await b.cycle(take=1)
        assert b.get("any_event") and b.get("trap_bits") == 2, "its own hit is void, the older one is not"
        await b.cycle(done=1)
        assert b.get("vector") == Vector.DB
        await b.cycle(take=1, take_event=1)
        assert not b.get("any_event") and b.get("trap_bits") == 0
        await b.cycle(data_hits=1)
        await b.cycle(take=1)
        assert not b.get("any_event"), "a fault forgets the hits of its instruction"

    _simulate(body)


def test_no_single_step_behind_a_load_of_ss():
    async def body(b):
        await b.cycle(stack_load=1)
        await b.cycle(step=1, done=1)
        assert b.get("trap_bits") == 0
        await b.cycle(step=1, done=1)
        assert b.get("any_event") and b.get("trap_bits") == Dr6.BS

    _simulate(body)


def test_order_and_shadows():
    async def body(b):
        b.ctx.set(b.dut.intr, 1)
        b.ctx.set(b.dut.if_, 1)
        b.ctx.set(b.dut.vector_in, 0x20)
        await b.cycle(nmi=1, step=1, sti=1, done=1)
        order = []
        for _ in range(2):
            order.append((b.get("vector"), b.get("kind")))
            await b.cycle(take=1, take_event=1)
        order.append((b.get("vector"), b.get("kind")))
        assert order == [(Vector.DB, Kind.FAULT), (Vector.NMI, Kind.INTERRUPT), (0x20, Kind.INTERRUPT)]
        await b.cycle(stack_load=1, done=1)
        assert not b.get("any_event")
        await b.cycle(done=1)
        assert b.get("any_event")
        await b.cycle(nmi=1)
        b.ctx.set(b.dut.if_, 0)
        assert not b.get("any_event"), "NMI waits for IRET"
        await b.cycle(nmi_unblock=1)
        assert b.get("any_event") and b.get("vector") == Vector.NMI

    _simulate(body)


def test_init_resets_at_once_or_waits():
    async def body(b):
        b.ctx.set(b.dut.init, 1)
        assert b.get("reset") and not b.get("any_event")
        await b.cycle()
        b.ctx.set(b.dut.init, 0)
        assert not b.get("reset"), "it is a pulse"
        b.ctx.set(b.dut.gif, 0)
        await b.cycle(init=1)
        assert not b.get("reset") and not b.get("any_event"), "held back by GIF"
        b.ctx.set(b.dut.gif, 1)
        assert b.get("reset")
        await b.cycle()
        assert not b.get("reset")

    _simulate(body)


def test_an_intercepted_init_leaves_the_guest_and_goes_on_waiting():
    async def body(b):
        b.ctx.set(b.dut.init_exits, 1)
        await b.cycle(init=1, nmi=1, step=1)
        assert not b.get("reset") and b.get("any_event") and b.get("waking") and not b.get("go_on")
        assert b.ctx.get(b.dut.source) == Source.INIT, "before traps and NMI"
        await b.cycle(inject=1)
        b.ctx.set(b.dut.exit, 1)
        await b.cycle(take=1, take_event=1)
        b.ctx.set(b.dut.exit, 0)
        b.ctx.set(b.dut.gif, 0)
        b.ctx.set(b.dut.init_exits, 0)
        assert not b.get("reset")
        b.ctx.set(b.dut.gif, 1)
        assert b.get("reset")

    _simulate(body)


def test_nmi_that_waits_for_iret_wakes_no_one():
    """It used to: HLT in the handler of an NMI, with another waiting, then never was the dead end it is."""
    async def body(b):
        await b.cycle(nmi=1)
        assert b.get("waking")
        await b.cycle(take=1, take_event=1)
        await b.cycle(nmi=1)
        assert not b.get("waking")
        await b.cycle(nmi_unblock=1)
        assert b.get("waking")

    _simulate(body)


@dataclass
class _Model:
    """The same at the pace of instructions."""
    traps: int = 0
    of_stack_load: int = 0
    shadow: str = ""
    nmi_waits: bool = False
    in_nmi: bool = False
    level: int = 0

    def instruction(self, hits=0, loads_ss=False, sti=False, step=False, task_trap=False):
        self.traps |= hits | (Dr6.BS if step and not loads_ss else 0) | (Dr6.BT if task_trap else 0)
        self.of_stack_load = self.traps & 15 if loads_ss else 0
        self.shadow = "stack" if loads_ss else "sti" if sti else ""

    def fault(self):
        self.traps, self.shadow = self.of_stack_load, ""

    def due(self, intr, if_):
        """(vector or None for an interrupt, kind), or None."""
        if self.shadow != "stack" and self.traps:
            return Vector.DB, Kind.FAULT
        if self.shadow != "stack" and self.nmi_waits and not self.in_nmi:
            return Vector.NMI, Kind.INTERRUPT
        return (None, Kind.INTERRUPT) if intr and if_ and not self.shadow else None

    def take(self, vector):
        if vector is Vector.NMI:
            self.nmi_waits, self.in_nmi = False, True
        self.traps, self.shadow = 0, ""

    def line(self, level):
        self.nmi_waits |= bool(level and not self.level)
        self.level = level


@pytest.mark.parametrize("seed", range(3))
def test_random_instructions(seed):
    """Instructions, faults and events as they come, with lines that change in every cycle."""
    rng = random.Random(seed)
    seen = set()

    async def body(b):
        model, lines = _Model(), {"intr": 0, "if_": 0, "vector_in": 0}

        async def cycle(**pulses):
            """One cycle; an edge of NMI in it counts from the next on."""
            level = model.level if rng.random() < 0.9 else 1 - model.level
            b.ctx.set(b.dut.nmi, level)
            await b.cycle(**pulses)
            model.line(level)

        async def body_of_instruction(loads_ss):
            """Its micro-operations but the last: (breakpoints touched, whether SS is still to be loaded)."""
            hits = 0
            for _ in range(rng.randrange(3)):
                new = rng.getrandbits(4) if rng.random() < 0.1 else 0
                early = loads_ss and rng.random() < 0.5
                loads_ss, hits = loads_ss and not early, hits | new
                await cycle(data_hits=new, stack_load=int(early))
            return hits, loads_ss

        async def delivery():
            await cycle()
            await cycle(done=1)
            model.instruction()

        for _ in range(1500):
            for name in lines:
                if rng.random() < 0.3:
                    lines[name] = rng.getrandbits(8 if name == "vector_in" else 1)
                    b.ctx.set(getattr(b.dut, name), lines[name])
            due, nmi = model.due(lines["intr"], lines["if_"]), model.nmi_waits and not model.in_nmi
            assert (b.get("any_event"), b.get("trap_bits")) == (due is not None, model.traps)
            assert b.get("go_on") == (not (model.traps or nmi or (lines["intr"] and lines["if_"] and not model.shadow)))
            assert b.get("waking") == bool(model.traps or nmi)
            assert b.get("stack_shadow") == (model.shadow == "stack") and not b.get("intack")
            if due is not None:
                vector, kind = due
                b.ctx.set(b.dut.take_event, 1)
                assert (b.get("vector"), b.get("kind"), b.get("intack")) == (
                    lines["vector_in"] if vector is None else vector, kind, vector is None)
                model.take(vector)
                await cycle(take=1, take_event=1)
                await delivery()
                seen.add(vector)
                continue
            loads_ss, unblock = rng.random() < 0.2, rng.random() < 0.2
            hits, still = await body_of_instruction(loads_ss)
            if rng.random() < 0.15:
                seen.add("kept" if model.of_stack_load else "fault")
                model.fault()
                await cycle(take=1)
                await delivery()
                continue
            facts = {name: rng.random() < 0.1 for name in ("sti", "step", "task_trap")}
            if unblock:
                await cycle(nmi_unblock=1)
                model.in_nmi = False
            model.instruction(hits, loads_ss, **facts)
            await cycle(done=1, stack_load=int(still), **{name: int(value) for name, value in facts.items()})

    _simulate(body)
    assert seen == {Vector.DB, Vector.NMI, None, "fault", "kept"}
