"""World switches in the pipeline: what they cost, and what a guest's exits leave in the VMCB."""

from dataclasses import dataclass, field

import pytest

from rtl.isa.exitcodes import ExitCode, intercept_bit, intercept_word
from rtl.isa.msrs import EFER_SVME
from rtl.isa.registers import DR6_FIXED, DR7_FIXED, Cr0, Eflags
from rtl.isa.segments import ACCESS_CODE, ACCESS_DATA
from rtl.isa.svm import VINTR_IRQ, VINTR_WRITABLE, SegmentField, Vmcb
from sim.rtlmemory import CachedMemory

from .board_bench import STACK, Ended, run

VMCB, HSAVE, IOPM, MSRPM, GUEST = 0x1_0000, 0x1_1000, 0x1_2000, 0x1_6000, 0x5000
_FLAT = 0xC00
VMRUN = "0F01D8"
LOAD_VMCB = "B8" + VMCB.to_bytes(4, "little").hex()
#: RDTSC; MOV EDI, EAX; then the round trip; RDTSC; SUB EAX, EDI; MOV ECX, EAX; DEC ESI; JNZ to the beginning.
_TIMED = "0F31" "89C7" + LOAD_VMCB + VMRUN + "0F31" "29F8" "89C1" "4E"
#: Cycles of that loop around VMRUN.
_AROUND = 9


@dataclass
class Guest:
    """A VMCB as words of memory: flat segments, ring 0, no paging."""
    code: str
    intercepts: tuple[int, ...] = ()
    words: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for segment, access in ((Vmcb.ES, ACCESS_DATA), (Vmcb.CS, ACCESS_CODE), (Vmcb.SS, ACCESS_DATA),
                                (Vmcb.DS, ACCESS_DATA)):
            self.put(segment, 8 | (_FLAT | access | 1) << 16)
            self.put(segment + SegmentField.LIMIT, 0xFFFF_FFFF)
        for place, value in ((Vmcb.ASID, 1), (Vmcb.EFER, EFER_SVME), (Vmcb.CR0, int(Cr0.PE | Cr0.ET)), (Vmcb.RFLAGS, 2),
                             (Vmcb.RIP, GUEST), (Vmcb.RSP, STACK), (Vmcb.DR6, DR6_FIXED), (Vmcb.DR7, DR7_FIXED),
                             (Vmcb.IOPM_BASE, IOPM), (Vmcb.MSRPM_BASE, MSRPM)):
            self.put(place, value)
        for code in (ExitCode.VMRUN, *self.intercepts):
            place = 4 * intercept_word(code)
            self.put(place, self.words.get(VMCB + place, 0) | intercept_bit(code))
        body = bytes.fromhex(self.code).ljust(16, b"\xf4")
        self.words |= {GUEST + n: int.from_bytes(body[n:n + 4], "little") for n in range(0, 16, 4)}

    def put(self, place: int, value: int) -> None:
        self.words[VMCB + place] = value

    def run(self, host: str) -> Ended:
        """Run host code up to the HLT behind it, or to one of the guest."""
        return run(host, words=self.words, cycles=6000, pokes={
            "core.guestmode.svm.svme": 1, "core.guestmode.svm.loaded_hsave": HSAVE})


def word(end: Ended, place: int) -> int:
    return int(CachedMemory(end.engine).image()[VMCB + place >> 2])


def quad(end: Ended, place: int) -> int:
    return word(end, place) | word(end, place + 4) << 32


def test_round_trip():
    """VMRUN and the #VMEXIT of VMMCALL, everything in the caches: the fourth of four."""
    back = -len(bytes.fromhex(_TIMED)) - 2 & 0xFF
    end = Guest("0F01D9", (ExitCode.VMMCALL,)).run("BE04000000" + _TIMED + f"75{back:02x}")
    assert end.ecx - _AROUND <= 210, end.ecx
    assert not end.engine.peek("core.guestmode.svm.guest") and not end.engine.peek("core.guestmode.svm.gif")
    assert (quad(end, Vmcb.EXITCODE), quad(end, Vmcb.RIP), quad(end, Vmcb.NRIP)) == (ExitCode.VMMCALL, GUEST, GUEST + 3)


@pytest.mark.parametrize("code, intercept, info1, info2", [
    ("E642", ExitCode.IOIO, 0x42_0110, GUEST + 2),                      # OUT 42h, AL
    ("66ED", ExitCode.IOIO, 0x0121, GUEST + 2),                         # IN AX, DX
    ("B910000000" "0F32", ExitCode.MSR, 0, 0),                          # MOV ECX, 10h; RDMSR
    ("0F22DF", ExitCode.CR3_WRITE, 1 << 63 | 7, 0),                     # MOV CR3, EDI
    ("0F21F6", ExitCode.DR6_READ, 6, 0),                                # MOV ESI, DR6
    ("CD80", ExitCode.SWINT, 0x80, 0),                                  # INT 80h
    ("0F013D44332211", ExitCode.INVLPG, 0x1122_3344, 0),                # INVLPG [11223344h]
    ("0F20C0" "83C820" "0F22C0", ExitCode.CR0_SEL_WRITE, 1 << 63, 0),   # EAX = CR0 with NE; MOV CR0, EAX
])
def test_exit_information(code, intercept, info1, info2):
    guest = Guest(code, (intercept,))
    guest.words |= {place: 0xFFFF_FFFF for place in (IOPM, IOPM + 8, MSRPM, MSRPM + 4)}
    end = guest.run(LOAD_VMCB + VMRUN)
    assert quad(end, Vmcb.EXITCODE) == intercept
    assert (quad(end, Vmcb.EXITINFO1), quad(end, Vmcb.EXITINFO2)) == (info1, info2)


def test_guest_changes_nothing_of_the_host():
    """The guest turns flags, stack pointer and EAX over; HLT ends it."""
    end = Guest("FC" "BC00000000" "B800000000" "FD" "F9" "F4", (ExitCode.HLT,)).run(LOAD_VMCB + VMRUN)
    assert (end.eax, end.esp) == (VMCB, STACK)
    assert word(end, Vmcb.RSP) == word(end, Vmcb.RAX) == 0
    assert word(end, Vmcb.RFLAGS) & int(Eflags.DF | Eflags.CF) == int(Eflags.DF | Eflags.CF)
    assert not end.system("eflags_df")


def test_the_host_is_in_protected_mode_whatever_the_save_area_says():
    """MOV dword [CR0 in the host save area], 10h; #VMEXIT sets PE (the Action of VMRUN, AMD64 APM vol. 3)."""
    code = "C705" + (HSAVE + Vmcb.CR0).to_bytes(4, "little").hex() + "10000000" "F4"
    end = Guest(code, (ExitCode.HLT,)).run(LOAD_VMCB + VMRUN)
    assert end.system("cr0") & (Cr0.PE | Cr0.PG) == Cr0.PE and end.eax == VMCB


def test_reserved_bits_of_vintr_are_dropped():
    guest = Guest("F4", (ExitCode.HLT,))
    guest.put(Vmcb.VINTR, 0xFFFF_FFFF & ~VINTR_IRQ)
    end = guest.run(LOAD_VMCB + VMRUN)
    assert word(end, Vmcb.VINTR) == VINTR_WRITABLE & ~VINTR_IRQ


def test_refused():
    """ASID 0: VMEXIT_INVALID, and nothing else of the VMCB is written."""
    guest = Guest("F4")
    guest.put(Vmcb.ASID, 0)
    guest.put(Vmcb.NRIP, 0x1234)
    end = guest.run(LOAD_VMCB + VMRUN)
    assert quad(end, Vmcb.EXITCODE) == ExitCode.INVALID
    assert word(end, Vmcb.NRIP) == 0x1234 and end.eax == VMCB


def test_pause_filter():
    """A count of 2: the third PAUSE exits, NOPs do not count."""
    guest = Guest("F390" "90" "F390" "90" "F390", (ExitCode.PAUSE,))
    guest.put(Vmcb.PAUSE_THRESHOLD, 2 << 16)
    end = guest.run(LOAD_VMCB + VMRUN)
    assert (word(end, Vmcb.EXITCODE), word(end, Vmcb.RIP)) == (ExitCode.PAUSE, GUEST + 6)
