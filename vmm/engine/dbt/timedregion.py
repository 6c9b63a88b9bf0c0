"""Translations that estimate cycles: what `TimedInterpreter` does for each instruction, done ahead for a whole run.

Rules:

1. Every block is a run, and is followed by one of its own where an instruction stands under a shadow. Its cycles are
   added at its end; what accesses and branches take on top is found as it happens.
2. The filters of the model are looked at in place; what they do not settle is a call.
3. A block begins only while the estimate is below the deadline.
4. Where native code gives an instruction up, the cycles of the run before it have been added, and the context says how
   far the run is: see `Timed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmm.engine.dbt.arena import Arena
from vmm.engine.dbt.frontend import Block, Guest, covers_next
from vmm.engine.dbt.layout import Exit
from vmm.engine.dbt.llvmops import CONTEXT, NotNative, Straight
from vmm.engine.dbt.recipes import Recipes
from vmm.engine.dbt.region import Region
from vmm.engine.dbt.rewritten import Version
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.stringloop import StringLoop
from vmm.engine.dbt.timednative import WRITE
from vmm.engine.dbt.values import UNLIKELY, Node
from vmm.timing.costs import Costs
from vmm.timing.pipeline import Pipeline
from vmm.timing.record import TimingState
from vmm.timing.shape import Flow, Shape, shape_of

_LINE = 5
_LOG2 = {8: 0, 16: 1, 32: 2}
#: Left to the interpreter: what drops all translations, and what may jump without being a jump.
_NOT_NATIVE = frozenset(("wbinvd", "write_cr0", "write_cr4", "lmsw", "into"))
_NOT_STRAIGHT = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instruction stands in its run.

    Members
    -------
    start : index of the first instruction of the run. before : cycles of the run until it; after : with its own.
    bubble : of the run, if it ends here.
    """

    shape: Shape
    start: int
    before: int
    after: int
    bubble: int


def plan(costs: Costs, guests: Sequence[Guest], code32: bool) -> list[Place]:
    """The runs of a block."""
    found: list[Place] = []
    start, done = 0, 0
    pipeline: Pipeline | None = None
    for number, guest in enumerate(guests):
        shape = shape_of(guest.insn, code32)
        if pipeline is None:
            pipeline, start, done = Pipeline(costs, guest.eip), number, 0
        before, done = done, done + pipeline.add(shape)
        found.append(Place(shape, start, before, done, pipeline.bubble))
        if shape.flow is not Flow.NEXT:
            pipeline = None
    return found


def one_run(block: Block, code32: bool) -> int:
    """How many instructions of a block to translate: to the end of its run, and of one under a shadow behind it."""
    count = len(block.guests)
    for number, guest in enumerate(block.guests):
        if covers_next(guest.insn):
            # Whoever comes next must be in the same block, or the interpreter does both.
            count = number + 2 if number + 2 <= len(block.guests) else number
            break
        if shape_of(guest.insn, code32).flow is not Flow.NEXT:
            count = number + 1
            break
    return count


class TimedRegion(Region):
    """A `Region` with the timing model in it.

    Parameters
    ----------
    costs, caches : see `TimingModel`. The others are those of `Region`.
    """

    def __init__(self, name: str, head: Block, blocks: Mapping[int, Block], setting: Setting, recipes: Recipes,
                 slots: list[int], version: Version | None = None, *, costs: Costs, caches: bool) -> None:
        super().__init__(name, head, blocks, setting, recipes, slots, version)
        self._costs = costs
        self._caches = caches
        self._planned: Block | None = None
        self._places: list[Place] = []
        self._last_line = -1
        self._charged = 0
        self._accounted = False
        self._aborts: dict[str, str] = {}
        self._begun: str | None = None
        self._level: str | None = None

    # the context

    def _at(self, field: str) -> str:
        """A pointer to a field of `Timed`, or of the model's record in it."""
        if hasattr(TimingState, field):
            return self.pointer_at(f"timing_{field}", Arena.timing.offset + int(getattr(TimingState, field).offset))
        return self.pointer_at(field, int(getattr(Arena, field).offset))

    def _get(self, field: str, bits: int = 32) -> str:
        return self.builder.let(f"load i{bits}, ptr {self._at(field)}{CONTEXT}")

    def _put(self, field: str, value: str | int, bits: int = 32) -> None:
        self.builder.emit(f"store i{bits} {value}, ptr {self._at(field)}{CONTEXT}")

    def _add_cycles(self, cycles: str | int) -> None:
        if cycles != 0:
            self._put("cycles", self.builder.let(f"add i64 {self._get('cycles', 64)}, {cycles}"), 64)

    def _branch(self, condition: str, stem: str) -> tuple[str, str]:
        """Go aside if a condition holds, which it hardly ever does; the labels of aside and of going on."""
        aside, on = self.builder.new_label(stem), self.builder.new_label("on")
        self.builder.emit(f"br i1 {condition}, label %{aside}, label %{on}{UNLIKELY}")
        return aside, on

    @property
    def _pending(self) -> int:
        """Cycles of the run before the present instruction; those of a REP instruction have been added."""
        place = self._places[self._index]
        return 0 if place.shape.flow is Flow.REPEAT else place.before

    # blocks and instructions

    def _string_loop(self, block: Block) -> StringLoop | None:
        return None

    def _head_of(self, block: Block, place: int, done: int, budget: str, entered: Straight) -> None:
        super()._head_of(block, place, done, budget, entered)
        b = self.builder
        b.lines = []
        late = b.let(f"icmp uge i64 {self._get('cycles', 64)}, {self._get('deadline', 64)}")
        self._head_exit(late, block, budget, entered, Exit.ATTENTION)
        b.main[place:place] = b.lines
        b.lines = b.main

    def _emit_instruction(self, guest: Guest, index: int) -> bool:
        b = self.builder
        if self._planned is not self._block:
            self._planned, self._places = self._block, plan(self._costs, self._block.guests, self.setting.mode.code32)
        self._guest, self._index = guest, index
        shape = self._places[index].shape
        begins = self._places[index].start == index
        if index and begins:
            self._add_cycles(self._places[index - 1].after)
        self._charged, self._accounted, self._aborts, self._begun, self._level = 0, False, {}, None, None
        if shape.kind in _NOT_NATIVE or guest.insn.form.operation == "clts":
            return False
        mark, lines = (len(b.main), len(b.cold), b.label, b.depth), self._last_line
        if self._caches:
            self._begin_lines(guest, index, begins)
        if shape.flow is Flow.REPEAT:
            if guest.insn.adsize != 4:
                return self._undo(mark, lines)
            again = b.let(f"load i8, ptr {self.pointer('repeating')}{CONTEXT}")
            first = b.let(f"icmp eq i8 {again}, 0")
            self._begun = b.let(f"select i1 {first}, i64 {self._places[index].after}, i64 0")
            self._add_cycles(self._begun)
        return super()._emit_instruction(guest, index) or self._undo(mark, lines)

    def _undo(self, mark: tuple[int, int, str, tuple[int, int]], lines: int) -> bool:
        """The instruction is not for native code: nothing of it stays."""
        self.builder.rewind(*mark)
        self._begun, self._last_line = None, lines
        return False

    def _begin_lines(self, guest: Guest, index: int, begins: bool) -> None:
        """Fetch the lines that the run has not had yet."""
        b = self.builder
        first, end = guest.eip, guest.next - 1 & 0xFFFF_FFFF
        known = -1 if begins else self._last_line
        for linear in (first, end):
            line = linear >> _LINE
            if line == known:
                continue
            aligned = index == 0 and linear == first and not first & (1 << _LINE) - 1
            follows = int(line == self._last_line + 1) if index or linear != first else 0
            number = line & self._costs.geometry.code_sets - 1
            where = b.let(f"getelementptr i32, ptr {self._at('code')}, i64 {number}")
            entry = b.let(f"load i32, ptr {where}{CONTEXT}")
            aside, on = self._branch(b.let(f"icmp ne i32 {entry}, {line + 1}"), "fetch")
            with b.aside(aside):
                text: str | int = follows
                if aligned:
                    same = b.let(f"icmp eq i32 {self._get('straight')}, {first}")
                    text = b.let(f"zext i1 {same} to i32")
                self._call("charge_fetch", f"i32 {linear}, i32 {text}, i64 {self._pending}")
                b.emit(f"br label %{on}")
            b.start(on)
            if aligned:
                self._put("straight", _NOT_STRAIGHT)
            known = self._last_line = line

    def _call(self, name: str, arguments: str) -> None:
        b = self.builder
        place = self.pointer_at(name, int(Arena.routines.offset) + 8 * self.setting.routines[name])
        code = b.let(f"load ptr, ptr {place}{CONTEXT}")
        b.emit(f"call preserve_mostcc void {code}(ptr %c, {arguments})")

    # giving up

    def _say_where(self, end: int | None) -> None:
        """Tell the interpreter how far the run is, whose lines up to address `end` are there, and add what it took."""
        place, guests = self._places[self._index], self._block.guests
        self._put("run", guests[place.start].eip)
        self._put("fetched", 0 if end is None or not self._caches else ((end - 1 & 0xFFFF_FFFF) >> _LINE) + 1)
        self._put("shadowed", int(0 < place.start == self._index))
        self._put("begun", self._begun or 0, 64)
        self._add_cycles(self._pending)

    def _leave(self, reason: Exit | str) -> None:
        if reason is Exit.INTERPRET:
            begins = self._places[self._index].start == self._index
            self._put("charged", 0)
            self._say_where(None if begins else self._guest.eip)
        super()._leave(reason)

    def abort(self) -> str:
        b, plain = self.builder, super().abort()
        if plain not in self._aborts:
            label = self._aborts[plain] = b.new_label("account")
            with b.aside(label):
                self._put("ahead", 0, 64)
                self._say_where(self._guest.next)
                b.emit(f"br label %{plain}")
        return self._aborts[plain]

    # accesses

    def _begin_call(self) -> None:
        """Something is called that may make accesses, or may fail."""
        self._put("charged", self._charged)
        if self._pending:
            self._put("ahead", self._pending, 64)

    def _end_call(self) -> None:
        if self._pending:
            self._put("ahead", 0, 64)

    def _call_load(self, what: str, address: str, bits: int) -> str:
        if not self._caches:
            return super()._call_load(what, address, bits)
        self._begin_call()
        value = super()._call_load(what, address, bits)
        self._end_call()
        return value

    def _call_store(self, address: str, datum: str, bits: int) -> None:
        if not self._caches:
            super()._call_store(address, datum, bits)
            return
        self._begin_call()
        super()._call_store(address, datum, bits)
        self._end_call()

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        value = super().load(linear, bits, for_write)
        if self._caches:
            self._charge(linear, bits, for_write)
        return value

    def store(self, linear: Node, value: Node) -> None:
        super().store(linear, value)
        if self._caches:
            self._charge(linear, value.bits, True)

    def _charge(self, linear: Node, bits: int, write: bool) -> None:
        """An access has been made. Misaligned ones turn into lines that there are not."""
        b, log2 = self.builder, _LOG2[bits]
        address = b.text(linear)
        turned = address if not log2 else b.let(f"call i32 @llvm.fshr.i32(i32 {address}, i32 {address}, i32 {log2})")
        line = b.let(f"lshr i32 {turned}, {_LINE - log2}")
        index = b.let(f"zext i32 {b.let(f'and i32 {line}, {self._costs.geometry.data_sets - 1}')} to i64")
        where = b.let(f"getelementptr i32, ptr {self._at('writes' if write else 'reads')}, i64 {index}")
        entry = b.let(f"load i32, ptr {where}{CONTEXT}")
        aside, on = self._branch(b.let(f"icmp ne i32 {entry}, {b.let(f'add i32 {line}, 1')}"), "charge")
        with b.aside(aside):
            what = bits // 8 | (WRITE if write else 0)
            self._call("charge_access", f"i32 {address}, i32 {what}, i64 {self._pending}")
            b.emit(f"br label %{on}")
        b.start(on)
        self._charged += 1

    def routine(self, name: str, args: tuple[Node | int, ...], returns: int | None) -> Node | None:
        if name == "require_cpl0" or name not in self.setting.routines:
            return super().routine(name, args, returns)
        if self._places[self._index].shape.flow is Flow.REFETCH:
            self._level = self.builder.let(f"load i32, ptr {self.pointer('cpl')}{CONTEXT}")
        self._begin_call()
        value = super().routine(name, args, returns)
        self._end_call()
        return value

    # ends of runs

    def jump(self, target: Node) -> None:
        self._end_run(target)
        self._accounted = True
        super().jump(target)
        self._accounted = False

    def _through_dispatch(self, target: Node) -> None:
        if not self._accounted:
            self._end_run(target)
        super()._through_dispatch(target)

    def repeat(self, condition: Node) -> None:
        self._add_cycles(self._costs.cycles[self._places[self._index].shape.each])
        super().repeat(condition)

    def _end_run(self, target: Node) -> None:
        """Add what the run took, and what its last instruction does to the predictor."""
        place = self._places[len(self._block.guests) - 1]
        shape, cycles, bubble = place.shape, place.after, place.bubble
        end, flow = self._block.end, shape.flow
        straight = flow in (Flow.NEXT, Flow.SYSTEM, Flow.REPEAT)
        if flow is Flow.CONDITIONAL:
            if target.known is None:
                raise NotNative
            straight = target.known == end
            self._conditional(not straight, shape.backward, cycles, bubble)
        elif flow in (Flow.JUMP, Flow.CALL):
            self._add_cycles(cycles + bubble)
        elif flow is Flow.RETURN:
            self._return(target, cycles, bubble)
        elif flow in (Flow.INDIRECT, Flow.INDIRECT_CALL):
            self._indirect(target, cycles, bubble)
        elif flow is not Flow.REPEAT:
            self._add_cycles(cycles)
            if flow is Flow.REFETCH:
                self._change_level(shape.kind)
        if flow in (Flow.CALL, Flow.INDIRECT_CALL):
            self._push_return(end)
        if straight and self._caches and not end & (1 << _LINE) - 1:
            self._put("straight", end)

    def _missed(self) -> None:
        """Count a branch that went elsewhere than predicted."""
        self._put("mispredictions", self.builder.let(f"add i64 {self._get('mispredictions', 64)}, 1"), 64)

    def _conditional(self, taken: bool, backward: bool, cycles: int, bubble: int) -> None:
        """`Branches.conditional`: nothing to learn if the counter is as far as it goes."""
        b, costs = self.builder, self._costs
        agrees, right = taken is not backward, cycles + (bubble if taken else 0)
        number = self._guest.eip >> 1 & costs.geometry.counters - 1
        where = b.let(f"getelementptr i8, ptr {self._at('counters')}, i64 {number}")
        counter = b.let(f"load i8, ptr {where}{CONTEXT}")
        aside, on = self._branch(b.let(f"icmp ne i8 {counter}, {3 if agrees else 0}"), "learn")
        before = b.label
        with b.aside(aside):
            b.emit(f"store i8 {b.let(f'add i8 {counter}, {1 if agrees else -1}')}, ptr {where}{CONTEXT}")
            wrong = b.let(f"icmp {'ult' if agrees else 'uge'} i8 {counter}, 2")
            more = b.let(f"select i1 {wrong}, i64 {cycles + costs.cycles['mispredicted']}, i64 {right}")
            missed = b.let(f"zext i1 {wrong} to i64")
            total = b.let(f"add i64 {self._get('mispredictions', 64)}, {missed}")
            self._put("mispredictions", total, 64)
            b.emit(f"br label %{on}")
        b.start(on)
        self._add_cycles(b.let(f"phi i64 [ {right}, %{before} ], [ {more}, %{aside} ]"))

    def _return(self, target: Node, cycles: int, bubble: int) -> None:
        b, mask = self.builder, self._costs.geometry.returns - 1
        top = self._get("top")
        place = b.let(f"getelementptr i32, ptr {self._at('returns')}, i64 {b.let(f'zext i32 {top} to i64')}")
        guess = b.let(f"load i32, ptr {place}{CONTEXT}")
        self._put("top", b.let(f"and i32 {b.let(f'sub i32 {top}, 1')}, {mask}"))
        self._guessed(guess, b.text(target), cycles, bubble, None)

    def _indirect(self, target: Node, cycles: int, bubble: int) -> None:
        b = self.builder
        number = self._guest.eip >> 1 & self._costs.geometry.targets - 1
        place = b.let(f"getelementptr i32, ptr {self._at('targets')}, i64 {number}")
        self._guessed(b.let(f"load i32, ptr {place}{CONTEXT}"), b.text(target), cycles, bubble, place)

    def _guessed(self, guess: str, target: str, cycles: int, bubble: int, place: str | None) -> None:
        b = self.builder
        before = b.label
        aside, on = self._branch(b.let(f"icmp ne i32 {guess}, {target}"), "missed")
        with b.aside(aside):
            if place is not None:
                b.emit(f"store i32 {target}, ptr {place}{CONTEXT}")
            self._missed()
            b.emit(f"br label %{on}")
        b.start(on)
        self._add_cycles(b.let(f"phi i64 [ {cycles + bubble}, %{before} ], "
                               f"[ {cycles + self._costs.cycles['mispredicted']}, %{aside} ]"))

    def _push_return(self, end: int) -> None:
        b = self.builder
        more = b.let(f"add i32 {self._get('top')}, 1")
        top = b.let(f"and i32 {more}, {self._costs.geometry.returns - 1}")
        self._put("top", top)
        place = b.let(f"getelementptr i32, ptr {self._at('returns')}, i64 {b.let(f'zext i32 {top} to i64')}")
        b.emit(f"store i32 {end}, ptr {place}{CONTEXT}")

    def _change_level(self, kind: str) -> None:
        """What a transfer takes more for a change of privilege."""
        if self._level is None:
            return
        b, cycles = self.builder, self._costs.cycles
        now = b.let(f"load i32, ptr {self.pointer('cpl')}{CONTEXT}")
        if kind in ("int", "call_far"):
            inner = b.let(f"icmp ult i32 {now}, {self._level}")
            self._add_cycles(b.let(f"select i1 {inner}, i64 {cycles['outer_event']}, i64 0"))
        elif kind in ("iret", "return_far"):
            outer = b.let(f"icmp ugt i32 {now}, {self._level}")
            self._add_cycles(b.let(f"select i1 {outer}, i64 {cycles['outer_return']}, i64 0"))
