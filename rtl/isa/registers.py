"""General registers, segment registers, EFLAGS, and the control and debug registers.

Intel SDM vol. 1, 3.4 (registers) and vol. 3A, 2.3 (EFLAGS), 2.5 (control registers), 18.2 (debug registers).
Each register is a `Struct`; the masks (`CR0_PG`, `EFLAGS_CF`, ...) are plain integers taken from it.
"""

from amaranth.lib import enum

from .layout import Struct, mask


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


class Eflags(Struct):
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


EFLAGS_CF = mask(Eflags, "cf")
EFLAGS_PF = mask(Eflags, "pf")
EFLAGS_AF = mask(Eflags, "af")
EFLAGS_ZF = mask(Eflags, "zf")
EFLAGS_SF = mask(Eflags, "sf")
EFLAGS_TF = mask(Eflags, "tf")
EFLAGS_IF = mask(Eflags, "if_")
EFLAGS_DF = mask(Eflags, "df")
EFLAGS_OF = mask(Eflags, "of")
EFLAGS_IOPL = mask(Eflags, "iopl")
EFLAGS_NT = mask(Eflags, "nt")
EFLAGS_RF = mask(Eflags, "rf")
EFLAGS_VM = mask(Eflags, "vm")
EFLAGS_AC = mask(Eflags, "ac")
EFLAGS_VIF = mask(Eflags, "vif")
EFLAGS_VIP = mask(Eflags, "vip")
EFLAGS_ID = mask(Eflags, "id")
#: The six arithmetic flags.
EFLAGS_STATUS = mask(Eflags, "cf", "pf", "af", "zf", "sf", "of")
#: Bits that always read as one.
EFLAGS_FIXED = mask(Eflags, "one")
#: Bits that exist in the processor.
EFLAGS_IMPLEMENTED = EFLAGS_STATUS | mask(Eflags, "tf", "if_", "df", "iopl", "nt", "rf", "vm", "ac", "id")
EFLAGS_RESET = EFLAGS_FIXED


class Cr0(Struct):
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


CR0_PE = mask(Cr0, "pe")
CR0_MP = mask(Cr0, "mp")
CR0_EM = mask(Cr0, "em")
CR0_TS = mask(Cr0, "ts")
CR0_ET = mask(Cr0, "et")
CR0_NE = mask(Cr0, "ne")
CR0_WP = mask(Cr0, "wp")
CR0_AM = mask(Cr0, "am")
CR0_NW = mask(Cr0, "nw")
CR0_CD = mask(Cr0, "cd")
CR0_PG = mask(Cr0, "pg")
CR0_FIXED = CR0_ET
CR0_WRITABLE = mask(Cr0, "pe", "mp", "em", "ts", "ne", "wp", "am", "nw", "cd", "pg")
#: The bits LMSW writes; it can set PE and cannot clear it.
CR0_LMSW = mask(Cr0, "pe", "mp", "em", "ts")
#: SDM vol. 3A, table 9-1.
CR0_RESET = mask(Cr0, "cd", "nw", "et")


class Cr3(Struct):
    """CR3. Reserved bits are kept as written and mean nothing."""
    reserved_0: 3
    pwt: 1
    pcd: 1
    reserved_5: 7
    frame: 20


class Cr4(Struct):
    """CR4. Setting a reserved bit is #GP(0)."""
    reserved_0: 2
    tsd: 1
    de: 1
    pse: 1
    reserved_5: 2
    pge: 1
    pce: 1
    reserved_9: 23


CR4_TSD = mask(Cr4, "tsd")
CR4_DE = mask(Cr4, "de")
CR4_PSE = mask(Cr4, "pse")
CR4_PGE = mask(Cr4, "pge")
CR4_PCE = mask(Cr4, "pce")
CR4_WRITABLE = CR4_TSD | CR4_DE | CR4_PSE | CR4_PGE | CR4_PCE
CR4_RESERVED = 0xFFFF_FFFF ^ CR4_WRITABLE
CR4_RESET = 0


class Dr6(Struct):
    """DR6, debug status."""
    b: 4
    ones_4: 8
    zero_12: 1
    bd: 1
    bs: 1
    bt: 1
    ones_16: 16


class Dr7(Struct):
    """DR7, debug control. L and G of breakpoint n are bits 2n and 2n + 1 of `enables`."""
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


DR6_B = mask(Dr6, "b")
DR6_BD = mask(Dr6, "bd")
DR6_BS = mask(Dr6, "bs")
DR6_BT = mask(Dr6, "bt")
#: Bits that read as one.
DR6_FIXED = mask(Dr6, "ones_4", "ones_16")
DR6_WRITABLE = DR6_B | DR6_BD | DR6_BS | DR6_BT
DR6_RESET = DR6_FIXED
DR7_ENABLES = mask(Dr7, "enables")
DR7_LE = mask(Dr7, "le")
DR7_GE = mask(Dr7, "ge")
DR7_GD = mask(Dr7, "gd")
DR7_FIXED = mask(Dr7, "one_10")
DR7_WRITABLE = 0xFFFF_FFFF ^ mask(Dr7, "one_10", "zero_11", "zero_14")
#: The local enables, which a task switch clears, with LE.
DR7_LOCAL = 0x55 | DR7_LE
DR7_RESET = DR7_FIXED


class BreakpointType(enum.Enum, shape=2):
    """R/W field of DR7. IO needs CR4.DE; without it the encoding is undefined and never matches here."""
    EXECUTE = 0
    WRITE = 1
    IO = 2
    ACCESS = 3


#: Bytes covered by a LEN field of DR7. Encoding 2 is undefined in 32-bit mode and covers one byte here.
BREAKPOINT_LENGTHS = (1, 2, 1, 4)
