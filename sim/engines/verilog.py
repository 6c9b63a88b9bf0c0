"""The design as Verilog, for other tools and for timing against them."""

from __future__ import annotations

import re

from . import yosys
from .design import SimDesign
from .elaborate import elaborate

_PORT = re.compile(r"\\((?:sim|ram|tap|in):\S+) ")


def export_verilog(design: SimDesign) -> str:
    """Verilog text of the design, module ``top``.

    Its ports are ``clk``, ``port_sim_stop``, ``port_ram_*``, ``port_in_*`` and ``port_tap_*``: everything the engines
    drive or sample. Registers start at their initial values; there is no reset.
    """
    script = ("delete t:$scopeinfo; proc -nomux -norom; memory_collect; "
              "attrmap -remove src -remove generator; write_verilog -norename out.v")
    text = yosys.run(elaborate(design).rtlil(keep=False), script, "out.v")
    return _PORT.sub(lambda match: f"port_{match[1].replace(':', '_')} ", text)
