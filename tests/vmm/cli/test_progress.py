"""Long runs say how far they are, on terminals only."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vmm.cli.progress import DELAY, INTERVAL, Progress


class Scene:
    """A progress line on a terminal of our own, and a clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0
        self.screen = io.StringIO()
        terminal = Console(file=self.screen, force_terminal=True, width=60, _environ={})
        self.progress = Progress(lambda: "12,000 cycles", terminal, lambda: self.now)

    def look_after(self, seconds: float) -> str:
        """What the terminal gets from one look."""
        before = len(self.screen.getvalue())
        self.now += seconds
        self.progress.look()
        return self.screen.getvalue()[before:]


def test_shown_after_a_while_and_not_too_often() -> None:
    scene = Scene()
    assert scene.look_after(DELAY / 2) == ""
    assert "12,000 cycles, 1 s" in scene.look_after(DELAY / 2)
    assert scene.look_after(INTERVAL / 2) == ""
    assert "12,000 cycles, 1 s" in scene.look_after(INTERVAL / 2)
    assert "12,000 cycles, 11 s" in scene.look_after(10)


ERASE = "\x1b[2K"


def test_erased_at_the_end() -> None:
    scene = Scene()
    with scene.progress:
        scene.look_after(DELAY)
        shown = len(scene.screen.getvalue())
    assert ERASE in scene.screen.getvalue()[shown:]


def test_output_of_the_guest_comes_first(capsysbinary: pytest.CaptureFixture[bytes],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    scene.look_after(DELAY)
    shown = len(scene.screen.getvalue())
    scene.progress.console(b"login: ")
    assert ERASE in scene.screen.getvalue()[shown:]
    assert scene.look_after(10) == ""
    scene.progress.console(b"root\n")
    assert "12,000 cycles, 11 s" in scene.look_after(0)
    assert capsysbinary.readouterr().out == b"login: root\n"


def test_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress(lambda: "12,000 cycles", clock=lambda: now[0]) as progress:
        now[0] = 100.0
        progress.look()
        progress.console(b"x")
    captured = capsys.readouterr()
    assert captured.out == "x" and captured.err == ""
