"""The arithmetic flags as the execution units pass them around."""
from amaranth.lib import data

__all__ = ["Flags"]


class Flags(data.Struct):
    """CF PF AF ZF SF OF. Intel SDM vol. 1, 3.4.3.1."""
    cf: 1
    pf: 1
    af: 1
    zf: 1
    sf: 1
    of: 1
