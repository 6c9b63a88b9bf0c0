"""docs/instruction-cycles.md: every snippet has its line, and the promised ones keep their promise on the RTL."""

import re
from dataclasses import replace

import pytest

from sim.bench.instruction_cycles import MeasureError, measure, page, text_of
from sim.bench.snippets import SNIPPETS, Snippet
from sim.bench.stage import RAM
from sim.rtlmachine import RtlMachine
from tests.test_imports import ROOT

PAGE = ROOT / "docs" / "instruction-cycles.md"
PROMISED = [snippet for snippet in SNIPPETS if snippet.contract is not None]


@pytest.fixture(scope="module")
def machine() -> RtlMachine:
    return RtlMachine(ram_bytes=RAM)


def test_page_lists_every_snippet() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| [\d.]+ \| ([\d.]*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(text_of(snippet), "" if snippet.contract is None else f"{snippet.contract:g}", snippet.note)
                    for snippet in SNIPPETS]


def test_page_shows_no_broken_promise() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| ([\d.]+) \| ([\d.]+) \|", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len(PROMISED)
    assert [row for row in rows if float(row[1]) > float(row[2])] == []


def test_simple_instructions_take_the_cycles_promised(machine: RtlMachine) -> None:
    """One cycle for register operations, loads, stores, PUSH, POP, branches not taken; three for predicted ones."""
    texts = {text_of(snippet): snippet.contract for snippet in PROMISED}
    one = ("add eax, ecx", "mov eax, dword ptr [ebx]", "mov dword ptr [ebx], eax", "push eax", "pop eax", "jne next")
    assert [texts[text] for text in one] == [1.0] * 6 and texts["je next"] == texts["jmp next"] == 3.0
    slow = [(figure.text, figure.cycles) for figure in measure(PROMISED, machine=machine)
            if figure.cycles > figure.snippet.contract]
    assert slow == []


def test_a_division_is_seen_to_be_slow(machine: RtlMachine) -> None:
    """The measurement sees cycles where there are some, and the pipeline hides none of them."""
    division, addition = Snippet("", "31d2f7f1"), Snippet("", "01c8")
    slow, quick = measure([division, addition], machine=machine)
    assert slow.cycles > 32 and quick.cycles == 1


def test_a_snippet_that_does_not_end_is_an_error(machine: RtlMachine) -> None:
    with pytest.raises(MeasureError, match="^'hlt' ended with: HLT with interrupts off at"):
        list(measure([replace(PROMISED[0], code="f4")], machine=machine))


@pytest.mark.slow
def test_page_is_what_the_rtl_does(machine: RtlMachine) -> None:
    assert page(measure(machine=machine)) == PAGE.read_text(), "run make docs"
