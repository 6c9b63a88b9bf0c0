"""The decoder of memory-mapped registers."""

import pytest
from amaranth.sim import Simulator

from rtl.bus.mmio import MmioDecoder, Window, address_map


def test_each_access_goes_to_the_owner_of_the_address():
    decoder = MmioDecoder(address_map(Window("apic", 0xFEE0_0000, 0x1000), Window("ioapic", 0xFEC0_0000, 0x100)))
    simulator = Simulator(decoder)

    async def body(ctx):
        bus = decoder.bus
        ctx.set(bus.valid, 1)
        ctx.set(decoder.apic.rdata, 1)
        ctx.set(decoder.ioapic.rdata, 2)
        for addr, apic, ioapic, ready, rdata in (
                (0xFEE0_0FFC, 1, 0, 0, 1), (0xFEC0_0010, 0, 1, 0, 2), (0xFEC0_0100, 0, 0, 1, 0xFFFF_FFFF)):
            ctx.set(bus.addr, addr)
            assert (ctx.get(decoder.apic.valid), ctx.get(decoder.ioapic.valid)) == (apic, ioapic)
            assert (ctx.get(bus.ready), ctx.get(bus.rdata)) == (ready, rdata)
        ctx.set(decoder.apic.ready, 1)
        ctx.set(bus.addr, 0xFEE0_0000)
        assert ctx.get(bus.ready)

    simulator.add_testbench(body)
    simulator.run()


@pytest.mark.parametrize("make, sentence", [
    (lambda: Window("a", 0x1000, 0x300), "size of window a must be a power of two of at least 4, not 0x300"),
    (lambda: Window("a", 0x1080, 0x100), "base of window a must be a multiple of 0x100, not 0x1080"),
    (lambda: address_map(Window("a", 0, 0x100), Window("b", 0x80, 0x40)), "windows a and b overlap"),
])
def test_bad_windows(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
