"""The micro-operation: one row of the decode ROM or of the microcode ROM.

A micro-operation walks A (address), M (memory) and X (execute, commit). It can do all of this at once:

* A: form an address ``base + index*scale + disp`` in a segment, and write ``base + delta`` back to the base register
  (``Step``: PUSH, POP, string pointers);
* M: load from or translate for a store to that address;
* X: compute ``result = alu(A, B)``, write it to a register or to the address of the STORE, update flags,
  resolve a branch.

Rules a microprogram may rely on:

1. X is in order and never speculative; a fault in A, M or X of a micro-operation kills it and all younger ones.
2. Interrupts and traps are taken only before the first micro-operation of an instruction.
3. Register reads for A and B happen in X and see every older micro-operation. Address registers are interlocked.
4. ESP has its value from before the instruction when a later micro-operation of the same instruction faults.
5. A conditional micro-branch is resolved in X; the sequencer meanwhile follows its predicted side, and ``END``
   waits for it.
6. A micro-operation with ``serial`` enters A only when A, M and X are empty.
7. An access through a segment waits in A for older WRSYS and DESC that write segment caches, CPL or EFLAGS, and a
   string step for writers of DF. Size.S and the width of PUSH and POP are settled at issue: a row that needs those of a
   new SS is ``serial``, or at least four rows behind. After writes of AC or of control registers comes a ``serial``
   row or JMPI.
8. During the delivery of an event, faults of A and of CHECK have bit 0 of their error code set from EXT.
9. A row with ``intercept`` is looked at in X before anything of it happens. In guest mode, when the intercept bit of
   its exit code is set (AMD64 APM vol. 2, 15.9; `rtl.isa.svm`), it and all that follows is dropped like a faulting row
   and #VMEXIT with that code is taken: routine "vmexit", its first row like the first of "event". An instruction
   breakpoint and the check of decode go before, everything else of the row after: its segment and page faults, a walk
   of its access in M (which sets A and D bits), its own fault. Only row 0 of a program has an intercept and an access.
   EXIT_INFO1 becomes operand A for INT n (75h), INVLPG (79h), and for MOV CR and MOV DR: codes 00h-3Fh and 65h, when
   bit 31 of A is set, which becomes bit 63 of the former. For the others, and EXIT_INFO2, it is zero. NRIP becomes
   NEXT. In some rows a code says more:

   * 20h and 30h: the number of the debug register, ModRM.reg as it is encoded, is added;
   * 65h (selective CR0 write) in a WRSYS row: only if B would change a bit of CR0 other than TS and MP;
   * 77h (PAUSE): only with an F3 prefix; while the counter of PAUSE is not 0 the row goes on and decrements it.
"""
from amaranth.lib import data, enum


class Reg(enum.IntEnum, shape=5):
    """Register file row, or (from RM on) a name that decode resolves to a row."""
    EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)
    T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15 = range(8, 24)
    RM = 24      #: ModRM.rm (a register: mod = 3); AH..BH for byte operands
    REG = 25     #: ModRM.reg; AH..BH for byte operands
    OPREG = 26   #: low three bits of the opcode; AH..BH for byte operands
    NONE = 31


class Src(enum.IntEnum, shape=6):
    """Operand of X. 0..31 are `Reg`."""
    SYS = 32     #: system register ``sys`` (see `Sys`)
    IMM = 33     #: the instruction's immediate, sign- or zero-extended by decode to 32 bits
    MEM = 34     #: what this micro-operation loaded, zero-extended
    EIP = 35     #: address of this instruction
    NEXT = 36    #: address of the next instruction
    CONST = 37   #: constant ROM row ``const``
    ZERO = 38
    IMM2 = 39    #: second immediate (far pointer selector, ENTER level), zero-extended
    ADDR = 40    #: the address formed in A: linear, so with Aseg.LIN the offset (LEA)
    RM_NUMBER = 41  #: ModRM.rm as a number, with bit 31 set: what an exit tells of the register of MOV CR and MOV DR


class Size(enum.IntEnum, shape=3):
    """Operand width of X, and of the memory access."""
    B = 0
    W = 1
    D = 2
    V = 3        #: the instruction's operand size (W or D)
    A = 4        #: the instruction's address size (W or D)
    S = 5        #: stack address size (SS.B: W or D)


class Alu(enum.IntEnum, shape=6):
    """What X computes from A, B (and C, an implicit third operand where named). Flags as the manual's instruction."""
    ADD = 0
    ADC = 1
    SUB = 2      #: A - B
    SBB = 3
    AND = 4
    OR = 5
    XOR = 6
    MOV = 7      #: B
    ROL = 8      #: A rotated by B (count masked to 5 bits), likewise below
    ROR = 9
    RCL = 10
    RCR = 11
    SHL = 12
    SHR = 13
    SAR = 14
    CBW = 15     #: the lower half of B (half of the operand size) sign-extended
    SHLD = 16    #: A shifted, filled from B; count C = IMM
    SHRD = 17
    SHLD_CL = 18  #: count C = CL
    SHRD_CL = 19
    BT = 20      #: bit B of A to CF
    BTS = 21
    BTR = 22
    BTC = 23
    BSF = 24     #: of B; result is A when B is zero
    BSR = 25
    BSWAP = 26   #: of A
    ZX8 = 27     #: B[7:0] zero-extended
    ZX16 = 28
    SX8 = 29
    SX16 = 30
    SIGN = 31    #: the sign bit of A (of the operand size) in every bit
    MUL = 32     #: low half of unsigned A * B (byte: 16 bits), high half to MUL_HI; CF = OF = it is significant
    IMUL = 33    #: signed likewise
    DIV = 34     #: unsigned (EDX:A or DX:A, byte: A[15:0]) / B, quotient; remainder to DIV_REM; #DE; byte: {rem, quo}
    IDIV = 35
    SETCC = 36   #: condition of the opcode's low nibble
    CMOV = 37    #: condition ? B : A
    LAHF = 38    #: A with bits 15:8 = flags
    SAHF = 39    #: flags from A[15:8]
    DAA = 40     #: A = EAX, result AX
    DAS = 41
    AAA = 42
    AAS = 43
    FLAG = 44    #: set, clear or complement a flag: `FlagOp` in ``const``
    POPF = 45    #: EFLAGS from A, by CPL and IOPL, of the operand size
    IRETF = 46   #: EFLAGS from A as IRET does (also RF, of the operand size), by the CPL before the return
    JCC = 47     #: branch on the opcode's condition to NEXT + IMM
    JMP = 48     #: branch to NEXT + IMM; result B
    JMPI = 49    #: branch to A (indirect); result B; with ``sreg`` CS the limit of CS is not checked (far transfers)
    LOOP = 50    #: A - 1; branch when not zero (also with ZF for LOOPE, LOOPNE by opcode)
    JCXZ = 51    #: branch when A (address size) is zero
    WRSYS = 52   #: system register ``sys`` becomes B (operation-specific masks in `Sys`)
    CHECK = 53   #: descriptor check ``const`` (see descriptor_check.py): A = high dword, B = selector
    FAULT = 54   #: raise vector ``const`` with error code A
    SOFTINT = 55  #: software interrupt: vector A[7:0], returns to NEXT; with B[0] no gate DPL is checked (ICEBP)
    IN = 56      #: port A[15:0], width ``size``; also as the result of a STORE, whose address is then checked before
    OUT = 57     #: port A[15:0] gets B
    ROM = 58     #: CPUID ROM row A[7:0]
    HALT = 59
    DESC = 60    #: load segment cache ``sreg`` base, limit, attributes: A = high dword, B = low dword
    LIMIT = 61   #: B = low dword, A = high dword: the scaled byte limit of the descriptor (for LSL)
    SHUTDOWN = 62


class FlagOp(enum.IntEnum, shape=3):
    CLC, STC, CMC, CLD, STD, CLI, STI = range(7)


class FlagSet(enum.IntEnum, shape=3):
    """Which arithmetic flags X writes."""
    NONE = 0
    ALL = 1      #: OF SF ZF AF PF CF
    NO_CF = 2    #: INC, DEC
    CF = 3       #: BT family
    ZF = 4       #: BSF, BSR, LAR, VERR...
    SHIFT = 5    #: as ALL, nothing when the count is zero
    ROTATE = 6   #: CF and OF, nothing when the count is zero
    CF_OF = 7


class Mem(enum.IntEnum, shape=2):
    NONE = 0
    LOAD = 1
    RMW = 2      #: load, with the permission to write checked first
    STORE = 3    #: writes the result of X


class Amode(enum.IntEnum, shape=3):
    """Offset formed in A."""
    NONE = 0
    MODRM = 1    #: the instruction's ModRM/SIB/displacement (or moffs), by the address size
    BASE = 2     #: register ``base`` + constant ``const``, by the address size
    PUSH = 3     #: ESP - access size, by the stack address size
    POP = 4      #: ESP + constant ``const``, by the stack address size
    FLAT = 5     #: register ``base`` + constant ``const``, 32 bits
    STACK = 6    #: register ``base`` + constant ``const``, 16 bits when the B bit of segment cache ``aseg`` is 0


class Step(enum.IntEnum, shape=3):
    """What A writes back to its base register when the micro-operation commits (``width`` is the access size)."""
    NONE = 0
    PUSH = 1     #: ESP - width
    POP = 2      #: ESP + width
    POPN = 3     #: ESP + width + IMM (RET n)
    STRING = 4   #: base +- width by DF, by the address size
    LEAVE = 5    #: ESP becomes base + width (base is EBP)


class Aseg(enum.IntEnum, shape=4):
    """Segment of an access; the numbers up to TR are rows of the segment caches."""
    ES, CS, SS, DS, FS, GS = range(6)
    LDTR, TR = 6, 7
    TMP0, TMP1 = 8, 9   #: scratch caches of microprograms; a limit fault is #SS(selector of the cache)
    SREG = 12    #: in ``sreg`` only: the segment register named by ModRM.reg, or by the opcode (PUSH ES...)
    EFF = 13     #: the instruction's segment: default of its base, or the override
    PHYS = 14    #: physical address: no translation, no limit, no data breakpoint; beyond RAM reads all ones
    LIN = 15     #: linear address: no limit, no type check


class Next(enum.IntEnum, shape=3):
    """Where the sequencer goes."""
    END = 0      #: last micro-operation; the instruction retires
    SEQ = 1      #: the following row
    JUMP = 2     #: row ``target``
    BR = 3       #: row ``target`` when ``cond`` holds in X, else the following row; predicted not taken
    BRT = 4      #: the same, predicted taken
    CALL = 5     #: row ``target``, remember the following row (one level)
    RET = 6      #: the remembered row
    ENDREP = 7   #: last of a REP iteration: retires the instruction when it is complete, else an iteration and restarts


class Cond(enum.IntEnum, shape=4):
    """Condition of BR, BRT and ENDREP, of this micro-operation's own result and carry before masking by FlagSet."""
    Z = 0        #: result (of the size) is zero
    NZ = 1
    C = 2        #: carry (unsigned A < B after SUB)
    NC = 3
    S = 4
    NS = 5
    BE = 6       #: carry or zero
    A = 7        #: neither
    REP = 8      #: more iterations: result (of the size) is not zero
    REPZ = 9     #: result is not zero and ZF agrees with the REPE/REPNE prefix
    REP_GO = 10   #: REP and no event pending (interrupt, trap): the loop may go on
    REPZ_GO = 11


class Sys(enum.IntEnum, shape=7):
    """System registers, as operand SYS and for WRSYS. (r) read only, (w) write only.

    From EFER on: the registers of virtualization, most of them in `rtl.svm`. Fields of the VMCB have the bits they have
    there (`rtl.isa.svm`); "_HI" is the upper half of a field.
    """
    CR0 = 0      #: write: also flushes the TLBs when PG, WP or PE changes
    CR2 = 1
    CR3 = 2      #: write: flushes non-global TLB entries
    CR4 = 3      #: write: flushes the TLBs
    EFLAGS = 4   #: (r) full image, in a delivery with the RF to push; write: unmasked image (task switch)
    STATUS = 5   #: (r) `Status` bits
    EVECTOR = 6  #: (r) vector in delivery
    EERROR = 7   #: (r) its error code
    EEIP = 8     #: (r) the EIP to push; write: the EIP that later faults of this microprogram report, with ESP as it is
                 #: now (commit point of a task switch)
    GDT_BASE = 9
    GDT_LIMIT = 10
    IDT_BASE = 11
    IDT_LIMIT = 12
    TSC_LO = 13
    TSC_HI = 14
    CPL = 15
    SEL = 16     #: of segment ``sreg``
    BASE = 17
    LIMIT = 18
    ATTR = 19    #: descriptor bits 55:40 as in the high dword 23:8, limit bits zero; write 0: unusable
    DR = 20      #: by ModRM.reg
    DR6 = 21
    DR7 = 22
    MUL_HI = 23  #: (r)
    DIV_REM = 24  #: (r)
    NCPL = 25    #: privilege level that descriptor checks compare with
    SYSENTER_CS = 26
    SYSENTER_ESP = 27
    SYSENTER_EIP = 28
    PERF_LO = 29  #: (r) performance counter ECX
    PERF_HI = 30  #: (r)
    INVLPG = 31  #: (w) linear address
    WBINVD = 32  #: (w) waits until done
    NT = 33      #: (w) bit 0
    TS = 34      #: (w) bit 0: CR0.TS
    IFTF = 35    #: (w) delivery, B the upper half of the gate: clears TF, NT, RF, VM, and IF for an interrupt gate
    EVENT_DONE = 36  #: (w) delivery is over: later faults are first faults; clears
                     #: DR7.GD when the vector was 1; B bit 0: T bit of the new TSS (debug trap)
    NMI_UNBLOCK = 37  #: (w) bit 0: undo it
    SHADOW = 38  #: (w) no interrupt before the next instruction has retired (MOV SS, POP SS)
    EXT = 39     #: (r) 1 in the delivery of an event that is not a software interrupt: bit 0 of error codes
    SEGWORD = 40  #: of segment ``sreg`` as in a VMCB: selector in 15:0, attributes in 27:16, both written
    SWITCH_CR0 = 41  #: (w) CR0, CR3, CR4 at a world switch: as CR0, CR3, CR4, without flushing the TLBs
    SWITCH_CR3 = 42
    SWITCH_CR4 = 43
    EFER = 44    #: bit 12 (SVME) is what there is; the program has checked the others
    VM_CR = 45   #: five bits; the program has checked and masked them
    HSAVE = 46   #: VM_HSAVE_PA
    GIF = 47     #: bit 0; write 1 and 0 are STGI and CLGI, which go to V_GIF in a guest with V_GIF_ENABLE
    VMCB = 48    #: physical address of the VMCB of the guest that runs or is being entered
    INTERCEPT_CR = 49
    INTERCEPT_DR = 50
    INTERCEPT_EXCEPTION = 51
    INTERCEPT_MISC1 = 52
    INTERCEPT_MISC2 = 53
    PAUSE = 54   #: (w) threshold in 15:0 (ignored), count in 31:16: the counter of PAUSE
    IOPM = 55    #: physical address; bits 11:0 are dropped
    MSRPM = 56
    TSC_OFFSET = 57  #: (w) in guest mode added to what TSC_LO and TSC_HI read; not to what their writes write
    TSC_OFFSET_HI = 58
    ASID = 59    #: (w) of the guest; holds in guest mode (the host is ASID 0)
    TLB_CONTROL = 60  #: (w) does it now, for the ASID written before: 0 nothing, 3 this ASID, 7 its entries that are
                 #: not global, others everything
    VINTR = 61   #: V_TPR, V_IRQ, V_GIF, V_INTR_PRIO, V_IGN_TPR, V_INTR_MASKING, V_GIF_ENABLE; reads as #VMEXIT
                 #: stores it
    VINTR_HI = 62  #: (w) V_INTR_VECTOR
    SHADOW_BIT = 63  #: bit 0, the interrupt shadow. Write 1: it covers the first instruction of the guest (it does not
                 #: hold off traps and NMI); read: of the instruction that #VMEXIT interrupted
    NP = 64      #: bit 0 of NP_ENABLE: nested paging in guest mode
    N_CR3 = 65
    G_PAT = 66   #: (w) what the guest's PAT is under nested paging: only CONSISTENCY looks at it
    G_PAT_HI = 67
    EVENTINJ = 68  #: (w) with bit 31, delivered first when the guest begins
    EVENTINJ_HI = 69  #: (w) its error code
    CONSISTENCY = 70  #: (r) not zero when the guest may not be entered (APM 15.5.1), by what was written before: the
                 #: intercept of VMRUN is clear; ASID is 0 or >= `ASIDS`; the last byte of IOPM or MSRPM is beyond
                 #: 4 GiB; EVENTINJ is valid with type 1, 5, 6 or 7, or of type 3 with vector 2 or above 31; NP is set
                 #: and CR0.PG (still the host's) clear, or NP is set and a byte of G_PAT is 2, 3 or above 7
    GUEST = 71   #: write 1: guest mode begins and GIF becomes 1: intercepts, ASID, nested paging, TSC offset, the
                 #: EVENTINJ written before; EFLAGS.IF and CR4.PSE are remembered as the host's (so it comes before
                 #: those are written) and EXIT_INFO1 and EXIT_INFO2 become 0. Write 0: guest mode ends, GIF becomes 0,
                 #: virtual interrupts, pending traps, the injected event and the event in delivery are forgotten. The
                 #: programs that write it go on and end with JMPI
    EXIT_CODE = 72  #: (r) of the #VMEXIT in progress; when FORCE_EXIT gave FFFFFFFFh EXIT_CODE_HI is FFFFFFFFh too
    EXIT_CODE_HI = 73
    EXIT_INFO1 = 74  #: write, by programs that go on to FORCE_EXIT: clears EXIT_INFO1_HI
    EXIT_INFO1_HI = 75  #: (r)
    EXIT_INFO2 = 76  #: likewise
    EXIT_INFO2_HI = 77
    EXIT_INTINFO = 78  #: (r) the event in delivery, or zero
    EXIT_INTINFO_HI = 79
    NRIP = 80    #: (r) EIP of the next instruction for the exit of an intercepted instruction, MSR and IOIO included,
                 #: and for #BP of INT3, #OF of INTO, #BR of BOUND; else zero
    FETCHED = 81  #: (r) FETCHED_COUNT and 15 bytes, as four words: zero unless the exit is #PF or #NPF of a data access
    FETCHED_1 = 82
    FETCHED_2 = 83
    FETCHED_3 = 84
    FORCE_EXIT = 85  #: (w) takes #VMEXIT with exit code B, EXIT_INFO1 and EXIT_INFO2 as they are; last row of a
                 #: program. Also in host mode: FFFFFFFFh (VMEXIT_INVALID) of a VMRUN that fails
    INVLPGA_ASID = 86  #: (w) the ASID of the next INVLPGA
    INVLPGA = 87  #: (w) linear address: as INVLPG for that ASID
    IO_INFO = 88  #: (r) EXITINFO1 of an IOIO exit of this instruction but for STR and the port: TYPE from bit 1 of the
                 #: opcode (0 is IN), REP from the prefix, size from bit 0 of the opcode and the operand size, address
                 #: size, and in 12:10 the number of segment ``sreg`` (EFF, ES)

    APIC_BASE = 89  #: IA32_APIC_BASE, of which bit 11 can be written; the program has checked the others
    EVENT_NEXT = 90  #: (w) the EIP that the EVENTINJ written before pushes if it is what INT n, INT3 or INTO raise


class Status(enum.IntEnum):
    """Bit numbers of Sys.STATUS."""
    OPSIZE16 = 0
    ADSIZE16 = 1
    REP = 2      #: F3 or F2 prefix
    CPL0 = 3
    CPL3 = 4
    IOPL_OK = 5  #: CPL <= IOPL
    SS_B = 6
    NT = 7
    VM = 8
    PE = 9
    HAS_ERROR = 10  #: the event in delivery pushes an error code
    SOFT = 11    #: it is a software interrupt: gate DPL is checked
    MEMORY = 12  #: the ModRM operand is in memory
    DF = 13
    PCE = 14     #: CR4.PCE
    TSD = 15     #: CR4.TSD
    PG = 16
    TSS32 = 17   #: TR holds a 32-bit TSS
    SREG_SS = 18  #: the segment register named by the instruction is SS
    DR_UD = 19   #: ModRM.reg names DR4 or DR5 and CR4.DE is set
    DR_GD = 20   #: DR7.GD is set
    IO_INTERCEPT = 21  #: guest mode, and IOIO exits are wanted (the map in memory decides)
    MSR_INTERCEPT = 22  #: guest mode, and MSR exits are wanted (likewise)
    TASK_INTERCEPT = 23  #: guest mode, and task switches are intercepted
    PORT_OK = 24  #: IOPL_OK, and not IO_INTERCEPT: a port access needs no further check
    BITMAP_OK = 25  #: TSS32, and not IO_INTERCEPT: only the bitmap of the TSS is to be looked at
    HSAVE_RAM = 26  #: the page that VM_HSAVE_PA names is in RAM


class Uop(data.Struct):
    """The row. ``const`` names a 32-bit row of the constant ROM (and the number for CHECK, FAULT, FLAG)."""
    alu: Alu
    a: Src
    b: Src
    dst: Reg
    size: Size       # of X
    width: Size      # of the memory access and of Step
    mem: Mem
    amode: Amode
    base: Reg
    aseg: Aseg
    step: Step
    flags: FlagSet
    sreg: Aseg
    sys: Sys
    number: 8        # of a row of the constant ROM, or for CHECK, FAULT and FLAG; in programs it is called const
    next: Next
    cond: Cond
    target: 12
    serial: 1
    supervisor: 1    # access with supervisor rights whatever CPL is
    iteration: 1     # with BRT: a taken branch retires a REP iteration
    intercept: 9     # rule 9: bit 8 is set, bits 7:0 are an exit code; 0 for none
