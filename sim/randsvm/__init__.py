"""Random virtual machines for lockstep: seeded hosts that run random guests from random VMCBs, and outlive them all."""

from .isolation import Isolation
from .program import Guests, generate

__all__ = ["Guests", "Isolation", "generate"]
