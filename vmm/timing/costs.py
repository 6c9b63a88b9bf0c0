"""What things cost on one configuration of the computer, measured on the RTL, kept as data.

Rules:

1. A file holds the configuration it was measured with, in words and as an identity; who runs another one is told.
2. `Costs.cycles` has a number for every class of instruction and for every name in `EVENTS`, and no other.
3. Geometry is what the cache and TLB models need to know of the configuration.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .shape import CLASSES

__all__ = ["EVENTS", "Costs", "CostsError", "Geometry", "default_costs", "identity"]

FORMAT = 1

#: Costs that are not those of a class of instructions, and what they are.
EVENTS: dict[str, str] = {
    "taken": "a branch taken as predicted, beyond its own row",
    "mispredicted": "a branch that goes elsewhere than predicted; and whatever has the code fetched again",
    "across": "an access across a word",
    "exception": "delivery of an exception or an interrupt, at the same level",
    "error_code": "an exception that pushes an error code, beyond the delivery",
    "page_fault": "a page fault beyond the delivery with error code: the walk that finds it",
    "outer_event": "INT or a delivery that comes from an outer level, beyond one at the same level",
    "outer_return": "IRET or RETF to an outer level, beyond one at the same level",
    "interrupt": "an external interrupt, beyond the delivery of an exception",
    "task_switch": "a transfer that switches tasks",
    "load_miss": "a load whose line is not in the cache, until its word comes",
    "store_miss": "a store whose line is not in the cache, until the line is there",
    "fill": "from one line fill to the earliest next one",
    "write_back": "what an altered line that has to go adds to that",
    "uncached_load": "a load past the cache",
    "uncached_store": "from one store past the cache to the earliest next one",
    "walk": "a walk of the data side whose directory entry is remembered and whose table entry is in the cache",
    "walk_directory": "a walk that has to read the directory, beyond one that has not",
    "code_walk": "the same as `walk` for the code side",
    "code_fill": "jumping to a line that is not in the code cache nor in the data cache",
    "code_fill_cached": "jumping to a line that is only in the data cache",
    "code_next": "running into the next line, which is not in the code cache nor in the data cache",
    "code_next_cached": "running into the next line, which is only in the data cache",
}


class CostsError(Exception):
    """A file of costs cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Geometry:
    """Sizes that the models of caches, TLBs and predictors need: sets of two ways, or entries."""

    data_sets: int = 128
    code_sets: int = 128
    data_tlb_sets: int = 32
    code_tlb_sets: int = 16
    large_entries: int = 4
    walk_entries: int = 8
    counters: int = 512
    returns: int = 8
    targets: int = 16


def identity(configuration: dict[str, Any]) -> str:
    """A short text that differs between configurations."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Costs:
    """Measured costs.

    Members
    -------
    configuration : the board's, as nested dictionaries.
    cycles : by class of instruction (see `shape`) and by event.
    """

    configuration: dict[str, Any]
    geometry: Geometry
    cycles: dict[str, int]

    @property
    def identity(self) -> str:
        return identity(self.configuration)

    def to_json(self) -> str:
        """The text of a file."""
        return json.dumps({"format": FORMAT, "identity": self.identity, "configuration": self.configuration,
                           "geometry": asdict(self.geometry), "cycles": self.cycles}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, name: str) -> Costs:
        """The costs in a file's text; `name` is for messages.

        Raises
        ------
        CostsError
            It is not such a file, or it is damaged or of another version.
        """
        try:
            found = json.loads(text)
            costs = cls(dict(found["configuration"]), Geometry(**found["geometry"]), dict(found["cycles"]))
            sane = found["format"] == FORMAT and found["identity"] == costs.identity
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CostsError(f"'{name}' is not a file of costs that 'gigogne calibrate' wrote") from None
        if not sane:
            raise CostsError(f"'{name}' is of another version, or was altered; write it anew with 'gigogne calibrate'")
        missing = (set(CLASSES) | set(EVENTS)) ^ set(costs.cycles)
        if missing:
            raise CostsError(f"'{name}' does not agree about '{min(missing)}'; write it anew with 'gigogne calibrate'")
        values = [getattr(costs.geometry, field.name) for field in fields(Geometry)]
        if not all(type(value) is int and value >= 0 for value in (*costs.cycles.values(), *values)):
            raise CostsError(f"'{name}' has costs or sizes that are not whole numbers")
        return costs

    @classmethod
    def load(cls, path: Path) -> Costs:
        """Read a file. Raises CostsError if there is none or it cannot be used."""
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError):
            raise CostsError(f"Cannot read costs from '{path}'") from None
        return cls.from_json(text, str(path))


def default_costs() -> Costs:
    """The costs of the default configuration, which come with the package."""
    return Costs.load(Path(__file__).parent / "data" / "default.json")
