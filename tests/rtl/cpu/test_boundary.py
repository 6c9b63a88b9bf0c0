"""What is taken between instructions, and what a load of SS does to it (SDM vol. 3A, 6.8.3)."""

from amaranth.sim import Simulator

from rtl.cpu.boundary import Boundary
from rtl.cpu.events import Kind
from rtl.isa.exceptions import Vector
from rtl.isa.registers import Dr6


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

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


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
