"""Random guest programs for lockstep: seeded, bootable, and sure to end."""

from .program import Mix, Program, generate

__all__ = ["Mix", "Program", "generate"]
