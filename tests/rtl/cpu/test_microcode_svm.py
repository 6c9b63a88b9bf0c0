"""The microprograms of SVM against the golden model: world switches of random VMCBs, and every instruction in guest
mode with random intercepts. The order in which a world switch writes its words is not architectural: they are sorted.
"""
import random

import numpy as np
import pytest

from rtl.cpu.microcode import assembled
from rtl.isa.exitcodes import ExitCode, intercept_bit, intercept_word
from rtl.isa.msrs import EFER_SVME, Msr
from rtl.isa.registers import Cr0
from rtl.isa.svm import IOPM_BYTES, MSRPM_BYTES, EventType, SegmentField, Vmcb
from tests.rtl.cpu.scenes import CODE, DATA, SIZE, Scene
from tests.rtl.cpu.test_microcode import CASES, Ports
from tests.rtl.cpu.uop_model import UopModel
from vmm.engine.interpreter import Interpreter
from vmm.memory import PhysicalMemory

ROUNDS = 12
VMCB, HSAVE, IOPM, MSRPM = 0x3_0000, 0x3_1000, 0x3_2000, 0x3_6000
_IGNORED = ("instructions", "tsc_offset", "repeating")
#: Segments in a VMCB and in the state.
_SEGMENTS = {Vmcb.ES: 0, Vmcb.CS: 1, Vmcb.SS: 2, Vmcb.DS: 3, Vmcb.FS: 4, Vmcb.GS: 5, Vmcb.LDTR: 6, Vmcb.TR: 7}


def put_world(scene: Scene, area: int, world: Scene) -> None:
    """The state of another scene as a save area."""
    state, put = world.state, scene.put
    for field, number in _SEGMENTS.items():
        segment = state.segments[number]
        put(area + field, segment.selector | segment.attributes << 16, 4)
        put(area + field + SegmentField.LIMIT, segment.limit, 4)
        put(area + field + SegmentField.BASE, segment.base, 8)
    for table, base, limit in ((Vmcb.GDTR, state.gdtr_base, state.gdtr_limit),
                               (Vmcb.IDTR, state.idtr_base, state.idtr_limit)):
        put(area + table + SegmentField.LIMIT, limit, 4)
        put(area + table + SegmentField.BASE, base, 8)
    for field, value in ((Vmcb.EFER, EFER_SVME), (Vmcb.CR0, state.cr0), (Vmcb.CR3, state.cr3), (Vmcb.CR4, state.cr4),
                         (Vmcb.DR6, state.dr[6]), (Vmcb.DR7, state.dr[7]), (Vmcb.RFLAGS, state.eflags),
                         (Vmcb.RIP, state.eip), (Vmcb.RSP, state.gpr[4]), (Vmcb.RAX, state.gpr[0]),
                         (Vmcb.CR2, scene.rng.getrandbits(32)), (Vmcb.SYSENTER_CS, 8), (Vmcb.SYSENTER_ESP, 0x1234),
                         (Vmcb.SYSENTER_EIP, CODE), (Vmcb.G_PAT, 0x0007_0406_0007_0406)):
        put(area + field, value, 8)
    put(area + Vmcb.CPL, state.cpl, 1)


def put_controls(scene: Scene) -> None:
    """A control area that VMRUN accepts."""
    rng, put = scene.rng, scene.put
    for word in range(5):
        put(VMCB + 4 * word, rng.getrandbits(32), 4)
    put(VMCB + Vmcb.INTERCEPT_MISC2, rng.getrandbits(32) | intercept_bit(ExitCode.VMRUN), 4)
    put(VMCB + Vmcb.PAUSE_THRESHOLD, rng.getrandbits(32), 4)
    put(VMCB + Vmcb.IOPM_BASE, IOPM | rng.getrandbits(12), 8)
    put(VMCB + Vmcb.MSRPM_BASE, MSRPM | rng.getrandbits(12), 8)
    put(VMCB + Vmcb.TSC_OFFSET, rng.getrandbits(64), 8)
    put(VMCB + Vmcb.ASID, rng.randrange(1, 16), 4)
    put(VMCB + Vmcb.TLB_CONTROL, rng.choice([0, 1, 3, 7]), 4)
    put(VMCB + Vmcb.VINTR, rng.getrandbits(40) & 0xFF_030F_03FF, 8)
    put(VMCB + Vmcb.INTERRUPT_SHADOW, rng.getrandbits(1), 8)
    put(VMCB + Vmcb.EVENTINJ, rng.choice([0, 0, 0x8000_0B0D | rng.getrandbits(32) << 32]), 8)
    put(VMCB + Vmcb.NP_ENABLE, int(bool(scene.state.cr0 & Cr0.PG) and scene.chance(0.5)), 8)
    put(VMCB + Vmcb.N_CR3, 0x4000, 8)


def spoil(scene: Scene) -> None:
    """One thing VMRUN may or may not object to."""
    rng = scene.rng
    field, value, size = rng.choice([
        (Vmcb.INTERCEPT_MISC2, 0, 4), (Vmcb.ASID, rng.choice([0, 16, 1 << 31]), 4), (Vmcb.IOPM_BASE + 4, 1, 4),
        (Vmcb.MSRPM_BASE + 4, 1, 4), (Vmcb.IOPM_BASE, 0xFFFF_D000 + rng.choice([0, 0x1000]), 4),
        (Vmcb.MSRPM_BASE, 0xFFFF_E000 + rng.choice([0, 0x1000]), 4),
        (Vmcb.EFER, rng.choice([0, EFER_SVME | 1, EFER_SVME | 1 << 10]), 4), (Vmcb.EFER + 4, 1, 4),
        (Vmcb.CR0, rng.choice([0x10, 0x2000_0011, 0x6000_0011, 0x1FFA_FFC1]), 4), (Vmcb.CR0 + 4, 4, 4),
        (Vmcb.CR4, 1 << rng.choice([5, 9, 12, 20, 31]), 4), (Vmcb.CR4 + 4, 1, 4), (Vmcb.CR3 + 4, 1, 4),
        (Vmcb.DR6 + 4, 1, 4), (Vmcb.DR7 + 4, 1, 4), (Vmcb.N_CR3 + 4, 1, 4), (Vmcb.RFLAGS + 4, 1, 4),
        (Vmcb.G_PAT, rng.choice([2, 3, 8, 0x0700]), 4), (Vmcb.NP_ENABLE, 1, 4),
        (Vmcb.EVENTINJ, 1 << 31 | rng.choice(list(EventType) + [1, 5, 6, 7]) << 8 | rng.choice([2, 3, 13, 31, 32]), 4)])
    scene.put(VMCB + field, value, size)


def host(rng: random.Random) -> Scene:
    """A host about to run a guest."""
    scene = Scene(rng)
    state = scene.state
    level = 0 if scene.chance(0.95) else 3
    state.cpl = level
    for number in (1, 2):
        state.segments[number].attributes = state.segments[number].attributes & ~0x60 | level << 5
    state.msrs[Msr.EFER] = EFER_SVME if scene.chance(0.95) else 0
    state.msrs[Msr.VM_HSAVE_PA] = HSAVE if scene.chance(0.95) else rng.choice([0x100_0000, 0xFFFF_F000])
    put_world(scene, VMCB, Scene(random.Random(rng.getrandbits(32))))
    put_controls(scene)
    state.gpr[0] = VMCB if scene.chance(0.95) else VMCB | 1 << rng.randrange(12)
    return scene


def guest(scene: Scene) -> None:
    """The scene is a guest's; its host's state is in the host save area."""
    rng, state, svm = scene.rng, scene.state, scene.state.svm
    state.msrs[Msr.EFER], state.msrs[Msr.VM_HSAVE_PA] = EFER_SVME, HSAVE
    put_world(scene, HSAVE, Scene(random.Random(rng.getrandbits(32))))
    svm.guest = svm.gif = True
    svm.vmcb, svm.iopm, svm.msrpm, svm.asid = VMCB, IOPM, MSRPM, 3
    svm.vintr = rng.getrandbits(26) & 0x30F_021F
    dense = rng.choice([0, 0.1, 0.5, 1])
    svm.intercepts = [sum(1 << bit for bit in range(32) if scene.chance(dense)) for _ in range(5)]
    svm.intercepts[intercept_word(ExitCode.VMRUN)] |= intercept_bit(ExitCode.VMRUN)
    svm.pause_count = rng.choice([0, 0, 3])
    for area, size in ((IOPM, IOPM_BYTES), (MSRPM, MSRPM_BYTES)):
        fill = rng.choice([0, 0xFF, None])
        scene.bytes[area:area + size] = rng.randbytes(size) if fill is None else bytes([fill]) * size


def outcome(kind, scene: Scene) -> dict:
    """State, sorted writes and port accesses after one step; control state means something in guest mode only."""
    ports = Ports()
    model = kind(PhysicalMemory(np.array(scene.memory)), ports)
    model.state.load_dict(scene.state.to_dict())
    if kind is Interpreter:
        model.state_changed()
        if scene.state.svm.guest:
            model.world_changed()
    model.record = True
    model.step()
    image = {name: value for name, value in model.state.to_dict().items() if name not in _IGNORED}
    svm = model.state.svm
    image["svm"] = svm.to_dict() if svm.guest else svm.gif
    return image | {"writes": sorted(model.writes), "ports": ports.log, "memory": bytes(model.memory.bytes)}


def compare(scene: Scene, what: str) -> dict:
    golden, rows = outcome(Interpreter, scene), outcome(UopModel, scene)
    different = {key: (golden[key], rows[key]) for key in golden if golden[key] != rows[key]}
    if "writes" in different:
        a, b = (set(map(str, writes)) for writes in different["writes"])
        different["writes"] = (a - b, b - a)
    if "memory" in different:
        different["memory"] = [hex(at) for at in range(SIZE) if golden["memory"][at] != rows["memory"][at]][:8]
    assert not different, f"{what}, golden against rows: {different}"
    return golden


@pytest.mark.parametrize("number", range(4))
def test_vmrun(number):
    entered = 0
    for round_ in range(25):
        rng = random.Random(f"vmrun{number}.{round_}")
        scene = host(rng)
        if scene.chance(0.6):
            spoil(scene)
        scene.code(rng.choice([b"", b"", b"", b"\x67"]) + b"\x0f\x01\xd8")
        entered += compare(scene, f"vmrun {number} {round_}")["svm"] not in (True, False)
    assert 3 < entered < 25


@pytest.mark.parametrize("opcode", [0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xD9])
def test_instructions_of_the_host(opcode):
    for number in range(ROUNDS):
        rng = random.Random(f"{opcode}{number}")
        scene = host(rng)
        scene.state.svm.gif = bool(rng.getrandbits(1))
        scene.code(rng.choice([b"", b"", b"\x67"]) + bytes([0x0F, 0x01, opcode]))
        compare(scene, f"{opcode:x} {number}")


def port_number(scene: Scene, code: bytes) -> bytes:
    scene.state.gpr[2] = scene.rng.choice([0x3F8, 0xFFFF, 0xFFFE, scene.rng.getrandbits(16)])
    return code


def msr(scene: Scene, opcode: bytes) -> bytes:
    scene.state.gpr[1] = scene.rng.choice([
        0x10, 0x174, 0x1FFF, 0x2000, 0xC000_0080, 0xC000_1FFF, 0xC000_2000, 0xC001_0114, 0xC001_0117, 0xC001_1040,
        0xC001_2000, 0xBFFF_FFFF, 0xFFFF_FFFF])
    scene.state.gpr[0] = scene.rng.choice([0, 0x1000, 8, 16, 24, 0x1F, 0x3_0000, scene.rng.getrandbits(32)])
    scene.state.gpr[2] = scene.rng.choice([0, 0, 0, 1])
    scene.state.msrs[Msr.VM_CR] = scene.rng.choice([0, 0, 8, 16, 24])
    return opcode


GUEST_CASES = CASES | {
    "pause": lambda s: s.rng.choice([b"\xf3\x90", b"\x90", b"\xf2\x90"]),
    "svm": lambda s: bytes([0x0F, 0x01, s.rng.choice(range(0xD8, 0xE0))]),
    "ports": lambda s: port_number(s, s.rng.choice([b"", b"\xf3", b"\xf2"]) + bytes([
        s.rng.choice([0x6C, 0x6D, 0x6E, 0x6F, 0xEC, 0xED, 0xEE, 0xEF])])),
    "msrs": lambda s: msr(s, s.rng.choice([b"\x0f\x30", b"\x0f\x32"])),
    "invlpg_address": lambda s: b"\x0f\x01\x7b" + bytes([s.rng.randrange(128)]),
}


@pytest.mark.parametrize("name", GUEST_CASES)
def test_instruction_of_a_guest(name):
    for number in range(ROUNDS):
        rng = random.Random(f"guest {name}{number}")
        scene = Scene(rng)
        guest(scene)
        if name in ("ports", "msrs", "svm") and scene.chance(0.7):
            scene.state.cpl = 0
        code = GUEST_CASES[name](scene)
        prefix = b"\x66" if rng.random() < 0.15 else b""
        scene.code(prefix + code)
        compare(scene, f"{name} {number} ({(prefix + code).hex()})")


def test_every_exit_code_of_an_instruction_is_on_a_row():
    """What `rtl.isa.exitcodes` lists, but for events, what programs ask memory for, and what is absent."""
    rom = assembled()
    rows = rom.fields + [rom.first(name) for name in rom.programs]
    codes = {row["intercept"] & 0xFF for row in rows if row.get("intercept")} | {int(ExitCode.PAUSE)}
    wanted = {code for code in ExitCode if code < 0x40 or 0x65 <= code <= 0x89} - {
        ExitCode.CR8_READ, ExitCode.CR8_WRITE, ExitCode.IOIO, ExitCode.MSR, ExitCode.TASK_SWITCH, ExitCode.SHUTDOWN,
        ExitCode.RSM, ExitCode.FERR_FREEZE, ExitCode.RDTSCP}
    debug = {code for code in wanted if 0x20 <= code < 0x40}
    assert codes == (wanted - debug) | {ExitCode.DR0_READ, ExitCode.DR0_WRITE}


def test_cost_of_a_world_switch():
    """Rows of VMRUN and of #VMEXIT: what the round trip costs, without the pipeline's own turns."""
    scene = host(random.Random("cost"))
    scene.state.cpl, scene.state.gpr[0] = 0, VMCB
    scene.state.msrs |= {Msr.EFER: EFER_SVME, Msr.VM_HSAVE_PA: HSAVE}
    scene.put(VMCB + Vmcb.EVENTINJ, 0, 4)
    scene.code(b"\x0f\x01\xd8")
    model = UopModel(PhysicalMemory(np.array(scene.memory)), Ports())
    model.state.load_dict(scene.state.to_dict())
    model.step()
    enter = model.rows_done
    assert model.state.svm.guest
    leave = len([place for place in assembled().where if place.startswith("vmexit+")])
    assert enter + leave <= 215, (enter, leave)


assert DATA < VMCB and MSRPM + MSRPM_BYTES <= SIZE
