"""What is built once a session: all images, and the computer on the native engine by the size of its RAM."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from firmware.build import build
from firmware.toolchain import ToolchainError

if TYPE_CHECKING:
    from sim.rtlmachine import RtlMachine


@pytest.fixture(scope="session")
def built() -> dict[str, Path]:
    """Every image by name, in the tree's build directory, where a second session finds them."""
    try:
        return build()
    except ToolchainError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def image_folder(built: dict[str, Path]) -> Path:
    """Where every image is."""
    return built["kernel"].parent


@pytest.fixture(scope="session")
def computers() -> Callable[[int], RtlMachine]:
    """The computer with so many bytes of RAM, as whoever used it last has left it."""
    from sim.rtlmachine import RtlMachine

    return cache(lambda ram_bytes: RtlMachine(ram=np.zeros(ram_bytes // 4, dtype=np.uint32)))
