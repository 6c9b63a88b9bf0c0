"""General registers, segment registers, EFLAGS and the control and debug registers.

Intel SDM vol. 1, 3.4 (registers) and vol. 3A, 2.3 (EFLAGS), 2.5 (control registers), 18.2 (debug registers).
"""

from amaranth.lib import data, enum

__all__ = [
    "CR0_RESET", "CR0_WRITABLE", "CR4_WRITABLE", "Cr0", "Cr0Layout", "Cr4", "Cr4Layout", "DR6_FIXED", "DR7_FIXED",
    "Dr6", "Dr7", "DR_LENGTHS", "DR_TYPES", "EFLAGS_FIXED", "EFLAGS_RESET", "EFLAGS_WRITABLE", "Eflags",
    "EflagsLayout", "Gpr", "Gpr8", "STATUS_FLAGS", "Seg",
]


class Gpr(enum.IntEnum, shape=3):
    """General registers by encoding. The same numbers name AX, CX, ... with a 16-bit operand."""
    EAX = 0
    ECX = 1
    EDX = 2
    EBX = 3
    ESP = 4
    EBP = 5
    ESI = 6
    EDI = 7


class Gpr8(enum.IntEnum, shape=3):
    """Byte registers by encoding: 0-3 are the low bytes of EAX-EBX, 4-7 their second bytes."""
    AL = 0
    CL = 1
    DL = 2
    BL = 3
    AH = 4
    CH = 5
    DH = 6
    BH = 7


class Seg(enum.IntEnum, shape=3):
    """Segment registers by encoding (ModRM.reg of MOV Sw). LDTR and TR are ours: two more caches of the same shape."""
    ES = 0
    CS = 1
    SS = 2
    DS = 3
    FS = 4
    GS = 5
    LDTR = 6
    TR = 7


class Eflags(enum.IntFlag):
    """EFLAGS bits as masks."""
    CF = 1 << 0
    PF = 1 << 2
    AF = 1 << 4
    ZF = 1 << 6
    SF = 1 << 7
    TF = 1 << 8
    IF = 1 << 9
    DF = 1 << 10
    OF = 1 << 11
    IOPL = 3 << 12
    NT = 1 << 14
    RF = 1 << 16
    VM = 1 << 17
    AC = 1 << 18
    VIF = 1 << 19
    VIP = 1 << 20
    ID = 1 << 21


class EflagsLayout(data.Struct):
    """EFLAGS as a 32-bit structure."""
    cf: 1
    one: 1
    pf: 1
    reserved_3: 1
    af: 1
    reserved_5: 1
    zf: 1
    sf: 1
    tf: 1
    if_: 1
    df: 1
    of: 1
    iopl: 2
    nt: 1
    reserved_15: 1
    rf: 1
    vm: 1
    ac: 1
    vif: 1
    vip: 1
    id: 1
    reserved_22: 10


#: The six arithmetic flags.
STATUS_FLAGS = Eflags.CF | Eflags.PF | Eflags.AF | Eflags.ZF | Eflags.SF | Eflags.OF
#: Bit 1 reads as one.
EFLAGS_FIXED = 0x0000_0002
EFLAGS_RESET = 0x0000_0002
#: Bits that exist in the processor. VIF and VIP (VME) do not: they read as zero.
EFLAGS_WRITABLE = (
    STATUS_FLAGS | Eflags.TF | Eflags.IF | Eflags.DF | Eflags.IOPL | Eflags.NT | Eflags.RF | Eflags.VM | Eflags.AC
    | Eflags.ID
)


class Cr0(enum.IntFlag):
    """CR0 bits as masks."""
    PE = 1 << 0
    MP = 1 << 1
    EM = 1 << 2
    TS = 1 << 3
    ET = 1 << 4
    NE = 1 << 5
    WP = 1 << 16
    AM = 1 << 18
    NW = 1 << 29
    CD = 1 << 30
    PG = 1 << 31


class Cr0Layout(data.Struct):
    """CR0 as a 32-bit structure."""
    pe: 1
    mp: 1
    em: 1
    ts: 1
    et: 1
    ne: 1
    reserved_6: 10
    wp: 1
    reserved_17: 1
    am: 1
    reserved_19: 10
    nw: 1
    cd: 1
    pg: 1


class Cr4(enum.IntFlag):
    """CR4 bits the processor has, as masks. Setting any other is #GP(0)."""
    TSD = 1 << 2
    DE = 1 << 3
    PSE = 1 << 4
    PGE = 1 << 7
    PCE = 1 << 8


class Cr4Layout(data.Struct):
    """CR4 as a 32-bit structure; reserved fields hold zero."""
    reserved_0: 2
    tsd: 1
    de: 1
    pse: 1
    reserved_5: 2
    pge: 1
    pce: 1
    reserved_9: 23


#: CR0 bits software can change. ET reads as one, reserved bits as zero; writing them is ignored.
CR0_WRITABLE = (
    Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG
)
#: SDM vol. 3A, table 9-1; the boot loader state differs (PE = 1, caches on).
CR0_RESET = Cr0.CD | Cr0.NW | Cr0.ET
CR4_WRITABLE = Cr4.TSD | Cr4.DE | Cr4.PSE | Cr4.PGE | Cr4.PCE


class Dr6(enum.IntFlag):
    """DR6 status bits as masks."""
    B0 = 1 << 0
    B1 = 1 << 1
    B2 = 1 << 2
    B3 = 1 << 3
    BD = 1 << 13
    BS = 1 << 14
    BT = 1 << 15


class Dr7(enum.IntFlag):
    """DR7 control bits as masks. Type and length of breakpoint n are at bits 16 + 4n and 18 + 4n."""
    L0 = 1 << 0
    G0 = 1 << 1
    L1 = 1 << 2
    G1 = 1 << 3
    L2 = 1 << 4
    G2 = 1 << 5
    L3 = 1 << 6
    G3 = 1 << 7
    LE = 1 << 8
    GE = 1 << 9
    GD = 1 << 13


#: Reserved bits that read as one; all other reserved bits read as zero. DR6 resets to FFFF0FF0h and DR7 to 400h.
DR6_FIXED = 0xFFFF_0FF0
DR7_FIXED = 0x0000_0400
#: R/W field of DR7 (2 is I/O and needs CR4.DE).
DR_TYPES = ("execute", "write", "io", "access")
#: LEN field of DR7, in bytes (2 is undefined and taken as 1 byte).
DR_LENGTHS = (1, 2, 1, 4)
