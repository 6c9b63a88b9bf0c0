"""General registers, segment registers, EFLAGS, and the control and debug registers.

Intel SDM vol. 1, 3.4 (registers) and vol. 3A, 2.3 (EFLAGS), 2.5 (control registers), 18.2 (debug registers).
Each register is a `Struct` (`Cr0Layout`) for hardware, and its bits are masks (`Cr0.PG`) for software, taken from the
structure. Convert a mask with `int` before using it in a hot loop.
"""

# Field widths are written as annotations, which are not types.
# mypy: disable-error-code="valid-type"

import enum

from .layout import Struct, mask


class Gpr(enum.IntEnum):
    """General registers by encoding. The same numbers name AX, CX, ... with a 16-bit operand."""
    EAX = 0
    ECX = 1
    EDX = 2
    EBX = 3
    ESP = 4
    EBP = 5
    ESI = 6
    EDI = 7


class Gpr8(enum.IntEnum):
    """Byte registers by encoding: 0-3 are the low bytes of EAX-EBX, 4-7 their second bytes."""
    AL = 0
    CL = 1
    DL = 2
    BL = 3
    AH = 4
    CH = 5
    DH = 6
    BH = 7


class Seg(enum.IntEnum):
    """Segment registers by encoding (ModRM.reg of MOV Sw). LDTR and TR are ours: two more caches of the same shape."""
    ES = 0
    CS = 1
    SS = 2
    DS = 3
    FS = 4
    GS = 5
    LDTR = 6
    TR = 7


class EflagsLayout(Struct):
    """EFLAGS. VIF and VIP do not exist in this processor (no VME) and read as zero."""
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


class Eflags(enum.IntFlag):
    """EFLAGS bits as masks."""
    CF = mask(EflagsLayout, "cf")
    PF = mask(EflagsLayout, "pf")
    AF = mask(EflagsLayout, "af")
    ZF = mask(EflagsLayout, "zf")
    SF = mask(EflagsLayout, "sf")
    TF = mask(EflagsLayout, "tf")
    IF = mask(EflagsLayout, "if_")
    DF = mask(EflagsLayout, "df")
    OF = mask(EflagsLayout, "of")
    IOPL = mask(EflagsLayout, "iopl")
    NT = mask(EflagsLayout, "nt")
    RF = mask(EflagsLayout, "rf")
    VM = mask(EflagsLayout, "vm")
    AC = mask(EflagsLayout, "ac")
    VIF = mask(EflagsLayout, "vif")
    VIP = mask(EflagsLayout, "vip")
    ID = mask(EflagsLayout, "id")


#: The six arithmetic flags.
STATUS_FLAGS = Eflags.CF | Eflags.PF | Eflags.AF | Eflags.ZF | Eflags.SF | Eflags.OF
#: Bits that always read as one.
EFLAGS_FIXED = mask(EflagsLayout, "one")
#: Bits the processor keeps. VM is not one of them until there is a virtual-8086 mode.
EFLAGS_WRITABLE = (
    STATUS_FLAGS | Eflags.TF | Eflags.IF | Eflags.DF | Eflags.IOPL | Eflags.NT | Eflags.RF | Eflags.AC | Eflags.ID)
EFLAGS_RESET = EFLAGS_FIXED


class Cr0Layout(Struct):
    """CR0. ET reads as one; reserved bits read as zero and writing them is ignored."""
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


class Cr0(enum.IntFlag):
    """CR0 bits as masks."""
    PE = mask(Cr0Layout, "pe")
    MP = mask(Cr0Layout, "mp")
    EM = mask(Cr0Layout, "em")
    TS = mask(Cr0Layout, "ts")
    ET = mask(Cr0Layout, "et")
    NE = mask(Cr0Layout, "ne")
    WP = mask(Cr0Layout, "wp")
    AM = mask(Cr0Layout, "am")
    NW = mask(Cr0Layout, "nw")
    CD = mask(Cr0Layout, "cd")
    PG = mask(Cr0Layout, "pg")


CR0_FIXED = Cr0.ET
CR0_WRITABLE = Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG
#: The bits LMSW writes; it can set PE and cannot clear it.
CR0_LMSW = Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS
#: SDM vol. 3A, table 9-1.
CR0_RESET = Cr0.CD | Cr0.NW | Cr0.ET


class Cr3Layout(Struct):
    """CR3. Reserved bits are kept as written and mean nothing."""
    reserved_0: 3
    pwt: 1
    pcd: 1
    reserved_5: 7
    frame: 20


class Cr4Layout(Struct):
    """CR4. Setting a reserved bit is #GP(0)."""
    reserved_0: 2
    tsd: 1
    de: 1
    pse: 1
    reserved_5: 2
    pge: 1
    pce: 1
    reserved_9: 23


class Cr4(enum.IntFlag):
    """CR4 bits as masks."""
    TSD = mask(Cr4Layout, "tsd")
    DE = mask(Cr4Layout, "de")
    PSE = mask(Cr4Layout, "pse")
    PGE = mask(Cr4Layout, "pge")
    PCE = mask(Cr4Layout, "pce")


CR4_WRITABLE = Cr4.TSD | Cr4.DE | Cr4.PSE | Cr4.PGE | Cr4.PCE
CR4_RESET = 0


class Dr6Layout(Struct):
    """DR6, debug status."""
    b0: 1
    b1: 1
    b2: 1
    b3: 1
    ones_4: 8
    zero_12: 1
    bd: 1
    bs: 1
    bt: 1
    ones_16: 16


class Dr6(enum.IntFlag):
    """DR6 bits as masks."""
    B0 = mask(Dr6Layout, "b0")
    B1 = mask(Dr6Layout, "b1")
    B2 = mask(Dr6Layout, "b2")
    B3 = mask(Dr6Layout, "b3")
    BD = mask(Dr6Layout, "bd")
    BS = mask(Dr6Layout, "bs")
    BT = mask(Dr6Layout, "bt")


#: Bits that read as one.
DR6_FIXED = mask(Dr6Layout, "ones_4", "ones_16")
DR6_WRITABLE = Dr6.B0 | Dr6.B1 | Dr6.B2 | Dr6.B3 | Dr6.BD | Dr6.BS | Dr6.BT
DR6_RESET = DR6_FIXED


class Dr7Layout(Struct):
    """DR7, debug control. Breakpoint n: L and G at bits 2n and 2n + 1, R/W at 16 + 4n, LEN at 18 + 4n."""
    enables: 8
    le: 1
    ge: 1
    one_10: 1
    zero_11: 2
    gd: 1
    zero_14: 2
    rw0: 2
    len0: 2
    rw1: 2
    len1: 2
    rw2: 2
    len2: 2
    rw3: 2
    len3: 2


class Dr7(enum.IntFlag):
    """DR7 bits as masks, but for the fields of each breakpoint."""
    ENABLES = mask(Dr7Layout, "enables")
    LE = mask(Dr7Layout, "le")
    GE = mask(Dr7Layout, "ge")
    GD = mask(Dr7Layout, "gd")


DR7_FIXED = mask(Dr7Layout, "one_10")
DR7_WRITABLE = 0xFFFF_FFFF ^ mask(Dr7Layout, "one_10", "zero_11", "zero_14")
#: The local enables and LE, which a task switch clears.
DR7_LOCAL = 0x55 | Dr7.LE
DR7_RESET = DR7_FIXED


class BreakpointType(enum.Enum):
    """R/W field of DR7. IO needs CR4.DE; without it the encoding is undefined and never matches here."""
    EXECUTE = 0
    WRITE = 1
    IO = 2
    ACCESS = 3


#: Bytes covered by a LEN field of DR7. Encoding 2 is undefined in 32-bit mode and covers one byte here.
BREAKPOINT_LENGTHS = (1, 2, 1, 4)
