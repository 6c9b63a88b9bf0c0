"""Splitting words that are only ever made of pieces and used in pieces.

Structures cross multiplexers and registers as one wide word, put together before and taken apart behind. Where no use
needs the bits on both sides of a boundary together, the word becomes two.
"""

from __future__ import annotations

from .netlist import Chunk, Netlist, Node, Register, Sig
from .sinks import Sinks
from .words import cut

_BITWISE = frozenset({"and", "or", "xor", "xnor"})


def piece(sig: Sig, start: int, end: int) -> Sig:
    """Bits ``start`` to ``end`` of a signal."""
    chunks: list[Chunk] = []
    for chunk in cut(sig, end):
        if start >= chunk.bits:
            start -= chunk.bits
        elif start == 0:
            chunks.append(chunk)
        else:
            width = chunk.bits - start
            if chunk.node < 0:
                chunks.append(Chunk(-1, chunk.offset >> start, width))
            elif chunk.repeat > 1:
                chunks.append(chunk._replace(repeat=width))
            else:
                chunks.append(Chunk(chunk.node, chunk.offset + start, width))
            start = 0
    return tuple(chunks)


def boundaries(sig: Sig) -> set[int]:
    """Positions between the chunks of a signal."""
    positions, position = set(), 0
    for chunk in sig[:-1]:
        position += chunk.bits
        positions.add(position)
    return positions


class Splitter:
    """One round: decides the cuts of every node, users first, and applies them."""

    def __init__(self, net: Netlist, sinks: Sinks, order: list[int]) -> None:
        self._net = net
        self._order = order
        self._uses: dict[int, list[tuple[int, int]]] = {}
        self._cuts: dict[int, list[int]] = {}
        self._pieces: dict[int, list[Sig]] = {}
        self._written = [sig for tap in sinks.taps for sig in (tap.valid, *tap.fields)]
        self._written += [sinks.stop] if sinks.stop is not None else []
        self._written += list(sinks.ram or ())

    def run(self) -> bool:
        """Split what can be; whether anything was."""
        net = self._net
        for write in net.writes:
            self._written += [write.addr, write.data, write.en]
        for sig in self._written:
            self._use(sig)
        for register in net.registers:
            self._use_pieces(register.d, [])
            if register.en is not None:
                self._use(register.en)
        for index in reversed(self._order):
            self._decide(index, net.nodes[index])
        for register in net.registers:
            self._choose(register.node, boundaries(register.d))
        if not self._cuts:
            return False
        for index in self._cuts:
            self._make_pieces(index)
        self._substitute()
        return True

    def _use(self, sig: Sig) -> None:
        for chunk in sig:
            if chunk.node >= 0:
                self._uses.setdefault(chunk.node, []).append((chunk.offset, chunk.offset + chunk.width))

    def _use_pieces(self, sig: Sig, cuts: list[int]) -> None:
        """Uses of an operand of a word that is cut at ``cuts``."""
        edges = [0, *cuts, sum(chunk.bits for chunk in sig)]
        for start, end in zip(edges, edges[1:], strict=False):
            self._use(piece(sig, start, end))

    def _decide(self, index: int, node: Node) -> None:
        words = self._splittable(node)
        if words is None:
            for sig in node.ins:
                self._use(sig)
            return
        self._choose(index, set().union(*(boundaries(sig) for sig in words)))
        cuts = self._cuts.get(index, [])
        for sig in words:
            self._use_pieces(sig, cuts)
        for sig in node.ins:
            if sig not in words:
                self._use(sig)

    @staticmethod
    def _splittable(node: Node) -> tuple[Sig, ...] | None:
        """Operands whose bit i decides bit i of the result, or None if the operation mixes bits."""
        if node.op in ("mux", "pmux", "bmux"):
            return node.ins[:-1]
        if node.op == "copy" or node.op in _BITWISE or node.op == "not":
            if all(sum(chunk.bits for chunk in sig) == node.width for sig in node.ins):
                return node.ins
        return None

    def _choose(self, index: int, wanted: set[int]) -> None:
        uses = self._uses.get(index, ())
        cuts = sorted(place for place in wanted if not any(start < place < end for start, end in uses))
        if cuts:
            self._cuts[index] = cuts

    def _make_pieces(self, index: int) -> None:
        net = self._net
        node = net.nodes[index]
        edges = [0, *self._cuts[index], node.width]
        made: list[Sig] = []
        for start, end in zip(edges, edges[1:], strict=False):
            width = end - start
            if node.op == "reg":
                made.append(self._register_piece(net.registers[node.ref], start, end))
            elif node.op in ("mux", "pmux", "bmux"):
                ins = (*(piece(sig, start, end) for sig in node.ins[:-1]), node.ins[-1])
                made.append(net.add(node.op, width, ins))
            else:
                made.append(net.add(node.op, width, tuple(piece(sig, start, end) for sig in node.ins)))
        self._pieces[index] = made

    def _register_piece(self, register: Register, start: int, end: int) -> Sig:
        net = self._net
        sig = net.add("reg", end - start, ref=len(net.registers))
        init = register.init >> start & ((1 << (end - start)) - 1)
        net.registers.append(Register(sig[0].node, end - start, init, piece(register.d, start, end), register.en))
        return sig

    def _substitute(self) -> None:
        net = self._net
        gone = {net.nodes[index].ref for index in self._pieces if net.nodes[index].op == "reg"}
        net.registers = [register for number, register in enumerate(net.registers) if number not in gone]
        for number, register in enumerate(net.registers):
            net.nodes[register.node].ref = number
            register.d = self.moved(register.d)
            register.en = None if register.en is None else self.moved(register.en)
        for node in net.nodes:
            node.ins = tuple(self.moved(sig) for sig in node.ins)
        for write in net.writes:
            write.addr, write.data, write.en = self.moved(write.addr), self.moved(write.data), self.moved(write.en)
        for table in (net.names, net.outputs):
            for name, sig in table.items():
                table[name] = self.moved(sig)

    def moved(self, sig: Sig) -> Sig:
        """The signal over the pieces."""
        if not any(chunk.node in self._pieces for chunk in sig):
            return sig
        chunks: list[Chunk] = []
        for chunk in sig:
            if chunk.node not in self._pieces:
                chunks.append(chunk)
                continue
            edges = [0, *self._cuts[chunk.node], self._net.nodes[chunk.node].width]
            for made, start, end in zip(self._pieces[chunk.node], edges, edges[1:], strict=False):
                low, high = max(start, chunk.offset), min(end, chunk.offset + chunk.width)
                if low < high:
                    chunks.append(Chunk(made[0].node, low - start, high - low, chunk.repeat))
        return tuple(chunks)
