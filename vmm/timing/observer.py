"""The interpreter with the timing model beside it: every step adds what the RTL would have taken.

Rules, which hold for any executor that uses the model:

1. The code is a sequence of straight runs. A run begins where the last one ended. It ends behind an instruction whose
   `Shape.flow` is not NEXT, behind `RUN_LIMIT` instructions, and behind a step that delivers an exception or an
   interrupt. An instruction that begins in another linear page than the run, that ends in another page, that cannot be
   decoded, or that has a REP prefix begins a run. So does each iteration of the latter. The instruction behind one that
   `Shape.shadows` is a run of its own.
2. An instruction's own cycles are added behind it; its accesses see those of the instructions before it. What a REP
   instruction takes besides its iterations is added before the first of them.
3. Lines of code are fetched before the first instruction of a run that has a byte in them.
4. External interrupts are taken between runs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rtl.isa.decoder import DecodeError, decode
from rtl.isa.exceptions import Vector
from rtl.isa.retire import RetireCause
from vmm.engine.access import IoPorts
from vmm.engine.interpreter import Interpreter, Retired
from vmm.engine.segmentation import CS, TR
from vmm.faults import Fault
from vmm.memory import PhysicalMemory

from .costs import Costs
from .model import TimingModel
from .pipeline import RUN_LIMIT, Pipeline
from .shape import TRANSFERS, Flow, Shape, shape_of

__all__ = ["TimedInterpreter"]

_LONGEST = 15
_ECX = 1


@lru_cache(maxsize=1 << 16)
def _shape(code: bytes, code32: bool) -> Shape | None:
    try:
        return shape_of(decode(code, default32=code32), code32)
    except DecodeError:
        return None


class TimedInterpreter(Interpreter):
    """An interpreter that estimates cycles; instruction by instruction, and so slower than the plain one.

    Parameters
    ----------
    memory, io, engine : of the engine that executes. costs, caches : see `TimingModel`.

    Members
    -------
    model : its estimate is ``model.cycles``.
    deadline : the estimate at which something outside is due, or None; `burst` goes on no longer than to the first end
        of a run then.
    """

    deadline: int | None = None

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None, costs: Costs, caches: bool = True,
                 **engine: Any) -> None:
        super().__init__(memory, io, **engine)
        self.model = TimingModel(costs, memory, memory.size, caches)
        self._pipeline: Pipeline | None = None
        self._page = self._left = self._base = 0
        self._shadowed = False
        self._line = self._fetched = -1
        self._registers = (-1, -1, -1)
        self.mmu.set_fast(False, False)

    def choose_paths(self) -> None:
        """Every access is seen."""
        self.mmu.set_fast(False, False)

    def pieces(self, linear: int, size: int, write: bool, user: bool) -> list[tuple[int, int]]:
        pieces = super().pieces(linear, size, write, user)
        model = self.model
        if model.caches:
            if len(pieces) == 1:
                model.data(linear, pieces[0][0], size, write, 0)
            else:
                model.data_across(linear, pieces[0][0], pieces[0][1], pieces[1][0], size, write, 0)
        return pieces

    def state_changed(self) -> None:
        super().state_changed()
        self._end_run(True)

    def write_control(self, number: int, value: int) -> None:
        super().write_control(number, value)
        if number == 3:
            self._registers = (self.state.cr0, self.state.cr3, self.state.cr4)
            self.model.load_directory(value)

    def invalidate_page(self, segment: int, offset: int) -> None:
        super().invalidate_page(segment, offset)
        self.model.invalidate(self.state.segments[segment].base + offset & 0xFFFF_FFFF)

    def burst(self, limit: int) -> None:
        self.step()

    def deliver_interrupt(self, vector: int) -> Retired:
        level = self.state.cpl
        retired = super().deliver_interrupt(vector)
        self._delivered(retired, level, True)
        return retired

    @property
    def between_runs(self) -> bool:
        """Whether the next instruction begins a run."""
        return self._pipeline is None

    @property
    def interruptible(self) -> bool:
        """`can_interrupt`, but for the wait for the end of a run."""
        return super().can_interrupt

    @property
    def can_interrupt(self) -> bool:
        return self._pipeline is None and super().can_interrupt

    @property
    def nmi_allowed(self) -> bool:
        return self._pipeline is None and super().nmi_allowed

    def _end_run(self, jumped: bool) -> None:
        """The next instruction begins a run; lines of code do not follow on one another if it was jumped to."""
        self._pipeline = None
        self._fetched = -1
        if jumped:
            self._line = -1

    def step(self) -> Retired:
        state, model = self.state, self.model
        registers = (state.cr0, state.cr3, state.cr4)
        if registers != self._registers:
            self._registers = registers
            model.control(*registers)
        level, task = state.cpl, state.segments[TR].selector
        if state.halted or state.shutdown or state.pending_debug:
            retired = super().step()
            if retired.cause not in (RetireCause.HALT, RetireCause.SHUTDOWN):
                self._delivered(retired, level, False)
            return retired
        shape = self._look()
        count = state.gpr[_ECX]
        if shape is not None and shape.flow is Flow.REPEAT and not state.repeating:
            assert self._pipeline is not None
            model.add(self._pipeline.add(shape))
        retired = super().step()
        if shape is None or retired.cause in (RetireCause.EXCEPTION, RetireCause.SHUTDOWN):
            self._delivered(retired, level, False)
        elif shape.flow is Flow.REPEAT:
            if count:
                model.add(model.costs.cycles[shape.each])
            self._end_run(False)
        else:
            self._account(shape, retired, level, task)
        return retired

    def _look(self) -> Shape | None:
        """Look at the instruction at EIP; None if it cannot be fetched or decoded, and will fault."""
        state, model = self.state, self.model
        code = state.segments[CS]
        linear = code.base + state.eip & 0xFFFF_FFFF
        user = state.cpl == 3
        try:
            physical = self.mmu.translate(linear, False, user)
            text = self.memory.blob(physical, min(_LONGEST, 0x1000 - (physical & 0xFFF)))
            shape = _shape(text, code.big)
            if shape is None and len(text) < _LONGEST:
                beyond = self.mmu.translate(linear + len(text) & 0xFFFF_FFFF, False, user)
                shape = _shape(text + self.memory.blob(beyond, _LONGEST - len(text)), code.big)
        except (Fault, ValueError):
            return None
        if shape is None:
            return None
        if self._pipeline is None:
            self._pipeline = Pipeline(model.costs, linear)
            self._page, self._left = linear >> 12, 1 if self._shadowed else RUN_LIMIT
        self._left -= 1
        self._base = physical & ~0xFFF
        self._shadowed = shape.shadows
        if model.caches:
            self._lines(linear, physical, shape.length, user)
        return shape

    def _begins_run(self) -> bool:
        """Whether the next instruction begins a run whatever went before."""
        code = self.state.segments[CS]
        linear = code.base + self.state.eip & 0xFFFF_FFFF
        if linear >> 12 != self._page:
            return True
        at = self._base | linear & 0xFFF
        shape = _shape(self.memory.blob(at, min(_LONGEST, 0x1000 - (at & 0xFFF))), code.big)
        return shape is None or shape.flow is Flow.REPEAT

    def resume(self, start: int, text: bytes | None = None) -> None:
        """Go on in the middle of the run that begins at EIP ``start``; what comes before EIP has been accounted for.

        ``text`` is what the bytes before EIP were, if they may have been overwritten since.
        """
        state, code = self.state, self.state.segments[CS]
        linear = code.base + start & 0xFFFF_FFFF
        self._end_run(False)
        if start == state.eip:
            return
        self._pipeline = Pipeline(self.model.costs, linear)
        self._page, self._left = linear >> 12, RUN_LIMIT
        self._base = self.mmu.translate(linear, False, state.cpl == 3) & ~0xFFF
        eip = start
        if text is None:
            text = self.memory.blob(self._base | linear & 0xFFF, state.eip - start & 0xFFFF_FFFF)
        while eip != state.eip:
            done = eip - start & 0xFFFF_FFFF
            shape = _shape(text[done:done + _LONGEST], code.big)
            assert shape is not None
            self._pipeline.add(shape)
            self._left -= 1
            self._shadowed = shape.shadows
            eip = eip + shape.length & 0xFFFF_FFFF
            self._line = self._fetched = (code.base + eip - 1 & 0xFFFF_FFFF) >> 5

    def _lines(self, linear: int, physical: int, length: int, user: bool) -> None:
        """Fetch the lines of an instruction that its run has not had yet."""
        last = linear + length - 1 & 0xFFFF_FFFF
        if last >> 5 == self._fetched:
            # those before it are there as well, though perhaps not in the cache any more
            return
        for at in (linear, last):
            if at >> 5 != self._fetched:
                place = physical + (at - linear & 0xFFFF_FFFF)
                if at >> 12 != linear >> 12:
                    # Both pages of an instruction are known to be there, or it would not have a shape.
                    place = self.mmu.translate(at, False, user)
                self.model.fetch(at, place, int(self._line == (at >> 5) - 1), 0)
                self._line = self._fetched = at >> 5

    def _account(self, shape: Shape, retired: Retired, level: int, task: int) -> None:
        """Add what an instruction took."""
        model, run, flow = self.model, self._pipeline, shape.flow
        assert run is not None
        model.add(run.add(shape))
        if flow is Flow.NEXT:
            if not self._left or self._begins_run():
                self._end_run(False)
            return
        eip, after, bubble = self.state.eip, retired.eip + shape.length & 0xFFFF_FFFF, run.bubble
        jumped = flow is not Flow.SYSTEM
        if flow is Flow.CONDITIONAL:
            jumped = eip != after
            model.conditional(retired.eip, int(shape.backward), int(jumped), bubble)
        elif flow is Flow.RETURN:
            model.jump_back(eip, bubble)
        elif flow in (Flow.INDIRECT, Flow.INDIRECT_CALL):
            model.indirect(retired.eip, eip, bubble)
        elif flow in (Flow.JUMP, Flow.CALL):
            model.add(bubble)
        elif flow is Flow.REFETCH:
            model.add(self._transfer(shape.kind, level, task))
            if shape.kind == "wbinvd" and model.caches:
                model.write_back_all()
        if flow in (Flow.CALL, Flow.INDIRECT_CALL):
            model.call(after)
        self._end_run(jumped)

    def _transfer(self, kind: str, level: int, task: int) -> int:
        """What a transfer takes more because it has changed the level or the task."""
        state, cycles = self.state, self.model.costs.cycles
        if state.segments[TR].selector != task and kind in TRANSFERS:
            return cycles["task_switch"]
        if state.cpl < level and kind in ("int", "call_far"):
            return cycles["outer_event"]
        return cycles["outer_return"] if state.cpl > level and kind in ("iret", "return_far") else 0

    def _delivered(self, retired: Retired, level: int, external: bool) -> None:
        """An exception or an interrupt was delivered."""
        self._end_run(True)
        self._shadowed = False
        if retired.vector is not None:
            self.model.add(self.model.delivery(
                outer=self.state.cpl < level, error_code=retired.error is not None,
                page_fault=retired.vector == Vector.PF, external=external))
