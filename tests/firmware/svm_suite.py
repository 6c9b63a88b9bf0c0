"""Judges what a program of the SVM suite printed on a peer: every check passes but those `deviations.toml` excuses."""

import re
import tomllib
from dataclasses import dataclass

from firmware.build import HERE, svm_images
from firmware.expectation import expectation

#: The programs by name.
PROGRAMS = sorted(name.removeprefix("svm/") for name in svm_images())
DEVIATIONS = HERE / "svm" / "deviations.toml"
_LINE = re.compile(r"(PASS|FAIL|SKIP) ([a-z0-9_]+)(?: got .* wanted .*)?")
_END = re.compile(r"\w+: (\d+) checks")


@dataclass(frozen=True, slots=True)
class Deviation:
    """Checks of one program in which a peer departs from the manual, the manual's section, and how it departs."""

    peer: str
    program: str
    checks: tuple[str, ...]
    section: str
    reason: str


def deviations() -> list[Deviation]:
    """All of them, in the order of the file."""
    with DEVIATIONS.open("rb") as file:
        entries = tomllib.load(file)["deviation"]
    return [Deviation(**{**entry, "checks": tuple(entry["checks"])}) for entry in entries]


def excuse(peer: str, program: str) -> str | None:
    """Why a peer is not asked to run a program at all, or None."""
    for known in deviations():
        if (known.peer, known.program, known.checks) == (peer, program, ("*",)):
            return f"{known.reason} ({known.section})"
    return None


def judge(program: str, output: str, status: int | None, peer: str, skips: bool = False) -> list[str]:
    """What is wrong with a run: nothing, when every check printed its line and only the known ones failed.

    Parameters
    ----------
    program : its name without `svm/`. output, status : what it printed, and the value it exited with.
    peer : whose deviations count. skips : whether checks may be skipped whose subject the peer does not announce.
    """
    entries = [entry for entry in deviations() if (entry.peer, entry.program) == (peer, program)]
    known = {check for entry in entries for check in entry.checks}
    lines = output.splitlines()
    end = expectation(f"svm/{program}").output.rstrip("\n")
    if not lines or lines[-1] != end:
        return [f"the last line is {lines[-1] if lines else ''!r}, not {end!r}"]
    wrong, seen, failed = [], set(), False
    for line in lines[:-1]:
        match = _LINE.fullmatch(line)
        if match is None:
            wrong.append(f"not a check: {line!r}")
            continue
        verdict, check = match[1], match[2]
        failed |= verdict == "FAIL"
        if check in seen:
            wrong.append(f"{check} is checked twice")
        seen.add(check)
        if verdict == "SKIP" and not skips or verdict == "FAIL" and check not in known:
            wrong.append(line)
        if verdict == "PASS" and check in known:
            wrong.append(f"{check} passes although it is a known deviation")
    count = _END.fullmatch(end)
    if count is None or int(count[1]) != len(seen):
        wrong.append(f"{len(seen)} checks for {end!r}")
    wrong += [f"{check} is a known deviation and was never checked" for check in sorted(known - seen)]
    if status != int(failed):
        wrong.append(f"the exit value is {status}, not {int(failed)}")
    return wrong
