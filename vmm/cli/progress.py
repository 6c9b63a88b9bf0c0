"""How far a long run is, for the person at the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from vmm.cli.options import write_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

#: Seconds before anything is shown, and between two looks.
DELAY, INTERVAL = 1.0, 0.25


class Progress:
    """A line that says how far the run is.

    1. It is shown on standard error when that is a terminal, from `DELAY` seconds on, and erased at the end.
    2. Output of the guest through `console` erases it first. It does not come back while the guest's cursor stands
       within a line of the same terminal.

    Parameters
    ----------
    terminal, clock : in place of the real ones.

    Members
    -------
    text : says how far the run is; to be set before the first look.
    """

    def __init__(self, text: Callable[[], str] = str, terminal: Console | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.text = text
        self._terminal = terminal
        self._clock = clock
        self._begin = clock()
        self._due = self._begin + DELAY if terminal is not None or sys.stderr.isatty() else float("inf")
        self._within_line = False
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._erase()

    def look(self) -> None:
        """Show the present, if it is time to; to be called often."""
        if self._clock() >= self._due and not self._within_line:
            self._show()
            self._due = self._clock() + INTERVAL

    def console(self, data: bytes) -> None:
        """Output of the guest, to standard output."""
        self._erase()
        write_console(data)
        if data and sys.stdout.isatty():
            self._within_line = not data.endswith(b"\n")

    def _show(self) -> None:
        # Runs that are over before there is anything to show do without.
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        line = Text(f"{self.text()}, {self._clock() - self._begin:.0f} s", no_wrap=True, overflow="ellipsis")
        if self._live is None:
            self._terminal = self._terminal or Console(stderr=True)
            self._live = Live(line, console=self._terminal, auto_refresh=False, transient=True, redirect_stdout=False,
                              redirect_stderr=False)
            self._live.start(refresh=True)
        else:
            self._live.update(line, refresh=True)

    def _erase(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
