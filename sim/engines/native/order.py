"""Order of the steps of a cycle: operands first, readers before writers, steps under one test side by side."""

from __future__ import annotations

import heapq

from .netlist import SOURCES, Chunk, Netlist, Sig
from .program import Block, Do, If, Literal, Merge
from .regions import Path
from .sinks import Sinks, nodes_of, sink_inputs


class Ordering:
    """Lists steps under their paths.

    A register or memory is written once everything that reads its old content is done. Registers that read each other
    in a circle are broken by a copy made first.
    """

    def __init__(self, net: Netlist, sinks: Sinks, order: list[int], paths: dict[Do, Path],
                 merges: dict[int, Merge]) -> None:
        self._net = net
        self._sinks = sinks
        self._paths = paths
        self._merges = merges
        self._writers = self._find_writers()
        self._waits: dict[Do, int] = {}
        self._next: dict[Do, list[Do]] = {}
        self._ranks = {Do("node", index): rank for rank, index in enumerate(order)}
        self._ready: dict[Path, list[tuple[int, Do]]] = {}
        self._live: dict[Path, int] = {}
        self._open: list[tuple[Path, Block]] = [((), [])]
        self._connect(order)

    def run(self) -> Block:
        """The ordered steps of a whole cycle."""
        for step, waits in self._waits.items():
            if waits == 0:
                self._enqueue(step)
        left = len(self._waits)
        while left:
            chosen = self._pick()
            if chosen is None:
                left += self._break_circle()
                continue
            self._append(chosen)
            left -= 1
            for other in self._next.get(chosen, ()):
                self._waits[other] -= 1
                if self._waits[other] == 0:
                    self._enqueue(other)
        return self._open[0][1]

    # -- dependencies

    def _find_writers(self) -> dict[int, Do]:
        writers = {register.node: Do("register", index) for index, register in enumerate(self._net.registers)}
        if self._sinks.rdata >= 0 and self._sinks.ram is not None:
            writers[self._sinks.rdata] = Do("ram")
        return writers

    def _reads(self, step: Do, effects: dict[Do, set[int]]) -> set[int]:
        used = nodes_of(self._net.nodes[step.index].ins) if step.what == "node" else effects[step]
        return used | {item.node for item in self._paths[step]}

    def _connect(self, order: list[int]) -> None:
        net, effects = self._net, sink_inputs(self._net, self._sinks)
        self._effects = effects
        readers: dict[int, list[Do]] = {}
        row_readers: dict[int, list[Do]] = {}
        steps = [*(Do("node", index) for index in order), *effects]
        for step in steps:
            self._waits[step] = 0
        for step in steps:
            for node in self._reads(step, effects):
                if net.nodes[node].op in SOURCES:
                    readers.setdefault(node, []).append(step)
                else:
                    self._edge(Do("node", node), step)
            if step.what == "node" and net.nodes[step.index].op == "memrd":
                row_readers.setdefault(net.nodes[step.index].ref, []).append(step)
        for node, writer in self._writers.items():
            for reader in readers.get(node, ()):
                if reader != writer:
                    self._edge(reader, writer)
        last: dict[int, Do] = {}
        for index, write in enumerate(net.writes):
            step = Do("memory", index)
            for reader in row_readers.get(write.memory, ()):
                self._edge(reader, step)
            if write.memory in last:
                self._edge(last[write.memory], step)
            last[write.memory] = step

    def _edge(self, before: Do, after: Do) -> None:
        self._next.setdefault(before, []).append(after)
        self._waits[after] += 1

    # -- choice

    def _enqueue(self, step: Do) -> None:
        path = self._paths[step]
        heapq.heappush(self._ready.setdefault(path, []), (self._ranks.get(step, -1), step))
        for length in range(len(path) + 1):
            self._live[path[:length]] = self._live.get(path[:length], 0) + 1

    def _pick(self) -> Do | None:
        """Stay in the open block, then enter the fullest ready block inside, then go back out."""
        if not self._live.get((), 0):
            return None
        place = self._open[-1][0]
        while True:
            if self._ready.get(place):
                return self._take(place)
            if self._live.get(place, 0):
                inside = [path for path in self._ready if self._ready[path] and path[:len(place)] == place]
                heads = {path[:len(place) + 1] for path in inside}
                place = max(sorted(heads), key=lambda path: self._live[path])
            else:
                place = place[:-1]

    def _take(self, path: Path) -> Do:
        step = heapq.heappop(self._ready[path])[1]
        for length in range(len(path) + 1):
            self._live[path[:length]] -= 1
        return step

    def _append(self, step: Do) -> None:
        path = self._paths[step]
        while self._open[-1][0] != path[:len(self._open[-1][0])]:
            self._open.pop()
        while len(self._open[-1][0]) < len(path):
            here, block = self._open[-1]
            test = path[len(here)]
            last = block[-1] if block else None
            if not (isinstance(last, If) and last.test == test):
                last = If(test)
                block.append(last)
            self._open.append(((*here, test), last.body))
        self._open[-1][1].append(step)
        if step.what == "node" and step.index in self._merges:
            around = self._open[-2][1][-1]
            assert isinstance(around, If)
            around.merges[step.index] = self._merges[step.index]

    # -- circles

    def _break_circle(self) -> int:
        """Copy a register whose writer waits only for other waiting writers; give the steps added."""
        waiting = [step for step, waits in self._waits.items() if waits > 0]
        writer_of = {step: node for node, step in self._writers.items()}
        # Steps of the RAM port cannot be redirected to a copy, so its own register is copied first.
        victim = Do("ram") if Do("ram") in waiting else next(step for step in waiting if step in writer_of)
        node = writer_of[victim]
        width = self._net.nodes[node].width
        whole = self._net.add("copy", width, ((Chunk(node, 0, width),),))[0].node
        copy = Do("node", whole)
        self._paths[copy] = ()
        self._waits[copy] = 0
        for step in waiting:
            if step == victim or node not in self._reads(step, self._effects):
                continue
            self._redirect(step, node, whole)
            self._waits[step] += 1
            self._next.setdefault(copy, []).append(step)
            self._waits[victim] -= 1
        self._next.setdefault(copy, []).append(victim)
        self._waits[victim] += 1
        self._enqueue(copy)
        return 1

    def _redirect(self, step: Do, old: int, new: int) -> None:
        def moved(sig: Sig) -> Sig:
            return tuple(chunk._replace(node=new) if chunk.node == old else chunk for chunk in sig)

        net = self._net
        if step.what == "register":
            register = net.registers[step.index]
            register.d = moved(register.d)
            register.en = None if register.en is None else moved(register.en)
        elif step.what == "memory":
            write = net.writes[step.index]
            write.addr, write.data, write.en = moved(write.addr), moved(write.data), moved(write.en)
        else:
            raise AssertionError(f"{step} cannot wait in a circle")
        self._effects[step] = {new if node == old else node for node in self._effects[step]}
        self._paths[step] = tuple(
            Literal(new, item.offset, item.value) if item.node == old else item for item in self._paths[step])
