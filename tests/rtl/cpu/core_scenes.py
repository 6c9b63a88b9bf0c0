"""The processor in the scenes of `scenes`: one step of the golden model against one retirement of the RTL.

`python -m tests.rtl.cpu.core_scenes FIRST LAST [NAME...]` compares the scenes FIRST to LAST-1 of every case, or of the
named ones, and prints what differs.
"""
from __future__ import annotations

import sys

import numpy as np

from rtl.isa.registers import Cr0, Eflags
from rtl.isa.retire import RetireCause
from sim.rtlmachine import RtlMachine
from sim.rtlmemory import CachedMemory
from sim.rtlstate import read_state, write_state
from tests.rtl.cpu.scenes import PORT_RANGE, SIZE, TABLE, Scene
from tests.rtl.cpu.test_microcode import CASES, build
from vmm.engine.interpreter import Interpreter
from vmm.memory import PhysicalMemory

_PATIENCE = 4000
#: Real devices answer these; `test_microcode` has them.
WITHOUT = ("in", "out")
#: Fields of the state that a single step does not define: time, and the interrupt shadow of an unfinished instruction.
_IGNORED = ("instructions", "tsc_offset", "repeating", "shadow")
_COUNTERS = ("rdtsc", "rdpmc", "rdmsr")
_ACCESSED = 0x20


class CoreRunner:
    """One simulated computer, taken back to reset for every scene."""

    def __init__(self) -> None:
        self.machine = RtlMachine(ram=np.zeros(SIZE // 4, dtype=np.uint32))
        self.engine = self.machine.engine
        self._reset = self.engine.save()

    def start(self, scene: Scene) -> None:
        """Be at the beginning of a scene."""
        self.engine.load(self._reset)
        self.engine.ram[:] = scene.memory
        write_state(self.engine, scene.state.to_dict())

    def run(self, scene: Scene, steps: int) -> tuple[dict, bytes] | None:
        """State and memory after `steps` retirements; None when they do not come."""
        engine = self.engine
        self.start(scene)
        for _ in range(_PATIENCE):
            engine.run(1)
            steps -= engine.peek("core.retire__valid")
            if not steps or engine.peek("shutdown"):
                state = read_state(engine)
                self.machine.settle()
                return state, bytes(memoryview(CachedMemory(engine).image()).cast("B"))
        return None


def _memory_differences(golden: bytes, rtl: bytes) -> list[str]:
    words = np.frombuffer(golden, np.uint32), np.frombuffer(rtl, np.uint32)
    places = np.nonzero(words[0] != words[1])[0]
    differences = []
    for place in map(int, places):
        address, pair = 4 * place, (int(words[0][place]), int(words[1][place]))
        # the RTL has begun to fetch at the target already
        if not (TABLE <= address < TABLE + 0x1000 and pair[0] ^ pair[1] == _ACCESSED):
            differences.append(f"{address:#x}: {pair[0]:08x} {pair[1]:08x}")
    return differences


def differences(runner: CoreRunner, name: str, number: int) -> dict[str, object]:
    """What differs in scene `number` of a case, the golden model's value first."""
    scene, code = build(name, number)
    state = scene.state
    if name.startswith("string_6"):
        state.gpr[2] = PORT_RANGE + number % 0x40
    golden = Interpreter(PhysicalMemory(np.array(scene.memory)))
    golden.state.load_dict(state.to_dict())
    golden.state_changed()
    steps, cause = 0, RetireCause.ITERATION
    while cause is RetireCause.ITERATION and steps < 4:
        cause, steps = golden.step().cause, steps + 1
    outcome = runner.run(scene, steps)
    if outcome is None:
        return {"code": code.hex(), "retired": "nothing"}
    want, (got, memory) = golden.state.to_dict(), outcome
    if name in _COUNTERS:
        want["gpr"] = [*got["gpr"][:1], want["gpr"][1], *got["gpr"][2:3], *want["gpr"][3:]]
    want["msrs"] = {number: value for number, value in want["msrs"].items() if value}
    if want["shutdown"]:
        return {} if got["shutdown"] else {"code": code.hex(), "shutdown": (True, False)}
    found = {key: (want[key], got[key]) for key in got if key not in _IGNORED and want.get(key) != got[key]}
    found = {key: _inner(pair) if key == "segments" else pair for key, pair in found.items()}
    # with TF the RTL is in its trap by the time its stores are done
    if cause is not RetireCause.ITERATION and not golden.state.system_flags & Eflags.TF:
        words = _memory_differences(bytes(golden.memory.bytes), memory)
        if words:
            found["memory"] = words
    return {"code": code.hex(), "paging": bool(state.cr0 & Cr0.PG)} | found if found else {}


def _inner(pair: tuple[dict, dict]) -> dict:
    return {key: (pair[0][key], pair[1][key]) for key in pair[0] if pair[0][key] != pair[1][key]}


def main(first: int, last: int, names: list[str]) -> int:
    runner, bad, count = CoreRunner(), 0, 0
    for name in names or [name for name in CASES if name not in WITHOUT]:
        for number in range(first, last):
            found = differences(runner, name, number)
            count += 1
            if found:
                bad += 1
                print(f"{name} {number}: {found}", flush=True)
    print(f"{bad} of {count} scenes differ")
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
