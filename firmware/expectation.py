"""Reads what a guest image is expected to do from the comment that opens its source.

The comment holds lines ` * key: value`; these are understood, others are for people:

    expect: TEXT             one line of output; lines `   TEXT` (two spaces more) under a bare `expect:` are one each
    status: N                value the guest exits with (default 0)
    append: OPTIONS          command line to give it (default none)
    memory: N                MiB of RAM to give it (default 16)
    console: serial          where it prints, when not to the debug console
    qemu-deviation: CHECK: REASON
                             a check `CHECK` of which QEMU's own interpreter is known to depart from the manual
    qemu-skip: REASON        QEMU departs from the manual in a way the program does not survive
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from firmware.build import HERE, images, svm_images

_LINE = re.compile(r"^ \*(?: (?P<indent> *)(?P<text>.*))?$")
_KEY = re.compile(r"^(?P<key>[a-z-]+):(?: (?P<value>.*))?$")


class ExpectationError(Exception):
    """A header is missing or makes no sense."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a run with default options prints and answers.

    Members
    -------
    output : str
        Everything printed, newlines included.
    status : int
        The value written to the exit port.
    append : str
        Command line to run it with.
    memory : int
        MiB of RAM to run it with.
    serial : bool
        Whether it prints to the serial port rather than the debug console.
    deviations : dict[str, str]
        Checks that fail under QEMU's interpreter, and why. They print `FAIL CHECK` there, with any detail after.
    qemu_skip : str or None
        Why not to run it under QEMU at all.
    """

    output: str
    status: int = 0
    append: str = ""
    memory: int = 16
    serial: bool = False
    deviations: dict[str, str] = field(default_factory=dict)
    qemu_skip: str | None = None


def parse(text: str, where: str) -> Expectation:
    """The expectation in a source text; `where` names it in errors.

    Raises
    ------
    ExpectationError
        There is no opening comment, or it expects nothing.
    """
    if not text.startswith("/*"):
        raise ExpectationError(f"{where}: the source must open with a comment")
    lines: list[str] = []
    values: dict[str, str] = {}
    deviations: dict[str, str] = {}
    in_block = False
    for raw in text[: text.index("*/")].splitlines()[1:]:
        match = _LINE.match(raw.rstrip())
        if match is None or match["text"] is None:
            in_block = False
            continue
        indent, body = match["indent"] or "", match["text"]
        if in_block and len(indent) >= 2:
            lines.append(indent[2:] + body)
            continue
        in_block = False
        key = _KEY.match(body)
        if indent or key is None:
            continue
        value = key["value"] or ""
        if key["key"] == "expect":
            in_block = not value
            lines += [value] if value else []
        elif key["key"] == "qemu-deviation":
            check, colon, reason = value.partition(": ")
            if not colon:
                raise ExpectationError(f"{where}: `qemu-deviation: {value}` gives no reason")
            deviations[check] = reason
        else:
            values[key["key"]] = value
    if not lines:
        raise ExpectationError(f"{where}: the opening comment expects no output")
    try:
        status, memory = int(values.get("status", "0"), 0), int(values.get("memory", "16"), 0)
    except ValueError as error:
        raise ExpectationError(f"{where}: {error}") from None
    serial = values.get("console") == "serial"
    output = "".join(f"{line}\n" for line in lines)
    return Expectation(output, status, values.get("append", ""), memory, serial, deviations, values.get("qemu-skip"))


def header_source(name: str) -> Path:
    """The source whose opening comment speaks for an image."""
    image = (images() | svm_images())[name]
    return HERE / "kernel" / "main.c" if name == "kernel" else image.sources[0]


def expectation(name: str) -> Expectation:
    """The expectation of an image, by its name (see `firmware.build`)."""
    source = header_source(name)
    return parse(source.read_text(), str(source.relative_to(HERE)))
