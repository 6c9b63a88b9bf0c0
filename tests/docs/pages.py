"""The pages people wrote, and what they say that can be checked."""

import re
from pathlib import Path

from tests.test_imports import ROOT

#: First parts of the paths we speak of.
TREE = ("rtl", "sim", "vmm", "firmware", "tests", "docs", ".ci")
_FILES = ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml")


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def paths_in(text: str) -> set[str]:
    """Paths of ours named in backquotes; `*` stands for any name."""
    found = set()
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"[\w./*-]+", quoted) and (quoted.split("/")[0] in TREE and "/" in quoted or quoted in _FILES):
            found.add(quoted)
    return found


def links_in(text: str) -> set[str]:
    """Targets of links and images inside the repository, without their anchors."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return {target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target)} - {""}


def command_lines(text: str) -> list[str]:
    """Indented or fenced lines that begin with a command of ours; the comment after it is dropped."""
    lines = re.findall(r"^(?:    |\$ )?((?:make|gigogne|python -m) .*)$", text, re.MULTILINE)
    quoted = re.findall(r"`((?:make|gigogne|python -m) [^`\n]+)`", text)
    return [re.split(r"\s+#\s", line)[0].strip() for line in (*lines, *quoted)]
