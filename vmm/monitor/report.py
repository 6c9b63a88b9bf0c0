"""What a guest under the monitor has cost: exits by reason, with their cycles."""

from __future__ import annotations

from dataclasses import dataclass, field

from rtl.isa.exitcodes import exit_name


@dataclass(slots=True)
class _Line:
    samples: int = 0
    total: int = 0
    least: int = 0
    most: int = 0


@dataclass(slots=True)
class ExitStatistics:
    """Exits by EXITCODE. The time of an exit is that of the transitions around it: from the ring of the doorbell before
    the guest ran to its first instruction, and from the #VMEXIT to the next ring. What the monitor does meanwhile takes
    no cycles.

    Members
    -------
    cycles : of all transitions.
    """

    _lines: dict[int, _Line] = field(default_factory=dict)

    def count(self, code: int, cycles: int) -> None:
        line = self._lines.get(code)
        if line is None:
            line = self._lines[code] = _Line(least=cycles)
        line.samples += 1
        line.total += cycles
        line.least, line.most = min(line.least, cycles), max(line.most, cycles)

    @property
    def samples(self) -> int:
        return sum(line.samples for line in self._lines.values())

    @property
    def cycles(self) -> int:
        return sum(line.total for line in self._lines.values())

    def by_reason(self) -> dict[str, int]:
        """Samples by the name of the exit, most frequent first."""
        return {exit_name(code): line.samples for code, line in self._sorted()}

    def cycles_by_reason(self) -> dict[str, int]:
        """Cycles of their transitions, in the same order."""
        return {exit_name(code): line.total for code, line in self._sorted()}

    def _sorted(self) -> list[tuple[int, _Line]]:
        return sorted(self._lines.items(), key=lambda item: (-item[1].samples, item[0]))

    def table(self, exit_cost: int = 0) -> list[str]:
        """Lines in the layout of `perf kvm stat report`; `exit_cost` is what an exit costs the monitor itself."""
        samples, cycles = self.samples, self.cycles
        lines = [f"{'VM-EXIT':>20} {'Samples':>10} {'Samples%':>9} {'Time%':>8} {'Min Time':>10} {'Max Time':>10} "
                 f"{'Avg time':>10}"]
        for code, line in self._sorted():
            lines.append(
                f"{exit_name(code):>20} {line.samples:>10,} {line.samples / samples:>9.2%} "
                f"{line.total / max(cycles, 1):>8.2%} {line.least:>10,} {line.most:>10,} "
                f"{line.total / line.samples:>10,.1f}")
        lines.append(f"Total Samples:{samples:,}, Total transition cycles:{cycles:,}" + (
            f", and {exit_cost:,} of the monitor's at each exit: {exit_cost * samples:,}." if exit_cost else "."))
        return lines
