"""Processes that are timed."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: No measured process needs this long; one that does hangs.
TIMEOUT = 60.0


class ProcessFailed(Exception):
    """A process could not be started, took too long, or ended otherwise than it should; one sentence."""


@dataclass(frozen=True)
class Ran:
    """A process that has ended.

    Members
    -------
    wall : seconds a user waits. processor : seconds of processor time of all its threads, which a busy machine does
        not lengthen. output, errors : what it wrote.
    """

    status: int
    output: str
    errors: str
    wall: float
    processor: float


def user_environment() -> dict[str, str]:
    """Our own environment, but for what keeps Python from storing compiled modules, which users have stored."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> Ran:
    """Run a command to its end, with no input; ``environment`` is added to `user_environment`.

    Raises
    ------
    ProcessFailed
        It cannot be started, or has not ended after ``timeout`` seconds and is killed.
    """
    wall, processor = time.perf_counter(), _children()
    try:
        done = subprocess.run(command, env=user_environment() | dict(environment or {}), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=timeout, check=False)
    except OSError as error:
        raise ProcessFailed(f"{command[0]} cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ProcessFailed(f"not done after {timeout:g} s") from None
    wall, processor = time.perf_counter() - wall, _children() - processor
    return Ran(done.returncode, done.stdout.decode("latin-1").replace("\r", ""), done.stderr.decode("latin-1"),
               wall, processor)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
