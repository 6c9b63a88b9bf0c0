"""One translation: basic blocks of the guest as one LLVM function.

The function has the guest's registers and the budget as arguments and leaves by tail calls that pass them on. Inside,
a block with one predecessor continues it: registers and flags stay expressions. Where paths join, and around loops,
registers go through `alloca`s, which LLVM turns into host registers, and flags go as recipes.

Exits:

1. to a block elsewhere, through a chain slot of the module: an address that is null until somebody knows it;
2. to a computed EIP, through the jump cache, unless it is a return to a call of this region;
3. to Python, for an `Exit` reason, with the state as it was before the instruction at EIP, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtl.isa.decoder import Insn
from vmm.engine.dbt.accesses import Accesses
from vmm.engine.dbt.calls import Calls
from vmm.engine.dbt.checked import emit_checked
from vmm.engine.dbt.contextfields import ContextFields
from vmm.engine.dbt.frontend import Block, Guest, covers_next, is_barrier
from vmm.engine.dbt.layout import JUMP_ENTRIES, JUMPS_AT, PORTS, Exit, Kind
from vmm.engine.dbt.llvmops import CONTEXT, GUEST, LlvmOps, NotNative
from vmm.engine.dbt.recipes import Recipes, freeze
from vmm.engine.dbt.rewritten import Version, places
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.shortways import ShortWays
from vmm.engine.dbt.straight import Straight
from vmm.engine.dbt.stringloop import StringLoop, applies
from vmm.engine.dbt.values import UNLIKELY, Builder, Node, known, named
from vmm.engine.dbt.ways import Reason, Ways
from vmm.semantics.table import emit

PARAMETERS = ", ".join(["ptr %c", *(f"i32 %r{n}" for n in range(8)), "i64 %b"])
#: A guest register is where a function that aligns its stack keeps its frame pointer, and LLVM does not notice.
NO_REALIGNMENT = '"no-realign-stack"'


@dataclass(slots=True)
class Todo:
    """A block to emit: behind its only predecessor, or at a join when `now` is None."""

    block: Block
    now: Straight | None
    budget: str


class Region:
    """Emits the blocks reachable from `head` among `blocks` as function `name`.

    Parameters
    ----------
    slots : chain slots given out in the module so far; extended by this region's targets.
    version : the one block is code that the guest rewrites, checked whenever it is entered.

    Members
    -------
    done : instructions translated per block, fewer than the block has where the rest is left to the interpreter.
    pages : linear pages besides the head's. The displacement of each, less the head's, is in `@pages_NAME`.
    ops, budget : of the block being emitted.
    """

    def __init__(self, name: str, head: Block, blocks: Mapping[int, Block], setting: Setting, recipes: Recipes,
                 slots: list[int], version: Version | None = None):
        self.name = name
        self._version = version
        self._head = head
        self._blocks = blocks
        self.setting = setting
        self.builder = Builder()
        self.fields = ContextFields(self.builder, setting.counted)
        self.ways = (ShortWays(name, self.builder, self.fields, slots) if setting.counted
                     else Ways(name, self.builder, self.fields, recipes, slots))
        self._slots = slots
        self.accesses = Accesses(self.builder, self.fields, setting, self)
        self._calls = Calls(self.builder, self.fields, setting, self)
        self._roots = self._find_roots()
        self._pages = {block.eip >> 12 for block in blocks.values()}
        reached = self._pages | {b.eip + len(b.code) >> 12 & 0xFFFFF for b in blocks.values() if b.second is not None}
        self.pages = tuple(sorted(reached - {head.eip >> 12}))
        self._todo: list[Todo] = []
        self._emitted: set[int] = set()
        self.done: dict[int, int] = {}
        self.ops: LlvmOps
        self._block: Block
        self._guest: Guest
        self._index = 0
        self.budget = self._entered = ""
        self._shadow = self._under_shadow = self._dispatch = False

    def _find_roots(self) -> set[int]:
        """Blocks that have to be entered by label: joins, heads of loops, and where calls come back."""
        arrivals: dict[int, int] = {self._head.eip: 2}
        for block in self._blocks.values():
            for target in block.successors:
                # a REP instruction ends in two places: with no iteration and with its last
                arrivals[target] = arrivals.get(target, 0) + 1 + block.repeats
            if block.returns_to is not None:
                arrivals[block.returns_to] = 2
            if block.repeats:
                arrivals[block.eip] = 2
        return {eip for eip, count in arrivals.items() if count > 1 and eip in self._blocks}

    # the function

    def text(self) -> str:
        """The IR of the function."""
        b = self.builder
        self._check_pages()
        self._check_bytes()
        b.emit(f"br label %{self.label(self._head.eip)}")
        self._todo = [Todo(self._head, None, "")]
        while self._todo:
            item = self._todo.pop()
            if item.block.eip not in self._emitted:
                self._emitted.add(item.block.eip)
                self._emit_block(item)
        self.ways.epilogue()
        lines = [f"define ghccc void @{self.name}({PARAMETERS}) {NO_REALIGNMENT} {{", "entry:",
                 *self.ways.prologue(), *self.fields.entry, *b.main, *b.cold, "}"]
        return _unhinted("\n".join(lines)) if self.setting.counted else "\n".join(lines)

    def _check_pages(self) -> None:
        """Under paging, the pages of a region must lie where they lay when it was taken into use."""
        b, setting = self.builder, self.setting
        if not setting.paging or not self.pages:
            return
        here = self.accesses.entry(Kind.READ, str(self._head.eip >> 12))
        bad = "false"
        for number, page in enumerate(self.pages):
            moved = b.let(f"sub i64 {self.accesses.entry(Kind.READ, str(page))}, {here}")
            word = f"getelementptr ([{len(self.pages)} x i64], ptr @pages_{self.name}, i64 0, i64 {number})"
            differs = b.let(f"icmp ne i64 {moved}, {b.let(f'load i64, ptr {word}')}")
            bad = b.let(f"or i1 {bad}, {differs}")
        b.emit(f"br i1 {bad}, label %remapped, label %mapped{UNLIKELY}")
        with b.aside("remapped"):
            self.ways.exit(self._head.eip, *self.ways.arrive(), Exit.REMAPPED)
        b.start("mapped")

    def _check_bytes(self) -> None:
        """Go on with the next version of the block if this is not what its bytes are."""
        version, b = self._version, self.builder
        if version is None:
            return
        ram = self.fields.load("ram", "ptr")
        b.emit(f"%bytes = getelementptr i8, ptr {ram}, i64 {version.block.physical}")
        b.emit(f"br i1 {self.is_rewritten(version, 0)}, label %rewritten, label %intact, !prof !6")
        with b.aside("rewritten"):
            following = b.let(f"load ptr, ptr @next_{self.name}")
            b.emit(f"br i1 {b.let(f'icmp eq ptr {following}, null')}, label %unknown, label %another")
            b.start("another")
            self.ways.leave(following, *self.ways.arrive())
            b.start("unknown")
            self.fields.store("slot", 0, "i64")
            self.ways.exit(self._head.eip, *self.ways.arrive(), Exit.MISSING)
        b.start("intact")

    def is_rewritten(self, version: Version, first: int) -> str:
        """Whether fixed bytes of a checked block, from an offset on, are not what they were."""
        b, bad = self.builder, "false"
        for piece in version.pieces:
            bits, before = 8 * piece.size, 8 * max(first - piece.offset, 0)
            mask = piece.mask >> before << before
            if mask:
                place = b.let(f"getelementptr i8, ptr %bytes, i64 {piece.physical - version.block.physical}")
                fixed = b.let(f"and i{bits} {b.let(f'load i{bits}, ptr {place}{GUEST}')}, {mask}")
                bad = b.let(f"or i1 {bad}, {b.let(f'icmp ne i{bits} {fixed}, {piece.value & mask}')}")
        return bad

    def _fetch(self, at: int, size: int) -> Node:
        """What some bytes of a checked block are now."""
        b = self.builder
        assert self._version is not None
        distance = places(self._version.block)[at] - self._version.block.physical
        place = b.let(f"getelementptr i8, ptr %bytes, i64 {distance}")
        return named(b.let(f"load i{8 * size}, ptr {place}{GUEST}"), 8 * size)

    def label(self, eip: int) -> str:
        return f"b{eip:x}"

    # blocks

    def _emit_block(self, item: Todo) -> None:
        b, block = self.builder, item.block
        self._block = block
        with b.scope():
            b.start(self.label(block.eip))
            now, budget = self.ways.arrive() if item.now is None else (item.now, item.budget)
            loop = self._string_loop(block)
            if loop is not None:
                loop.test(now, budget)
            entered = now.copy()
            # how many instructions can be translated is known only afterwards; the head goes in front of this then
            place = len(b.main)
            b.start(f"f{block.eip:x}")
            self.ops = o = LlvmOps(self.setting.mode, b, self, now)
            self._entered, self.budget = budget, (left := b.name("n"))
            self._shadow = self._under_shadow = self._dispatch = False
            done = 0
            if self._version is not None and not block.repeats:
                # the version before may be a REP instruction that has overwritten itself
                self.fields.store("repeating", 0, "i8")
            for guest in block.guests:
                if o.ended or not self._emit_instruction(guest, done):
                    break
                done += 1
            self.done[block.eip] = done
            # an instruction that always faults ends in the middle of a block
            if not o.ended:
                self._end_block(block, done)
        # in a scope of its own: what instructions have emitted is not there yet
        with b.before(place), b.scope():
            self._begin_block(block, done, (budget, left), entered, f"f{block.eip:x}")
        if loop is not None:
            loop.body()

    def _string_loop(self, block: Block) -> StringLoop | None:
        """What runs the iterations of a block that is a REP string instruction, if not each for itself."""
        return StringLoop(self, block) if self._version is None and applies(self, block) else None

    def resume(self, ops: LlvmOps, block: Block) -> None:
        """Emit the instruction of a block once more, with other operations."""
        self.ops, self._block, self._guest = ops, block, block.last
        self._shadow = self._under_shadow = self._dispatch = False

    def _begin_block(self, block: Block, done: int, budgets: tuple[str, str], entered: Straight, on: str) -> None:
        """What comes before the first instruction, which is at label `on`: the counter, the budget before and after."""
        b = self.builder
        reason: Reason = Exit.BUDGET
        budget, left = budgets
        b.emit(f"{left} = sub i64 {budget}, {done}")
        late = b.let(f"icmp slt i64 {left}, 0") if done else "false"
        if self.setting.counted:
            runs = b.let(f"sub i32 {b.let(f'load i32, ptr @count_{self.name}')}, 1")
            b.emit(f"store i32 {runs}, ptr @count_{self.name}")
            hot = b.let(f"icmp eq i32 {runs}, 0")
            reason = b.let(f"select i1 {hot}, i32 {int(Exit.HOT)}, i32 {int(Exit.BUDGET)}")
            late = b.let(f"or i1 {hot}, {late}")
        self._leave_head(late, block, budget, entered, reason, on)

    def _leave_head(self, condition: str, block: Block, budget: str, entered: Straight, reason: Reason,
                    on: str) -> None:
        """Leave before the first instruction on a condition that hardly ever holds, else go on at a label."""
        b = self.builder
        out = b.new_label("out")
        b.emit(f"br i1 {condition}, label %{out}, label %{on}{UNLIKELY}")
        with b.aside(out):
            self.ways.exit(block.eip, entered, budget, reason)

    def _interpret(self, guest: Guest) -> None:
        """Leave an instruction, and what follows in its block, to the interpreter."""
        self.ways.exit(guest.eip, self.ops.now, self.budget, Exit.INTERPRET)

    def _end_block(self, block: Block, done: int) -> None:
        """Go on behind the instructions done."""
        if done < len(block.guests):
            self._interpret(block.guests[done])
            return
        self._index = done
        if self._dispatch or is_barrier(block.last.insn):
            self._through_dispatch(known(block.end, 32))
        else:
            self.jump(known(block.end, 32))

    def _emit_instruction(self, guest: Guest, index: int) -> bool:
        """One instruction; False if it is not for native code, and then nothing of it stays."""
        b, o = self.builder, self.ops
        self._guest, self._index = guest, index
        self.accesses.begin()
        start, budget = o.now.copy(), self.budget
        lengths, label, depth = (len(b.main), len(b.cold), len(self._todo), len(self._slots)), b.label, b.depth
        self.ways.begin(start, guest.eip, index)
        o.next = guest.next
        shadowed, self._shadow = self._shadow, False
        if shadowed:
            self._dispatch = True
        self._under_shadow = shadowed
        makes_shadow = covers_next(guest.insn)
        if shadowed and makes_shadow:
            self.fields.store("shadow", 0)
        try:
            if _copies_frames(guest.insn):
                # given up between two of its stores, it would copy what it has written
                raise NotNative
            if self._version is None:
                emit(o, guest.insn)  # type: ignore[arg-type]
            else:
                emit_checked(o, guest.insn, guest.eip - self._block.eip, self._version, self._fetch)
            o.settle()
        except NotNative:
            b.rewind(lengths[0], lengths[1], label, depth)
            del self._todo[lengths[2]:], self._slots[lengths[3]:]
            self.ways.undo()
            o.now, o.ended, self.budget = start, False, budget
            o.drop_pending()
            return False
        if shadowed and not makes_shadow and not o.ended:
            self.fields.store("shadow", 0)
        self._shadow = makes_shadow
        return True

    # what instructions ask for: the `Frame` of `LlvmOps`

    def component(self, name: str) -> Node:
        return self.ways.component(name)

    def before_arms(self, now: Straight) -> None:
        self.ways.before_arms(now)

    def flags_out(self, now: Straight) -> None:
        self.ways.flags_out(now)

    def abort(self) -> str:
        """The label that gives up the present instruction: its state before, and the reason as it was left."""
        return self.ways.abort(self._entered)

    def raise_fault(self, vector: int, error: int | None) -> None:
        fields = self.fields
        fields.store("fault_vector", vector)
        fields.store("fault_error", error or 0)
        fields.store("fault_has_error", int(error is not None), "i8")
        fields.store("fault_has_cr2", 0, "i8")
        fields.store("reason", int(Exit.FAULT))
        self.builder.emit(f"br label %{self.abort()}")

    def begin_call(self) -> None:
        """Something is called that may make accesses, or may fail."""

    def end_call(self) -> None:
        """It has been called."""

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        return self.accesses.load(linear, bits, for_write)

    def store(self, linear: Node, value: Node) -> None:
        self.accesses.store(linear, value)

    def probe(self, segment: int, offset: Node, size: int, write: bool) -> None:
        """A load that keeps nothing asks all the questions an access does."""
        if not self.setting.mode.flat >> segment & 1:
            raise NotNative
        self.load(offset, 8 * size, write)

    def linear(self, segment: int, offset: Node, size: int, write: bool) -> Node:
        answer = self.routine("linear", (segment, offset, size, int(write)), 32)
        assert answer is not None
        return answer

    def routine(self, name: str, args: tuple[Node | int, ...], returns: int | None) -> Node | None:
        if name in PORTS and self._guest.insn.form.operation not in ("in", "out"):
            # INS and OUTS have more to do that may fail
            raise NotNative
        return self._calls.routine(name, self._guest.eip, args, returns)

    # ends of blocks

    def jump(self, target: Node) -> None:
        """Leave the block for EIP `target`."""
        now = self.ops.now
        if self._under_shadow:
            self.fields.store("shadow", 0)
        if self._block.repeats:
            self.fields.store("repeating", 0, "i8")
        if self._dispatch or is_barrier(self._guest.insn):
            self._through_dispatch(target)
        elif target.known is None:
            self._computed(target)
        elif self._is_inside(target.known):
            self._inside(target.known, now)
        elif self._is_chained(target.known):
            self.ways.chain(target.known, now, self.budget)
        else:
            self._through_jump_cache(target)

    def jump_either(self, condition: Node, target: Node) -> bool:
        """Leave the block for `target` or what follows, if that can be done at once; False if nothing was done."""
        if target.known is None or self._under_shadow or self._dispatch:
            return False
        end = self._block.end
        return self._is_chained(target.known) and self._is_chained(end) and self.ways.chain_either(
            condition, target.known, end, self.ops.now, self.budget)

    def _is_chained(self, eip: int) -> bool:
        """Whether the way to another translation may go through a chain slot."""
        return not self.setting.paging or eip >> 12 in self._pages

    def _is_inside(self, eip: int) -> bool:
        """Whether the way to a block of this region may be a branch. Nobody counted on one by a known register."""
        is_expected = eip in self._roots or eip in self._block.successors
        return is_expected and eip in self._blocks and not self.setting.counted

    def _inside(self, eip: int, now: Straight) -> None:
        b = self.builder
        if eip in self._roots:
            self._to_root(eip, now)
            return
        memo: dict[int, Node] = {}
        frozen = Straight([freeze(node, memo) for node in now.regs],
                          {name: None if node is None else freeze(node, memo) for name, node in now.flags.items()})
        self._todo.append(Todo(self._blocks[eip], frozen, self.budget))
        b.emit(f"br label %{self.label(eip)}")

    def _to_root(self, eip: int, now: Straight) -> None:
        self.to_root(now)
        self._todo.append(Todo(self._blocks[eip], None, ""))
        self.builder.emit(f"br label %{self.label(eip)}")

    def to_root(self, now: Straight) -> None:
        """Registers, flags and budget to where joins keep them."""
        assert isinstance(self.ways, Ways)
        self.ways.to_root(now, self.budget)

    def _through_dispatch(self, target: Node) -> None:
        now = self.ops.now
        self.ways.flags_out(now)
        self.fields.store("eip", self.builder.text(target))
        self.ways.leave(self.fields.load("dispatch", "ptr"), now, self.budget)

    def _computed(self, target: Node) -> None:
        """RET and indirect jumps: to a call of this region that may be the one, else through the jump cache."""
        sites = sorted(b.returns_to for b in self._blocks.values()
                       if b.returns_to is not None and b.returns_to in self._blocks)
        if sites and self._guest.insn.form.operation == "ret":
            b, now = self.builder, self.ops.now
            elsewhere = b.new_label("elsewhere")
            labels = {site: b.new_label("return") for site in sites}
            cases = " ".join(f"i32 {site}, label %{label}" for site, label in labels.items())
            value = b.text(target)
            self.to_root(now)
            b.emit(f"switch i32 {value}, label %{elsewhere} [ {cases} ]")
            for site, label in labels.items():
                b.start(label)
                b.emit(f"br label %{self.label(site)}")
                self._todo.append(Todo(self._blocks[site], None, ""))
            b.start(elsewhere)
        self._through_jump_cache(target)

    def _through_jump_cache(self, target: Node) -> None:
        b, fields = self.builder, self.fields
        self.ways.flags_out(self.ops.now)
        ops = self.ops
        spread = ops.and_(ops.xor(target, ops.shr(target, 6)), known(JUMP_ENTRIES - 1, 32))
        index, wide, eip = b.text(ops.zext(spread, 64)), b.text(ops.zext(target, 64)), b.text(target)
        entry = b.let(f"getelementptr [2 x i64], ptr {fields.pointer_at('jumps', JUMPS_AT)}, i64 {index}")
        tag = b.let(f"load i64, ptr {entry}{CONTEXT}")
        wanted = b.let(f"or i64 {wide}, {fields.load('tag', 'i64')}")
        self.ways.by_jump_cache(eip, entry, b.let(f"icmp eq i64 {tag}, {wanted}"), self.ops.now, self.budget)

    def repeat(self, condition: Node) -> None:
        """Another iteration of this REP instruction if `condition`."""
        b, now = self.builder, self.ops.now
        again, done = b.new_label("again"), b.new_label("finished")
        b.emit(f"br i1 {b.text(condition)}, label %{again}, label %{done}")
        with b.scope():
            b.start(again)
            self.fields.store("extra", b.let(f"add i64 {self.fields.load('extra', 'i64')}, 1"), "i64")
            self.fields.store("repeating", 1, "i8")
            if self.setting.counted or self._version is not None:
                self.ways.chain(self._block.eip, now, self.budget)
            else:
                self._to_root(self._block.eip, now)
        b.start(done)


def _copies_frames(insn: Insn) -> bool:
    """Whether an instruction is ENTER of a level that copies pointers from one part of the stack to another."""
    return insn.form.operation == "enter" and (insn.imm2 or 0) & 31 > 1


def _unhinted(text: str) -> str:
    """Without what only an optimizer reads."""
    return text.replace(CONTEXT, "").replace(UNLIKELY, "").replace(GUEST, ", align 1")
