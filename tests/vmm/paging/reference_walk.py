"""A two-dimensional walk in forty lines, written from AMD64 APM vol. 2, 15.25, and from nothing else here.

The third opinion beside the golden model and the RTL: result, fault, bits set, references and their order.
"""

from dataclasses import dataclass, field


class Fault(Exception):
    """`kind` is "guest" (args: error code) or "nested" (args: EXITINFO1, EXITINFO2)."""


@dataclass
class Walker:
    """`refs` are the entries read, in order, as (dimension, physical address)."""

    memory: dict[int, int]
    n_cr3: int
    n_pse: bool
    refs: list[tuple[str, int]] = field(default_factory=list)

    def _levels(self, dimension, root, address, write, user, wp, pse, place):
        """One dimension: `place` turns the address of an entry into that of the machine. (frame, U, W, D, large)."""
        ask = 2 * write + 4 * user
        found, table, rights = [], root & ~0xFFF, 7
        for shift in (22, 12):
            where = place(table + (address >> shift & 0x3FF) * 4)
            self.refs.append((dimension, where))
            entry = self.memory.get(where, 0)
            if not entry & 1:
                raise Fault(dimension, ask)
            found.append((where, entry))
            rights, table, large = rights & entry, entry & ~0xFFF, shift == 22 and pse and entry >> 7 & 1
            if large:
                break
        if large and entry & 0x3FF000:
            raise Fault(dimension, ask | 9)
        if user and not rights & 4 or write and not rights & 2 and (user or wp):
            raise Fault(dimension, ask | 1)
        for where, entry in found:
            self.memory[where] |= 0x20 | (0x40 if write and (where, entry) == found[-1] else 0)
        base, size = (entry & ~0x3FFFFF, 1 << 22) if large else (entry & ~0xFFF, 1 << 12)
        return base | address & size - 1, bool(rights & 4), bool(rights & 2), write or bool(entry & 0x40), large

    def nested(self, gpa, write, final):
        try:
            return self._levels("nested", self.n_cr3, gpa, write, True, True, self.n_pse, lambda where: where)
        except Fault as fault:
            raise Fault("nested", fault.args[1] | (1 << 32 if final else 1 << 33), gpa) from None

    def walk(self, linear, write, user, guest):
        """`guest` is (CR3, WP, PSE), or None. (address, user, writable, dirty, large)."""
        gpa, inner = linear, (linear, True, True, True, False)
        if guest is not None:
            cr3, wp, pse = guest
            inner = self._levels("guest", cr3, linear, write, user, wp, pse, lambda at: self.nested(at, True, False)[0])
            gpa = inner[0]
        outer = self.nested(gpa, write, True)
        return outer[0], inner[1], inner[2], inner[3] and outer[3] and outer[2], bool(inner[4])
