"""Translations that estimate cycles: what `TimedInterpreter` does for each instruction, done ahead for a whole run.

Rules:

1. Every block is a run, and is followed by one of its own where an instruction stands under a shadow. Its cycles are
   added at its end; what accesses and branches take on top is found as it happens.
2. The filters of the model are looked at in place; what they do not settle is a call.
3. A block begins only while the estimate is below the deadline.
4. A checked block (`vmm.engine.dbt.checked`) goes on behind a write and looks at the bytes of its rest again. What it
   loads of them says nothing about cycles.
5. Where native code gives an instruction up, the cycles of the run before it have been added, and the context says how
   far the run is: see `Timed`.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmm.engine.dbt.checked import writes
from vmm.engine.dbt.frontend import Block, Guest
from vmm.engine.dbt.layout import Exit
from vmm.engine.dbt.llvmops import CONTEXT, NotNative, Straight
from vmm.engine.dbt.recipes import Recipes
from vmm.engine.dbt.region import Todo
from vmm.engine.dbt.rewritten import Version
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.stringloop import StringLoop, applies
from vmm.engine.dbt.timedcode import PredictingRegion
from vmm.engine.dbt.timednative import WRITE
from vmm.engine.dbt.timedruns import Place, plan
from vmm.engine.dbt.timedstring import TimedStringLoop
from vmm.engine.dbt.values import Node
from vmm.timing.costs import Costs
from vmm.timing.shape import Flow

_LINE = 5
_LOG2 = {8: 0, 16: 1, 32: 2}
#: Left to the interpreter: what drops all translations, and what may jump without being a jump.
_NOT_NATIVE = frozenset(("wbinvd", "write_cr0", "write_cr4", "lmsw", "into"))
_NOT_STRAIGHT = 1


class TimedRegion(PredictingRegion):
    """A `Region` with the timing model in it.

    Parameters
    ----------
    costs, caches : see `TimingModel`. The others are those of `Region`.
    """

    def __init__(self, name: str, head: Block, blocks: Mapping[int, Block], setting: Setting, recipes: Recipes,
                 slots: list[int], version: Version | None = None, *, costs: Costs, caches: bool) -> None:
        super().__init__(name, head, blocks, setting, recipes, slots, version, costs)
        self._caches = caches
        self._planned: Block | None = None
        self._places: list[Place] = []
        self._last_line = -1
        self._charged = 0
        self._accounted = False
        self._aborts: dict[str, str] = {}
        self._begun: str | None = None
        self._loop: TimedStringLoop | None = None
        self._added = 0

    @property
    def _pending(self) -> int:
        """Cycles of the run before the present instruction that have not been added yet."""
        place = self._places[self._index]
        return 0 if place.shape.flow is Flow.REPEAT else place.before - self._added

    # blocks and instructions

    def text(self) -> str:
        body, version = super().text(), self._version
        if version is None:
            return body
        code = version.block.code
        return f"{body}\n@text_{self.name} = private constant [{len(code)} x i8] c\"{_quoted(code)}\""

    def _string_loop(self, block: Block) -> StringLoop | None:
        # It is tried behind what the head of a run has to do.
        return None

    def _emit_block(self, item: Todo) -> None:
        self._loop = None
        super()._emit_block(item)
        if self._loop is not None:
            self._index = 0
            self._loop.body()

    def _begin_block(self, block: Block, done: int, budgets: tuple[str, str], entered: Straight, on: str) -> None:
        early = self.builder.new_label("early")
        late = self.builder.let(f"icmp uge i64 {self.cycles()}, {self._get('deadline', 64)}")
        self._leave_head(late, block, budgets[0], entered, Exit.ATTENTION, early)
        self.builder.start(early)
        super()._begin_block(block, done, budgets, entered, on)

    def _emit_instruction(self, guest: Guest, index: int) -> bool:
        b = self.builder
        if self._planned is not self._block:
            self._planned, self._places = self._block, plan(self._costs, self._block.guests, self.setting.mode.code32)
        self._guest, self._index = guest, index
        shape = self._places[index].shape
        begins = self._places[index].start == index
        if index and begins:
            self.add_cycles(self._places[index - 1].after)
        self._charged, self._accounted, self._aborts, self._begun, self._level = 0, False, {}, None, None
        self._added = 0
        if self._version is not None and index:
            self._check_again(self._version, guest, index)
        if shape.kind in _NOT_NATIVE or guest.insn.form.operation == "clts":
            return False
        mark, lines = (len(b.main), len(b.cold), b.label, b.depth), self._last_line
        if guest.insn.form.operation in ("in", "out"):
            # devices have the time of the access
            self.add_cycles(self._pending)
            self._added = self._places[index].before
        if self._caches:
            self._begin_lines(guest, index, begins)
        if shape.flow is Flow.REPEAT:
            if guest.insn.adsize != 4:
                return self._undo(mark, lines)
            again = self.fields.load("repeating", "i8")
            first = b.let(f"icmp eq i8 {again}, 0")
            self._begun = b.let(f"select i1 {first}, i64 {self._places[index].after}, i64 0")
            self.add_cycles(self._begun)
            if self._version is None and applies(self, self._block):
                self._loop = TimedStringLoop(self, self._block, self._costs, self._caches)
                self._loop.test(self.ops.now, self._entered)
        return super()._emit_instruction(guest, index) or self._undo(mark, lines)

    def _check_again(self, version: Version, guest: Guest, index: int) -> None:
        """Leave the rest of a run to the interpreter if the instruction before has changed it."""
        b, left = self.builder, self.budget
        if not writes(self._block.guests[index - 1].insn, self.setting.paging):
            return
        aside, on = self._branch(self.is_rewritten(version, guest.eip - self._block.eip), "overwritten")
        with b.aside(aside):
            self.budget = b.let(f"sub i64 {self._entered}, {index}")
            self._interpret(guest)
            self.budget = left
        b.start(on)

    def _undo(self, mark: tuple[int, int, str, tuple[int, int]], lines: int) -> bool:
        """The instruction is not for native code: nothing of it stays."""
        self.builder.rewind(*mark)
        self._begun, self._loop, self._last_line, self._added = None, None, lines, 0
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
            aside, on = self._branch(b.let(f"icmp ne i32 {self._line_entry(line)}, {line + 1}"), "fetch")
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

    def _line_entry(self, line: int) -> str:
        b, number = self.builder, line & self._costs.geometry.code_sets - 1
        where = b.let(f"getelementptr i32, ptr {self._at('code')}, i64 {number}")
        return b.let(f"load i32, ptr {where}{CONTEXT}")

    def is_before_deadline(self, cycles: str) -> str:
        """Whether a run that begins at this estimate is not late."""
        return self.builder.let(f"icmp ult i64 {cycles}, {self._get('deadline', 64)}")

    def end_iteration(self) -> None:
        """Add what an iteration of a REP instruction takes."""
        self.add_cycles(self._costs.cycles[self._places[self._index].shape.each])

    def _call(self, name: str, arguments: str) -> None:
        b = self.builder
        code = self.fields.routine(name, self.setting.routines[name])
        b.emit(f"call preserve_mostcc void {code}(ptr %c, {arguments})")

    # giving up

    def _say_where(self, end: int | None) -> None:
        """Tell the interpreter how far the run is, whose lines up to address `end` are there, and add what it took."""
        place, guests = self._places[self._index], self._block.guests
        self._put("run", guests[place.start].eip)
        self._put("fetched", 0 if end is None or not self._caches else ((end - 1 & 0xFFFF_FFFF) >> _LINE) + 1)
        self._put("shadowed", int(0 < place.start == self._index))
        self._put("begun", self._begun or 0, 64)
        self._put("text", 0 if self._version is None else f"ptrtoint (ptr @text_{self.name} to i64)", 64)
        self.add_cycles(self._pending)

    def _interpret(self, guest: Guest) -> None:
        begins = self._places[self._index].start == self._index
        self._put("charged", 0)
        self._say_where(None if begins else self._guest.eip)
        super()._interpret(guest)

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

    def begin_call(self) -> None:
        if self._caches:
            self._announce()

    def end_call(self) -> None:
        if self._caches:
            self._retract()

    def _announce(self) -> None:
        """Something is called that may need to know the cycles of the run."""
        self._put("charged", self._charged)
        if self._pending:
            self._put("ahead", self._pending, 64)

    def _retract(self) -> None:
        if self._pending:
            self._put("ahead", 0, 64)

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        value = super().load(linear, bits, for_write)
        if self._caches:
            self.charge(linear, bits, for_write)
        return value

    def store(self, linear: Node, value: Node) -> None:
        super().store(linear, value)
        if self._caches:
            self.charge(linear, value.bits, True)

    def charge(self, linear: Node, bits: int, write: bool) -> None:
        """An access has been made. Misaligned ones turn into lines that there are not."""
        b, log2 = self.builder, _LOG2[bits]
        address = b.text(linear)
        turned = address if not log2 else b.let(f"call i32 @llvm.fshr.i32(i32 {address}, i32 {address}, i32 {log2})")
        line = b.let(f"lshr i32 {turned}, {_LINE - log2}")
        aside, on = self._branch(b.let(f"xor i1 {self.is_settled(line, write)}, true"), "charge")
        with b.aside(aside):
            what = bits // 8 | (WRITE if write else 0)
            self._call("charge_access", f"i32 {address}, i32 {what}, i64 {self._pending}")
            b.emit(f"br label %{on}")
        b.start(on)
        self._charged += 1

    def is_settled(self, line: str, write: bool) -> str:
        """Whether the filters have a line: see `TimingState`, rule 2."""
        b = self.builder
        index = b.let(f"zext i32 {b.let(f'and i32 {line}, {self._costs.geometry.data_sets - 1}')} to i64")
        where = b.let(f"getelementptr i32, ptr {self._at('writes' if write else 'reads')}, i64 {index}")
        entry = b.let(f"load i32, ptr {where}{CONTEXT}")
        return b.let(f"icmp eq i32 {entry}, {b.let(f'add i32 {line}, 1')}")

    def routine(self, name: str, args: tuple[Node | int, ...], returns: int | None) -> Node | None:
        if name == "require_cpl0" or name not in self.setting.routines:
            return super().routine(name, args, returns)
        if self._places[self._index].shape.flow is Flow.REFETCH:
            self._level = self.fields.load("cpl")
        self._announce()
        value = super().routine(name, args, returns)
        self._retract()
        return value

    # ends of runs

    def jump(self, target: Node) -> None:
        self._end_run(target)
        self._accounted = True
        super().jump(target)
        self._accounted = False

    def jump_either(self, condition: Node, target: Node) -> bool:
        return False

    def _through_dispatch(self, target: Node) -> None:
        if not self._accounted:
            self._end_run(target)
        super()._through_dispatch(target)

    def repeat(self, condition: Node) -> None:
        self.end_iteration()
        super().repeat(condition)

    def _end_run(self, target: Node) -> None:
        """Add what the run took, and what its last instruction does to the predictor."""
        place = self._places[len(self._block.guests) - 1]
        shape, cycles, bubble = place.shape, place.after - self._added, place.bubble
        end, flow = self._block.end, shape.flow
        straight = flow in (Flow.NEXT, Flow.SYSTEM, Flow.REPEAT)
        if flow is Flow.CONDITIONAL:
            if target.known is None:
                raise NotNative
            straight = target.known == end
            self._conditional(not straight, shape.backward, cycles, bubble)
        elif flow in (Flow.JUMP, Flow.CALL):
            self.add_cycles(cycles + bubble)
        elif flow is Flow.RETURN:
            self._return(target, cycles, bubble)
        elif flow in (Flow.INDIRECT, Flow.INDIRECT_CALL):
            self._indirect(target, cycles, bubble)
        elif flow is not Flow.REPEAT:
            self.add_cycles(cycles)
            if flow is Flow.REFETCH:
                self._change_level(shape.kind)
        if flow in (Flow.CALL, Flow.INDIRECT_CALL):
            self._push_return(end)
        if straight and self._caches and not end & (1 << _LINE) - 1:
            self._put("straight", end)


def _quoted(code: bytes) -> str:
    return "".join(f"\\{byte:02X}" for byte in code)
