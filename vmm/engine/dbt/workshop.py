"""A process that works for this one: compiling there takes no time from the guest, not even the interpreter lock.

Rules:

1. The process is a copy of this one, made when it is first wanted and while nobody is in LLVM; it needs no start and
   knows what this one knew then.
2. It gets one piece of work at a time, a function and its arguments, and gives back what that returns or raises.
3. It ends with `stop`, whatever it is doing, or when this process does. If it comes to another end, which LLVM may
   bring it, `renew` makes another.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar

from llvmlite.binding import ffi as LLVM

from vmm.engine.dbt.compiler import Compiler

T = TypeVar("T")
#: Processes that may come to their end before it is given up to have one.
_ENDS = 8
#: Two copies made at once would have each other's pipes, and neither would hear that this process has ended.
_COPYING = threading.Lock()


class Stopped(Exception):
    """The process has been stopped, or has come to its end otherwise."""


class Workshop:
    """One such process.

    Parameters
    ----------
    compiler : the first argument of all work. patience : by how much other processes go before it.
    """

    def __init__(self, compiler: Compiler, patience: int = 0):
        self._compiler = compiler
        self._patience = patience
        self._child = self._ended = 0
        self._lock = threading.RLock()
        self._requests: BinaryIO
        self._answers: BinaryIO

    @property
    def is_open(self) -> bool:
        return self._child > 0

    def open(self) -> bool:
        """Have the process, if this host can copy processes; whether there is one."""
        with self._lock:
            if not self._child and hasattr(os, "fork"):
                with _COPYING:
                    self._copy()
            return self.is_open

    def _copy(self) -> None:
        theirs, requests = os.pipe()
        answers, ours = os.pipe()
        try:
            # what another thread held would be held there for ever; of the locks taken there that can be LLVM's alone
            with LLVM.lib._lock, warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self._child = os.fork()
        except OSError:
            self._child = -1
        if not self._child:
            try:
                os.close(requests)
                os.close(answers)
                self._serve(theirs, ours)
            finally:
                os._exit(0)
        os.close(theirs)
        os.close(ours)
        self._requests, self._answers = os.fdopen(requests, "wb"), os.fdopen(answers, "rb")

    def do(self, work: Callable[..., T], *args: Any) -> T:
        """Have `work(compiler, *args)` done there.

        Raises
        ------
        Stopped
        """
        try:
            pickle.dump((work, args), self._requests, pickle.HIGHEST_PROTOCOL)
            self._requests.flush()
            result, error = pickle.load(self._answers)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as ended:
            raise Stopped from ended
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def renew(self) -> bool:
        """Have another process in the place of one that ended; not so after `stop`, or when too many have ended."""
        with self._lock:
            if not self.is_open or self._ended >= _ENDS:
                return False
            self._ended += 1
            self._reap()
            self._disconnect()
            self._child = 0
            return self.open()

    def _reap(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._child, 0)

    def stop(self) -> None:
        """End the process now."""
        with self._lock:
            if self.is_open:
                self._reap()
            self._child = -1

    def close(self) -> None:
        """Give back what talking to the process took; nobody may be doing so."""
        self.stop()
        self._disconnect()

    def _disconnect(self) -> None:
        if hasattr(self, "_requests"):
            with suppress(OSError):
                self._requests.close()
            self._answers.close()

    def _serve(self, requests: int, answers: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.nice(self._patience)
        with os.fdopen(requests, "rb") as source, os.fdopen(answers, "wb") as sink:
            while True:
                try:
                    work, args = pickle.load(source)
                except EOFError:
                    return
                answer: tuple[Any, Exception | None]
                try:
                    answer = work(self._compiler, *args), None
                except Exception as error:  # noqa: BLE001 - raised again where it was asked for
                    answer = None, error
                pickle.dump(answer, sink, pickle.HIGHEST_PROTOCOL)
                sink.flush()
