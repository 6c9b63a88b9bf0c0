"""`DescriptorCheck` against the manual's wording, over all types, levels and selectors."""
import random

import pytest
from amaranth.sim import Simulator

from rtl.cpu.descriptor_check import Check, DescriptorCheck
from tests.rtl.cpu.check_model import check_descriptor

LEVELS = range(4)


@pytest.mark.parametrize("kind", list(Check), ids=lambda kind: kind.name)
def test_every_descriptor(kind):
    dut = DescriptorCheck()
    rng = random.Random(kind)
    cases = [(type_, dpl, rpl, cpl) for type_ in range(32) for dpl in LEVELS for rpl in LEVELS for cpl in LEVELS]

    async def bench(ctx):
        ctx.set(dut.kind, kind)
        for type_, dpl, rpl, cpl in cases:
            noise = rng.getrandbits(32) & ~(0x7F << 8)
            high = noise | type_ << 8 | dpl << 13
            selector = rng.getrandbits(13) << 3 | rng.getrandbits(1) << 2 | rpl
            ncpl, soft, ext = rng.randrange(4), rng.getrandbits(1), rng.getrandbits(1)
            for name, value in dict(high=high, selector=selector, cpl=cpl, ncpl=ncpl, soft=soft, ext=ext).items():
                ctx.set(getattr(dut, name), value)
            expected = check_descriptor(kind, high, selector, cpl, ncpl, bool(soft), bool(ext))
            if expected is None:
                assert ctx.get(dut.ok), f"{high:08x} {selector:04x} cpl={cpl} ncpl={ncpl}"
            else:
                got = None if ctx.get(dut.ok) else (ctx.get(dut.vector), ctx.get(dut.code))
                assert got == expected, f"{high:08x} {selector:04x} cpl={cpl} ncpl={ncpl}"

    sim = Simulator(dut)
    sim.add_testbench(bench)
    sim.run()
