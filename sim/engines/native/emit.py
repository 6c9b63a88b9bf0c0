"""LLVM text of a program."""

from __future__ import annotations

from .divide import exports, steps_of
from .layout import RAM_POINTER, RAM_WORDS, STOP_VALUE, TAP_FULL, Layout
from .netlist import Chunk, Netlist, Sig, const_value, sig_width
from .program import Block, Call, Do, If, Merge, Program
from .sinks import Sinks
from .words import Words, bit, ones, store_bits, type_bits, word_type


class Body(Words):
    """Writes one function from its steps."""

    def __init__(self, net: Netlist, sinks: Sinks, layout: Layout, block: Block) -> None:
        super().__init__()
        self.net = net
        self.sinks = sinks
        self.layout = layout
        self.scopes: list[dict[int, str]] = [{}]
        self.label = "entry"
        self.labels = 0
        self.exports = exports(net, sinks, block)
        self.merging: list[dict[int, Merge]] = []

    # -- words in memory

    def pointer(self, offset: int) -> str:
        return self.emit(f"getelementptr inbounds i8, ptr %s, i64 {offset}")

    def state_pointer(self, offset: int) -> str:
        return self.emit(f"getelementptr inbounds i8, ptr %s, i64 {offset}")

    def load(self, pointer: str, width: int, align: int | None = None) -> str:
        bits = store_bits(width)
        # The range is what keeps the optimiser from masking bits that are always zero.
        known = f", !range !{width}" if width < bits <= 64 else ""
        value = self.emit(f"load i{bits}, ptr {pointer}, align {align or min(bits // 8, 8)}{known}")
        return self._widen(value, bits, width)

    def _widen(self, value: str, bits: int, width: int) -> str:
        target = type_bits(width)
        if target == bits:
            return value
        return self.emit(f"{'zext' if target > bits else 'trunc'} i{bits} {value} to i{target}")

    def store(self, pointer: str, value: str, width: int) -> None:
        bits, source = store_bits(width), type_bits(width)
        if bits != source:
            if value.startswith("%"):
                value = self.emit(f"{'zext' if bits > source else 'trunc'} i{source} {value} to i{bits}")
        self.effect(f"store i{bits} {value}, ptr {pointer}, align {min(bits // 8, 8)}")

    def node_width(self, node: int) -> int:
        return self.net.nodes[node].width

    def node_value(self, node: int) -> str:
        for scope in reversed(self.scopes):
            if node in scope:
                return scope[node]
        value = self.load(self.pointer(self.layout.nodes[node]), self.net.nodes[node].width)
        self.scopes[-1][node] = value
        return value

    # -- control

    def new_label(self) -> str:
        self.labels += 1
        return f"b{self.labels}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def branch(self, test: str, one: str, zero: str) -> None:
        self.effect(f"br i1 {test}, label %{one}, label %{zero}")

    def guarded(self, test: str) -> str:
        """Open a block executed when ``test`` is 1; close it with ``end()`` of the label returned."""
        inside, after = self.new_label(), self.new_label()
        self.branch(test, inside, after)
        self.start(inside)
        self.scopes.append({})
        return after

    def end(self, after: str) -> None:
        self.scopes.pop()
        self.effect(f"br label %{after}")
        self.start(after)

    def call(self, function: int) -> None:
        self.effect(f"call void @f{function}(ptr %s)")

    def text(self, block: Block) -> str:
        """The whole body."""
        self.block(block)
        self.effect("ret void")
        return "\n".join(self.lines)

    def block(self, block: Block) -> None:
        for step in block:
            if isinstance(step, Do):
                getattr(self, f"do_{step.what}")(step.index)
            elif isinstance(step, Call):
                self.call(step.function)
            else:
                self.do_if(step)

    def do_if(self, step: If) -> None:
        others = self._other_values(step)
        test = self.sig((Chunk(step.test.node, step.test.offset, 1),))
        if not step.test.value:
            test = self.emit(f"xor i1 {test}, 1")
        before = self.label
        after = self.guarded(test)
        self.merging.append(step.merges)
        self.block(step.body)
        self.merging.pop()
        inner, last = self.scopes[-1], self.label
        self.end(after)
        depth = len(self.scopes) - 1
        for node, value in inner.items():
            if self.exports.get(node, depth + 1) <= depth:
                kind = word_type(self.net.nodes[node].width)
                other = others.get(node, "0")
                self.scopes[-1][node] = self.emit(f"phi {kind} [ {value}, %{last} ], [ {other}, %{before} ]")

    def _other_values(self, step: If) -> dict[int, str]:
        """Values of merges where the test fails; one computed in another function passes through memory."""
        here = {inside.index for inside in steps_of(step.body) if isinstance(inside, Do) and inside.what == "node"}
        values = {}
        for node, merge in step.merges.items():
            value = self.sig(merge.outside)
            if node in here and node not in self.layout.nodes:
                values[node] = value
            elif node in self.layout.nodes:
                self.store(self.pointer(self.layout.nodes[node]), value, self.net.nodes[node].width)
                if node in here:
                    values[node] = value
        return values

    # -- steps

    def do_node(self, index: int) -> None:
        node = self.net.nodes[index]
        merge = self.merging[-1].get(index) if self.merging else None
        value = self.sig(merge.inside) if merge is not None else self.operation(node)
        self.scopes[-1][index] = value
        if index in self.layout.nodes:
            self.store(self.pointer(self.layout.nodes[index]), value, node.width)

    def do_register(self, index: int) -> None:
        register = self.net.registers[index]
        after = None
        if register.en is not None:
            after = self.guarded(self.sig(register.en))
        self.store(self.pointer(self.layout.nodes[register.node]), self.sig(register.d), register.width)
        if after is not None:
            self.end(after)

    def op_memrd(self, node: object) -> str:
        memory, addr = self.net.memories[node.ref], node.ins[0]  # type: ignore[attr-defined]
        return self._row(node.ref, addr, memory.width)  # type: ignore[attr-defined]

    def _row_pointer(self, memory: int, row: str) -> str:
        bits = store_bits(self.net.memories[memory].width)
        base = self.state_pointer(self.layout.memories[memory])
        return self.emit(f"getelementptr inbounds [{bits // 8} x i8], ptr {base}, i64 {row}")

    def _row(self, memory: int, addr: Sig, width: int) -> str:
        depth = self.net.memories[memory].depth
        row = self.sig(addr, max(sig_width(addr), 33))
        if 1 << sig_width(addr) <= depth:
            return self.load(self._row_pointer(memory, row), width)
        inside = self.emit(f"icmp ult i64 {row}, {depth}")
        safe = self.emit(f"select i1 {inside}, i64 {row}, i64 0")
        value = self.load(self._row_pointer(memory, safe), width)
        return self.select(inside, value, "0", width)

    def do_memory(self, index: int) -> None:
        write = self.net.writes[index]
        memory = self.net.memories[write.memory]
        width, addr = memory.width, write.addr
        always = const_value(write.en)
        if always == 0:
            return
        whole = always == ones(width) or len(write.en) == 1 and (write.en[0].repeat == width or width == 1)
        after = None
        if always is None:
            after = self.guarded(self.sig((write.en[0]._replace(repeat=1),)) if whole else self.boolean(write.en))
        row = self.sig(addr, max(sig_width(addr), 33))
        nested = None
        if 1 << sig_width(addr) > memory.depth:
            nested = self.guarded(self.emit(f"icmp ult i64 {row}, {memory.depth}"))
        pointer, value = self._row_pointer(write.memory, row), self.sig(write.data)
        if not whole:
            kind, mask = word_type(width), self.sig(write.en)
            old = self.load(pointer, width)
            changed = self.emit(f"xor {kind} {old}, {value}")
            value = self.emit(f"xor {kind} {old}, {self.emit(f'and {kind} {changed}, {mask}')}")
        self.store(pointer, value, width)
        for label in (nested, after):
            if label is not None:
                self.end(label)

    def do_stop(self, _index: int) -> None:
        assert self.sinks.stop is not None
        value = self.sig(self.sinks.stop, 64)
        self.effect(f"store i64 {value}, ptr {self.pointer(STOP_VALUE)}, align 8")

    def do_tap(self, index: int) -> None:
        tap = self.sinks.taps[index]
        if const_value(tap.valid) == 0:
            return
        base = self.layout.tap(index)
        after = self.guarded(self.sig(tap.enabled))
        nested = self.guarded(self.sig(tap.valid))
        count = self.emit(f"load i64, ptr {self.pointer(base + 8)}, align 8")
        buffer = self.emit(f"load ptr, ptr {self.pointer(base)}, align 8")
        size = sum(store_bits(sig_width(field)) // 8 for field in tap.fields)
        record = self.emit(f"getelementptr inbounds [{size} x i8], ptr {buffer}, i64 {count}")
        position = 0
        for field in tap.fields:
            width = sig_width(field)
            bits, value = store_bits(width), self.sig(field)
            if bits != type_bits(width) and value.startswith("%"):
                value = self.emit(f"{'zext' if width == 1 else 'trunc'} {word_type(width)} {value} to i{bits}")
            place = self.emit(f"getelementptr inbounds i8, ptr {record}, i64 {position}")
            self.effect(f"store i{bits} {value}, ptr {place}, align 1")
            position += bits // 8
        more = self.emit(f"add i64 {count}, 1")
        self.effect(f"store i64 {more}, ptr {self.pointer(base + 8)}, align 8")
        capacity = self.emit(f"load i64, ptr {self.pointer(base + 16)}, align 8")
        full = self.guarded(self.emit(f"icmp uge i64 {more}, {capacity}"))
        self.effect(f"store i64 1, ptr {self.pointer(TAP_FULL)}, align 8")
        for label in (full, nested, after):
            self.end(label)

    def do_ram(self, _index: int) -> None:
        assert self.sinks.ram is not None
        en, addr, we, wdata = self.sinks.ram
        after = self.guarded(self.sig(en))
        row = self.sig(addr, max(sig_width(addr), 33))
        words = self.emit(f"load i64, ptr {self.pointer(RAM_WORDS)}, align 8")
        inside, outside, join = self.new_label(), self.new_label(), self.new_label()
        self.branch(self.emit(f"icmp ult i64 {row}, {words}"), inside, outside)
        self.start(inside)
        base = self.emit(f"load ptr, ptr {self.pointer(RAM_POINTER)}, align 8")
        pointer = self.emit(f"getelementptr inbounds i32, ptr {base}, i64 {row}")
        old = self.emit(f"load i32, ptr {pointer}, align 4")
        self.scopes.append({})
        mask = "0"
        for byte in range(4):
            lane = self.emit(f"select i1 {self.sig(bit(we, byte))}, i32 {255 << 8 * byte}, i32 0")
            mask = self.emit(f"or i32 {mask}, {lane}")
        writing = self.guarded(self.emit(f"icmp ne i32 {mask}, 0"))
        changed = self.emit(f"xor i32 {old}, {self.sig(wdata)}")
        value = self.emit(f"xor i32 {old}, {self.emit(f'and i32 {changed}, {mask}')}")
        self.effect(f"store i32 {value}, ptr {pointer}, align 4")
        self.end(writing)
        self.scopes.pop()
        self.effect(f"br label %{join}")
        last = self.label
        self.start(outside)
        self.effect(f"br label %{join}")
        self.start(join)
        rdata = self.emit(f"phi i32 [ {old}, %{last} ], [ -1, %{outside} ]")
        self.effect(f"store i32 {rdata}, ptr {self.pointer(self.layout.nodes[self.sinks.rdata])}, align 4")
        self.end(after)


_LOOP = """define i64 @run(ptr noalias %s, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %again ]
  %words = getelementptr inbounds i8, ptr %s, i64 {words}
  call void @llvm.memset.p0.i64(ptr align 64 %words, i8 0, i64 {bytes}, i1 false)
  call void @f0(ptr %s)
  %next = add i64 %i, 1
  %stop_at = getelementptr inbounds i8, ptr %s, i64 {stop}
  %stop = load i64, ptr %stop_at, align 8
  %full_at = getelementptr inbounds i8, ptr %s, i64 {full}
  %full = load i64, ptr %full_at, align 8
  %either = or i64 %stop, %full
  %done = icmp ne i64 %either, 0
  br i1 %done, label %out, label %again
again:
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %out
out:
  ret i64 %next
}}
"""


def declarations() -> str:
    widths = [32, *range(64, 1088, 64)]
    texts = [f"declare i{bits} @llvm.ctpop.i{bits}(i{bits})" for bits in widths]
    texts += [f"!{width} = !{{i{store_bits(width)} 0, i{store_bits(width)} {1 << width}}}"
              for width in range(64) if 0 < width < store_bits(width)]
    texts += [f"!{width} = !{{}}" for width in range(64) if not 0 < width < store_bits(width)]
    return "\n".join(texts) + "\n"


def program_text(net: Netlist, sinks: Sinks, layout: Layout, program: Program) -> str:
    """The module with the function ``run(state, cycles) -> cycles done``; ``cycles`` must not be 0.

    Words that pass between functions are 0 in a cycle that skips them, as they are inside a function: an enable among
    them must not be that of an earlier cycle.
    """
    texts = [declarations(), "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"]
    for number, block in enumerate(program.functions):
        lines = Body(net, sinks, layout, block).text(block)
        texts.append(f"define internal void @f{number}(ptr noalias %s) {{\nentry:\n{lines}\n}}\n")
    texts.append(_LOOP.format(stop=STOP_VALUE, full=TAP_FULL, words=layout.sources,
                              bytes=layout.skipped - layout.sources))
    return "\n".join(texts)


class ObserverBody(Body):
    """A function of the observer: computed words go to the output ``%o``, which starts with a copy of the sources."""

    def pointer(self, offset: int) -> str:
        return self.emit(f"getelementptr inbounds i8, ptr %o, i64 {offset}")

    def call(self, function: int) -> None:
        self.effect(f"call void @f{function}(ptr %s, ptr %o)")


def observer_text(net: Netlist, layout: Layout, program: Program) -> str:
    """The module with ``observe(state, out)``: computes every node of ``layout`` into ``out``."""
    texts = [declarations(), "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n"]
    for number, block in enumerate(program.functions):
        lines = ObserverBody(net, Sinks((), None, None), layout, block).text(block)
        texts.append(f"define internal void @f{number}(ptr noalias %s, ptr noalias %o) {{\nentry:\n{lines}\n}}\n")
    texts.append("define void @observe(ptr noalias %s, ptr noalias %o) {\nentry:\n"
                 f"  call void @llvm.memcpy.p0.p0.i64(ptr %o, ptr %s, i64 {layout.sources}, i1 false)\n"
                 "  call void @f0(ptr %s, ptr %o)\n  ret void\n}\n")
    return "\n".join(texts)
