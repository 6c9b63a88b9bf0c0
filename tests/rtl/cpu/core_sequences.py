"""The processor on short random programs in the scenes of `scenes`, compared with the golden model at each retirement.

`python -m tests.rtl.cpu.core_sequences FIRST LAST` runs the programs FIRST to LAST-1 and prints what differs. Hazards
between an instruction that writes a segment, a flag or the stack pointer and the next that uses it show here. Every
third program runs with breakpoints armed on its code, its stack and the tables of the processor.
A program that runs off into data may meet an IN from a device, which the golden model of this test does not have.
"""
from __future__ import annotations

import random
import sys

import numpy as np

from rtl.isa.registers import BreakpointType, Eflags
from rtl.isa.retire import RetireCause
from sim.rtlstate import read_state
from tests.rtl.cpu.core_scenes import CoreRunner
from tests.rtl.cpu.scenes import CODE, DATA, GDT, IDT, TASKS, Scene
from tests.rtl.cpu.test_microcode import CASES, OP
from vmm.engine.interpreter import Interpreter
from vmm.memory import PhysicalMemory

STEPS, LENGTH = 14, 10
_PATIENCE = 3000
#: Transfers that leave the program, real devices, time, and modes that scenes do not go on in.
_LEFT_OUT = frozenset({
    "hlt", "in", "out", "callf", "jmpf", "callf_m", "jmpf_m", "retf", "iret", "sysenter", "sysexit", "rdtsc", "rdpmc",
    "rdmsr", "wrmsr", "wbinvd", "string_6c", "string_6d", "string_6e", "string_6f", "lmsw", "mov_cr", "mov_dr_r"})
_SPECIAL = tuple(name for name in CASES if name not in _LEFT_OUT)
_PLAIN = tuple(bytes.fromhex(code) for code in (
    "50", "58", "8903", "8b03", "01d8", "43", "830305", "fc", "fd", "c9", "9d", "9c", "0fb6c3", "f7e3", "8d4310",
    "7500", "eb00", "d1e0", "c1e803", "0fa4d805", "740190", "0f9503", "8d642404", "6801020304", "ff33", "8f03",
    "e800000000", "0607", "1e17"))
_IGNORED = ("instructions", "tsc_offset")


def _arm(scene: Scene, rng: random.Random) -> None:
    state, code = scene.state, scene.state.segments[1].base + scene.state.eip
    places = (code + rng.randrange(30), code + rng.randrange(12), DATA + rng.randrange(0x1000),
              state.gpr[4] + state.segments[2].base - rng.randrange(24), state.gpr[3] + state.segments[3].base,
              IDT + 8 * rng.randrange(20), rng.choice(TASKS) + rng.randrange(0x68), GDT + 8 * rng.randrange(60))
    for index in range(4):
        kind = rng.choice((BreakpointType.EXECUTE, BreakpointType.WRITE, BreakpointType.ACCESS)).value
        length = rng.choice((0, 1, 3)) if kind else 0
        state.dr[index] = rng.choice(places) & 0xFFFF_FFFF
        state.dr[7] |= rng.randrange(4) << 2 * index | (kind | length << 2) << 16 + 4 * index
    if rng.random() < 0.3:
        state.eflags |= int(Eflags.TF)


def program(number: int) -> Scene:
    """A scene whose code is a few instructions, half of them microprograms."""
    rng = random.Random(f"sequence {number}")
    scene = Scene(rng)
    state, code = scene.state, b""
    for _ in range(LENGTH):
        if rng.random() < 0.5:
            code += rng.choice(_PLAIN)
            continue
        pointers = state.gpr[3:]
        code += (OP if rng.random() < 0.1 else b"") + CASES[rng.choice(_SPECIAL)](scene)
        state.gpr[3:] = pointers
    start = state.segments[1].base + state.eip
    scene.bytes[start:start + len(code) + 16] = code.ljust(len(code) + 16, b"\x90")
    if number % 3 == 2:
        _arm(scene, rng)
    # what exceptions go to
    scene.bytes[CODE:CODE + 0x100] = bytes(rng.choices((0x90, 0x40), (7, 3), k=0x100))
    return scene


def difference(runner: CoreRunner, number: int) -> str | None:
    """The first retirement after which the states differ."""
    scene, engine = program(number), runner.engine
    golden = Interpreter(PhysicalMemory(np.array(scene.memory)))
    golden.state.load_dict(scene.state.to_dict())
    golden.state_changed()
    runner.start(scene)
    for step in range(STEPS):
        eip, cause = golden.state.eip, golden.step().cause
        want = golden.state.to_dict()
        if want["shutdown"]:
            return None
        for _ in range(_PATIENCE):
            engine.run(1)
            if engine.peek("core.retire__valid") or engine.peek("shutdown"):
                break
        got = read_state(engine)
        want["msrs"] = {key: value for key, value in want["msrs"].items() if value}
        found = {key: (want[key], got[key]) for key in got if key not in _IGNORED and want.get(key) != got[key]}
        if found:
            return f"step {step} at {eip:#x} ({cause.name}), golden model against RTL: {found}"
        if cause is RetireCause.HALT:
            return None
    return None


def main(first: int, last: int) -> int:
    runner, bad = CoreRunner(), 0
    for number in range(first, last):
        found = difference(runner, number)
        if found:
            bad += 1
            print(f"{number}: {found}", flush=True)
    print(f"{bad} of {last - first} programs differ")
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), int(sys.argv[2])))
