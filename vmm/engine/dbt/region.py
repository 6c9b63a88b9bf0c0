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

from rtl.isa.exceptions import Vector
from vmm.engine.dbt.checked import emit_checked
from vmm.engine.dbt.frontend import Block, Guest, covers_next, is_barrier
from vmm.engine.dbt.layout import (
    CODE_MAP_AT,
    JUMP_ENTRIES,
    JUMPS_AT,
    SINK,
    TABLE_BYTES,
    TABLES_AT,
    Exit,
    Kind,
    offset,
)
from vmm.engine.dbt.llvmops import COMPONENTS, CONTEXT, GUEST, LlvmOps, NotNative, Straight
from vmm.engine.dbt.recipes import GROUPS, LEAVES, Recipes, freeze, settle_raw, store_components
from vmm.engine.dbt.rewritten import Version, places
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.stringloop import StringLoop, applies
from vmm.engine.dbt.values import UNLIKELY, Builder, Node, Raw, known, named
from vmm.semantics.table import emit

PARAMETERS = ", ".join(["ptr %c", *(f"i32 %r{n}" for n in range(8)), "i64 %b"])
#: A guest register is where a function that aligns its stack keeps its frame pointer, and LLVM does not notice.
NO_REALIGNMENT = '"no-realign-stack"'
_LOG2 = {8: 0, 16: 1, 32: 2}


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
    """

    def __init__(self, name: str, head: Block, blocks: Mapping[int, Block], setting: Setting, recipes: Recipes,
                 slots: list[int], version: Version | None = None):
        self.name = name
        self._version = version
        self._head = head
        self._blocks = blocks
        self.setting = setting
        self._recipes = recipes
        self._slots = slots
        self.builder = Builder()
        self.entry: list[str] = []
        self._pointers: dict[str, str] = {}
        self._uses_recipes = not setting.counted
        self._roots = self._find_roots()
        self._pages = {block.eip >> 12 for block in blocks.values()}
        reached = self._pages | {b.eip + len(b.code) >> 12 & 0xFFFFF for b in blocks.values() if b.second is not None}
        self.pages = tuple(sorted(reached - {head.eip >> 12}))
        self._todo: list[Todo] = []
        self._emitted: set[int] = set()
        self.done: dict[int, int] = {}
        self._ops: LlvmOps
        self._block: Block
        self._guest: Guest
        self._start: Straight
        self._index = 0
        self.budget = self._entered = ""
        self._otherwise = ""
        self._abort_label: str | None = None
        self._abort_scope: list[Node] = []
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
        self._todo = [Todo(self._head, None, "")]
        while self._todo:
            item = self._todo.pop()
            if item.block.eip not in self._emitted:
                self._emitted.add(item.block.eip)
                self._emit_block(item)
        lines = [f"define ghccc void @{self.name}({PARAMETERS}) {NO_REALIGNMENT} {{", "entry:"]
        lines += [f"%R{n} = alloca i32\nstore i32 %r{n}, ptr %R{n}" for n in range(8)]
        lines += ["%B = alloca i64", "store i64 %b, ptr %B", "%E = alloca i32"]
        if self._uses_recipes:
            for group in GROUPS:
                lines += [f"%K{group} = alloca i32\nstore i32 0, ptr %K{group}"]
                lines += [f"%L{group}{n} = alloca i32\nstore i32 0, ptr %L{group}{n}" for n in range(LEAVES[group])]
        check, epilogue = [*self._check_pages(), *self._check_bytes()], self._epilogue()
        lines += [*self.entry, *check, f"br label %{self.label(self._head.eip)}"]
        return "\n".join([*lines, *self.builder.main, *self.builder.cold, *epilogue, "}"])

    def _check_pages(self) -> list[str]:
        """Under paging, the pages of a region must lie where they lay when it was taken into use."""
        setting = self.setting
        if not setting.paging or not self.pages:
            return []
        kind = Kind.USER_READ if setting.user else Kind.READ
        base = TABLES_AT + kind * TABLE_BYTES

        def entry(page: int) -> str:
            place = self.builder.let(f"getelementptr i8, ptr %c, i64 {base + 8 * page}")
            return self.builder.let(f"load i64, ptr {place}{CONTEXT}")

        saved, self.builder.lines = self.builder.lines, []
        here = entry(self._head.eip >> 12)
        bad = "false"
        for number, page in enumerate(self.pages):
            moved = self.builder.let(f"sub i64 {entry(page)}, {here}")
            word = f"getelementptr ([{len(self.pages)} x i64], ptr @pages_{self.name}, i64 0, i64 {number})"
            differs = self.builder.let(f"icmp ne i64 {moved}, {self.builder.let(f'load i64, ptr {word}')}")
            bad = self.builder.let(f"or i1 {bad}, {differs}")
        self.builder.emit(f"br i1 {bad}, label %remapped, label %mapped{UNLIKELY}")
        self.builder.emit("remapped:")
        self.builder.emit(f"store i32 {self._head.eip}, ptr %E")
        self._leave(Exit.REMAPPED)
        self.builder.emit("mapped:")
        lines, self.builder.lines = self.builder.lines, saved
        return lines

    def _check_bytes(self) -> list[str]:
        """Go on with the next version of the block if this is not what its bytes are."""
        version = self._version
        if version is None:
            return []
        saved, self.builder.lines = self.builder.lines, []
        b = self.builder
        ram = b.let(f"load ptr, ptr {self.pointer('ram')}{CONTEXT}")
        b.emit(f"%bytes = getelementptr i8, ptr {ram}, i64 {version.block.physical}")
        bad = "false"
        for piece in version.pieces:
            bits = 8 * piece.size
            place = b.let(f"getelementptr i8, ptr %bytes, i64 {piece.physical - version.block.physical}")
            fixed = b.let(f"and i{bits} {b.let(f'load i{bits}, ptr {place}{GUEST}')}, {piece.mask}")
            bad = b.let(f"or i1 {bad}, {b.let(f'icmp ne i{bits} {fixed}, {piece.value}')}")
        b.emit(f"br i1 {bad}, label %rewritten, label %intact, !prof !6")
        b.emit("rewritten:")
        following = b.let(f"load ptr, ptr @next_{self.name}")
        b.emit(f"br i1 {b.let(f'icmp eq ptr {following}, null')}, label %unknown, label %another")
        b.emit("another:")
        self._tail_call(following, None, b.let("load i64, ptr %B"))
        b.emit("unknown:")
        b.emit(f"store i32 {self._head.eip}, ptr %E")
        self._store_field("slot", 0, 64)
        self._leave(Exit.MISSING)
        b.emit("intact:")
        lines, b.lines = b.lines, saved
        return lines

    def _fetch(self, at: int, size: int) -> Node:
        """What some bytes of a checked block are now."""
        b = self.builder
        assert self._version is not None
        distance = places(self._version.block)[at] - self._version.block.physical
        place = b.let(f"getelementptr i8, ptr %bytes, i64 {distance}")
        return named(b.let(f"load i{8 * size}, ptr {place}{GUEST}"), 8 * size)

    def _epilogue(self) -> list[str]:
        """Where every exit to Python ends: registers and flags from where joins keep them."""
        b = self.builder
        b.lines = []
        b.start("epilogue")
        if self._uses_recipes:
            for group in GROUPS:
                self._store_recipe(group)
        self._store_field("eip", b.let("load i32, ptr %E"), 32)
        self._tail_call(b.let(f"load ptr, ptr {self.pointer('exit')}{CONTEXT}"), None, b.let("load i64, ptr %B"))
        return b.lines

    def _tail_call(self, target: str, now: Straight | None, budget: str) -> None:
        b = self.builder
        registers = [b.let(f"load i32, ptr %R{n}") if now is None else b.text(now.regs[n]) for n in range(8)]
        args = ", ".join(["ptr %c", *(f"i32 {r}" for r in registers), f"i64 {budget}"])
        b.emit(f"musttail call ghccc void {target}({args})")
        b.emit("ret void")

    # small things

    def label(self, eip: int) -> str:
        return f"b{eip:x}"

    def pointer(self, field: str) -> str:
        """A pointer to a field of the context, computed at the entry."""
        return self.pointer_at(field, offset(field))

    def pointer_at(self, name: str, place: int) -> str:
        if name not in self._pointers:
            self._pointers[name] = f"%at_{name}"
            self.entry.append(f"%at_{name} = getelementptr i8, ptr %c, i64 {place}")
        return self._pointers[name]

    def _store_field(self, field: str, value: str | int, bits: int) -> None:
        self.builder.emit(f"store i{bits} {value}, ptr {self.pointer(field)}{CONTEXT}")

    def _leave(self, reason: Exit) -> None:
        """Go to the epilogue."""
        self._store_field("reason", int(reason), 32)
        self.builder.emit("br label %epilogue")

    # blocks

    def _emit_block(self, item: Todo) -> None:
        b, block = self.builder, item.block
        self._block = block
        with b.scope():
            b.start(self.label(block.eip))
            now = item.now
            if now is None:
                now = Straight([self.kept(n) for n in range(8)], dict.fromkeys(COMPONENTS))
                for node in now.regs:
                    b.text(node)
                budget = b.let("load i64, ptr %B")
            else:
                budget = item.budget
            loop = self._string_loop(block)
            if loop is not None:
                loop.test(now, budget)
            entered = Straight(list(now.regs), dict(now.flags))
            place = len(b.main)
            self._ops = o = LlvmOps(self.setting.mode, b, self, now)
            # how many instructions can be translated is known only afterwards; the head goes in here then
            self._entered, self.budget = budget, b.name("n")
            self._shadow = self._under_shadow = self._dispatch = False
            done = 0
            for guest in block.guests:
                if not self._emit_instruction(guest, done):
                    break
                done += 1
            self.done[block.eip] = done
            if done < len(block.guests):
                b.emit(f"store i32 {block.guests[done].eip}, ptr %E")
                self._spill(o.now, self.budget)
                self._leave(Exit.INTERPRET)
            elif not o.ended:
                self._index = done
                if self._dispatch or is_barrier(block.last.insn):
                    self._through_dispatch(known(block.end, 32))
                else:
                    self.jump(known(block.end, 32))
        self._head_of(block, place, done, budget, entered)
        if loop is not None:
            loop.body()

    def _string_loop(self, block: Block) -> StringLoop | None:
        """What runs the iterations of a block that is a REP string instruction, if not each for itself."""
        return StringLoop(self, block) if self._version is None and applies(self, block) else None

    def resume(self, ops: LlvmOps, block: Block) -> None:
        """Emit the instruction of a block once more, with other operations."""
        self._ops, self._block, self._guest = ops, block, block.last
        self._shadow = self._under_shadow = self._dispatch = False

    def kept(self, number: int) -> Node:
        """A register where joins keep it."""
        return Raw(f"load i32, ptr %R{number}", 32)

    def _is_kept(self, number: int, node: Node) -> bool:
        return isinstance(node, Raw) and node.template == f"load i32, ptr %R{number}"

    def _head_of(self, block: Block, place: int, done: int, budget: str, entered: Straight) -> None:
        """Insert what comes before the first instruction: the counter and the budget."""
        b = self.builder
        b.lines = []
        if self.setting.counted and block is self._head:
            counter = b.let(f"load i32, ptr @count_{self.name}")
            less = b.let(f"sub i32 {counter}, 1")
            b.emit(f"store i32 {less}, ptr @count_{self.name}")
            hot = b.let(f"icmp eq i32 {less}, 0")
            self._head_exit(hot, block, budget, entered, Exit.HOT)
        if done:
            b.emit(f"{self.budget} = sub i64 {budget}, {done}")
            self._head_exit(b.let(f"icmp slt i64 {self.budget}, 0"), block, budget, entered, Exit.BUDGET)
        else:
            b.emit(f"{self.budget} = add i64 {budget}, 0")
        b.main[place:place] = b.lines
        b.lines = b.main

    def _head_exit(self, condition: str, block: Block, budget: str, entered: Straight, reason: Exit) -> None:
        b = self.builder
        out, on = b.new_label("out"), b.new_label("on")
        b.emit(f"br i1 {condition}, label %{out}, label %{on}{UNLIKELY}")
        with b.aside(out):
            b.emit(f"store i32 {block.eip}, ptr %E")
            self._spill(entered, budget)
            self._leave(reason)
        b.start(on)

    def _emit_instruction(self, guest: Guest, index: int) -> bool:
        """One instruction; False if it is not for native code, and then nothing of it stays."""
        b, o = self.builder, self._ops
        self._guest, self._index = guest, index
        self._start = o.now.copy()
        self._abort_label = None
        lengths, label, depth = (len(b.main), len(b.cold), len(self._todo), len(self._slots)), b.label, b.depth
        o.next = guest.next
        shadowed, self._shadow = self._shadow, False
        if shadowed:
            self._dispatch = True
        self._under_shadow = shadowed
        makes_shadow = covers_next(guest.insn)
        if shadowed and makes_shadow:
            self._store_field("shadow", 0, 32)
        try:
            if self._version is None:
                emit(o, guest.insn)  # type: ignore[arg-type]
            else:
                emit_checked(o, guest.insn, guest.eip - self._block.eip, self._version, self._fetch)
            o.settle()
        except NotNative:
            b.rewind(lengths[0], lengths[1], label, depth)
            del self._todo[lengths[2]:], self._slots[lengths[3]:]
            o.now, o.ended = self._start, False
            o.drop_pending()
            return False
        if shadowed and not makes_shadow and not o.ended:
            self._store_field("shadow", 0, 32)
        self._shadow = makes_shadow
        return True

    # leaving the straight path

    def component(self, name: str) -> Node:
        """A flag component that this stretch has not changed."""
        if not self._uses_recipes:
            load = Raw(f"load i32, ptr {self.pointer(name)}{CONTEXT}", 32)
            return Node("trunc", 1, (load,)) if name == "fc" else load
        group = "c" if name == "fc" else "o"
        words = [f"%K{group}", *(f"%L{group}{n}" for n in range(LEAVES[group]))]
        args = tuple(Raw(f"load i32, ptr {word}", 32) for word in words)
        places = ", ".join(f"i32 {{{n}}}" for n in range(len(args)))
        bits = 1 if name == "fc" else 32
        return Raw(f"call i{bits} @eval_{name}(ptr %c, {places})", bits, args)

    def _store_flags(self, now: Straight) -> None:
        """The components that changed, into the context; with recipes a group goes as a whole."""
        changed: dict[str, Node] = {}
        groups = [group for group, names in GROUPS.items() if any(now.flags[name] is not None for name in names)]
        for group in groups:
            for name in GROUPS[group]:
                node = now.flags[name]
                if node is not None or self._uses_recipes:
                    changed[name] = self.component(name) if node is None else node
        store_components(self.builder, changed)
        if self._uses_recipes:
            for group in groups:
                self.builder.emit(f"store i32 0, ptr %K{group}")

    def _spill(self, now: Straight, budget: str | None) -> None:
        """Everything to where the epilogue looks for it."""
        if self._uses_recipes:
            for line in self._flags_to_root(now):
                self.builder.emit(line)
        else:
            self._store_flags(now)
        self._keep_registers(now)
        if budget is not None:
            self.builder.emit(f"store i64 {budget}, ptr %B")

    def _keep_registers(self, now: Straight) -> None:
        changed = [(number, self.builder.text(node)) for number, node in enumerate(now.regs)
                   if not self._is_kept(number, node)]
        for number, text in changed:
            self.builder.emit(f"store i32 {text}, ptr %R{number}")

    def abort(self) -> str:
        """The label that gives up the present instruction: its state before, and the reason as it was left."""
        b = self.builder
        if self._abort_label is None or not b.is_open(self._abort_scope):
            self._abort_scope = b.innermost
            self._abort_label = b.new_label("abort")
            with b.aside(self._abort_label):
                b.emit(f"store i32 {self._guest.eip}, ptr %E")
                self._spill(self._start, b.let(f"sub i64 {self._entered}, {self._index}"))
                b.emit("br label %epilogue")
        return self._abort_label

    def raise_fault(self, vector: int, error: int | None) -> None:
        self._store_field("fault_vector", vector, 32)
        self._store_field("fault_error", error or 0, 32)
        self._store_field("fault_has_error", int(error is not None), 8)
        self._store_field("fault_has_cr2", 0, 8)
        self._store_field("reason", int(Exit.FAULT), 32)
        self.builder.emit(f"br label %{self.abort()}")

    def before_arms(self, now: Straight) -> None:
        """Without recipes, flags go to the context once, before the ways part, and not on each of them."""
        if not self._uses_recipes:
            self._store_flags(now)
            now.flags.update(dict.fromkeys(COMPONENTS))

    def jump(self, target: Node) -> None:
        """Leave the block for EIP `target`."""
        now = self._ops.now
        if self._under_shadow:
            self._store_field("shadow", 0, 32)
        if self._block.repeats:
            self._store_field("repeating", 0, 8)
        if self._dispatch or is_barrier(self._guest.insn):
            self._through_dispatch(target)
        elif target.known is None:
            self._computed(target)
        elif target.known in self._blocks and not self.setting.counted:
            self._inside(target.known, now)
        elif self.setting.paging and target.known >> 12 not in self._pages:
            self._through_jump_cache(target)
        else:
            self._chain(target.known)

    def _inside(self, eip: int, now: Straight) -> None:
        b = self.builder
        if eip in self._roots:
            self.to_root(now)
            self._todo.append(Todo(self._blocks[eip], None, ""))
        else:
            memo: dict[int, Node] = {}
            frozen = Straight([freeze(node, memo) for node in now.regs],
                              {name: None if node is None else freeze(node, memo) for name, node in now.flags.items()})
            self._todo.append(Todo(self._blocks[eip], frozen, self.budget))
        b.emit(f"br label %{self.label(eip)}")

    def to_root(self, now: Straight) -> None:
        """Registers, flags and budget to where joins keep them."""
        b = self.builder
        if not self._uses_recipes:
            self._store_flags(now)
        else:
            for line in self._flags_to_root(now):
                b.emit(line)
        self._keep_registers(now)
        b.emit(f"store i64 {self.budget}, ptr %B")

    def _flags_to_root(self, now: Straight) -> list[str]:
        """Emit what recipes are made from; the stores, to be done when all of that has been read."""
        b = self.builder
        stores: list[str] = []
        plain = Straight(now.regs, dict.fromkeys(COMPONENTS))
        for group, names in GROUPS.items():
            if all(now.flags[name] is None for name in names):
                continue
            components = [now.flags[name] or self.component(name) for name in names]
            for node in components:
                settle_raw(b, node)
            memo: dict[int, Node] = {}
            numbered = self._recipes.number(group, [freeze(node, memo) for node in components])
            if numbered is None:
                plain.flags.update({name: node for name, node in zip(names, components, strict=True)})
                continue
            number, leaves = numbered
            stores.append(f"store i32 {number}, ptr %K{group}")
            for n, leaf in enumerate(leaves):
                word = leaf if leaf.bits == 32 else Node("zext", 32, (leaf,))
                stores.append(f"store i32 {b.text(word)}, ptr %L{group}{n}")
        self._store_flags(plain)
        return stores

    def _flags_out(self, now: Straight) -> None:
        """All flags into the context, for code that does not know recipes."""
        if not self._uses_recipes:
            self._store_flags(now)
            return
        changed: dict[str, Node] = {}
        for group, names in GROUPS.items():
            if all(now.flags[name] is None for name in names):
                self._store_recipe(group)
            else:
                changed.update({name: now.flags[name] or self.component(name) for name in names})
        store_components(self.builder, changed)

    def _store_recipe(self, group: str) -> None:
        args = [self.builder.let(f"load i32, ptr %K{group}")]
        args += [self.builder.let(f"load i32, ptr %L{group}{n}") for n in range(LEAVES[group])]
        self.builder.emit(f"call void @store_{group}(ptr %c, {', '.join(f'i32 {a}' for a in args)})")

    def _chain(self, eip: int) -> None:
        """To a translation elsewhere, directly once its address is known."""
        b, now = self.builder, self._ops.now
        self._flags_out(now)
        slot = f"getelementptr ([0 x ptr], ptr @slots_{self.name}, i64 0, i64 {len(self._slots)})"
        self._slots.append(eip)
        code = b.let(f"load ptr, ptr {slot}")
        missing, there = b.new_label("unlinked"), b.new_label("linked")
        b.emit(f"br i1 {b.let(f'icmp eq ptr {code}, null')}, label %{missing}, label %{there}{UNLIKELY}")
        with b.aside(missing):
            self._store_field("slot", f"ptrtoint (ptr {slot} to i64)", 64)
            b.emit(f"store i32 {eip}, ptr %E")
            if self._uses_recipes:
                for group in GROUPS:
                    b.emit(f"store i32 0, ptr %K{group}")
            self._keep_registers(now)
            b.emit(f"store i64 {self.budget}, ptr %B")
            self._leave(Exit.MISSING)
        b.start(there)
        self._tail_call(code, now, self.budget)

    def _through_dispatch(self, target: Node) -> None:
        b, now = self.builder, self._ops.now
        self._flags_out(now)
        self._store_field("eip", b.text(target), 32)
        self._tail_call(b.let(f"load ptr, ptr {self.pointer('dispatch')}{CONTEXT}"), now, self.budget)

    def _computed(self, target: Node) -> None:
        """RET and indirect jumps: to a call of this region that may be the one, else through the jump cache."""
        if self._guest.insn.form.operation == "ret":
            sites = sorted(b.returns_to for b in self._blocks.values()
                           if b.returns_to is not None and b.returns_to in self._blocks)
            if sites:
                b, now = self.builder, self._ops.now
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
        b, now = self.builder, self._ops.now
        self._flags_out(now)
        eip = b.text(target)
        spread = b.let(f"xor i32 {eip}, {b.let(f'lshr i32 {eip}, 6')}")
        index = b.let(f"zext i32 {b.let(f'and i32 {spread}, {JUMP_ENTRIES - 1}')} to i64")
        entry = b.let(f"getelementptr [2 x i64], ptr {self.pointer_at('jumps', JUMPS_AT)}, i64 {index}")
        tag = b.let(f"load i64, ptr {entry}{CONTEXT}")
        wide = b.let(f"zext i32 {eip} to i64")
        present = b.let(f"load i64, ptr {self.pointer('tag')}{CONTEXT}")
        wanted = b.let(f"or i64 {wide}, {present}")
        other, hit = b.new_label("other"), b.new_label("hit")
        b.emit(f"br i1 {b.let(f'icmp eq i64 {tag}, {wanted}')}, label %{hit}, label %{other}, !prof !6")
        with b.aside(other):
            self._store_field("eip", eip, 32)
            self._tail_call(b.let(f"load ptr, ptr {self.pointer('lookup')}{CONTEXT}"), now, self.budget)
        b.start(hit)
        place = b.let(f"getelementptr i8, ptr {entry}, i64 8")
        self._tail_call(b.let(f"load ptr, ptr {place}{CONTEXT}"), now, self.budget)

    def repeat(self, condition: Node) -> None:
        """Another iteration of this REP instruction if `condition`."""
        b, o = self.builder, self._ops
        again, done = b.new_label("again"), b.new_label("finished")
        b.emit(f"br i1 {b.text(condition)}, label %{again}, label %{done}")
        with b.scope():
            b.start(again)
            extra = b.let(f"load i64, ptr {self.pointer('extra')}{CONTEXT}")
            self._store_field("extra", b.let(f"add i64 {extra}, 1"), 64)
            self._store_field("repeating", 1, 8)
            if self._version is not None:
                self._chain(self._block.eip)
            else:
                self.to_root(o.now)
                b.emit(f"br label %{self.label(self._block.eip)}")
        b.start(done)

    # memory

    def _accessor(self, what: str, bits: int) -> str:
        name = f"{what}{bits}{'u' if self.setting.user else 's'}"
        place = offset("routines") + 8 * self.setting.routines[name]
        return self.builder.let(f"load ptr, ptr {self.pointer_at(name, place)}{CONTEXT}")

    def _lookup(self, kind: Kind, address: str, bits: int) -> str:
        """The entry of a data table."""
        b, log2 = self.builder, _LOG2[bits]
        turned = address if not log2 else b.let(f"call i32 @llvm.fshr.i32(i32 {address}, i32 {address}, i32 {log2})")
        index = b.let(f"zext i32 {b.let(f'lshr i32 {turned}, {12 - log2}')} to i64")
        table = self.pointer_at(f"table{int(kind)}", TABLES_AT + kind * TABLE_BYTES)
        return b.let(f"load i64, ptr {b.let(f'getelementptr i64, ptr {table}, i64 {index}')}{CONTEXT}")

    def _host(self, entry: str, address: str) -> str:
        b = self.builder
        wide = b.let(f"zext i32 {address} to i64")
        return b.let(f"inttoptr i64 {b.let(f'add i64 {entry}, {wide}')} to ptr")

    def _call_load(self, what: str, address: str, bits: int) -> str:
        """The slow way: an accessor, whose answer is negative when the instruction is to be given up."""
        b = self.builder
        answer = b.let(f"call preserve_mostcc i64 {self._accessor(what, bits)}(ptr %c, i32 {address})")
        good = b.new_label("good")
        b.emit(f"br i1 {b.let(f'icmp slt i64 {answer}, 0')}, label %{self.abort()}, label %{good}{UNLIKELY}")
        b.start(good)
        return b.let(f"trunc i64 {answer} to i{bits}")

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        b, setting = self.builder, self.setting
        address = b.text(linear)
        what = "change" if for_write else "load"
        if not setting.inline:
            return named(self._call_load(what, address, bits), bits)
        kind = Kind((Kind.WRITE if for_write else Kind.READ) + setting.user)
        entry = self._lookup(kind, address, bits)
        slow, fast, done = b.new_label("slow"), b.new_label("fast"), b.new_label("done")
        b.emit(f"br i1 {b.let(f'icmp eq i64 {entry}, 0')}, label %{slow}, label %{fast}{UNLIKELY}")
        self.abort()
        values = []
        with b.aside(slow):
            if for_write and setting.beside:
                beside = self._look_beside(address, bits)
                values.append((b.let(f"load i{bits}, ptr {beside}{GUEST}"), b.label))
                self._end_beside(done)
            values.append((self._call_load(what, address, bits), b.label))
            b.emit(f"br label %{done}")
        b.start(fast)
        values.append((b.let(f"load i{bits}, ptr {self._host(entry, address)}{GUEST}"), fast))
        b.emit(f"br label %{done}")
        b.start(done)
        return named(b.let(f"phi i{bits} {', '.join(f'[ {value}, %{label} ]' for value, label in values)}"), bits)

    def store(self, linear: Node, value: Node) -> None:
        b, setting, bits = self.builder, self.setting, value.bits
        address, datum = b.text(linear), b.text(value)
        if not setting.inline:
            self._call_store(address, datum, bits)
            return
        entry = self._lookup(Kind(Kind.WRITE + setting.user), address, bits)
        slow, fast, done = b.new_label("slow"), b.new_label("fast"), b.new_label("done")
        b.emit(f"br i1 {b.let(f'icmp eq i64 {entry}, 0')}, label %{slow}, label %{fast}{UNLIKELY}")
        self.abort()
        with b.aside(slow):
            if setting.beside:
                beside = self._look_beside(address, bits)
                b.emit(f"store i{bits} {datum}, ptr {beside}{GUEST}")
                self._end_beside(done)
            self._call_store(address, datum, bits)
            b.emit(f"br label %{done}")
        b.start(fast)
        b.emit(f"store i{bits} {datum}, ptr {self._host(entry, address)}{GUEST}")
        b.emit(f"br label %{done}")
        b.start(done)

    def _look_beside(self, address: str, bits: int) -> str:
        """The place of a write to a page with code, if there is none where it goes; `_end_beside` starts the rest."""
        b = self.builder
        entry = self._lookup(Kind(Kind.WATCHED + self.setting.user), address, bits)
        look, clean, self._otherwise = b.new_label("look"), b.new_label("clean"), b.new_label("otherwise")
        b.emit(f"br i1 {b.let(f'icmp eq i64 {entry}, 0')}, label %{self._otherwise}, label %{look}")
        b.start(look)
        host = b.let(f"add i64 {entry}, {b.let(f'zext i32 {address} to i64')}")
        ram = b.let(f"load i64, ptr {self.pointer('ram')}{CONTEXT}")
        physical = b.let(f"sub i64 {host}, {ram}")
        code_map = self.pointer_at("code_map", CODE_MAP_AT)
        place = b.let(f"getelementptr i8, ptr {code_map}, i64 {b.let(f'lshr i64 {physical}, 3')}")
        marks = b.let(f"load i16, ptr {place}, align 1{CONTEXT}")
        within = b.let(f"and i16 {b.let(f'trunc i64 {physical} to i16')}, 7")
        touched = b.let(f"and i16 {b.let(f'lshr i16 {marks}, {within}')}, {(1 << bits // 8) - 1}")
        b.emit(f"br i1 {b.let(f'icmp eq i16 {touched}, 0')}, label %{clean}, label %{self._otherwise}")
        b.start(clean)
        return b.let(f"inttoptr i64 {host} to ptr")

    def _end_beside(self, done: str) -> None:
        self.builder.emit(f"br label %{done}")
        self.builder.start(self._otherwise)

    def _call_store(self, address: str, datum: str, bits: int) -> None:
        b = self.builder
        wide = datum if bits == 32 else b.let(f"zext i{bits} {datum} to i32")
        answer = b.let(
            f"call preserve_mostcc i64 {self._accessor('store', bits)}(ptr %c, i32 {address}, i32 {wide})")
        good = b.new_label("good")
        b.emit(f"br i1 {b.let(f'icmp slt i64 {answer}, 0')}, label %{self.abort()}, label %{good}{UNLIKELY}")
        b.start(good)

    def probe(self, segment: int, offset: Node, size: int, write: bool) -> None:
        """A load that keeps nothing asks all the questions an access does."""
        if not self.setting.mode.flat >> segment & 1:
            raise NotNative
        self.load(offset, 8 * size, write)

    def linear(self, segment: int, offset: Node, size: int, write: bool) -> Node:
        answer = self.routine("linear", (segment, offset, size, int(write)), 32)
        assert answer is not None
        return answer

    # routines

    def routine(self, name: str, args: tuple[Node | int, ...], returns: int | None) -> Node | None:
        if name == "require_cpl0":
            self._require_cpl0()
            return None
        if name in ("check_port", "port_out"):
            port, size, *value = args
            sink = self.setting.sink
            if sink is None or not isinstance(port, Node) or port.known != sink or size != 1 or self.setting.user:
                raise NotNative
            for node in value:
                assert isinstance(node, Node)
                self._sink(node)
            return None
        place = self.setting.routines.get(name)
        if place is None:
            raise NotNative
        b, now = self.builder, self._ops.now
        for number, node in enumerate(now.regs):
            where = self.pointer_at(f"gpr{number}", offset("gpr") + 4 * number)
            b.emit(f"store i32 {b.text(node)}, ptr {where}{CONTEXT}")
        self._flags_out(now)
        self._store_field("eip", self._guest.eip, 32)
        words = [f"i64 {arg}" if isinstance(arg, int) else f"i64 {b.text(self._ops.zext(arg, 64))}" for arg in args]
        result = self.pointer("results")
        code = b.let(f"load ptr, ptr {self.pointer_at(name, offset('routines') + 8 * place)}{CONTEXT}")
        status = b.let(f"call i32 {code}({', '.join(['ptr %c', *words, f'ptr {result}'])})")
        failed, good = b.new_label("failed"), b.new_label("good")
        b.emit(f"br i1 {b.let(f'icmp ne i32 {status}, 0')}, label %{failed}, label %{good}{UNLIKELY}")
        self.abort()
        with b.aside(failed):
            faulted = b.let(f"icmp eq i32 {status}, 1")
            reason = b.let(f"select i1 {faulted}, i32 {int(Exit.FAULT)}, i32 {int(Exit.INTERPRET)}")
            self._store_field("reason", reason, 32)
            b.emit(f"br label %{self.abort()}")
        b.start(good)
        for number in range(8):
            where = self.pointer_at(f"gpr{number}", offset("gpr") + 4 * number)
            now.regs[number] = named(b.let(f"load i32, ptr {where}{CONTEXT}"), 32)
        for component in COMPONENTS:
            word = named(b.let(f"load i32, ptr {self.pointer(component)}{CONTEXT}"), 32)
            now.flags[component] = named(b.let(f"trunc i32 {word.text} to i1"), 1) if component == "fc" else word
        if returns is None:
            return None
        whole = named(b.let(f"load i64, ptr {result}{CONTEXT}"), 64)
        return self._ops.trunc(whole, returns)

    def _sink(self, value: Node) -> None:
        """A byte to where Python fetches it; the interpreter sees to it outside ring 0, or if there is no room."""
        b = self.builder
        level = b.let(f"load i32, ptr {self.pointer('cpl')}{CONTEXT}")
        count = b.let(f"load i32, ptr {self.pointer('sunk')}{CONTEXT}")
        full = b.let(f"icmp uge i32 {count}, {SINK}")
        refused = b.let(f"or i1 {full}, {b.let(f'icmp ne i32 {level}, 0')}")
        outer, inner = b.new_label("full"), b.new_label("room")
        b.emit(f"br i1 {refused}, label %{outer}, label %{inner}{UNLIKELY}")
        self.abort()
        with b.aside(outer):
            self._store_field("reason", int(Exit.INTERPRET), 32)
            b.emit(f"br label %{self.abort()}")
        b.start(inner)
        index = b.let(f"zext i32 {count} to i64")
        place = b.let(f"getelementptr i8, ptr {self.pointer('sink')}, i64 {index}")
        b.emit(f"store i8 {b.text(value)}, ptr {place}{CONTEXT}")
        self._store_field("sunk", b.let(f"add i32 {count}, 1"), 32)

    def _require_cpl0(self) -> None:
        if self.setting.user:
            raise NotNative
        b = self.builder
        level = b.let(f"load i32, ptr {self.pointer('cpl')}{CONTEXT}")
        outer, inner = b.new_label("outer"), b.new_label("inner")
        b.emit(f"br i1 {b.let(f'icmp ne i32 {level}, 0')}, label %{outer}, label %{inner}{UNLIKELY}")
        self.abort()
        with b.aside(outer):
            self.raise_fault(int(Vector.GP), 0)
        b.start(inner)
