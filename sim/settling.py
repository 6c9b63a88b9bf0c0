"""Bringing the RTL computer to rest between two instructions."""

from __future__ import annotations

from rtl.isa.stop import StopReason

from .engines import Engine
from .machine import MachineError

_RESETS = ("isa.kbc.reset_request", "isa.control_a.reset_request")
#: All zero at rest: the pipeline, the microprogram of an instruction or delivery, bytes on their way to the host,
#: interrupts on their way between controllers.
_BUSY = ("core.x_valid", "core.m_valid", "core.issue.a_valid", "core.issue.in_microprogram", "isa.uart.tx_valid",
         "isa.debugcon.valid", "apics.local.command_due", "apics.local.timer_due", "apics.local.error_due",
         "apics.local.lint0_due", "apics.io.requests", "apics.io.scan", *_RESETS)
_LIMIT = 100_000


def settle(engine: Engine) -> StopReason | None:
    """Let what is in flight complete and start no other instruction; an interrupt may still be delivered.

    1. Afterwards no instruction is begun and not done, nothing waits to be written but dirty lines of the data cache,
       and the taps hold everything said. The registers are the architectural state.
    2. If the guest asks for EXIT or RESET in this time, that is the result, in the cycle in which a run would have
       stopped for it; to come to rest nevertheless, call again. Else it is None.
    3. A pipeline that is cut off like that must not run on: restore a mark, or start from a state.

    Raises
    ------
    MachineError
        It does not come to rest.
    """
    shut_down = engine.peek("shutdown")
    # In shutdown the decoder does not start another instruction.
    engine.poke("shutdown", 1)
    asked = _run_to_rest(engine)
    # A delivery that neither goes on nor is done ended in a triple fault.
    engine.poke("shutdown", shut_down | (asked is None and engine.peek("core.exceptions.events.active")))
    return asked


def _run_to_rest(engine: Engine) -> StopReason | None:
    for _ in range(_LIMIT):
        if not any(engine.peek(name) for name in _BUSY) and engine.peek("core.lsu.idle"):
            return None
        reset = any(engine.peek(name) for name in _RESETS)
        if engine.run(1).stop == StopReason.EXIT:
            return StopReason.EXIT
        if reset:
            return StopReason.RESET
    raise MachineError(f"The processor did not come to rest in {_LIMIT} cycles")
