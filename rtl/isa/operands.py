"""Operand kinds of the opcode table."""

from enum import Enum


class Operand(Enum):
    """Operand kinds: addressing method in capitals, then size (Intel SDM vol. 2D, A.2.1 and A.2.2)."""
    Eb = "Eb"        #: ModRM.rm, register or memory; b byte, w word, d doubleword, v by operand size
    Ew = "Ew"
    Ed = "Ed"
    Ev = "Ev"
    Ex = "Ex"        #: ModRM.rm of an x87 escape; never accessed here
    MwRv = "MwRv"    #: ModRM.rm: a word in memory, a register of operand size
    Gb = "Gb"        #: general register ModRM.reg
    Gw = "Gw"
    Gv = "Gv"
    Ib = "Ib"        #: immediate
    Iw = "Iw"
    Iv = "Iv"
    Ibs = "Ibs"      #: immediate byte, sign-extended to the operand size
    Jb = "Jb"        #: displacement relative to the next instruction
    Jv = "Jv"
    Ap = "Ap"        #: far pointer in the instruction
    Ob = "Ob"        #: memory at an offset in the instruction
    Ov = "Ov"
    M = "M"          #: memory only: an address
    Ma = "Ma"        #: two bounds of operand size
    Mp = "Mp"        #: far pointer
    Mq = "Mq"        #: quadword
    Ms = "Ms"        #: 6-byte pseudo-descriptor
    Rd = "Rd"        #: ModRM.rm as a 32-bit register whatever mod is
    Cd = "Cd"        #: control register ModRM.reg
    Dd = "Dd"        #: debug register ModRM.reg
    Sw = "Sw"        #: segment register ModRM.reg
    Zb = "Zb"        #: general register in the low three bits of the opcode
    Zv = "Zv"
    AL = "AL"
    eAX = "eAX"      #: the accumulator of operand size
    CL = "CL"
    DX = "DX"
    One = "One"      #: the constant 1 of the shift group
    ES = "ES"
    CS = "CS"
    SS = "SS"
    DS = "DS"
    FS = "FS"
    GS = "GS"
    Xb = "Xb"        #: memory at DS:eSI, segment override allowed
    Xv = "Xv"
    Yb = "Yb"        #: memory at ES:eDI, no override
    Yv = "Yv"
    Fv = "Fv"        #: EFLAGS of operand size
