"""The two-dimensional walk, written from the manual alone and as naively as can be.

AMD64 APM vol. 2, 15.25.5 and 15.25.6; Intel SDM vol. 3A, 4.3 for each dimension.
"""

from dataclasses import dataclass

P, RW, US, A, D, PS = 1, 2, 4, 0x20, 0x40, 0x80


@dataclass
class Tables:
    """One dimension: where its directory is, and the control bits that it obeys."""

    root: int
    pse: bool
    wp: bool = True


class Refused(Exception):
    """(kind, error code, guest-physical address): kind is "page fault", "nested, table" or "nested, final"."""


def one_dimension(memory, name, tables, place_of, address, write, user):
    """(translated address, entries ANDed, leaf, large); `place_of` says where an entry is in real memory."""
    path = []
    entry, index = tables.root & ~0xFFF, address >> 22
    while len(path) < 2:
        place = place_of((entry & ~0xFFF) + 4 * index)
        entry, index = memory.read(name, place), address >> 12 & 0x3FF
        path.append((place, entry))
        large = bool(len(path) == 1 and tables.pse and entry & PS)
        if large or not entry & P:
            break
    rights = path[0][1] & path[-1][1]
    reserved = bool(rights & P and large and entry & 0x3FF000)
    forbidden = user and not rights & US or write and not rights & RW and (user or tables.wp)
    if not rights & P or reserved or forbidden:
        raise Refused("page fault", (rights & P) | write << 1 | user << 2 | reserved << 3, None)
    for place, seen in path:
        memory.set(place, seen, A | D if write and place == path[-1][0] else A)
    inside = 0x3FFFFF if large else 0xFFF
    return entry & ~inside | address & inside, rights, entry, large


def two_dimensions(memory, guest, host, linear, write, user):
    """(host-physical, U/S, R/W, D, large) of the byte at `linear`, or raise `Refused`; `guest` None is paging off."""
    def through_host(kind, gpa, write):
        try:
            return one_dimension(memory, "nested", host, lambda place: place, gpa, write, True)
        except Refused as refused:
            raise Refused(kind, refused.args[1], gpa) from None

    gpa, rights, leaf, large = linear, P | RW | US, A | D, True
    if guest:
        gpa, rights, leaf, large = one_dimension(
            memory, "guest", guest, lambda entry: through_host("nested, table", entry, True)[0], linear, write, user)
    address, outer, outer_leaf, outer_large = through_host("nested, final", gpa, write)
    dirty = bool(write or leaf & outer_leaf & D) and bool(outer & RW)
    return address, bool(rights & US), bool(rights & outer & RW), dirty, large and outer_large
