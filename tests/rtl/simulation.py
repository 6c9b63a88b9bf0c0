"""A component on its own, in Amaranth's simulator."""

from amaranth.sim import Simulator


def simulate(dut, testbench):
    """Run `testbench(ctx)` to its end beside `dut`, which has a clock."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
