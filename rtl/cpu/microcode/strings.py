"""String instructions, once and with REP.

One REP iteration is restartable: pointers and count change only in rows behind everything that can fault. The loop goes
on inside the program while nothing is pending; ENDREP leaves it at an iteration boundary, from where the instruction
starts again.
"""
from collections.abc import Callable

from rtl.cpu.microasm import K, Program
from rtl.cpu.uop import Alu, Amode, Aseg, Cond, FlagSet, Mem, Next, Reg, Size, Src, Step

from .io import PORT, port_check
from .macros import LIBRARY, branch, mov

SIZES = {"b": Size.B, "v": Size.V}


def _source(width: Size) -> dict:
    return dict(mem=Mem.LOAD, amode=Amode.BASE, base=Reg.ESI, aseg=Aseg.EFF, width=width)


def _destination(mem: Mem, width: Size) -> dict:
    """The access to ES:[EDI], which moves on EDI."""
    return dict(mem=mem, amode=Amode.BASE, base=Reg.EDI, aseg=Aseg.ES, width=width, step=Step.STRING)


def _advance_source(width: Size) -> dict:
    """Move on ESI without an access, in a row that has none."""
    return dict(amode=Amode.BASE, base=Reg.ESI, width=width, step=Step.STRING)


def _movs(p: Program, width: Size) -> dict:
    mov(p, Reg.T0, Src.MEM, size=width, **_source(width))
    mov(p, Reg.NONE, Reg.T0, size=width, **_destination(Mem.STORE, width))
    return _advance_source(width)


def _cmps(p: Program, width: Size) -> dict:
    mov(p, Reg.T0, Src.MEM, size=width, **_source(width))
    p(alu=Alu.SUB, a=Reg.T0, b=Src.MEM, size=width, flags=FlagSet.ALL, **_destination(Mem.LOAD, width))
    return _advance_source(width)


def _scas(p: Program, width: Size) -> dict:
    p(alu=Alu.SUB, a=Reg.EAX, b=Src.MEM, size=width, flags=FlagSet.ALL, **_destination(Mem.LOAD, width))
    return {}


def _lods(p: Program, width: Size) -> dict:
    mov(p, Reg.EAX, Src.MEM, size=width, step=Step.STRING, **_source(width))
    return {}


def _stos(p: Program, width: Size) -> dict:
    mov(p, Reg.NONE, Reg.EAX, size=width, **_destination(Mem.STORE, width))
    return {}


def _ins(p: Program, width: Size) -> dict:
    # the port is read by the row that stores, after the translation: reading a device twice is not the same
    p(alu=Alu.IN, a=Reg.EDX, size=width, **_destination(Mem.STORE, width))
    return {}


def _outs(p: Program, width: Size) -> dict:
    p(alu=Alu.OUT, a=Reg.EDX, b=Src.MEM, size=width, step=Step.STRING, **_source(width))
    return {}


#: Rows of one iteration; what they return is left for a last row without an access.
BODIES: dict[str, Callable[[Program, Size], dict]] = {
    "movs": _movs, "cmps": _cmps, "scas": _scas, "lods": _lods, "stos": _stos, "ins": _ins, "outs": _outs}
#: The segment of the access of INS and OUTS.
_PORTS = {"ins": Aseg.ES, "outs": Aseg.EFF}
_COMPARES = ("cmps", "scas")


def _once(p: Program, name: str, width: Size) -> None:
    if name in _PORTS:
        mov(p, PORT, Reg.EDX)
        port_check(p, width, _PORTS[name])
    rest = BODIES[name](p, width)
    if rest:
        p(**rest)


def _repeated(p: Program, name: str, width: Size) -> None:
    mov(p, PORT, Reg.EDX)
    branch(p, Cond.Z, "end", Alu.MOV, Src.ZERO, Reg.ECX, size=Size.A)
    if name in _PORTS:
        port_check(p, width, _PORTS[name])
    p.label("loop")
    rest = BODIES[name](p, width)
    compares = name in _COMPARES
    p(alu=Alu.SUB, a=Reg.ECX, b=K(1), dst=Reg.ECX, size=Size.A, next=Next.BRT, target="loop", iteration=1,
      cond=Cond.REPZ_GO if compares else Cond.REP_GO, **rest)
    p(alu=Alu.MOV, b=Reg.ECX, size=Size.A, next=Next.ENDREP, cond=Cond.REPZ if compares else Cond.REP)
    p.label("end")
    p()


for _name in BODIES:
    for _suffix, _width in SIZES.items():
        LIBRARY.program(f"{_name}_{_suffix}", name=_name, width=_width)(_once)
        LIBRARY.program(f"rep_{_name}_{_suffix}", name=_name, width=_width)(_repeated)
