"""The registers of Secure Virtual Machine: what VMRUN has loaded, and what #VMEXIT stores."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.layout import shape
from rtl.isa.svm import (
    ASIDS,
    IOPM_BYTES,
    MSRPM_BYTES,
    VINTR_WRITABLE,
    Event,
    EventType,
    ExitCode,
    TlbControl,
    VintrLayout,
)

__all__ = ["READABLE", "WRITABLE", "Exit", "SvmUnit"]

#: Registers by the names that microprograms have for them.
WRITABLE = (
    "EFER", "VM_CR", "HSAVE", "GIF", "VMCB", "INTERCEPT_CR", "INTERCEPT_DR", "INTERCEPT_EXCEPTION", "INTERCEPT_MISC1",
    "INTERCEPT_MISC2", "PAUSE", "IOPM", "MSRPM", "TSC_OFFSET", "TSC_OFFSET_HI", "ASID", "TLB_CONTROL", "VINTR",
    "VINTR_HI", "SHADOW_BIT", "NP", "N_CR3", "G_PAT", "G_PAT_HI", "EVENTINJ", "EVENTINJ_HI", "GUEST", "EXIT_INFO1",
    "EXIT_INFO2", "EXIT_INFO2_HI", "INVLPGA_ASID", "INVLPGA", "EVENT_NEXT")
READABLE = (
    "EFER", "VM_CR", "HSAVE", "GIF", "VMCB", "INTERCEPT_CR", "INTERCEPT_DR", "INTERCEPT_EXCEPTION", "INTERCEPT_MISC1",
    "INTERCEPT_MISC2", "IOPM", "MSRPM", "VINTR", "SHADOW_BIT", "NP", "N_CR3", "CONSISTENCY", "GUEST",
    "EXIT_CODE", "EXIT_CODE_HI", "EXIT_INFO1", "EXIT_INFO1_HI", "EXIT_INFO2", "EXIT_INFO2_HI", "EXIT_INTINFO",
    "EXIT_INTINFO_HI", "NRIP")
#: What is a plain 32-bit register.
_WORDS = ("HSAVE", "VMCB", "INTERCEPT_CR", "INTERCEPT_DR", "INTERCEPT_EXCEPTION", "INTERCEPT_MISC1",
          "INTERCEPT_MISC2", "TSC_OFFSET", "TSC_OFFSET_HI", "N_CR3", "G_PAT", "G_PAT_HI", "EVENT_NEXT")
_PAGE_BITS = 12
_SVME = 12


class Exit(data.Struct):
    """What #VMEXIT tells of its cause, as the fields of the VMCB.

    Members
    -------
    code : EXITCODE; all ones for VMEXIT_INVALID, which fills the upper half too.
    info1, info2, intinfo : EXITINFO1, EXITINFO2, EXITINTINFO.
    nrip : EIP of the next instruction, or 0.
    """

    code: 32
    info1: 64
    info2: 64
    intinfo: 64
    nrip: 32


class SvmUnit(wiring.Component):
    """Guest mode: intercepts, address space, virtual interrupt, and the cause of an exit. APM vol. 2, chapter 15.

    1. ``w_name`` writes ``data`` to a register; the write is seen from the next cycle on. ``r_name`` is its value.
       Registers are described with the micro-operation (`rtl.cpu.uop`).
    2. Writing GUEST with 1 enters guest mode: GIF rises, IF and CR4.PSE are remembered as the host's, the event of
       EVENTINJ waits in ``inject``. Writing it with 0 leaves guest mode, and GIF falls.
    3. ``intercepted`` says whether the intercept bit of exit code ``code`` is set, in guest mode. ``exceptions`` and
       ``events`` are the intercept words of exceptions and of codes from 60h on, zero in host mode.
    4. ``exit_en`` keeps ``cause``, and whether the instruction it interrupts is in an interrupt shadow
       (``exit_shadow``); with ``exit_forced`` EXIT_INFO1 and EXIT_INFO2 stay as they were written.
    5. ``virtual`` says that a virtual interrupt waits for the guest's IF; ``virtual_taken`` is its acceptance.
       ``injected`` is that of the event in ``inject``.
       With V_GIF_ENABLE a guest's writes of GIF go to V_GIF, and ``virtual`` needs it (15.33.2).
    6. ``pausing`` says that an intercepted PAUSE does not exit yet; ``pause`` that one has retired.

    Members
    -------
    w_* : In(1); data : In(32); r_* : Out(32)
    code : In(8); intercepted : Out(1); exceptions, events : Out(32)
    exit_en, exit_forced, exit_shadow : In(1); cause : In(Exit)
    if_, paging, pse : In(1)
        EFLAGS.IF, CR0.PG, CR4.PSE.
    guest, gif, svme : Out(1); asid : Out(4)
        ``asid`` is 0 in host mode.
    nested, n_pse : Out(1); n_cr3 : Out(32)
    masking, host_if : Out(1)
        V_INTR_MASKING in guest mode; IF of the host.
    tsc_offset : Out(64)
        Zero in host mode.
    virtual : Out(1); virtual_vector : Out(8); virtual_taken : In(1)
    inject : Out(1); event : Out(Event); event_next : Out(32); injected : In(1)
    flush_all, flush_asid, flush_nonglobal, flush_page : Out(1); flush_space : Out(4)
        Pulses of TLB_CONTROL, and of INVLPGA, whose linear address is ``data``.
    pausing : Out(1); pause : In(1)
    """

    def __init__(self):
        super().__init__({
            **{f"w_{name.lower()}": In(1) for name in WRITABLE}, "data": In(32),
            **{f"r_{name.lower()}": Out(32) for name in READABLE},
            "code": In(8), "intercepted": Out(1), "exceptions": Out(32), "events": Out(32),
            "exit_en": In(1), "exit_forced": In(1), "exit_shadow": In(1), "cause": In(Exit),
            "if_": In(1), "paging": In(1), "pse": In(1),
            "guest": Out(1), "gif": Out(1, init=1), "svme": Out(1), "asid": Out(4),
            "nested": Out(1), "n_pse": Out(1), "n_cr3": Out(32), "masking": Out(1), "host_if": Out(1),
            "tsc_offset": Out(64),
            "virtual": Out(1), "virtual_vector": Out(8), "virtual_taken": In(1),
            "inject": Out(1), "event": Out(shape(Event)), "event_next": Out(32), "injected": In(1),
            "flush_all": Out(1), "flush_asid": Out(1), "flush_nonglobal": Out(1), "flush_page": Out(1),
            "flush_space": Out(4), "pausing": Out(1), "pause": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        given = self.data

        def written(name):
            return getattr(self, f"w_{name}")

        def register(name, width=32, low=0):
            """A register that is nothing but written."""
            value = Signal(width, name=f"loaded_{name}")
            with m.If(written(name)):
                m.d.sync += value.eq(given[low:])
            return value

        word = {name: register(name.lower()) for name in _WORDS}
        vm_cr = register("vm_cr", 5)
        iopm = register("iopm", 20, _PAGE_BITS)
        msrpm = register("msrpm", 20, _PAGE_BITS)
        asid = register("asid", 32)
        paged = register("np", 1)
        invlpga_asid = register("invlpga_asid", 4)
        vintr = Signal(shape(VintrLayout))
        event = self.event
        pause_count = Signal(16)
        shadow_bit = Signal()
        kept = Signal(Exit)

        with m.If(self.w_efer):
            m.d.sync += self.svme.eq(given[_SVME])
        with m.If(self.w_vintr):
            m.d.sync += vintr.as_value()[:32].eq(given & VINTR_WRITABLE)
        with m.Elif(self.virtual_taken):
            m.d.sync += vintr.irq.eq(0)
        with m.If(self.w_gif):
            with m.If(self.guest & vintr.gif_enable):
                m.d.sync += vintr.gif.eq(given[0])
            with m.Else():
                m.d.sync += self.gif.eq(given[0])
        with m.If(self.w_vintr_hi):
            m.d.sync += vintr.vector.eq(given)
        with m.If(self.w_pause):
            m.d.sync += pause_count.eq(given[16:])
        with m.Elif(self.pause):
            m.d.sync += pause_count.eq(pause_count - 1)
        with m.If(self.w_eventinj):
            m.d.sync += event.as_value()[:32].eq(given)
        with m.Elif(self.injected | (self.w_guest & ~given[0])):
            m.d.sync += event.v.eq(0)
        with m.If(self.w_eventinj_hi):
            m.d.sync += event.error.eq(given)
        with m.If(self.w_guest):
            m.d.sync += [self.guest.eq(given[0]), self.gif.eq(given[0])]
            with m.If(given[0]):
                m.d.sync += [self.host_if.eq(self.if_), self.n_pse.eq(self.pse), kept.info1.eq(0), kept.info2.eq(0)]
        with m.If(self.w_exit_info1):
            m.d.sync += kept.info1.eq(given)
        with m.If(self.w_exit_info2):
            m.d.sync += kept.info2.eq(given)
        with m.If(self.w_exit_info2_hi):
            m.d.sync += kept.info2[32:].eq(given)
        with m.If(self.exit_en):
            m.d.sync += [kept.code.eq(self.cause.code), kept.intinfo.eq(self.cause.intinfo),
                         kept.nrip.eq(self.cause.nrip), shadow_bit.eq(self.exit_shadow)]
            with m.If(~self.exit_forced):
                m.d.sync += [kept.info1.eq(self.cause.info1), kept.info2.eq(self.cause.info2)]

        misc1 = word["INTERCEPT_MISC1"]
        with m.If(self.guest):
            intercepts = Cat(word["INTERCEPT_CR"], word["INTERCEPT_DR"], word["INTERCEPT_EXCEPTION"], misc1,
                             word["INTERCEPT_MISC2"])
            m.d.comb += [
                self.intercepted.eq(intercepts.bit_select(self.code, 1)),
                self.exceptions.eq(word["INTERCEPT_EXCEPTION"]), self.events.eq(misc1),
                self.asid.eq(asid), self.nested.eq(paged), self.masking.eq(vintr.masking),
                self.tsc_offset.eq(Cat(word["TSC_OFFSET"], word["TSC_OFFSET_HI"])),
                # APM 15.21.4: the priority is compared with the task priority of the guest.
                self.virtual.eq(vintr.irq & (vintr.gif | ~vintr.gif_enable)
                                & (vintr.ignore_tpr | (vintr.priority > vintr.tpr[:4]))),
                self.inject.eq(event.v),
            ]
        m.d.comb += [
            self.n_cr3.eq(word["N_CR3"]), self.event_next.eq(word["EVENT_NEXT"]),
            self.virtual_vector.eq(vintr.vector), self.pausing.eq(pause_count != 0),
            self.flush_space.eq(Mux(self.w_invlpga, invlpga_asid, asid[:4])), self.flush_page.eq(self.w_invlpga),
        ]
        with m.If(self.w_tlb_control):
            with m.Switch(given[:8]):
                with m.Case(TlbControl.NOTHING):
                    pass
                with m.Case(TlbControl.ASID):
                    m.d.comb += self.flush_asid.eq(1)
                with m.Case(TlbControl.ASID_LOCAL):
                    m.d.comb += self.flush_nonglobal.eq(1)
                with m.Default():
                    m.d.comb += self.flush_all.eq(1)

        m.d.comb += [
            self.r_efer.eq(self.svme << _SVME), self.r_vm_cr.eq(vm_cr), self.r_gif.eq(self.gif),
            self.r_iopm.eq(iopm << _PAGE_BITS), self.r_msrpm.eq(msrpm << _PAGE_BITS),
            self.r_vintr.eq(vintr.as_value()[:32]), self.r_shadow_bit.eq(shadow_bit), self.r_np.eq(paged),
            # The event is given up with the exit, so V is clear.
            self.r_guest.eq(self.guest),
            self.r_exit_code.eq(kept.code), self.r_exit_code_hi.eq(Mux(kept.code[31], 0xFFFF_FFFF, 0)),
            self.r_exit_info1.eq(kept.info1[:32]), self.r_exit_info1_hi.eq(kept.info1[32:]),
            self.r_exit_info2.eq(kept.info2[:32]), self.r_exit_info2_hi.eq(kept.info2[32:]),
            self.r_exit_intinfo.eq(kept.intinfo[:32]), self.r_exit_intinfo_hi.eq(kept.intinfo[32:]),
            self.r_nrip.eq(kept.nrip),
        ]
        for name in set(_WORDS) & set(READABLE):
            m.d.comb += getattr(self, f"r_{name.lower()}").eq(word[name])

        # APM 15.5.1.
        pat = Cat(word["G_PAT"], word["G_PAT_HI"])
        bad_pat = Cat(*((pat.word_select(number, 8) > 7) | (pat.word_select(number, 8)[1:] == 1)
                        for number in range(8))).any()
        bad_event = event.v & ((event.type == 1) | (event.type > EventType.SOFTWARE) | (
            (event.type == EventType.EXCEPTION) & ((event.vector == 2) | (event.vector > 31))))
        m.d.comb += self.r_consistency.eq(Cat(
            ~word["INTERCEPT_MISC2"][ExitCode.VMRUN & 31], (asid == 0) | (asid >= ASIDS),
            iopm > (1 << 32) - IOPM_BYTES >> _PAGE_BITS, msrpm > (1 << 32) - MSRPM_BYTES >> _PAGE_BITS,
            bad_event, paged & (~self.paging | bad_pat)))
        return m
