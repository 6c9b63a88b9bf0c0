"""docs/reading-guide.md lists every module, once, after what it imports."""

import ast
import re

from tests.docs.reading_guide import COMMAND, listed_paths, module_edges, ordered
from tests.test_imports import ROOT, module_name

TEXT = (ROOT / "docs" / "reading-guide.md").read_text()
LISTED = re.findall(r"^- \[`([^`]+)`\]\(\.\./([^)]+)\): .", TEXT, re.MULTILINE)


def test_every_module_is_listed_once() -> None:
    assert [path for path, link in LISTED if path != link] == []
    assert sorted(path for path, _ in LISTED) == sorted(
        str(path.relative_to(ROOT)) for path in listed_paths().values()), f"run {COMMAND}"


def test_nothing_uses_what_comes_after_it() -> None:
    place = {module_name(ROOT / path): index for index, (path, _) in enumerate(LISTED)}
    late = [f"{name} before {target}" for name, targets in module_edges().items() if name in place
            for target in targets if target in place and place[target] > place[name]]
    assert late == [], f"run {COMMAND}"


def test_every_module_opens_with_a_sentence() -> None:
    """It is what the guide shows."""
    assert [name for name, path in listed_paths().items()
            if not (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]] == []


def test_order_puts_imports_first() -> None:
    assert ordered(["a", "b", "c"], {"a": {"c"}, "b": set(), "c": {"b"}}) == ["b", "c", "a"]
