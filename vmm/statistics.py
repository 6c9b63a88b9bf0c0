"""What an engine did in order to execute a guest. Nothing of the guest depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Statistics:
    """Counters of one processor since it was made; what an engine does not have stays 0.

    The translations of an address are reported one by one: `walks` from linear to physical addresses through the
    guest's tables (GVA to GPA), `lookups` from physical addresses to host memory through slots (GPA to HVA).

    Members
    -------
    steps : instructions, iterations of REP instructions and deliveries. native_steps : those done by translated code.
    deliveries : faults that translated code delivered itself.
    blocks : basic blocks met. warm, regions : blocks and regions compiled. refused : units LLVM refused.
    chains : jumps from one translation straight to another. invalidations : translations dropped because of writes.
    compile_seconds : time LLVM took, on whatever thread.
    misses : accesses that found nothing in the TLB of the fast path. walks, lookups : see above.
    slow_accesses : accesses to memory outside the fast window, which have no host address in the TLB.
    native_exits : why translated code came back to Python: how often, by reason.
    exits : how often `run` of a virtual CPU returned, by exit.
    """

    steps: int = 0
    native_steps: int = 0
    deliveries: int = 0
    blocks: int = 0
    warm: int = 0
    regions: int = 0
    refused: int = 0
    chains: int = 0
    invalidations: int = 0
    compile_seconds: float = 0.0
    misses: int = 0
    walks: int = 0
    lookups: int = 0
    slow_accesses: int = 0
    native_exits: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)

    def counters(self) -> dict[str, int]:
        """All of it by name, with time in microseconds."""
        found: dict[str, int] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, dict):
                prefix = item.name.removesuffix("s")
                found |= {f"{prefix}_{name}": count for name, count in sorted(value.items())}
            elif isinstance(value, float):
                found[item.name.replace("seconds", "microseconds")] = round(1e6 * value)
            else:
                found[item.name] = value
        return found
