"""Every microprogram against the golden model: one instruction in a random scene, the same state and writes after it.

The rows are interpreted by `uop_model`, without a pipeline.
"""
import random

import numpy as np
import pytest

from tests.rtl.cpu.scenes import CODE, DATA, GATES, LOCAL_TABLE, TASK_SLOTS, Scene
from tests.rtl.cpu.uop_model import UopModel
from vmm.engine.interpreter import Interpreter
from vmm.memory import PhysicalMemory

ROUNDS = 12
OP, AD = b"\x66", b"\x67"


class Ports:
    """Answers that depend on the port and on how often it was asked."""

    def __init__(self):
        self.log = []

    def read(self, port: int, size: int) -> int:
        self.log.append((port, size))
        return (port * 0x01010101 + len(self.log)) & (1 << 8 * size) - 1

    def write(self, port: int, size: int, value: int) -> None:
        self.log.append((port, size, value))


def modrm(scene: Scene, digit: int, register: bool | None = None) -> bytes:
    """A ModRM operand: a register, [EBX + disp8], or an absolute address near the edge of a page."""
    rng = scene.rng
    if register or register is None and rng.random() < 0.4:
        return bytes([0xC0 | digit << 3 | rng.choice([0, 1, 2, 6, 7])])
    if rng.random() < 0.3 and scene.state.segments[1].big:
        scene.absolute = True
        return bytes([digit << 3 | 5]) + (DATA + 0x1000 - rng.randrange(12)).to_bytes(4, "little")
    return bytes([0x40 | digit << 3 | (3 if scene.state.segments[1].big else 7), rng.randrange(128)])


def memory_selector(scene: Scene, offset: int) -> None:
    """A selector at the memory operand that [EBX + disp8] can reach."""
    for disp in range(0, 140, 2):
        scene.put(scene.state.gpr[3] + disp + offset, some_selector(scene), 2)


def some_selector(scene: Scene) -> int:
    """What a segment load may be given."""
    return scene.rng.choice([scene.selector(), scene.data_selector(), scene.stack_selector(scene.state.cpl),
                             scene.rng.choice([LOCAL_TABLE, *TASK_SLOTS]) << 3])


def far_operand(scene: Scene) -> int:
    rng = scene.rng
    return rng.choice([scene.code_selector(), rng.choice(GATES) << 3, rng.choice(GATES) << 3, scene.selector(),
                       rng.choice(TASK_SLOTS) << 3])


def far_pointers(scene: Scene, selector=None) -> None:
    base = scene.state.gpr[3]
    for disp in range(128):
        scene.put(base + disp, CODE & 0xFFFF, 2)
    for disp in range(0, 128, 8):
        scene.put(base + disp, CODE, 4)
        scene.put(base + disp + 4, far_operand(scene) if selector is None else selector(scene), 2)


def far_direct(scene: Scene, opcode: int) -> bytes:
    wide = scene.state.segments[1].big
    offset = scene.rng.choice([CODE, scene.rng.getrandbits(16)])
    return bytes([opcode]) + offset.to_bytes(4 if wide else 2, "little") + far_operand(scene).to_bytes(2, "little")


def far_indirect(scene: Scene, digit: int) -> bytes:
    far_pointers(scene)
    scene.state.gpr[3] &= ~7
    return b"\xff" + bytes([0x40 | digit << 3 | (3 if scene.state.segments[1].big else 7),
                            8 * scene.rng.randrange(12)])


def returning(scene: Scene, opcode: bytes, flags: bool) -> bytes:
    rng, wide = scene.rng, scene.state.segments[1].big
    selector = scene.code_selector()
    values = [CODE, selector] + [rng.getrandbits(22) & ~0x100] * flags
    release = int.from_bytes(opcode[1:3], "little") if len(opcode) == 3 else 0
    size = 4 if wide else 2
    outer = [rng.randrange(0x9000, 0xD000), scene.stack_selector(selector & 3)]
    pad = [] if not release else [rng.getrandbits(16) for _ in range(release // size)]
    scene.frame(*values, *pad, *outer, size=size)
    return opcode


def selector_register(scene: Scene, opcode: bytes, digit: int) -> bytes:
    for register in (0, 1, 2, 6, 7):
        scene.state.gpr[register] = scene.rng.getrandbits(16) << 16 | some_selector(scene)
    memory_selector(scene, 0)
    return opcode + modrm(scene, digit)


def popped_selector(scene: Scene, opcode: bytes) -> bytes:
    scene.frame(some_selector(scene), size=4 if scene.state.segments[1].big else 2)
    return opcode


def msr(scene: Scene, opcode: bytes) -> bytes:
    scene.state.gpr[1] = scene.rng.choice([0x10, 0x174, 0x175, 0x176, 0xC0011001, 0xC0011040, 0xC0000080, 0x17])
    scene.state.gpr[2] = scene.rng.choice([0, 0, 1])
    return opcode


def control(scene: Scene, opcode: int, number: int) -> bytes:
    state, rng = scene.state, scene.rng
    base = {0: state.cr0, 2: 0x1234_5678, 3: 0x4018, 4: 0x80}[number]
    for register in (0, 1, 2):
        state.gpr[register] = base ^ (1 << rng.choice([1, 2, 3, 16, 18, 29, 30, 9]))
        if number == 0:
            state.gpr[register] |= 1
    return bytes([0x0F, opcode, 0xC0 | number << 3 | rng.randrange(3)])


def debug(scene: Scene, opcode: int) -> bytes:
    state, rng = scene.state, scene.rng
    state.cr4 |= rng.choice([0, 8])
    state.dr[7] |= rng.choice([0, 0, 0x2000])
    return bytes([0x0F, opcode, 0xC0 | rng.randrange(8) << 3 | rng.randrange(8)])


def counter(scene: Scene) -> bytes:
    scene.state.cr4 |= scene.rng.choice([0, 0x100])
    scene.state.gpr[1] = scene.rng.choice([0, 1, 33, 34, 200])
    return b"\x0f\x33"


def string(scene: Scene, opcode: int) -> bytes:
    scene.state.gpr[1] = scene.rng.choice([0, 1, 2, 5])
    scene.state.gpr[2] = scene.rng.randrange(0x400)
    return scene.rng.choice([b"", b"\xf3", b"\xf2", b"\xf3"]) + bytes([opcode])


def port(scene: Scene, code: bytes) -> bytes:
    scene.state.gpr[2] = scene.rng.randrange(0x400)
    return code


def imm8(scene: Scene) -> bytes:
    return bytes([scene.rng.choice([0, 1, 10, 10, 255, scene.rng.randrange(256)])])


def interrupt(scene: Scene) -> bytes:
    return b"\xcd" + bytes([scene.rng.randrange(64)])


def compare_exchange(scene: Scene, code: bytes) -> bytes:
    if scene.chance(0.5):
        scene.state.gpr[0] = scene.state.gpr[2] = 0
    return code


CASES = {
    "pusha": lambda s: b"\x60", "popa": lambda s: b"\x61", "pushf": lambda s: b"\x9c", "popf": lambda s: b"\x9d",
    "enter": lambda s: b"\xc8" + bytes([s.rng.randrange(256), 0, s.rng.choice([0, 1, 2, 5, 31])]),
    "push_m": lambda s: b"\xff" + modrm(s, 6, False), "pop_m": lambda s: b"\x8f" + modrm(s, 0, False),
    "push_sreg": lambda s: s.rng.choice([b"\x06", b"\x0e", b"\x16", b"\x1e", b"\x0f\xa0", b"\x0f\xa8"]),
    "pop_sreg": lambda s: popped_selector(s, s.rng.choice([b"\x07", b"\x17", b"\x1f", b"\x0f\xa1", b"\x0f\xa9"])),
    "bound": lambda s: b"\x62" + modrm(s, s.rng.choice([0, 1]), False),
    "arpl": lambda s: selector_register(s, b"\x63", 1),
    "xchg": lambda s: bytes([s.rng.choice([0x86, 0x87])]) + modrm(s, s.rng.randrange(8)),
    "xchg_eax": lambda s: bytes([0x90 | s.rng.randrange(1, 8)]),
    "xadd": lambda s: b"\x0f" + bytes([s.rng.choice([0xC0, 0xC1])]) + modrm(s, s.rng.randrange(8)),
    "cmpxchg": lambda s: compare_exchange(
        s, b"\x0f" + bytes([s.rng.choice([0xB0, 0xB1])]) + modrm(s, s.rng.randrange(4))),
    "cmpxchg8b": lambda s: compare_exchange(s, b"\x0f\xc7" + modrm(s, 1, False)),
    "mov_r_sreg": lambda s: b"\x8c" + modrm(s, s.rng.randrange(6)),
    "mov_sreg": lambda s: selector_register(s, b"\x8e", s.rng.choice([0, 2, 3, 4, 5])),
    "les": lambda s: (far_pointers(s, some_selector), s.rng.choice(
        [b"\xc4", b"\xc5", b"\x0f\xb2", b"\x0f\xb4", b"\x0f\xb5"]) + modrm(s, s.rng.randrange(4), False))[1],
    "callf": lambda s: far_direct(s, 0x9A), "jmpf": lambda s: far_direct(s, 0xEA),
    "callf_m": lambda s: far_indirect(s, 3), "jmpf_m": lambda s: far_indirect(s, 5),
    "retf": lambda s: returning(s, s.rng.choice([b"\xcb", b"\xca\x08\x00"]), False),
    "iret": lambda s: returning(s, b"\xcf", True),
    "int": interrupt, "int3": lambda s: b"\xcc", "icebp": lambda s: b"\xf1", "into": lambda s: b"\xce",
    "sldt": lambda s: b"\x0f\x00" + modrm(s, s.rng.choice([0, 1])),
    "lldt": lambda s: selector_register(s, b"\x0f\x00", 2), "ltr": lambda s: selector_register(s, b"\x0f\x00", 3),
    "verr": lambda s: selector_register(s, b"\x0f\x00", s.rng.choice([4, 5])),
    "lar": lambda s: selector_register(s, b"\x0f\x02", 0), "lsl": lambda s: selector_register(s, b"\x0f\x03", 1),
    "tables": lambda s: b"\x0f\x01" + modrm(s, s.rng.randrange(4), False),
    "smsw": lambda s: b"\x0f\x01" + modrm(s, 4),
    "lmsw": lambda s: b"\x0f\x01" + modrm(s, 6), "invlpg": lambda s: b"\x0f\x01" + modrm(s, 7, False),
    "clts": lambda s: b"\x0f\x06", "wbinvd": lambda s: s.rng.choice([b"\x0f\x08", b"\x0f\x09"]),
    "mov_cr": lambda s: control(s, s.rng.choice([0x20, 0x22]), s.rng.choice([0, 2, 3, 4])),
    "mov_r_dr": lambda s: debug(s, 0x21), "mov_dr_r": lambda s: debug(s, 0x23), "rdpmc": counter,
    "rdmsr": lambda s: msr(s, b"\x0f\x32"), "wrmsr": lambda s: msr(s, b"\x0f\x30"), "rdtsc": lambda s: b"\x0f\x31",
    "sysenter": lambda s: b"\x0f\x34", "sysexit": lambda s: b"\x0f\x35", "cpuid": lambda s: (
        s.state.gpr.__setitem__(0, s.rng.choice([0, 1, 2, 0x8000_0000, 0x8000_0004, 0x8000_0005, 0x4000_0000])),
        b"\x0f\xa2")[1],
    "hlt": lambda s: b"\xf4", "aam": lambda s: b"\xd4" + imm8(s), "aad": lambda s: b"\xd5" + imm8(s),
    "salc": lambda s: b"\xd6", "xlat": lambda s: b"\xd7",
    "bit_string": lambda s: (
        b"\x0f" + bytes([s.rng.choice([0xA3, 0xAB, 0xB3, 0xBB])]) + modrm(s, s.rng.choice([0, 1, 6]), False)),
    "in": lambda s: port(s, s.rng.choice([b"\xec", b"\xed", b"\xe4" + imm8(s), b"\xe5" + imm8(s)])),
    "out": lambda s: port(s, s.rng.choice([b"\xee", b"\xef", b"\xe6" + imm8(s), b"\xe7" + imm8(s)])),
    **{f"string_{opcode:02x}": lambda s, opcode=opcode: string(s, opcode)
       for opcode in (0x6C, 0x6D, 0x6E, 0x6F, 0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF)},
}
_IGNORED = ("instructions", "tsc_offset", "repeating")


def outcome(model, ports, step) -> dict:
    """State after a step, its writes, its port accesses."""
    model.record = True
    step()
    image = {name: value for name, value in model.state.to_dict().items() if name not in _IGNORED}
    return image | {"writes": model.writes, "ports": ports.log}


def run_both(scene: Scene) -> tuple[dict, dict, UopModel, Interpreter]:
    results, models = [], []
    for kind in (Interpreter, UopModel):
        ports = Ports()
        model = kind(PhysicalMemory(np.array(scene.memory)), ports)
        model.state.load_dict(scene.state.to_dict())
        if kind is Interpreter:
            model.state_changed()
        results.append(outcome(model, ports, model.step) | {"memory": bytes(model.memory.bytes)})
        models.append(model)
    return results[0], results[1], models[1], models[0]


def build(name: str, number: int) -> tuple[Scene, bytes]:
    rng = random.Random(f"{name}{number}")
    scene = Scene(rng)
    code = CASES[name](scene)
    odds = {OP: 0.15, AD: 0 if scene.absolute else 0.05}
    prefixes = b"".join(prefix for prefix in odds if rng.random() < odds[prefix])
    scene.code(prefixes + code)
    return scene, prefixes + code


@pytest.mark.parametrize("name", CASES)
def test_program_matches_golden_model(name):
    for number in range(ROUNDS):
        scene, code = build(name, number)
        golden, rows, *_ = run_both(scene)
        different = {key: (golden[key], rows[key]) for key in golden if golden[key] != rows[key]}
        different.pop("memory", None) if "writes" in different else None
        assert not different, f"{name} {number} ({code.hex()}), golden against rows: {different}"
