"""From a design to machine code and the description of its state, through the cache."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import amaranth
from amaranth.hdl import Shape

from .. import yosys
from ..base import Kind, SignalInfo
from ..cache import Cache, digest, source_digest
from ..design import SimDesign
from ..elaborate import RAM_FIELDS, RDATA, STOP, Elaborated, elaborate, ram_port, tap_port
from . import compile as machine_code
from .emit import observer_text, program_text
from .layout import Layout, lay_out
from .netlist import SOURCES, Chunk, Memory, Netlist, Sig, read_json
from .schedule import observation, plan, split_words
from .sinks import Sinks, TapSigs

# Processes left by "proc" are empty: case statements nothing is assigned in.
# Enables are only inferred from a multiplexer right at a register: the general inference lets words that do not reach
# the register go undefined, but they have names and are looked at.
_SCRIPT = ("proc; delete p:*; flatten; memory_collect; opt -full -nodffe -nosdff; opt_dff -simple-dffe -nosdff; "
           "opt_clean; write_json out.json")


@dataclass(frozen=True)
class Image:
    """A compiled design.

    Members
    -------
    code : object file with ``run``. size : bytes of state. initial : state at start, compressed.
    nodes : node -> (offset, width) of the sources (inputs and registers).
    names : signal name -> chunks. memories : name -> (offset, row width, depth). infos : all visible names.
    inputs : port -> node.
    """

    code: bytes
    size: int
    sources: int
    initial: bytes
    nodes: dict[int, tuple[int, int]]
    names: dict[str, Sig]
    memories: dict[str, tuple[int, int, int]]
    infos: tuple[SignalInfo, ...]
    inputs: dict[str, int]


@dataclass(frozen=True)
class Observer:
    """Object file with ``observe``; ``nodes`` adds offsets of computed nodes in its output of ``size`` bytes."""

    code: bytes
    size: int
    nodes: dict[int, tuple[int, int]]


class Builder:
    """Builds, or fetches, the parts of one design."""

    def __init__(self, design: SimDesign, cache: Cache) -> None:
        self._design = design
        self._cache = cache
        self._elaborated: Elaborated | None = None
        identity = design.key
        if identity is None:
            self._elaborated = elaborate(design)
            identity = self._elaborated.rtlil(keep=True)
        else:
            # A warm start elaborates nothing, which is not a mistake Amaranth should warn of.
            design.top._MustUse__used = True  # type: ignore[attr-defined]
        engine = source_digest(Path(__file__).parent.parent)
        taps = repr([(tap.name, [(name, len(signal)) for name, signal in tap.fields]) for tap in design.taps])
        self.key = digest("native", identity, taps, repr(sorted(design.inputs)), amaranth.__version__, yosys.version(),
                          engine, machine_code.host())

    def image(self) -> Image:
        """The compiled cycle function."""
        stored = self._cache.get(self.key, "image")
        if stored is not None:
            return _unpack_image(stored)
        net = read_json(self._netlist())
        self._restore_memories(net)
        sinks = split_words(net, self._sinks)
        program = plan(net, sinks)
        layout = lay_out(net, len(self._design.taps), program.crossing, program.skipped)
        code = machine_code.compile_text(program_text(net, sinks, layout, program))
        image = Image(
            code, layout.size, layout.sources, zlib.compress(_initial(net, layout), 1),
            {node: place for node, place in _places(net, layout).items() if net.nodes[node].op in SOURCES},
            net.names, {memory.name: (layout.memories[index], memory.width, memory.depth)
                        for index, memory in enumerate(net.memories)},
            self._elaborate().infos, net.inputs)
        self._cache.put(self.key, "image", _pack_image(image))
        return image

    def observer(self) -> Observer:
        """The compiled function that computes every named wire from the state."""
        stored = self._cache.get(self.key, "observer")
        if stored is not None:
            return _unpack_observer(stored)
        net = read_json(self._netlist())
        self._restore_memories(net)
        split_words(net, self._sinks)
        wanted = {chunk.node for sig in net.names.values() for chunk in sig if chunk.node >= 0}
        layout = lay_out(net, len(self._design.taps), ())
        program = observation(net, wanted)
        computed = {*(node for node in wanted if node not in layout.nodes), *program.crossing}
        full = lay_out(net, len(self._design.taps), sorted(computed))
        size = full.memories[0] if full.memories else full.size
        # Rows are read where the cycle function keeps them, in the state.
        rows = self.image().memories
        full.memories = [rows[memory.name][0] for memory in net.memories]
        code = machine_code.compile_text(observer_text(net, full, program), level=1)
        observer = Observer(code, size, _places(net, full))
        self._cache.put(self.key, "observer", _pack_observer(observer))
        return observer

    def _elaborate(self) -> Elaborated:
        if self._elaborated is None:
            self._elaborated = elaborate(self._design)
        return self._elaborated

    def _netlist(self) -> str:
        stored = self._cache.get(self.key, "netlist")
        if stored is not None:
            return zlib.decompress(stored).decode()
        text = yosys.run(self._elaborate().rtlil(keep=True), _SCRIPT, "out.json")
        self._cache.put(self.key, "netlist", zlib.compress(text.encode(), 1))
        return text

    def _restore_memories(self, net: Netlist) -> None:
        """Add memories that optimisation removed, so that their rows can still be looked at."""
        present = {memory.name for memory in net.memories}
        for name, instance in self._elaborate().memories.items():
            if name not in present:
                shape, data = Shape.cast(instance._data.shape), instance._data
                mask = (1 << shape.width) - 1
                net.memories.append(Memory(name, shape.width, data.depth, [row & mask for row in data._init._raw]))

    def _sinks(self, net: Netlist) -> Sinks:
        design, out = self._design, net.outputs
        taps = tuple(TapSigs(net.tap_enable(tap.name), out[tap_port(tap.name, None)],
                             tuple(out[tap_port(tap.name, name)] for name, _signal in tap.fields))
                     for tap in design.taps)
        stop = out[STOP] if design.stop is not None else None
        if design.ram is None:
            return Sinks(taps, stop, None)
        en, addr, we, wdata = (out[ram_port(field)] for field in RAM_FIELDS)
        return Sinks(taps, stop, (en, addr, we, wdata), net.inputs[RDATA])


def _places(net: Netlist, layout: Layout) -> dict[int, tuple[int, int]]:
    return {node: (offset, net.nodes[node].width) for node, offset in layout.nodes.items()}


def _initial(net: Netlist, layout: Layout) -> bytes:
    from .words import store_bits

    state = bytearray(layout.size)
    for register in net.registers:
        size, offset = store_bits(register.width) // 8, layout.nodes[register.node]
        state[offset:offset + size] = register.init.to_bytes(size, "little")
    for memory, offset in zip(net.memories, layout.memories, strict=True):
        size = store_bits(memory.width) // 8
        for row, value in enumerate(memory.init):
            if value:
                state[offset + row * size:offset + (row + 1) * size] = value.to_bytes(size, "little")
    return bytes(state)


def _pack(meta: object, code: bytes) -> bytes:
    text = zlib.compress(json.dumps(meta).encode(), 1)
    return len(text).to_bytes(8, "little") + text + code


def _unpack(raw: bytes) -> tuple[dict, bytes]:
    size = int.from_bytes(raw[:8], "little")
    return json.loads(zlib.decompress(raw[8:8 + size])), raw[8 + size:]


def _pack_nodes(nodes: dict[int, tuple[int, int]]) -> list[tuple[int, int, int]]:
    return [(node, *place) for node, place in nodes.items()]


def _unpack_nodes(nodes: list[list[int]]) -> dict[int, tuple[int, int]]:
    return {node: (offset, width) for node, offset, width in nodes}


def _pack_image(image: Image) -> bytes:
    meta = {
        "size": image.size, "sources": image.sources, "initial": len(image.initial),
        "nodes": _pack_nodes(image.nodes), "names": image.names, "memories": image.memories,
        "infos": [{**asdict(info), "kind": info.kind.value} for info in image.infos], "inputs": image.inputs,
    }
    return _pack(meta, image.initial + image.code)


def _unpack_image(raw: bytes) -> Image:
    meta, rest = _unpack(raw)
    return Image(
        rest[meta["initial"]:], meta["size"], meta["sources"], rest[:meta["initial"]], _unpack_nodes(meta["nodes"]),
        {name: tuple(Chunk(*chunk) for chunk in sig) for name, sig in meta["names"].items()},
        {name: tuple(place) for name, place in meta["memories"].items()},
        tuple(SignalInfo(**{**info, "kind": Kind(info["kind"])}) for info in meta["infos"]), meta["inputs"])


def _pack_observer(observer: Observer) -> bytes:
    return _pack({"size": observer.size, "nodes": _pack_nodes(observer.nodes)}, observer.code)


def _unpack_observer(raw: bytes) -> Observer:
    meta, code = _unpack(raw)
    return Observer(code, meta["size"], _unpack_nodes(meta["nodes"]))
