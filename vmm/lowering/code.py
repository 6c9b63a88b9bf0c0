"""Text of one LLVM function in the making: basic blocks, temporaries, stack slots."""

from __future__ import annotations

from collections.abc import Sequence


class Block:
    """A basic block. It is closed once it has its terminator, and takes no instruction any more."""

    def __init__(self, label: str):
        self.label = label
        self.lines: list[str] = []
        self.closed = False


class Code:
    """The body of a function. Blocks come out in the order in which they are started."""

    def __init__(self) -> None:
        self._count = 0
        self._slots: list[str] = []
        self._blocks: list[Block] = []
        self.current = self.start(self.block("body"))

    def name(self, hint: str = "t") -> str:
        self._count += 1
        return f"%{hint}.{self._count}"

    def block(self, hint: str) -> Block:
        return Block(self.name(hint)[1:])

    def start(self, block: Block) -> Block:
        """Make a block the current one."""
        self._blocks.append(block)
        self.current = block
        return block

    def do(self, text: str) -> None:
        if not self.current.closed:
            self.current.lines.append(text)

    def op(self, text: str) -> str:
        """An instruction with a result."""
        name = self.name()
        self.do(f"{name} = {text}")
        return name

    def slot(self, kind: str) -> str:
        """A stack slot, allocated once per call of the function."""
        name = self.name("slot")
        self._slots.append(f"{name} = alloca {kind}, align 8")
        return name

    def close(self, text: str) -> None:
        """End the current block."""
        self.do(text)
        self.current.closed = True

    def jump(self, block: Block) -> None:
        self.close(f"br label %{block.label}")

    def branch(self, condition: str, yes: Block, no: Block) -> None:
        self.close(f"br i1 {condition}, label %{yes.label}, label %{no.label}")

    def at(self, place: str, offset: int) -> str:
        """The address `offset` bytes after a place."""
        return place if offset == 0 else self.op(f"getelementptr i8, ptr {place}, i64 {offset}")

    def load(self, kind: str, place: str) -> str:
        return self.op(f"load {kind}, ptr {place}")

    def store(self, kind: str, value: str, place: str) -> None:
        self.do(f"store {kind} {value}, ptr {place}")

    def copy(self, target: str, source: str, size: int | str) -> None:
        self.do(f"call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")

    def text(self, entry: Sequence[str] = ()) -> str:
        """The whole body. `entry` are instructions to put before everything else."""
        first = self._blocks[0]
        lines = ["entry:", *self._slots, *entry, f"br label %{first.label}"]
        for block in self._blocks:
            lines.append(f"{block.label}:")
            lines += block.lines
            if not block.closed:
                lines.append("unreachable")
        return "\n".join(lines)
