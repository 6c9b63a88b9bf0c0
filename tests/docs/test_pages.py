"""What README.md and docs/ name is there: paths, links, make targets, modules, options of commands."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from tests.docs.pages import TREE, command_lines, links_in, pages, paths_in
from tests.test_imports import ROOT
from vmm.cli.main import main

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


def missing(path: str, root: Path) -> bool:
    """Is nothing there? Guests are known by their names, without `firmware/` and suffix."""
    guest = any((ROOT / "firmware").glob(f"{path}.[cS]"))
    return not (guest or (any(root.glob(path)) if "*" in path else (root / path).exists()))


def wrong_command(line: str) -> str | None:
    """What is wrong with a command line of the documentation."""
    words = shlex.split(line)
    if words[0] == "make":
        unknown = [word for word in words[1:] if word not in TARGETS]
        return f"make has no target {unknown[0]}" if unknown else None
    if words[0] == "python":
        module = words[2]
        if module == "pytest":
            return next((f"no {word}" for word in words[3:] if word.startswith("tests") and missing(
                word.split("::")[0], ROOT)), None)
        if module.split(".")[0] in TREE and importlib.util.find_spec(module) is None:
            return f"no module {module}"
        if module != "vmm.cli.main":
            return None
        words = ["gigogne", *words[3:]]
    if len(words) < 2 or words[1].startswith("-"):
        return None
    command = main.get_command(click.Context(main), words[1])
    if command is None:
        return f"gigogne has no command {words[1]}"
    known = {name for parameter in command.params if isinstance(parameter, click.Option)
             for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words[2:] if word.startswith("-") and word not in known | {"--help"}]
    return f"gigogne {words[1]} has no option {unknown[0]}" if unknown else None


@PAGES
def test_paths_exist(page: Path) -> None:
    assert [path for path in sorted(paths_in(page.read_text())) if missing(path, ROOT)] == []


@PAGES
def test_links_lead_somewhere(page: Path) -> None:
    assert [link for link in sorted(links_in(page.read_text())) if missing(link, page.parent)] == []


@PAGES
def test_commands_are_right(page: Path) -> None:
    found = {line: wrong_command(line) for line in command_lines(page.read_text())}
    assert {line: wrong for line, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(("text", "expected"), [
    ("    make tests", "make has no target tests"),
    ("    python -m sim.nothing here", "no module sim.nothing"),
    ("    python -m pytest tests/nowhere", "no tests/nowhere"),
    ("as `gigogne fly x.elf` does", "gigogne has no command fly"),
    ("    gigogne run x.elf --fast   # comment", "gigogne run has no option --fast"),
    ("    gigogne run x.elf -m 32 --stats", None),
    ("    make run", None),
])
def test_a_wrong_command_is_noticed(text: str, expected: str | None) -> None:
    assert [wrong_command(line) for line in command_lines(text)] == [expected]


def test_a_wrong_path_is_noticed() -> None:
    found = paths_in("`rtl/cpu/core.py`, `rtl/nothing.py`, `vmm/semantics/*.py`, `a/b`, `rtl.isa`")
    assert sorted(path for path in found if missing(path, ROOT)) == ["rtl/nothing.py"]
    assert links_in("[a](docs/x.md#part) ![b](docs/y.svg) [c](https://example.org)") == {"docs/x.md", "docs/y.svg"}


def test_the_readme_shows_the_picture_and_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "docs/images/architecture.svg" in links_in(text)
    assert {"make run", "make test"} <= set(command_lines(text))


def test_every_page_is_reached_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            todo += [target for link in links_in(page.read_text())
                     if (target := (page.parent / link).resolve()).suffix == ".md" and target.exists()]
    assert [str(page.relative_to(ROOT)) for page in pages() if page not in seen] == []
