"""All images, built once a session into the tree's build directory, where a second session finds them."""

from pathlib import Path

import pytest

from firmware.build import build
from firmware.toolchain import ToolchainError


@pytest.fixture(scope="session")
def built() -> dict[str, Path]:
    """Every image by name."""
    try:
        return build()
    except ToolchainError as error:
        pytest.skip(str(error))
