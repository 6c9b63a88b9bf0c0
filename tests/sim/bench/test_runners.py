"""Digests of retirements, and initial values in exported Verilog."""

import numpy as np
import pytest

from sim.bench.runners import digest_of, with_initial_values
from sim.design import RETIRE
from sim.engines import EngineError
from sim.rtlmachine import RtlMachine
from tests.sim import guests

_VERILOG = r"""
module \top.top.core.regs (clk, eax);
  wire [31:0] eax;
  reg [31:0] gpr__0 = 32'd0;
  reg [7:0] \gpr.odd  = 8'd1;
  assign eax = gpr__0;
endmodule

module \top.top.core (clk, eip);
  reg [31:0] eip = 32'd7;
  reg [31:0] gpr__0 = 32'd5;
endmodule
"""


def test_initial_values_follow_assignments_within_their_module() -> None:
    """A port that is assigned from the register must not become a constant: the peer would run other code, faster."""
    text = with_initial_values(_VERILOG, {"core.regs.eax": 0x2BADB002, "core.eip": 0x100000})
    assert "reg [31:0] gpr__0 = 30'h2badb002;" in text and "assign eax = gpr__0;" in text
    assert "reg [31:0] eip = 21'h100000;" in text and "reg [31:0] gpr__0 = 32'd5;" in text


def test_a_register_that_is_not_there_is_an_error() -> None:
    with pytest.raises(EngineError, match="^Register 'core.regs.esp' has no initial value in the Verilog text$"):
        with_initial_values(_VERILOG, {"core.regs.esp": 1})


def test_digest_covers_cycle_address_and_result() -> None:
    records = np.array([(1, 2, 3), (4, 5, 6)], dtype=[("cycle", "u8"), ("eip", "u4"), ("eax", "u4")])
    digest = digest_of(records)
    assert digest_of(records[:0]) == 0xCBF29CE484222325
    for name in ("cycle", "eip", "eax"):
        other = records.copy()
        other[name][1] += 1
        assert digest_of(other) != digest
    assert digest_of(records[::-1]) != digest


def test_the_tap_has_what_the_digest_covers(rtl: RtlMachine) -> None:
    rtl.load(guests.image(b"\x90\x90" + guests.leave(0)))   # two NOPs first
    rtl.engine.set_tap(RETIRE, True)
    rtl.run(1000)
    records = rtl.engine.drain_tap(RETIRE)
    assert len(records) >= 2 and digest_of(records) != digest_of(records[:-1])
