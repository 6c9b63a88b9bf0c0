"""Translations that keep the record of the timing model: its fields, and the branch predictor in place."""

from __future__ import annotations

from collections.abc import Mapping

from vmm.engine.dbt.arena import Arena
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.llvmops import CONTEXT
from vmm.engine.dbt.recipes import Recipes
from vmm.engine.dbt.region import Region
from vmm.engine.dbt.rewritten import Version
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.values import UNLIKELY, Node
from vmm.timing.costs import Costs
from vmm.timing.record import TimingState


class PredictingRegion(Region):
    """A `Region` that knows the record, and what branches do to it: `vmm.timing.branches` as native code.

    Parameters
    ----------
    costs : see `TimingModel`. The others are those of `Region`.
    """

    def __init__(self, name: str, head: Block, blocks: Mapping[int, Block], setting: Setting, recipes: Recipes,
                 slots: list[int], version: Version | None, costs: Costs) -> None:
        super().__init__(name, head, blocks, setting, recipes, slots, version)
        self._costs = costs
        self._level: str | None = None

    # the context

    def _at(self, field: str) -> str:
        """A pointer to a field of `Timed`, or of the model's record in it."""
        if hasattr(TimingState, field):
            place = Arena.timing.offset + int(getattr(TimingState, field).offset)
            return self.fields.pointer_at(f"timing_{field}", place)
        return self.fields.pointer_at(field, int(getattr(Arena, field).offset))

    def _get(self, field: str, bits: int = 32) -> str:
        return self.builder.let(f"load i{bits}, ptr {self._at(field)}{CONTEXT}")

    def _put(self, field: str, value: str | int, bits: int = 32) -> None:
        self.builder.emit(f"store i{bits} {value}, ptr {self._at(field)}{CONTEXT}")

    def cycles(self) -> str:
        """The estimate so far."""
        return self._get("cycles", 64)

    def add_cycles(self, cycles: str | int) -> None:
        """Let cycles go by."""
        if cycles != 0:
            self._put("cycles", self.builder.let(f"add i64 {self._get('cycles', 64)}, {cycles}"), 64)

    def _branch(self, condition: str, stem: str) -> tuple[str, str]:
        """Go aside if a condition holds, which it hardly ever does; the labels of aside and of going on."""
        aside, on = self.builder.new_label(stem), self.builder.new_label("on")
        self.builder.emit(f"br i1 {condition}, label %{aside}, label %{on}{UNLIKELY}")
        return aside, on

    # branches; `cycles` are those of the run that ends here

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
        self.add_cycles(b.let(f"phi i64 [ {right}, %{before} ], [ {more}, %{aside} ]"))

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
        self.add_cycles(b.let(f"phi i64 [ {cycles + bubble}, %{before} ], "
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
        now = self.fields.load("cpl")
        if kind in ("int", "call_far"):
            inner = b.let(f"icmp ult i32 {now}, {self._level}")
            self.add_cycles(b.let(f"select i1 {inner}, i64 {cycles['outer_event']}, i64 0"))
        elif kind in ("iret", "return_far"):
            outer = b.let(f"icmp ugt i32 {now}, {self._level}")
            self.add_cycles(b.let(f"select i1 {outer}, i64 {cycles['outer_return']}, i64 0"))
