"""Lockstep: the RTL computer against a reference processor, compared at every retirement.

The RTL machine leads. Its taps are drained after each batch of cycles; for every record of the retire port the
reference does one step and both must agree on cause, address, registers, flags, privilege level, the bytes written to
memory and the delivered exception. What the reference cannot know by itself is copied from the RTL: values read from
ports, from device memory, and from time-stamp and performance counters, and when an external interrupt is taken,
whatever its delivery leads to, or makes a guest exit.

A guest that rewrites its page tables and goes on without invalidating may see the old or the new translation. Where the
reference says that it has used such a one, the run is left undecided: what the RTL has done from there on is not looked
at. The same goes for what the reference has not.

At the end of a batch the whole processor state is compared, system registers included, and at the end of the run all
of memory, so that accessed and dirty bits count too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from rtl.isa.exitcodes import ExitCode, exit_name
from rtl.isa.retire import RetireCause

from .comparison import IoMismatch, IoReplay, Step, Undecided, system_differences, write_differences
from .design import ACK, IO, LOAD, RETIRE, STORE
from .disassembly import MAX_LENGTH
from .divergence import GPRS, Divergence, cause_text, registers_text, retirement_text, vector_text
from .engines import Why
from .rtlmachine import RtlMachine
from .rtlstate import read_state
from .stop import ArchState, Reason, Stop, flag_text, register_dump

HISTORY = 20
_TAPS = (RETIRE, STORE, IO, LOAD, ACK)
_BATCH = 20_000
_FINE = 50
_BOUNDARY = 20_000
_INTERRUPT, _EXCEPTION, _HALT = RetireCause.INTERRUPT.value, RetireCause.EXCEPTION.value, RetireCause.HALT.value
_VMEXIT = RetireCause.VMEXIT.value
#: Exit codes of what the reference cannot know by itself.
_FROM_OUTSIDE = (ExitCode.INTR, ExitCode.NMI, ExitCode.INIT)


class Reference(Protocol):
    """A processor with memory that executes step by step.

    Members
    -------
    time : what the next RDTSC, RDPMC or RDMSR of a counter reads.
    ram : its memory.

    Raises
    ------
    Undecided
        By what does a step: nothing can be compared from there on.
    """

    time: int
    ram: np.ndarray

    def reached(self) -> set[int]:
        """Frames that guests have got from translations since the last call."""

    def step(self) -> Step: ...
    def interrupt(self, vector: int) -> Step | None:
        """An interrupt that nobody has acknowledged: an event of the guest's VMCB, or an NMI."""
    def external_interrupt(self, vector: int) -> Step | None: ...
    def interrupt_exit(self, code: int) -> Step | None: ...
    def registers(self) -> tuple[list[int], int, int, int]: ...
    def state(self) -> ArchState: ...
    def code(self, eip: int) -> bytes: ...


#: Makes a reference from a copy of RAM, the state at the start, and its ports.
ReferenceFactory = Callable[[np.ndarray, ArchState, IoReplay], Reference]
#: Looks at a record of the retire port, those of its stores, and the frames that the reference has reached in it.
Watch = Callable[[tuple[int, ...], list[tuple[int, int, int, int, int]], set[int]], list[str]]


@dataclass(frozen=True)
class Outcome:
    """How a lockstep run ended: the RTL's stop, the divergence, or why it is left undecided."""

    retirements: int
    cycles: int
    stop: Stop | None
    divergence: Divergence | None
    undecided: str = ""


class _Refused(Exception):
    """The reference cannot do what the RTL has done; the message is the difference."""


@dataclass
class Lockstep:
    """One run of a machine that has an image loaded and has not started.

    Parameters
    ----------
    machine, factory : the RTL machine, and the maker of its reference.
    fine_from : cycle from which batches are short, to find a difference of system state more closely.
    interrupted : asked after each batch whether the user wants to stop.
    watch : shown every retirement of the RTL with its stores; phrases for what must not be.
    """

    machine: RtlMachine
    factory: ReferenceFactory
    fine_from: int | None = None
    interrupted: Callable[[], bool] = lambda: False
    watch: Watch | None = None
    retirements: int = 0
    _history: deque[tuple[Any, ...]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    _stores: deque[tuple[int, int, int, int, int]] = field(default_factory=deque)
    _ios: deque[tuple[int, int, int, int, int]] = field(default_factory=deque)
    _loads: deque[tuple[int, int, int]] = field(default_factory=deque)
    _acks: deque[tuple[int, int]] = field(default_factory=deque)

    def run(self, max_cycles: int | None = None) -> Outcome:
        """Run until the guest ends, `max_cycles` have passed, or the two differ."""
        engine = self.machine.engine
        self._replay = IoReplay()
        self._reference = self.factory(engine.ram.copy(), read_state(engine), self._replay)
        for name in _TAPS:
            engine.set_tap(name, True)
        try:
            return self._batches(max_cycles)
        except Undecided as why:
            return Outcome(self.retirements - 1, self.machine.cycle, None, None, str(why))
        finally:
            # Whoever runs the machine next does not empty them.
            for name in _TAPS:
                engine.set_tap(name, False)
                engine.drain_tap(name)

    def _batches(self, max_cycles: int | None) -> Outcome:
        machine = self.machine
        while True:
            size = _BATCH if self.fine_from is None or machine.cycle < self.fine_from else _FINE
            since = machine.cycle
            stop = self._batch(size if max_cycles is None else min(size, max_cycles - machine.cycle))
            system = None if stop else self._to_boundary()
            divergence = self._compare_records()
            if divergence is None and system is not None:
                divergence = self._compare_system(system, since, size == _BATCH)
            # A user stops anywhere, in the middle of an instruction too: memory is only comparable at an end.
            if divergence is None and stop is not None and stop.reason is not Reason.USER_INTERRUPT:
                divergence = self._finish(stop)
            if divergence is not None or stop is not None:
                return Outcome(self.retirements, machine.cycle, None if divergence else stop, divergence)
            if self.interrupted():
                return Outcome(self.retirements, machine.cycle, machine.stop_here(Reason.USER_INTERRUPT), None)
            if max_cycles is not None and machine.cycle >= max_cycles:
                return Outcome(self.retirements, machine.cycle, machine.stop_here(Reason.CYCLE_LIMIT), None)

    def _batch(self, cycles: int) -> Stop | None:
        return self.machine.advance(cycles)

    def _to_boundary(self) -> ArchState | None:
        """Run on to a cycle in which an instruction retires; the state then."""
        engine = self.machine.engine
        for _ in range(_BOUNDARY):
            if engine.peek("core.retire__valid"):
                state = read_state(engine)
                engine.run(1)
                return state
            if engine.run(1).why is Why.STOP:
                return None
            if engine.peek("core.halted"):
                return None
        return None

    # -- comparing

    def _compare_records(self) -> Divergence | None:
        engine = self.machine.engine
        self._stores.extend(engine.drain_tap(STORE).tolist())
        self._ios.extend(engine.drain_tap(IO).tolist())
        self._loads.extend(engine.drain_tap(LOAD).tolist())
        self._acks.extend(engine.drain_tap(ACK).tolist())
        for record in engine.drain_tap(RETIRE).tolist():
            self.retirements += 1
            self._history.append(record)
            differences = self._compare(record)
            if differences:
                return self._report(record[0], differences, record)
        return None

    def _compare(self, record: tuple[int, ...]) -> list[str]:
        cycle, cause, eip, next_eip, _length, vector, error, cpl, eflags = record[:9]
        gpr = list(record[9:17])
        stores, ios, loads, reference = self._stores, self._ios, self._loads, self._reference
        written = []
        while stores and stores[0][0] < cycle:
            written.append(stores.popleft())
        pending = self._replay.pending
        while ios and ios[0][0] < cycle:
            pending.append(ios.popleft()[1:])
        self._replay.loads.clear()
        while loads and loads[0][0] < cycle:
            _when, address, value = loads.popleft()
            self._replay.loads[address] = value
        reference.time = gpr[2] << 32 | gpr[0]
        try:
            step = self._follow(cycle, cause, vector, error)
        except (IoMismatch, _Refused) as why:
            return [str(why)]
        if self.watch is not None and (found := self.watch(record, written, reference.reached())):
            return found
        own_gpr, own_eip, own_eflags, own_cpl = reference.registers()
        if (step.cause, step.eip, own_gpr, own_eip, own_eflags, own_cpl) == (cause, eip, gpr, next_eip, eflags, cpl) \
                and not pending and not (written or step.writes) and cause < _EXCEPTION:
            return []
        found = []
        if step.cause != cause:
            found.append(f"cause: RTL {cause_text(cause, vector, error)}, "
                         f"reference {cause_text(step.cause, step.vector, step.error)}")
        elif cause in (_EXCEPTION, _INTERRUPT):
            if step.vector != vector:
                found.append(f"vector: RTL {vector_text(vector)}, reference {vector_text(step.vector)}")
            elif step.error is not None and step.error != error:
                found.append(f"error code of {vector_text(vector)}: RTL {error:X}h, reference {step.error:X}h")
        elif cause == _VMEXIT and step.error != error:
            found.append(f"exit code: RTL {exit_name(error)}, reference {exit_name(step.error or 0)}")
        # A task switch has replaced EIP before it retires: its record has the new address in both places.
        if step.eip != eip and eip != next_eip:
            found.append(f"address: RTL {eip:08X}, reference {step.eip:08X}")
        if own_eip != next_eip:
            found.append(f"EIP after: RTL {next_eip:08X}, reference {own_eip:08X}")
        for name, mine, theirs in zip(GPRS, gpr, own_gpr, strict=True):
            if mine != theirs:
                found.append(f"{name}: RTL {mine:08X}, reference {theirs:08X}")
        if own_eflags != eflags:
            found.append(f"EFLAGS: RTL {eflags:08X} [{flag_text(eflags)}], "
                         f"reference {own_eflags:08X} [{flag_text(own_eflags)}]")
        if own_cpl != cpl:
            found.append(f"CPL: RTL {cpl}, reference {own_cpl}")
        if pending:
            write, port, _size, data = pending[0]
            verb = "writes" if write else "reads"
            found.append(f"the RTL {verb} {data:X}h at port {port:X}h, the reference does not")
        return found + write_differences(written, step.writes)

    def _follow(self, cycle: int, cause: int, vector: int, error: int) -> Step:
        """The reference does what the RTL has retired."""
        reference, acks = self._reference, self._acks
        if acks and acks[0][0] < cycle:
            vector = acks.popleft()[1]
            step = reference.external_interrupt(vector)
        elif cause == _INTERRUPT:
            step = reference.interrupt(vector)
        elif cause == _VMEXIT and error in _FROM_OUTSIDE:
            step = reference.interrupt_exit(error)
            if step is None:
                raise _Refused(f"the RTL leaves the guest for {exit_name(error)}, the reference cannot here")
        else:
            return reference.step()
        if step is None:
            raise _Refused(f"the RTL takes interrupt {vector:02X}h, the reference cannot take one here")
        return step

    def _compare_system(self, rtl: ArchState, since: int, coarse: bool) -> Divergence | None:
        differences = system_differences(rtl, self._reference.state())
        if not differences:
            return None
        # The cycle of the retirement is the one before.
        found = self._report(self.machine.cycle - 1, [f"system state: {one}" for one in differences], None, rtl)
        return replace(found, coarse=coarse, since=since)

    def _finish(self, stop: Stop) -> Divergence | None:
        """After the end: let what is in flight complete on both sides, then compare all of memory."""
        machine = self.machine
        if stop.reason is Reason.TRIPLE_FAULT:
            try:
                step = self._follow(machine.cycle, RetireCause.SHUTDOWN.value, 0, 0)
            except _Refused as why:
                return self._report(machine.cycle, [str(why)], None)
            if step.cause != RetireCause.SHUTDOWN.value:
                return self._report(machine.cycle, [f"the RTL shuts down, the reference does not: "
                                                    f"{cause_text(step.cause, step.vector, step.error)}"], None)
        machine.settle()
        divergence = self._compare_records()
        if divergence is not None:
            return divergence
        mine, theirs = machine.settled_memory(), self._reference.ram
        wrong = np.flatnonzero(mine != theirs)
        if len(wrong) == 0:
            return None
        differences = [f"memory at {index * 4:08X}: RTL {mine[index]:08X}, reference {theirs[index]:08X}"
                       for index in wrong[:8].tolist()]
        if len(wrong) > 8:
            differences.append(f"and {len(wrong) - 8} more words")
        return self._report(machine.cycle, differences, None)

    # -- telling

    def _report(self, cycle: int, differences: list[str], record: tuple[int, ...] | None,
                rtl: ArchState | None = None) -> Divergence:
        return Divergence(
            tuple(differences), cycle, self.retirements, tuple(map(self._line, self._history)),
            register_dump(rtl) if rtl is not None else registers_text(record or self._history[-1]),
            register_dump(self._reference.state()))

    def _line(self, record: tuple[int, ...]) -> str:
        eip = record[2]
        return retirement_text(record, self.machine.symbols.describe(eip), self._reference.code(eip)[:MAX_LENGTH])
