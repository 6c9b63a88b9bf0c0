"""Shifts one bit at a time, as the Operation sections of the manual have them (SDM vol. 2B, RCL to ROR, SAL to SHR)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Shifted:
    """What a shift leaves; `changed` is False when no flag changes. OF is that of the last single-bit step."""
    value: int
    cf: int = 0
    of: int = 0
    changed: bool = False


def single(name: str, value: int, bits: int, amount: int, carry: int) -> Shifted:
    """`value` of `bits` bits by `amount` (cut to five bits) steps of `name`."""
    top = bits - 1
    state = Shifted(value, carry)
    for _ in range(amount & 31):
        old, high, low = state.value, state.value >> top, state.value & 1
        if name == "shl":
            state = Shifted(old << 1 & (1 << bits) - 1, high)
        elif name == "shr":
            state = Shifted(old >> 1, low)
        elif name == "sar":
            state = Shifted(old >> 1 | high << top, low)
        elif name == "rol":
            state = Shifted((old << 1 | high) & (1 << bits) - 1, high)
        elif name == "ror":
            state = Shifted(old >> 1 | low << top, low)
        elif name == "rcl":
            state = Shifted((old << 1 | state.cf) & (1 << bits) - 1, high)
        else:
            state = Shifted(old >> 1 | state.cf << top, low)
        # The sign changed: what the manual's OF of a single-bit step comes to in every direction.
        state.of = (old ^ state.value) >> top
    state.changed = amount & 31 != 0 and (name not in ("rcl", "rcr") or (amount & 31) % (bits + 1) != 0)
    return state


def double(left: bool, value: int, source: int, bits: int, amount: int) -> Shifted:
    """SHLD and SHRD; counts above 16 of 16-bit operands go on with the destination itself behind the source."""
    supply = [source >> n & 1 for n in range(bits)], [value >> n & 1 for n in range(bits)]
    feed = [bit for word in supply for bit in (reversed(word) if left else word)]
    top, state = bits - 1, Shifted(value)
    for bit in feed[:amount & 31]:
        old = state.value
        state = Shifted((old << 1 | bit) & (1 << bits) - 1, old >> top) if left else (
            Shifted(old >> 1 | bit << top, old & 1))
        state.of = (old ^ state.value) >> top
        state.changed = True
    return state
