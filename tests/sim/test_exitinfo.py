"""EXITINFO1 and EXITINFO2 in words."""

from __future__ import annotations

import pytest

from rtl.isa.exitcodes import ExitCode
from rtl.isa.svm import EVENT_EV, EVENT_V, MOV_CR, IoInfo, NpfInfo, TaskInfo
from sim.exitinfo import describe_event, describe_exit


@pytest.mark.parametrize(("code", "info1", "info2", "ecx", "words"), [
    (ExitCode.IOIO, IoInfo.build(size8=1, port=0x3F8), 0x1234, 0, "out port 3F8h, 1 byte"),
    (ExitCode.IOIO, IoInfo.build(input=1, string=1, rep=1, size32=1, port=0x1F0), 0, 0, "rep ins port 1F0h, 4 bytes"),
    (ExitCode.NPF, NpfInfo.build(w=1, u=1, final=1), 0xFEE0_0080, 0, "write at FEE00080, not present"),
    (ExitCode.NPF, NpfInfo.build(p=1, u=1, table=1), 0x1000, 0, "read of a guest table at 00001000, protection"),
    (ExitCode.NPF, NpfInfo.build(p=1, rsvd=1, fetch=1, final=1), 0x2000, 0, "fetch at 00002000, reserved bit"),
    (ExitCode.MSR, 1, 0, 0x174, "write SYSENTER_CS"),
    (ExitCode.MSR, 0, 0, 0x7777, "read MSR 7777h"),
    (ExitCode.EXCEPTION_PF, 6, 0xC000_0000, 0, "address C0000000, error code 6h"),
    (ExitCode.EXCEPTION_GP, 0x13, 0, 0, "error code 13h"),
    (ExitCode.EXCEPTION_UD, 0, 0, 0, ""),
    (ExitCode.INVLPG, 0x5000, 0, 0, "address 00005000"),
    (ExitCode.SWINT, 0x80, 0, 0, "INT 80h"),
    (ExitCode.TASK_SWITCH, 0x28, TaskInfo.build(jump=1), 0, "jump to TSS 28h"),
    (ExitCode.TASK_SWITCH, 0x28, TaskInfo.build(has_error=1, error=2), 0, "call or gate to TSS 28h, error code 2h"),
    (ExitCode.CR0_WRITE, MOV_CR | 3, 0, 0, "EBX"),
    (ExitCode.CR0_WRITE, 0, 0, 0, ""),
    (ExitCode.DR7_READ, 6, 0, 0, "ESI"),
    (ExitCode.VMMCALL, 0, 0, 0, ""),
])
def test_causes(code: int, info1: int, info2: int, ecx: int, words: str) -> None:
    assert describe_exit(code, info1, info2, ecx) == words


@pytest.mark.parametrize(("bits", "words"), [
    (0x30, ""), (EVENT_V | 0x30, "interrupt 30h"), (EVENT_V | 0x202, "NMI 02h"), (EVENT_V | 0x480, "INT 80h"),
    (EVENT_V | EVENT_EV | 0x30D | 0x18 << 32, "exception 0Dh, error code 18h"),
])
def test_events(bits: int, words: str) -> None:
    assert describe_event(bits) == words
