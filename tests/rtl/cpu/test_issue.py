"""The D stage: where instructions begin and end, what is refused, where the fetch is turned to."""

import functools
import random

import pytest
from amaranth.sim import Simulator

from rtl.cpu.decode import WINDOW
from rtl.cpu.decode_rom import Check, build
from rtl.cpu.issue import Issue
from rtl.cpu.microcode import assembled
from rtl.cpu.uop import Alu
from rtl.isa.decoder import Invalid, decode

_ROM = assembled()
_ROMS = build(_ROM)
_FIELDS = ("first", "eip", "length", "check", "alu", "event", "taken", "imm", "opsize16", "repeat", "segment", "next")


class _Front:
    """The stage with a queue of code before it and an always empty A stage behind it.

    `issued` holds the micro-operations that entered the A latch, as dictionaries; `turns` the redirections.
    """

    def __init__(self, ctx, dut, code, eip=0x1000, *, cs_limit=0xFFFF_FFFF, cpl=0, fault_at=None, seed=None,
                 code32=True, stack32=True):
        self.ctx, self.dut, self.code, self.base, self.eip = ctx, dut, code, eip, eip
        self.fault_at = fault_at
        self.arrived = 0
        self.random = None if seed is None else random.Random(seed)
        self.issued, self.turns, self.pushes, self.pops, self.starved = [], [], [], 0, False
        for name, value in dict(cs_limit=cs_limit, cs_32=code32, ss_32=stack32, cpl=cpl, a_free=1, drained=1,
                                x_flush=0, x_event=0, x_branch=0, p_taken=0, p_return_eip=0x4444,
                                p_indirect_eip=0x5555).items():
            ctx.set(getattr(dut, name), value)

    async def cycle(self, **inputs):
        ctx, dut = self.ctx, self.dut
        here = self.eip - self.base
        end = len(self.code) if self.fault_at is None else self.fault_at
        if self.random is None:
            self.arrived = end
        else:
            self.arrived = min(end, max(self.arrived, here) + self.random.choice((0, 0, 1, 4, 8)))
        window = self.code[here:min(self.arrived, here + WINDOW)] if here >= 0 else b""
        noise = random.Random(self.eip).randbytes(WINDOW)
        for name, value in dict(
                q_bytes=int.from_bytes((window + noise)[:WINDOW], "little"), q_count=len(window), q_eip=self.eip,
                q_fault=self.fault_at is not None and here + len(window) == end, x_flush=0, x_event=0,
                x_branch=0).items():
            ctx.set(getattr(dut, name), value)
        for name, value in inputs.items():
            ctx.set(getattr(dut, name), value)
        self.starved = ctx.get(dut.starved)
        take, turn = ctx.get(dut.take), ctx.get(dut.redirect)
        assert take <= len(window)
        target = ctx.get(dut.redirect_eip)
        if ctx.get(dut.p_push):
            self.pushes.append(ctx.get(dut.p_push_eip))
        self.pops += ctx.get(dut.p_pop)
        await ctx.tick()
        self.eip = target if turn else self.eip + take & 0xFFFF_FFFF
        if turn:
            self.turns.append(target)
        latch = dut.latch
        if ctx.get(latch.valid):
            self.issued.append({name: ctx.get(getattr(latch, name)) for name in _FIELDS if hasattr(latch, name)})

    async def run(self, cycles, **inputs):
        for _ in range(cycles):
            await self.cycle(**inputs)

    @property
    def firsts(self):
        return [uop for uop in self.issued if uop["first"]]


class _Simulation:
    """One simulator for all tests, reset before each: building it takes longer than any of them."""

    def __init__(self):
        self.dut = Issue(_ROMS, _ROM)
        self._body = None
        self._simulator = Simulator(self.dut)
        self._simulator.add_clock(1e-6)
        self._simulator.add_testbench(self._testbench)

    async def _testbench(self, ctx):
        await self._body(ctx, self.dut)

    def run(self, body):
        if self._body is not None:
            self._simulator.reset()
        self._body = body
        self._simulator.run()


@functools.cache
def _simulation():
    return _Simulation()


def _simulate(body):
    _simulation().run(body)


def _first(code, cycles=24, **options):
    """The first micro-operation that `code` issues, and the front end after `cycles`."""
    result = []

    async def body(ctx, dut):
        front = _Front(ctx, dut, code, **options)
        await front.run(cycles)
        result.append(front)

    _simulate(body)
    front, = result
    return (front.firsts or [None])[0], front


def _straight_line(rng, count):
    """Bytes of instructions that neither branch nor drain the pipeline, with prefixes, and their (offset, length)."""
    bodies = [b"\x90", b"\x01", b"\x8B", b"\x8D", b"\x0F\xB6", b"\x0F\xAF", b"\xB8", b"\x83", b"\x81", b"\x50", b"\x58",
              b"\xC1", b"\xD3", b"\x69", b"\x0F\x94", b"\x0F\x45", b"\xA1", b"\xA3", b"\x40", b"\x86", b"\x68", b"\x9B",
              b"\xF7", b"\x98", b"\xA8"]
    code, places = b"", []
    while len(places) < count:
        prefixes = bytes(rng.choice((0x66, 0x67, 0x3E, 0x65, 0xF3)) for _ in range(rng.choice((0, 0, 0, 1, 2))))
        bytes_ = prefixes + rng.choice(bodies) + rng.randbytes(12)
        try:
            insn = decode(bytes_)
        except Invalid:
            continue
        places.append((len(code), insn.length))
        code += bytes_[:insn.length]
    return code, places


@pytest.mark.parametrize("seed", (None, 1), ids=("full queue", "trickle"))
def test_boundaries(seed):
    """However the bytes arrive, each instruction issues once, at its address, with its length, in order."""
    code, places = _straight_line(random.Random(1), 60)

    async def body(ctx, dut):
        front = _Front(ctx, dut, code, seed=seed)
        await front.run(1500 if seed else 400)
        assert [(uop["eip"] - 0x1000, uop["length"]) for uop in front.firsts] == places
        assert front.eip == 0x1000 + len(code) and front.starved and not front.turns

    _simulate(body)


@pytest.mark.parametrize(("code", "check"), [
    (b"\x66" * 14 + b"\x90", Check.NONE),
    (b"\x66" * 15 + b"\x90", Check.GP),
    (b"\x66" * 14 + b"\xB0\x01", Check.GP),
    (b"\x66" * 12 + b"\xB8\x01\x02", Check.NONE),
    (b"\x66" * 13 + b"\xB8\x01\x02", Check.GP),
    (b"\x66" * 13 + b"\x0F\x0B", Check.UD),
    (b"\x66" * 14 + b"\x0F\x0B", Check.GP),
    (b"\x66" * 14 + b"\x0F\xFF", Check.GP),
    (b"\x66" * 14 + b"\xFE\xFF", Check.GP),
    (b"\xF0" * 14 + b"\x90", Check.UD),
], ids=lambda value: value.name if isinstance(value, Check) else value.hex())
def test_the_longest_instruction(code, check):
    """15 bytes. A sixteenth is never looked at, not even to find that the opcode is invalid."""
    uop, front = _first(code + bytes(16), cycles=22)
    assert Check(uop["check"]) is check
    if check is Check.NONE:
        assert uop["length"] == 15
    else:
        assert uop["eip"] == 0x1000 and len(front.issued) == 1, "nothing follows a refused instruction"


@pytest.mark.parametrize("missing", range(1, 6))
@pytest.mark.parametrize("cause", ("limit", "fetch"))
def test_bytes_out_of_reach(cause, missing):
    """MOV EAX, imm32 that begins within reach and ends beyond it; the one before it issues."""
    code = b"\x90\xB8\x11\x22\x33\x44"
    reach = len(code) - missing
    options = {"cs_limit": 0x1000 + reach - 1} if cause == "limit" else {"fault_at": reach}
    _, front = _first(code + bytes(12), **options)
    assert [(uop["eip"], Check(uop["check"])) for uop in front.firsts] == [
        (0x1000, Check.NONE), (0x1001, Check.GP if cause == "limit" else Check.FETCH)]
    assert front.eip == 0x1001, "the bytes of a refused instruction stay"


@pytest.mark.parametrize("cause", ("limit", "fetch"))
def test_bytes_just_within_reach(cause):
    code = b"\x90\xB8\x11\x22\x33\x44"
    options = {"cs_limit": 0x1005} if cause == "limit" else {"fault_at": 6}
    _, front = _first(code, cycles=3, **options)
    assert [Check(uop["check"]) for uop in front.firsts[:2]] == [Check.NONE, Check.NONE]


def test_an_invalid_opcode_needs_no_byte_behind_it():
    """0F FF and C6 /1 are #UD although SIB, displacement or immediate are out of reach; C6 alone is not yet."""
    for code, check in ((b"\x0F\xFF", Check.UD), (b"\xC6\x4C", Check.UD), (b"\xC6", Check.FETCH),
                        (b"\xF0\x8B\x04", Check.UD), (b"\xF0\x01\x04", Check.FETCH)):
        uop, _ = _first(code, fault_at=len(code))
        assert Check(uop["check"]) is check, code.hex()


def test_the_limit_comes_before_the_page():
    """Beyond the limit no byte is fetched for, so its page does not matter."""
    uop, front = _first(b"\xB8\x11", cs_limit=0x1001, fault_at=2)
    assert Check(uop["check"]) is Check.GP
    uop, front = _first(b"", cs_limit=0xFFF)
    assert Check(uop["check"]) is Check.GP and not front.starved


def test_waiting_for_bytes_is_said():
    uop, front = _first(b"\xB8\x11")
    assert uop is None and front.starved


@pytest.mark.parametrize(("code", "cpl", "check"), [
    (b"\x0F\x06", 0, Check.NONE), (b"\x0F\x06", 3, Check.GP), (b"\xFA", 3, Check.IOPL), (b"\x9B", 3, Check.WAIT),
    (b"\xD9\xC0", 0, Check.ESCAPE)], ids=("clts 0", "clts 3", "cli", "wait", "x87"))
def test_privilege_and_coprocessor(code, cpl, check):
    """What X may still find allowed (CLI, WAIT) goes on as an instruction; the rest is refused here."""
    uop, front = _first(code + b"\x90" * 3, cpl=cpl, cycles=6)
    assert Check(uop["check"]) is check
    if check in (Check.GP, Check.ESCAPE):
        assert front.eip == 0x1000 and len(front.firsts) == 1
    else:
        assert front.firsts[1]["eip"] == 0x1000 + len(code)


@pytest.mark.parametrize(("code", "target"), [
    (b"\xEB\x10", 0x1012), (b"\xEB\xF0", 0xFF2), (b"\xE9\x00\x10\x00\x00", 0x2005),
    (b"\xE9\xFB\xDF\xFF\xFF", 0xFFFFF000), (b"\x66\xE9\xFB\xFF", 0xFFF), (b"\x66\xE9\x00\xF0", 0x4),
    (b"\xE8\x00\x10\x00\x00", 0x2005)],
    ids=lambda value: value.hex() if isinstance(value, bytes) else hex(value))
def test_direct_jumps_turn_the_fetch(code, target):
    uop, front = _first(code, cycles=3 if code[0] == 0x66 else 2)
    assert front.turns == [target] and uop["taken"]
    assert front.pushes == ([0x1005] if code[0] == 0xE8 else [])


@pytest.mark.parametrize("code", (b"\x75\x20", b"\x0F\x85\x1E\x00\x00\x00", b"\xE2\x20", b"\xE3\x20"),
                         ids=("jnz short", "jnz near", "loop", "jecxz"))
@pytest.mark.parametrize("predicted", (0, 1))
def test_conditional_jumps_follow_the_prediction(code, predicted):
    async def body(ctx, dut):
        front = _Front(ctx, dut, code + b"\x90" * 8)
        await front.run(3, p_taken=predicted)
        assert front.issued[0]["taken"] == predicted
        assert front.turns == ([0x1000 + len(code) + code[-1 if len(code) == 2 else 2]] if predicted else [])
        assert predicted or front.firsts[1]["eip"] == 0x1000 + len(code)

    _simulate(body)


def test_returns_and_indirect_jumps_carry_their_guess():
    """So that X can compare; a return pops the return-address stack."""
    for code, guess, pops in ((b"\xC3", 0x4444, 1), (b"\xC2\x08\x00", 0x4444, 1), (b"\xFF\xE0", 0x5555, 0)):
        uop, front = _first(code, cycles=2)
        assert Alu(uop["alu"]) is Alu.JMPI and uop["taken"], code.hex()
        assert (uop["imm"], front.turns, front.pops) == (guess, [guess], pops), code.hex()


def test_nothing_issues_behind_an_unknown_successor():
    _, front = _first(b"\xF4" + b"\x90" * 8, cycles=8)   # HLT
    assert len(front.firsts) == 1


def test_an_event_takes_the_place_of_the_instruction():
    """X flushes with an event: its microprogram follows, at the context's address, whatever the queue holds."""
    async def body(ctx, dut):
        front = _Front(ctx, dut, b"\x66\x66\x90" + b"\x90" * 20)
        await front.run(1)   # one prefix taken
        await front.cycle(x_flush=1, x_event=1, context_eip=0x7777)
        front.issued.clear()
        await front.run(3, context_eip=0x7777)
        assert [(uop["event"], uop["first"], uop["eip"], uop["opsize16"]) for uop in front.issued] == [
            (1, 0, 0x7777, 0)] * 3
        await front.cycle(x_flush=1)
        front.issued.clear()
        front.eip = 0x1005
        await front.run(1)
        assert [(uop["event"], uop["first"], uop["eip"], uop["length"]) for uop in front.issued] == [(0, 1, 0x1005, 1)]

    _simulate(body)


def test_a_micro_branch_goes_on_at_its_target_within_the_instruction():
    """The prefixes and operands of the instruction are still there for the rows of the other side."""
    async def body(ctx, dut):
        front = _Front(ctx, dut, b"\xF3\x66\xA5" + b"\x90" * 20)   # REP MOVSW: a loop in microcode
        await front.run(5)
        assert front.issued and front.issued[0]["first"]
        target = next(index for index, row in enumerate(_ROM.rows) if row == _ROM.rows[_ROM.entry["event"]])
        await front.cycle(x_flush=1, x_branch=1, x_target=target)
        front.issued.clear()
        await front.run(1)
        uop, = front.issued
        assert (uop["first"], uop["event"], uop["eip"], uop["opsize16"], uop["repeat"]) == (0, 0, 0x1000, 1, 3)

    _simulate(body)


def test_a_full_a_stage_holds_everything():
    async def body(ctx, dut):
        front = _Front(ctx, dut, b"\x90" * 8)
        await front.run(1)
        before = front.eip
        await front.run(4, a_free=0)
        assert front.eip == before and len({uop["eip"] for uop in front.issued}) == 1

    _simulate(body)
