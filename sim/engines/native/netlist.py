"""The word-level netlist the native compiler works on, and its reader for Yosys's JSON.

A *node* is a word computed in a cycle; a *signal* is a concatenation of slices of nodes and constants. Registers and
synchronous memory ports are split into a node read in the cycle and a write done at its end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..base import EngineError

#: Node operations that are sources: their value is state or input, not computed.
SOURCES = frozenset({"input", "reg"})


class Chunk(NamedTuple):
    """``width`` bits of node ``node`` from bit ``offset``; the bit itself ``repeat`` times if that is above 1.

    A constant has ``node`` = -1 and its value in ``offset``.
    """

    node: int
    offset: int
    width: int
    repeat: int = 1

    @property
    def bits(self) -> int:
        return self.width * self.repeat


#: Chunks, least significant first.
Sig = tuple[Chunk, ...]


def sig_width(sig: Sig) -> int:
    return sum(chunk.bits for chunk in sig)


def const(value: int, width: int) -> Sig:
    return (Chunk(-1, value & ((1 << width) - 1), width),) if width else ()


def const_value(sig: Sig) -> int | None:
    """The value of a constant signal, else None."""
    if len(sig) == 0:
        return 0
    if len(sig) == 1 and sig[0].node < 0:
        return sig[0].offset
    return None


@dataclass(slots=True)
class Node:
    """A word. ``ins`` are operands in the order of the operation; ``signed`` is the operands' signedness.

    Operations: ``input`` and ``reg`` (``ref`` = index), ``memrd`` (``ref`` = memory; reads rows as they were at the
    start of the cycle), ``copy``, and Yosys's cell types without the dollar sign. ``pmux`` has operands
    default, then one case per select bit, then the select. For ``shift``, ``signed`` is that of the amount and ``ref``
    that of the word.
    """

    op: str
    width: int
    ins: tuple[Sig, ...] = ()
    signed: bool = False
    ref: int = -1


@dataclass(slots=True)
class Register:
    """``node`` becomes ``d`` at the end of a cycle in which ``en`` (one bit, or None for always) is 1."""

    node: int
    width: int
    init: int
    d: Sig
    en: Sig | None


@dataclass(slots=True)
class MemWrite:
    """Write port: bits of the row at ``addr`` whose ``en`` bit is 1 become those of ``data``."""

    memory: int
    addr: Sig
    data: Sig
    en: Sig


@dataclass(slots=True)
class Memory:
    """Rows of ``width`` bits. A read past the end gives 0 and a write there is dropped."""

    name: str
    width: int
    depth: int
    init: list[int]
    written: bool = False


@dataclass(slots=True)
class Netlist:
    """Everything the compiler needs. ``names`` and ``outputs`` map names to signals."""

    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    registers: list[Register] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    writes: list[MemWrite] = field(default_factory=list)
    outputs: dict[str, Sig] = field(default_factory=dict)
    names: dict[str, Sig] = field(default_factory=dict)

    def add(self, op: str, width: int, ins: tuple[Sig, ...] = (), *, signed: bool = False, ref: int = -1) -> Sig:
        """Append a node and return it as a signal."""
        self.nodes.append(Node(op, width, ins, signed, ref))
        return (Chunk(len(self.nodes) - 1, 0, width),)

    def tap_enable(self, tap: str) -> Sig:
        """The input by which the host says whether it listens to a tap, made when first asked for."""
        name = f"listen:{tap}"
        if name not in self.inputs:
            self.inputs[name] = self.add("input", 1, ref=len(self.inputs))[0].node
        return (Chunk(self.inputs[name], 0, 1),)


BINARY = frozenset("and or xor xnor add sub mul div mod divfloor modfloor eq ne lt le gt ge "
                   "shl shr sshl sshr shift logic_and logic_or".split())
UNARY = frozenset("not neg pos reduce_and reduce_or reduce_xor reduce_xnor reduce_bool logic_not".split())
_ALIASES = {"eqx": "eq", "nex": "ne", "shiftx": "shift", "sshl": "shl", "reduce_bool": "reduce_or"}
_IGNORED = frozenset({"$scopeinfo", "$check", "$print", "$assert", "$assume", "$cover"})

Bit = tuple[int, int]


class _Reader:
    def __init__(self, module: dict[str, Any], top: str) -> None:
        self.module = module
        self.prefix = top + "."
        self.net = Netlist()
        self.bits: dict[int | str, Bit] = {}
        self.regs: list[tuple[dict[str, Any], int]] = []

    def read(self) -> Netlist:
        net = self.net
        ports = self.module["ports"]
        for name, port in ports.items():
            if port["direction"] == "input" and name != "clk":
                net.inputs[name] = self._define("input", port["bits"], ref=len(net.inputs))
        inits = self._initial_values()
        cells = [(name, cell) for name, cell in self.module["cells"].items() if cell["type"] not in _IGNORED]
        ops = []
        mems = []
        for name, cell in cells:
            kind = cell["type"]
            if kind in ("$dff", "$dffe"):
                self._declare_register(cell, inits)
            elif kind == "$mem_v2":
                mems.append((self._declare_memory(cell), cell))
            elif kind.startswith("$"):
                ops.append((self._define(kind[1:], cell["connections"]["Y"]), name, cell))
            else:
                raise EngineError(f"Cell '{name}' of type {kind} cannot be simulated")
        read_nodes = [(memory, cell, self._declare_reads(memory, cell)) for memory, cell in mems]
        for node, name, cell in ops:
            self._connect(net.nodes[node], name, cell)
        for (cell, _node), register in zip(self.regs, net.registers, strict=False):
            self._connect_register(register, cell)
        for memory, cell, reads in read_nodes:
            self._connect_memory(memory, cell, reads)
        for name, port in ports.items():
            if port["direction"] == "output":
                net.outputs[name] = self.sig(port["bits"])
        for name, wire in self.module["netnames"].items():
            if not wire["hide_name"] and name.startswith(self.prefix):
                net.names[name[len(self.prefix):]] = self.sig(wire["bits"])
        return net

    def sig(self, bits: Sequence[int | str]) -> Sig:
        chunks: list[Chunk] = []
        for bit in bits:
            node, offset = self.bits.get(bit, (-1, 1 if bit == "1" else 0))
            if chunks:
                last = chunks[-1]
                if node < 0 and last.node < 0:
                    chunks[-1] = Chunk(-1, last.offset | offset << last.width, last.width + 1)
                    continue
                if node == last.node and node >= 0:
                    if last.repeat == 1 and offset == last.offset + last.width:
                        chunks[-1] = Chunk(node, last.offset, last.width + 1)
                        continue
                    if last.width == 1 and offset == last.offset:
                        chunks[-1] = Chunk(node, offset, 1, last.repeat + 1)
                        continue
            chunks.append(Chunk(node, offset, 1))
        return tuple(chunks)

    def _define(self, op: str, bits: Sequence[int | str], ref: int = -1) -> int:
        index = len(self.net.nodes)
        self.net.nodes.append(Node(_ALIASES.get(op, op), len(bits), ref=ref))
        for position, bit in enumerate(bits):
            if not isinstance(bit, str):
                self.bits[bit] = (index, position)
        return index

    def _initial_values(self) -> dict[int | str, str]:
        inits: dict[int | str, str] = {}
        for wire in self.module["netnames"].values():
            init = wire["attributes"].get("init")
            if init is not None:
                for bit, value in zip(wire["bits"], reversed(init), strict=False):
                    if value in "01":
                        inits[bit] = value
        return inits

    def _declare_register(self, cell: dict[str, Any], inits: dict[int | str, str]) -> None:
        bits = cell["connections"]["Q"]
        node = self._define("reg", bits, ref=len(self.net.registers))
        init = int("".join(inits.get(bit, "0") for bit in reversed(bits)), 2)
        self.net.registers.append(Register(node, len(bits), init, (), None))
        self.regs.append((cell, node))

    def _connect_register(self, register: Register, cell: dict[str, Any]) -> None:
        register.d = self.sig(cell["connections"]["D"])
        if cell["type"] == "$dffe":
            register.en = self._polarity(self.sig(cell["connections"]["EN"]), _param(cell, "EN_POLARITY"))

    def _polarity(self, sig: Sig, polarity: int) -> Sig:
        return sig if polarity else self.net.add("not", 1, (sig,))

    def _declare_memory(self, cell: dict[str, Any]) -> int:
        for key in ("RD_WIDE_CONTINUATION", "WR_WIDE_CONTINUATION"):
            if "1" in cell["parameters"][key]:
                raise EngineError(f"Memory {cell['parameters']['MEMID']} has wide ports, which cannot be simulated")
        name = cell["parameters"]["MEMID"].removeprefix("\\").removeprefix(self.prefix)
        width, depth = _param(cell, "WIDTH"), _param(cell, "SIZE")
        text = cell["parameters"]["INIT"].replace("x", "0").rjust(width * depth, "0")
        rows = [int(text[len(text) - width * (row + 1):len(text) - width * row], 2) for row in range(depth)]
        self.net.memories.append(Memory(name, width, depth, rows, _param(cell, "WR_PORTS") > 0))
        return len(self.net.memories) - 1

    def _declare_reads(self, memory: int, cell: dict[str, Any]) -> list[int]:
        nodes = []
        width = self.net.memories[memory].width
        clocked = _flags(cell, "RD_CLK_ENABLE")
        init = cell["parameters"]["RD_INIT_VALUE"].replace("x", "0")
        for port in range(_param(cell, "RD_PORTS")):
            bits = cell["connections"]["RD_DATA"][port * width:(port + 1) * width]
            if clocked[port]:
                node = self._define("reg", bits, ref=len(self.net.registers))
                value = int(init[len(init) - width * (port + 1):len(init) - width * port], 2)
                self.net.registers.append(Register(node, width, value, (), None))
            else:
                node = self._define("memrd", bits, ref=memory)
            nodes.append(node)
        return nodes

    def _connect_memory(self, memory: int, cell: dict[str, Any], reads: list[int]) -> None:
        net = self.net
        width, abits = net.memories[memory].width, _param(cell, "ABITS")
        conns = cell["connections"]

        def part(key: str, port: int, size: int) -> Sig:
            return self.sig(conns[key][port * size:(port + 1) * size])

        writes = [MemWrite(memory, part("WR_ADDR", port, abits), part("WR_DATA", port, width),
                           part("WR_EN", port, width)) for port in range(_param(cell, "WR_PORTS"))]
        net.writes += writes
        transparent = _flags(cell, "RD_TRANSPARENCY_MASK")
        for port, index in enumerate(reads):
            node, addr = net.nodes[index], part("RD_ADDR", port, abits)
            if node.op == "memrd":
                node.ins = (addr,)
                continue
            register = net.registers[node.ref]
            data = net.add("memrd", width, (addr,), ref=memory)
            for number, write in enumerate(writes):
                if transparent[port * len(writes) + number]:
                    data = self._bypass(data, addr, write)
            register.d = data
            enable = part("RD_EN", port, 1)
            register.en = None if const_value(enable) == 1 else enable

    def _bypass(self, data: Sig, addr: Sig, write: MemWrite) -> Sig:
        net, width = self.net, sig_width(data)
        same = net.add("eq", 1, (addr, write.addr))
        if len(set(self._split(write.en))) == 1:
            first = write.en[0]
            enable = (first._replace(width=1, repeat=1),) if first.node >= 0 else const(first.offset & 1, 1)
            hit = net.add("and", 1, (same, enable))
            return net.add("mux", width, (data, write.data, hit))
        mask = net.add("and", width, (write.en, (same[0]._replace(repeat=width),)))
        kept = net.add("and", width, (data, net.add("not", width, (mask,))))
        return net.add("or", width, (kept, net.add("and", width, (write.data, mask))))

    @staticmethod
    def _split(sig: Sig) -> list[Bit]:
        bits: list[Bit] = []
        for chunk in sig:
            if chunk.node < 0:
                bits += [(-1, chunk.offset >> i & 1) for i in range(chunk.width)]
            else:
                bits += [(chunk.node, chunk.offset + i) for i in range(chunk.width)] * chunk.repeat
        return bits

    def _connect(self, node: Node, name: str, cell: dict[str, Any]) -> None:
        conns, kind = cell["connections"], cell["type"][1:]
        if kind in BINARY or kind in ("eqx", "nex", "shiftx"):
            node.ins = (self.sig(conns["A"]), self.sig(conns["B"]))
            if kind in ("shl", "shr", "sshl", "sshr"):
                node.signed = bool(_param(cell, "A_SIGNED"))
            elif kind in ("shift", "shiftx"):
                node.signed, node.ref = bool(_param(cell, "B_SIGNED")), _param(cell, "A_SIGNED")
            else:
                node.signed = bool(_param(cell, "A_SIGNED")) and bool(_param(cell, "B_SIGNED"))
        elif kind in UNARY:
            node.ins = (self.sig(conns["A"]),)
            node.signed = bool(_param(cell, "A_SIGNED"))
        elif kind == "mux":
            node.ins = (self.sig(conns["A"]), self.sig(conns["B"]), self.sig(conns["S"]))
        elif kind in ("pmux", "bmux"):
            select = self.sig(conns["S"])
            size, key = node.width, "B" if kind == "pmux" else "A"
            count = len(conns[key]) // size
            cases = [self.sig(conns[key][size * i:size * (i + 1)]) for i in range(count)]
            node.ins = (self.sig(conns["A"]), *cases, select) if kind == "pmux" else (*cases, select)
        else:
            raise EngineError(f"Cell '{name}' of type ${kind} cannot be simulated")


def _param(cell: dict[str, Any], name: str) -> int:
    return int(cell["parameters"][name], 2)


def _flags(cell: dict[str, Any], name: str) -> list[bool]:
    """A mask parameter, least significant first, padded with zeroes to any length used."""
    text = cell["parameters"][name]
    return [char == "1" for char in reversed(text)] + [False] * 1024


def read_json(text: str, top: str = "top") -> Netlist:
    """Read the one flat module of Yosys's JSON.

    Raises
    ------
    EngineError
        If it holds a cell that has no simulation semantics.
    """
    modules = json.loads(text)["modules"]
    module = next(m for m in modules.values() if not m["cells"] or "top" in m["attributes"] or len(modules) == 1)
    return _Reader(module, top).read()
