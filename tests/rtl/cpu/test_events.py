"""The event unit: what a delivery starts from, and the double-fault matrix of the manual."""

import itertools

import pytest

from rtl.cpu.events import EventUnit, Kind
from rtl.isa.exceptions import EXCEPTIONS, SERIES, Combination, Vector, combine
from rtl.isa.svm import EventType
from tests.rtl.simulation import simulate

#: NMI comes as an interrupt.
_FAULTS = tuple(vector for vector in Vector if vector is not Vector.NMI)
_OUTPUTS = ("active", "e_vector", "e_error", "e_has_error", "e_soft", "e_ext", "e_rf", "e_eip", "e_restart",
            "e_interrupt")


def _simulate(bench):
    dut = EventUnit()

    async def testbench(ctx):
        await bench(ctx, dut)

    simulate(dut, testbench)


async def _take(ctx, dut, vector, kind=Kind.FAULT, error=0, restart=0x1000, following=0x1002, rf=0):
    """Raise an event; whether it shut the processor down."""
    for name, value in dict(take=1, vector=vector, kind=kind, error=error, restart_eip=restart, next_eip=following,
                            rf=rf).items():
        ctx.set(getattr(dut, name), value)
    shutdown = ctx.get(dut.shutdown)
    await ctx.tick()
    ctx.set(dut.take, 0)
    assert not ctx.get(dut.shutdown)
    return shutdown


async def _done(ctx, dut):
    ctx.set(dut.done, 1)
    await ctx.tick()
    ctx.set(dut.done, 0)
    assert not ctx.get(dut.active)


def _state(ctx, dut):
    return {name: int(ctx.get(getattr(dut, name))) for name in _OUTPUTS}


def test_a_series_of_faults_ends():
    """#AC in the delivery of #AC for ever: the processor would be lost. The limit is the golden model's."""
    async def bench(ctx, dut):
        for _ in range(2):
            await _take(ctx, dut, Vector.AC)
            for _ in range(SERIES - 1):
                assert not await _take(ctx, dut, Vector.AC)
            assert await _take(ctx, dut, Vector.AC)
            await _done(ctx, dut)
    _simulate(bench)


def test_injected_events():
    """EV counts for exceptions alone, and an injected #DF is one: a fault in its delivery is a shutdown."""
    async def bench(ctx, dut):
        ctx.set(dut.injected, 1)
        ctx.set(dut.injected_error, 1)
        for type, kind in ((EventType.INTERRUPT, Kind.INTERRUPT), (EventType.NMI, Kind.INTERRUPT),
                           (EventType.SOFTWARE, Kind.SOFTWARE), (EventType.EXCEPTION, Kind.FAULT)):
            ctx.set(dut.type, type)
            await _take(ctx, dut, 8, kind)
            assert ctx.get(dut.e_has_error) == (type is EventType.EXCEPTION)
            ctx.set(dut.injected, 0)
            assert await _take(ctx, dut, Vector.GP) == (type is EventType.EXCEPTION)
            ctx.set(dut.injected, 1)
            await _done(ctx, dut)
    _simulate(bench)


def test_double_fault_matrix():
    """SDM vol. 3A, tables 6-4 and 6-5, for every pair of exceptions."""
    async def bench(ctx, dut):
        for first, second in itertools.product(_FAULTS, [vector for vector in _FAULTS if vector is not Vector.DF]):
            await _take(ctx, dut, Vector.GP if first is Vector.DF else first, error=5)
            if first is Vector.DF:   # which only comes about like this
                await _take(ctx, dut, Vector.GP)
            before = _state(ctx, dut)
            shutdown = await _take(ctx, dut, second, error=9)
            state, expected = _state(ctx, dut), combine(first, second)
            if expected is Combination.SHUTDOWN:
                assert shutdown and state == before, (first, second)
            else:
                wanted = (Vector.DF, 0) if expected is Combination.DOUBLE_FAULT else (second, 9)
                assert not shutdown and (state["e_vector"], state["e_error"]) == wanted, (first, second)
            await _done(ctx, dut)

    _simulate(bench)


@pytest.mark.parametrize("kind", (Kind.SOFTWARE, Kind.INTERRUPT), ids=lambda kind: kind.name)
def test_interrupts_are_benign_whatever_their_vector(kind):
    """A page fault while INT 14 or an interrupt of vector 14 is delivered is just a page fault."""
    async def bench(ctx, dut):
        for vector in (Vector.PF, Vector.GP, Vector.DF, 0x80):
            for second in (Vector.PF, Vector.GP):
                await _take(ctx, dut, vector, kind)
                assert not ctx.get(dut.e_has_error), "interrupts push no error code"
                assert not await _take(ctx, dut, second)
                assert ctx.get(dut.e_vector) == second and ctx.get(dut.e_has_error)
                await _done(ctx, dut)

    _simulate(bench)


def test_third_fault():
    """A third contributory fault is a shutdown, unless the delivery of #DF was over."""
    async def bench(ctx, dut):
        await _take(ctx, dut, Vector.GP)
        await _take(ctx, dut, Vector.NP)
        assert ctx.get(dut.e_vector) == Vector.DF
        assert await _take(ctx, dut, Vector.SS)
        await _done(ctx, dut)
        assert not await _take(ctx, dut, Vector.SS), "after the delivery of #DF a fault is a first fault"
        assert ctx.get(dut.e_vector) == Vector.SS

    _simulate(bench)


def test_a_fault_after_a_delivery_is_a_first_fault():
    async def bench(ctx, dut):
        for first, second in itertools.product((Vector.DE, Vector.PF, Vector.GP), repeat=2):
            await _take(ctx, dut, first)
            await _done(ctx, dut)
            assert not await _take(ctx, dut, second)
            assert ctx.get(dut.e_vector) == second
            await _done(ctx, dut)

    _simulate(bench)


@pytest.mark.parametrize("vector", _FAULTS, ids=lambda vector: vector.name)
def test_error_codes(vector):
    async def bench(ctx, dut):
        await _take(ctx, dut, vector, error=0x1234)
        assert ctx.get(dut.e_has_error) == (EXCEPTIONS[vector].error_code is not None)
        assert ctx.get(dut.e_error) == 0x1234

    _simulate(bench)


@pytest.mark.parametrize(("kind", "pushed", "ext", "soft", "interrupt"), [
    (Kind.FAULT, 0x1000, 1, 0, 0), (Kind.TRAP, 0x1002, 1, 0, 0), (Kind.SOFTWARE, 0x1002, 0, 1, 0),
    (Kind.INTERRUPT, 0x1000, 1, 0, 1)], ids=lambda value: getattr(value, "name", None))
def test_where_the_saved_eip_points(kind, pushed, ext, soft, interrupt):
    """Faults and interrupts at the instruction to run next or again, traps and INT n behind it."""
    async def bench(ctx, dut):
        for rf in (0, 1):
            await _take(ctx, dut, Vector.DB, kind, rf=rf)
            state = _state(ctx, dut)
            assert (state["e_eip"], state["e_restart"], state["e_rf"]) == (pushed, 0x1000, rf)
            assert (state["e_ext"], state["e_soft"], state["e_interrupt"]) == (ext, soft, interrupt)
            await _done(ctx, dut)

    _simulate(bench)


def test_the_restart_address_moves_with_a_task_switch():
    async def bench(ctx, dut):
        await _take(ctx, dut, 0x80, Kind.SOFTWARE)
        ctx.set(dut.write_restart, 1)
        ctx.set(dut.write_eip, 0x5678)
        await ctx.tick()
        ctx.set(dut.write_restart, 0)
        state = _state(ctx, dut)
        assert (state["e_restart"], state["e_eip"], state["active"]) == (0x5678, 0x1002, 1)

    _simulate(bench)
