"""Files of costs: what is written is read, and what cannot be used is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmm.timing.costs import EVENTS, Costs, CostsError, default_costs
from vmm.timing.shape import CLASSES


def test_default_costs_are_complete_and_come_back_from_their_text() -> None:
    costs = default_costs()
    assert set(costs.cycles) == set(CLASSES) | set(EVENTS)
    assert not set(CLASSES) & set(EVENTS)
    assert Costs.from_json(costs.to_json(), "again") == costs
    assert costs.configuration["memory"] == {"latency": 8}


def changed(path: Path, **fields: object) -> Path:
    path.write_text(json.dumps(json.loads(default_costs().to_json()) | fields))
    return path


@pytest.mark.parametrize(("fields", "message"), [
    ({"format": 2}, "'{}' is of another version, or was altered; write it anew with 'gigogne calibrate'"),
    ({"identity": "0"}, "'{}' is of another version, or was altered; write it anew with 'gigogne calibrate'"),
    ({"cycles": {}}, "'{}' does not agree about 'aad'; write it anew with 'gigogne calibrate'"),
    ({"cycles": 3}, "'{}' is not a file of costs that 'gigogne calibrate' wrote"),
    ({"geometry": {"ways": 2}}, "'{}' is not a file of costs that 'gigogne calibrate' wrote"),
    ({"cycles": default_costs().cycles | {"simple": 1.5}}, "'{}' has costs or sizes that are not whole numbers"),
    ({"cycles": default_costs().cycles | {"simple": -1}}, "'{}' has costs or sizes that are not whole numbers"),
])
def test_files_that_cannot_be_used(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    path = changed(tmp_path / "costs.json", **fields)
    with pytest.raises(CostsError) as caught:
        Costs.load(path)
    assert str(caught.value) == message.format(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"format": 1'])
def test_files_that_are_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(CostsError):
        Costs.load(path)
    with pytest.raises(CostsError) as caught:
        Costs.load(tmp_path / "none")
    assert str(caught.value) == f"Cannot read costs from '{tmp_path / 'none'}'"
