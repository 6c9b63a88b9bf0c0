"""Control inside an instruction: the arms of an `if_`, and what they leave behind where they meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vmm.engine.dbt.frame import Frame
from vmm.engine.dbt.straight import COMPONENTS, Straight, canonical
from vmm.engine.dbt.values import Builder, Node, named


@dataclass(frozen=True, slots=True)
class _Arm:
    """The end of one arm of an `if_`: the block it ends in, its state there, and whether it left instead."""

    label: str
    now: Straight
    ended: bool


@dataclass(frozen=True, slots=True)
class _Fork:
    """An `if_` whose first arm is done. `place` is where in the text the arms part."""

    join: str
    place: int
    before: Straight
    first: _Arm


class Arms:
    """The part of `Ops` that parts the main path.

    1. An `if_` is open until its `else_` or whatever else comes next: before anything is emitted, `settle` is called.
    2. What the arms have changed differently is chosen between where they meet; an arm that has left has no say.

    Members
    -------
    now : the state of registers and flags.
    ended : the main path has left; nothing may follow in this scope.
    """

    def __init__(self, builder: Builder, frame: Frame, now: Straight):
        self.b = builder
        self.frame = frame
        self.now = now
        self.ended = False
        self._pending: _Fork | None = None

    @contextmanager
    def if_(self, condition: Node) -> Iterator[None]:
        self.settle()
        b, before = self.b, self.now.copy()
        chosen, other, join = b.new_label("then"), b.new_label("else"), b.new_label("join")
        test = b.text(condition)
        place = len(b.lines)
        b.emit(f"br i1 {test}, label %{chosen}, label %{other}")
        with b.scope():
            b.start(chosen)
            yield
            self.settle()
            arm = self._close(before, join)
        self.ended = False
        self.now = before.copy()
        b.start(other)
        self._pending = _Fork(join, place, before, arm)

    def _close(self, before: Straight, join: str) -> _Arm:
        """End an arm: what it changed is emitted, for the join to choose from."""
        now = self.now
        if not self.ended:
            for number, node in enumerate(now.regs):
                if node is not before.regs[number]:
                    now.regs[number] = named(self.b.text(node), 32)
            for name, flag in now.flags.items():
                if flag is not None and flag is not before.flags[name]:
                    word = canonical(name, flag)
                    now.flags[name] = named(self.b.text(word), word.bits)
            self.b.emit(f"br label %{join}")
        return _Arm(self.b.label, now, self.ended)

    @contextmanager
    def else_(self) -> Iterator[None]:
        assert self._pending is not None
        fork, self._pending = self._pending, None
        with self.b.scope():
            yield
            self.settle()
            arm = self._close(fork.before, fork.join)
        self.ended = False
        self._meet(fork, arm)

    def settle(self) -> None:
        """An `if_` without `else_` ends when something else follows."""
        if self._pending is not None:
            fork, self._pending = self._pending, None
            self.b.emit(f"br label %{fork.join}")
            self._meet(fork, _Arm(self.b.label, fork.before.copy(), False))

    def drop_pending(self) -> None:
        """Forget an unfinished `if_`, with the instruction it belongs to."""
        self._pending = None

    def _meet(self, fork: _Fork, second: _Arm) -> None:
        first = fork.first
        if first.ended and second.ended:
            self.ended = True
            return
        if first.ended or second.ended:
            self.b.start(fork.join)
            self.now = (second if first.ended else first).now
            return
        pairs: list[tuple[int | str, Node, Node]] = [
            (number, one, two) for number, (one, two) in enumerate(zip(first.now.regs, second.now.regs, strict=True))
            if one is not two]
        for name in COMPONENTS:
            one, two = first.now.flags[name], second.now.flags[name]
            if one is not two:
                old = self.frame.component(name)
                pairs.append((name, canonical(name, one or old), canonical(name, two or old)))
        # what only one arm changed must exist before the arms part
        with self.b.before(fork.place):
            for _place, one, two in pairs:
                self.b.text(one)
                self.b.text(two)
        self.b.start(fork.join)
        self.now = second.now
        for place, one, two in pairs:
            bits = max(one.bits, two.bits)
            assert one.bits == two.bits, (place, one.bits, two.bits)
            chosen = named(
                self.b.let(f"phi i{bits} [ {one.text}, %{first.label} ], [ {two.text}, %{second.label} ]"), bits)
            if isinstance(place, int):
                self.now.regs[place] = chosen
            else:
                self.now.flags[place] = chosen
