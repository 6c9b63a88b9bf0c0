"""Why a guest leaves guest mode: the exit codes of SVM, which are also the places of their intercept bits.

Bit `code & 31` of the intercept word `code >> 5` asks for the exit with that code: word 0 is control registers (reads,
then writes), 1 debug registers, 2 exceptions, 3 and 4 everything else. NPF and INVALID have no bit: they always exit.
AMD64 APM vol. 2, 15.9-15.13 and appendix C.
"""

import enum


class ExitCode(enum.IntEnum):
    """EXITCODE of a VMCB. INVALID is written with 64 bits."""
    CR0_READ = 0x00
    CR2_READ = 0x02
    CR3_READ = 0x03
    CR4_READ = 0x04
    CR8_READ = 0x08
    CR0_WRITE = 0x10
    CR2_WRITE = 0x12
    CR3_WRITE = 0x13
    CR4_WRITE = 0x14
    CR8_WRITE = 0x18
    DR0_READ = 0x20
    DR1_READ = 0x21
    DR2_READ = 0x22
    DR3_READ = 0x23
    DR4_READ = 0x24
    DR5_READ = 0x25
    DR6_READ = 0x26
    DR7_READ = 0x27
    DR0_WRITE = 0x30
    DR1_WRITE = 0x31
    DR2_WRITE = 0x32
    DR3_WRITE = 0x33
    DR4_WRITE = 0x34
    DR5_WRITE = 0x35
    DR6_WRITE = 0x36
    DR7_WRITE = 0x37
    EXCEPTION_DE = 0x40
    EXCEPTION_DB = 0x41
    EXCEPTION_BP = 0x43
    EXCEPTION_OF = 0x44
    EXCEPTION_BR = 0x45
    EXCEPTION_UD = 0x46
    EXCEPTION_NM = 0x47
    EXCEPTION_DF = 0x48
    EXCEPTION_TS = 0x4A
    EXCEPTION_NP = 0x4B
    EXCEPTION_SS = 0x4C
    EXCEPTION_GP = 0x4D
    EXCEPTION_PF = 0x4E
    EXCEPTION_MF = 0x50
    EXCEPTION_AC = 0x51
    EXCEPTION_MC = 0x52
    INTR = 0x60
    NMI = 0x61
    SMI = 0x62
    INIT = 0x63
    VINTR = 0x64
    CR0_SEL_WRITE = 0x65
    IDTR_READ = 0x66
    GDTR_READ = 0x67
    LDTR_READ = 0x68
    TR_READ = 0x69
    IDTR_WRITE = 0x6A
    GDTR_WRITE = 0x6B
    LDTR_WRITE = 0x6C
    TR_WRITE = 0x6D
    RDTSC = 0x6E
    RDPMC = 0x6F
    PUSHF = 0x70
    POPF = 0x71
    CPUID = 0x72
    RSM = 0x73
    IRET = 0x74
    SWINT = 0x75
    INVD = 0x76
    PAUSE = 0x77
    HLT = 0x78
    INVLPG = 0x79
    INVLPGA = 0x7A
    IOIO = 0x7B
    MSR = 0x7C
    TASK_SWITCH = 0x7D
    FERR_FREEZE = 0x7E
    SHUTDOWN = 0x7F
    VMRUN = 0x80
    VMMCALL = 0x81
    VMLOAD = 0x82
    VMSAVE = 0x83
    STGI = 0x84
    CLGI = 0x85
    SKINIT = 0x86
    RDTSCP = 0x87
    ICEBP = 0x88
    WBINVD = 0x89
    MONITOR = 0x8A
    MWAIT = 0x8B
    MWAIT_COND = 0x8C
    NPF = 0x400
    INVALID = 0xFFFF_FFFF_FFFF_FFFF


#: Codes that follow a number: register n is base + n, exception v is base + v.
CR_READ = 0x00
CR_WRITE = 0x10
DR_READ = 0x20
DR_WRITE = 0x30
EXCEPTION = 0x40
INTERCEPT_WORDS = 5

#: Exits this processor never takes: what would cause them does not exist.
ABSENT = frozenset({
    ExitCode.CR8_READ, ExitCode.CR8_WRITE, ExitCode.EXCEPTION_MF, ExitCode.EXCEPTION_MC, ExitCode.SMI,
    ExitCode.RSM, ExitCode.FERR_FREEZE, ExitCode.RDTSCP, ExitCode.MONITOR, ExitCode.MWAIT, ExitCode.MWAIT_COND})


def intercept_word(code: int) -> int:
    """Which of the five intercept words has the bit of an exit code; the word's offset in a VMCB is four times that."""
    return code >> 5


def intercept_bit(code: int) -> int:
    """The bit of an exit code in its intercept word, as a mask."""
    return 1 << (code & 31)


def exit_name(code: int) -> str:
    """The name of an exit code, or its number in hexadecimal."""
    try:
        return ExitCode(code).name
    except ValueError:
        return f"{code:X}h"
