"""The registers of guest mode, and what they say of exits, flushes and virtual interrupts."""

import random

import pytest

from rtl.isa.exitcodes import ExitCode, intercept_bit, intercept_word
from rtl.isa.svm import ASIDS, EVENT_EV, EVENT_V, EventType, TlbControl
from rtl.svm.unit import SvmUnit
from tests.rtl.simulation import simulate

_WORDS = ("intercept_cr", "intercept_dr", "intercept_exception", "intercept_misc1", "intercept_misc2")
_VMRUN = intercept_bit(ExitCode.VMRUN)


class _Bench:
    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut

    def set(self, **inputs):
        for name, value in inputs.items():
            self.ctx.set(getattr(self.dut, name), value)

    def get(self, name):
        return int(self.ctx.get(getattr(self.dut, name)))

    async def pulse(self, **inputs):
        self.set(**inputs)
        await self.ctx.tick()
        self.set(**dict.fromkeys(inputs, 0))

    async def write(self, **registers):
        for name, value in registers.items():
            self.set(data=value)
            await self.pulse(**{f"w_{name}": 1})

    async def legal(self):
        """What CONSISTENCY accepts."""
        await self.write(intercept_misc2=_VMRUN, asid=1)


def _simulate(body):
    dut = SvmUnit()

    async def testbench(ctx):
        await body(_Bench(ctx, dut))

    simulate(dut, testbench)


def test_intercepts_are_bits_by_exit_code():
    async def body(b):
        rng = random.Random(1)
        words = [rng.getrandbits(32) for _ in _WORDS]
        await b.write(**dict(zip(_WORDS, words, strict=True)))
        for code in range(0xA0):
            b.set(code=code)
            assert not b.get("intercepted"), "nothing is intercepted in host mode"
        assert b.get("exceptions") == b.get("events") == 0
        await b.write(guest=1)
        for code in range(0xA0):
            b.set(code=code)
            assert b.get("intercepted") == bool(words[intercept_word(code)] & intercept_bit(code)), hex(code)
        assert (b.get("exceptions"), b.get("events")) == (words[2], words[3])

    _simulate(body)


def test_guest_mode_and_gif():
    async def body(b):
        assert b.get("gif") and not b.get("guest")
        await b.write(gif=0, asid=5, np=1, tsc_offset=7, tsc_offset_hi=9)
        assert (b.get("asid"), b.get("nested"), b.get("tsc_offset")) == (0, 0, 0)
        b.set(if_=1, pse=1)
        await b.write(guest=1)
        b.set(if_=0, pse=0)
        assert (b.get("guest"), b.get("gif"), b.get("host_if"), b.get("n_pse")) == (1, 1, 1, 1)
        assert (b.get("asid"), b.get("nested"), b.get("tsc_offset")) == (5, 1, 9 << 32 | 7)
        await b.write(guest=0)
        assert (b.get("guest"), b.get("gif"), b.get("asid"), b.get("nested")) == (0, 0, 0, 0)

    _simulate(body)


@pytest.mark.parametrize("registers, legal", [
    ({}, True), ({"intercept_misc2": 0}, False), ({"asid": 0}, False), ({"asid": ASIDS - 1}, True),
    ({"asid": ASIDS}, False), ({"asid": 0x10000001}, False),
    ({"iopm": 0xFFFFD000}, True), ({"iopm": 0xFFFFE000}, False), ({"msrpm": 0xFFFFE000}, True),
    ({"msrpm": 0xFFFFF000}, False),
    ({"eventinj": EVENT_V | EventType.EXCEPTION << 8 | 3}, True),
    ({"eventinj": EVENT_V | EventType.EXCEPTION << 8 | 2}, False),
    ({"eventinj": EVENT_V | EventType.EXCEPTION << 8 | 32}, False),
    ({"eventinj": EVENT_V | EventType.INTERRUPT << 8 | 32}, True), ({"eventinj": EVENT_V | 1 << 8}, False),
    ({"eventinj": EVENT_V | 5 << 8}, False), ({"eventinj": 5 << 8}, True),
    ({"np": 1}, True), ({"np": 1, "g_pat": 0x02}, False), ({"np": 1, "g_pat_hi": 0x08 << 24}, False),
    ({"g_pat": 0x02}, True),
])
def test_consistency(registers, legal):
    async def body(b):
        b.set(paging=1)
        await b.legal()
        await b.write(**registers)
        assert (b.get("r_consistency") == 0) is legal
        b.set(paging=0)
        assert (b.get("r_consistency") == 0) is (legal and not registers.get("np"))

    _simulate(body)


def test_nested_paging_needs_a_host_that_pages():
    async def body(b):
        await b.legal()
        await b.write(np=1)
        assert b.get("r_consistency")

    _simulate(body)


@pytest.mark.parametrize("irq, tpr, priority, ignored", [
    (1, 0, 1, 0), (1, 1, 1, 0), (1, 1, 2, 0), (1, 0xF, 0, 1), (0, 0, 15, 1), (1, 0x10, 1, 0)])
def test_virtual_interrupt(irq, tpr, priority, ignored):
    async def body(b):
        await b.write(vintr=tpr | irq << 8 | priority << 16 | ignored << 20, vintr_hi=0x123, guest=1)
        waits = bool(irq and (ignored or priority > (tpr & 0xF)))
        assert b.get("virtual") == waits and b.get("virtual_vector") == 0x23
        await b.pulse(virtual_taken=1)
        assert not b.get("virtual") and not b.get("r_vintr") & 0x100, "taking it clears V_IRQ"

    _simulate(body)


@pytest.mark.parametrize("enabled", [0, 1])
def test_writes_of_gif_in_a_guest(enabled):
    async def body(b):
        await b.write(gif=0, vintr=1 << 8 | 1 << 20 | enabled << 25)
        assert not b.get("gif")
        await b.write(guest=1)
        assert b.get("virtual") == 1 - enabled
        for gif in (1, 0, 1):
            await b.write(gif=gif)
            assert b.get("gif") == (1 if enabled else gif) and b.get("r_vintr") >> 9 & 1 == (gif & enabled)
            assert b.get("virtual") == (gif if enabled else 1)
        await b.write(guest=0, gif=1)
        assert b.get("gif") and b.get("r_vintr") >> 9 & 1 == enabled, "the host's GIF is its own"

    _simulate(body)


def test_event_is_injected_once():
    async def body(b):
        event = EVENT_V | EVENT_EV | EventType.EXCEPTION << 8 | 13
        await b.write(eventinj=event, eventinj_hi=0x42)
        assert not b.get("inject"), "not before guest mode"
        await b.write(guest=1)
        assert b.get("inject")
        await b.pulse(injected=1)
        assert not b.get("inject")
        await b.write(guest=0)
        await b.write(eventinj=event)
        await b.write(guest=1)
        await b.write(guest=0)
        await b.write(guest=1)
        assert not b.get("inject"), "an exit forgets it"

    _simulate(body)


@pytest.mark.parametrize("control, pulse", [
    (TlbControl.NOTHING, None), (TlbControl.ALL, "flush_all"), (TlbControl.ASID, "flush_asid"),
    (TlbControl.ASID_LOCAL, "flush_nonglobal"), (2, "flush_all")])
def test_tlb_control(control, pulse):
    async def body(b):
        await b.write(asid=6, invlpga_asid=3)
        b.set(data=int(control), w_tlb_control=1)
        assert {name for name in ("flush_all", "flush_asid", "flush_nonglobal", "flush_page") if b.get(name)} == (
            {pulse} - {None})
        assert b.get("flush_space") == 6
        b.set(w_tlb_control=0, w_invlpga=1)
        assert b.get("flush_page") and b.get("flush_space") == 3

    _simulate(body)


def test_cause_of_an_exit_is_kept():
    async def body(b):
        dut = b.dut
        for name, value in (("code", 0x400), ("info1", 3 << 32), ("info2", 0x1234), ("intinfo", 5 << 32 | 6),
                            ("nrip", 7)):
            b.ctx.set(getattr(dut.cause, name), value)
        await b.pulse(exit_en=1, exit_shadow=1)
        names = ("exit_code", "exit_code_hi", "exit_info1", "exit_info1_hi", "exit_info2", "exit_intinfo",
                 "exit_intinfo_hi", "nrip", "shadow_bit")
        assert [b.get(f"r_{name}") for name in names] == [0x400, 0, 0, 3, 0x1234, 6, 5, 7, 1]
        await b.write(exit_info1=0x11, exit_info2=0x22)
        b.ctx.set(dut.cause.code, 0xFFFF_FFFF)
        await b.pulse(exit_en=1, exit_forced=1)
        assert [b.get(f"r_{name}") for name in names[:5]] == [0xFFFF_FFFF, 0xFFFF_FFFF, 0x11, 0, 0x22]

    _simulate(body)


def test_pause_counts_down():
    async def body(b):
        await b.write(pause=2 << 16 | 0xFFFF)
        for left in (True, True):
            assert b.get("pausing") == left
            await b.pulse(pause=1)
        assert not b.get("pausing")

    _simulate(body)
