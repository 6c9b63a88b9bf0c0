"""Random VMCBs, tables and code: whatever they are, the host is alive behind VMRUN and its state is as it was."""

from __future__ import annotations

import random

import pytest

from rtl.isa import paging as isa
from rtl.isa.exitcodes import ExitCode
from rtl.isa.registers import Cr0, Cr4, Seg
from rtl.isa.retire import RetireCause
from rtl.isa.svm import Vmcb
from tests.vmm.engine.svmguest import AFTER, VMCB, host_segments, intercept, world, write
from tests.vmm.engine.test_svm_paging import ALL, HOST_DIRECTORY, N_DIRECTORY, N_TABLE, PAGING
from vmm.engine.interpreter import Interpreter

#: Fields that a VMRUN which gets somewhere must have nearly right.
_SENSIBLE = (Vmcb.EFER, Vmcb.ASID, Vmcb.CR0, Vmcb.CR4, Vmcb.DR6, Vmcb.DR7, Vmcb.IOPM_BASE, Vmcb.MSRPM_BASE)
_STEPS = 60


def prepare(rng: random.Random) -> Interpreter:
    """Tables of the guest and the nested ones share the upper half of memory with nothing of the host."""
    cpu = world("")
    memory = cpu.memory
    memory.load_blob(0xC000, rng.randbytes(0x2000))
    memory.write32(HOST_DIRECTORY, ALL | isa.PTE_PS | isa.PTE_A | isa.PTE_D)
    memory.write32(N_DIRECTORY, N_TABLE | ALL)
    for page in range(1024):
        frame = rng.randrange(0xC, 0xF)
        memory.write32(N_TABLE + 4 * page, frame << 12 | (ALL if rng.random() < 0.8 else rng.getrandbits(12)))
    cpu.state.cr0, cpu.state.cr3, cpu.state.cr4 = PAGING, HOST_DIRECTORY, int(Cr4.PSE)
    kept = {field: memory.blob(VMCB + field, field.size) for field in _SENSIBLE}
    memory.load_blob(VMCB, rng.randbytes(0x1000))
    for field, value in kept.items():
        if rng.random() < 0.97:
            memory.load_blob(VMCB + field, value)
    write(cpu, Vmcb.NP_ENABLE, 1)
    write(cpu, Vmcb.N_CR3, N_DIRECTORY)
    write(cpu, Vmcb.G_PAT, 0x0007_0406_0007_0406)
    write(cpu, Vmcb.EVENTINJ, rng.choice((0, 0, 0x8000_0020, 0x8000_0B0D, rng.getrandbits(64))))
    write(cpu, Vmcb.RIP, rng.randrange(0xC000, 0xE000))
    if rng.random() < 0.8:
        write(cpu, Vmcb.CS, 0xC9B << 16 | 8, 4)
        write(cpu, Vmcb.CS + 4, 0xFFFF_FFFF, 4)
        write(cpu, Vmcb.CS + 8, 0, 8)
    if rng.random() < 0.5:
        write(cpu, Vmcb.CR0, PAGING | rng.choice((0, int(Cr0.WP), int(Cr0.AM))))
        write(cpu, Vmcb.CR3, rng.randrange(0xC, 0xE) << 12)
    # nothing of the machine may be changed behind the monitor's back
    intercept(cpu, ExitCode.VMRUN, ExitCode.VMLOAD, ExitCode.VMSAVE, ExitCode.STGI, ExitCode.CLGI, ExitCode.MSR,
              ExitCode.CR0_WRITE, ExitCode.SHUTDOWN, ExitCode.TASK_SWITCH)
    cpu.state_changed()
    return cpu


def _host(cpu: Interpreter) -> tuple[object, ...]:
    """What a VMRUN has to give back."""
    state = cpu.state
    return (host_segments(cpu), state.segments[Seg.TR].copy(), state.gpr[0], state.gpr[4], state.cr0, state.cr3,
            state.cr4, state.eflags, state.gdtr_base, state.idtr_base)


def _outside(cpu: Interpreter) -> tuple[bytes, ...]:
    """Memory that no guest frame, VMCB, save area or nested table is in."""
    return cpu.memory.blob(0, 0xC000), cpu.memory.blob(0x1_2000, 0x6000), cpu.memory.blob(HOST_DIRECTORY, 0x4000)


@pytest.mark.parametrize("block", range(8))
def test_the_host_survives(block: int) -> None:
    """The guest has three frames; the host's memory, its registers and the nested tables' frames are as before."""
    left = 0
    for seed in range(block * 60, block * 60 + 60):
        cpu = prepare(random.Random(seed))
        state = cpu.state
        before, memory = _host(cpu), _outside(cpu)
        for _ in range(_STEPS):
            retired = cpu.step()
            if retired.cause is RetireCause.VMEXIT:
                left += 1
                break
        else:
            # it runs on: make it leave from outside
            if not state.svm.guest or state.shutdown:
                continue
            cpu.interrupt_exit()
        assert not state.svm.guest and state.eip == AFTER and _host(cpu) == before, seed
        assert _outside(cpu) == memory, seed
    assert left > 20
