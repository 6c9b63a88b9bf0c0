"""RAM that the host has at low addresses, as in a heap that grows from a fixed place: below where the guest runs."""

from __future__ import annotations

import ctypes
import mmap
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.vmm.engine.boot import boot
from tests.vmm.engine.dbt.lockstep import VARIANTS, Difference, Pair, translator
from vmm.engine.emulate import EmulatedMachine, StopReason

RAM, _LOW = 2 << 20, 0x10_0000
_FIXED_NOREPLACE = 0x10_0000


@pytest.fixture
def low_ram() -> np.ndarray:
    """RAM at host address 1 MiB, where programs have nothing. It is never given back: views of it may live on."""
    if not sys.platform.startswith("linux") or sys.maxsize < 1 << 32:
        pytest.skip("the flags of mmap are those of 64-bit Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    found = libc.mmap(_LOW, RAM, mmap.PROT_READ | mmap.PROT_WRITE,
                      mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _FIXED_NOREPLACE, -1, 0)
    if found != _LOW:
        pytest.skip(f"the host has something at {_LOW:#x}, or refuses it to programs")
    return np.frombuffer((ctypes.c_uint8 * RAM).from_address(found), np.uint32)


def test_low_ram(low_ram: np.ndarray, built: dict[str, Path]) -> None:
    """Aliases of code at linear addresses beyond those of the host's RAM: distances that are negative, or zero."""
    machines = EmulatedMachine(RAM), EmulatedMachine(low_ram, processor=translator(VARIANTS["blocks"]))
    for machine in machines:
        boot(built["tests/code_corners"], machine=machine)
    try:
        outcome = Pair(*machines, random.Random(1)).run(60_000)
    finally:
        machines[1].cpu.close()  # type: ignore[attr-defined]
    assert not isinstance(outcome, Difference), outcome
    assert outcome.reason is StopReason.GUEST_EXIT
