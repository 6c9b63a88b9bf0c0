"""What a cycle does, as an ordered tree: the scheduler writes it and the emitter reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .netlist import Sig


class Do(NamedTuple):
    """One step. ``what`` is ``node``, ``register``, ``memory``, ``tap``, ``ram`` or ``stop``; ``index`` says which."""

    what: str
    index: int = 0  # type: ignore[assignment]


class Literal(NamedTuple):
    """A bit of a node, or its complement when ``value`` is 0."""

    node: int
    offset: int
    value: int


class Merge(NamedTuple):
    """A multiplexer, AND or OR decided by ``test``: it is ``inside`` where the test holds and ``outside`` elsewhere."""

    test: Literal
    inside: Sig
    outside: Sig


@dataclass
class If:
    """Steps done only when ``test`` holds. Words computed inside mean nothing when it does not.

    ``merges`` are the exception: nodes of the body with a value of their own for the other case.
    """

    test: Literal
    body: Block = field(default_factory=list)
    merges: dict[int, Merge] = field(default_factory=dict)


@dataclass
class Call:
    """Steps moved to a function of their own."""

    function: int


Step = Do | If | Call
Block = list[Step]


@dataclass
class Program:
    """``functions[0]`` is one whole cycle. ``crossing`` are the nodes that pass between functions, ``skipped`` those
    of them that some cycles do not compute."""

    functions: list[Block]
    crossing: list[int]
    skipped: set[int]
