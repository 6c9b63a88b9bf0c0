"""What is built once a session: all images, and the computer on the native engine by the size of its RAM."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from firmware.build import build
from firmware.toolchain import ToolchainError

if TYPE_CHECKING:
    from sim.rtlmachine import RtlMachine

#: What the kernel says of this process's memory, a line for each piece; it allows 65,530 of them by default.
_MAPS, _MANY = Path("/proc/self/maps"), 10_000


@pytest.fixture(autouse=True)
def memory_of_translators() -> Iterator[None]:
    """Code that was translated goes with its translator, which Python collects when it sees fit, and that is late."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MANY:
        gc.collect()


@pytest.fixture(scope="session")
def built() -> dict[str, Path]:
    """Every image by name, in the tree's build directory, where a second session finds them."""
    try:
        return build()
    except ToolchainError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def computers() -> Callable[[int], RtlMachine]:
    """The computer with so many bytes of RAM, as whoever used it last has left it."""
    from sim.rtlmachine import RtlMachine

    return cache(lambda ram_bytes: RtlMachine(ram=np.zeros(ram_bytes // 4, dtype=np.uint32)))
