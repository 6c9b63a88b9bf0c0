"""The byte-wide register port by which programmed I/O reaches a device."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterPort"]


class RegisterPort(wiring.Signature):
    """One byte-wide access per cycle to the registers of one device, seen from the initiator.

    1. An access takes the one cycle in which ``r_stb`` or ``w_stb`` is high; the two are never high together.
    2. ``r_data`` is the result of a read in the cycle of ``r_stb``: a combinational function of ``addr`` and of the
       device's state. In other cycles it means nothing.
    3. The side effects of an access (a FIFO popped, a flag cleared, a register loaded) take place at the clock edge
       that ends its cycle, so that the next access sees them.
    4. ``addr`` is an offset. A device does not know at which port it sits.
    5. A 16- or 32-bit I/O access is made of byte accesses in consecutive addresses, lowest first; the initiator
       splits it.

    Parameters
    ----------
    addr_width : int
        Width of the offset in bits, 0 for a device of one register.

    Members
    -------
    addr : ``Out(addr_width)``
        Offset of the register.
    r_stb : ``Out(1)``
        A read takes place in this cycle.
    r_data : ``In(8)``
        What the register at ``addr`` reads as.
    w_stb : ``Out(1)``
        A write takes place in this cycle.
    w_data : ``Out(8)``
        The byte to write.

    Raises
    ------
    TypeError
        If ``addr_width`` is not a non-negative integer.
    """

    def __init__(self, addr_width):
        if not isinstance(addr_width, int) or addr_width < 0:
            raise TypeError(f"Address width must be a non-negative integer, not {addr_width!r}")
        self._addr_width = addr_width
        super().__init__({
            "addr": Out(addr_width),
            "r_stb": Out(1),
            "r_data": In(8),
            "w_stb": Out(1),
            "w_data": Out(8),
        })

    @property
    def addr_width(self):
        return self._addr_width

    def __eq__(self, other):
        return type(other) is type(self) and other.addr_width == self.addr_width

    def __repr__(self):
        return f"RegisterPort({self.addr_width})"
