"""Guest mode as the rest of the processor sees it: intercepts, the world switch, the guest's address space."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.exceptions import Vector
from rtl.isa.layout import shape
from rtl.isa.registers import CR0_WRITABLE, Cr0, Cr0Layout, Cr4Layout, EflagsLayout
from rtl.isa.svm import EventType, ExitCode, IoInfo
from rtl.mmu.control import PagingControl, TlbMaintenance
from rtl.svm.unit import READABLE, WRITABLE, SvmUnit

from .decode_rom import Check
from .events import AccessFault, Kind
from .exits import ExitUnit
from .fetched import FetchedBytes
from .intercept import InterceptSignature
from .stages import Latch
from .uop import Alu, Sys
from .wires import same

__all__ = ["GuestMode"]

#: The prefix F3 as decode has it.
_REP = 3
#: Changes of CR0 that the selective intercept of its writes heeds.
_SELECTIVE = int(CR0_WRITABLE & ~(Cr0.TS | Cr0.MP))


class GuestMode(wiring.Component):
    """The registers of guest mode, the decision to leave it, and what #VMEXIT saves. AMD64 APM vol. 2, chapter 15.

    1. Decode asks with ``code`` whether the exit code of a micro-operation is ``intercepted`` now; the answer comes
       back with the micro-operation in ``x.intercept``, and X decides.
    2. ``intercept`` is the other half of that decision: see `InterceptSignature`. If ``take`` and its ``exit`` fall
       together, that is the beginning of #VMEXIT, and its cause is kept.
    3. A #VMEXIT of a page fault saves instruction bytes: ``refetch`` is a pulse with which fetch turns back to the
       address of the instruction; ``x_wanted``, ``x_needed``, ``x_bytes``, ``x_have`` are those of `Fetch`. ``ready``
       is 0 while a micro-operation in X reads bytes that are not there yet.
    4. ``paging`` is ``control`` in the address space of the guest. ``maintenance`` passes the pulses ``inv_all`` and
       ``inv_nonglobal`` on to the TLBs, for the current address space, and adds INVLPG, INVLPGA and TLB_CONTROL.
    5. ``write`` (a committing WRSYS) writes ``data`` to register ``x.sys``, ``read`` is that register; registers held
       elsewhere are ignored and read as zero.

    Parameters
    ----------
    x : Latch
        The micro-operation in X, read here.

    Members
    -------
    intercept : In(InterceptSignature())
    a, b, next_eip : In(32)
        Operands of X; address of the next instruction.
    take, commit, done : In(1)
        An event or fault is taken; the micro-operation commits; and ends its instruction.
    write : In(1); data : In(32); read : Out(32)
    cr0, cr4, eflags, cs_base, cs_limit : In
    code : In(8); intercepted : Out(1)
    fetch_fault, fetch_nested, fetch_table : In(1); fetch_code : In(5); fetch_gpa : In(32)
        The page fault of the fetch, as in `Fetch`.
    x_wanted, x_needed : Out(1); x_bytes : In(120); x_have : In(5); refetch, ready : Out(1)
    control : In(PagingControl); inv_all, inv_nonglobal : In(1)
    paging : Out(PagingControl); maintenance : Out(TlbMaintenance())
    tsc_offset : Out(64)
    guest, svme, gif, entering : Out(1)
        Guest mode; EFER.SVME; the global interrupt flag; a pulse in VMRUN.
    events : Out(32); hsave : Out(32); exit_code : Out(32)
        The intercepts of codes from 60h on, zero in host mode; VM_HSAVE_PA; EXITCODE of the last #VMEXIT.
    """

    def __init__(self, x: Latch):
        self._x = x
        super().__init__({
            "intercept": In(InterceptSignature()), "a": In(32), "b": In(32), "next_eip": In(32),
            "take": In(1), "commit": In(1), "done": In(1), "write": In(1), "data": In(32), "read": Out(32),
            "cr0": In(shape(Cr0Layout)), "cr4": In(shape(Cr4Layout)), "eflags": In(shape(EflagsLayout)),
            "cs_base": In(32), "cs_limit": In(32), "code": In(8), "intercepted": Out(1),
            "fetch_fault": In(1), "fetch_nested": In(1), "fetch_table": In(1), "fetch_code": In(5), "fetch_gpa": In(32),
            "x_wanted": Out(1), "x_needed": Out(1), "x_bytes": In(120), "x_have": In(5),
            "refetch": Out(1), "ready": Out(1),
            "control": In(PagingControl), "inv_all": In(1), "inv_nonglobal": In(1),
            "paging": Out(PagingControl), "maintenance": Out(TlbMaintenance()), "tsc_offset": Out(64),
            "guest": Out(1), "svme": Out(1), "gif": Out(1), "entering": Out(1),
            "events": Out(32), "hsave": Out(32), "exit_code": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.svm = svm = SvmUnit()
        m.submodules.exits = exits = ExitUnit()
        m.submodules.fetched = fetched = FetchedBytes()
        x, offer, left = self._x, self.intercept, Signal()
        writes = (x.alu == Alu.WRSYS)
        exit_now = self.take & exits.exit

        # Leaving.
        m.d.comb += [
            *same(exits, offer, "event", "source", "vector", "exception", "error", "address", "first", "double",
                  "fatal", "delivering", "e_vector", "e_type", "e_has_error", "e_error"),
            *same(exits, self, "a", "b", "next_eip", "fetch_nested", "fetch_table", "fetch_code", "fetch_gpa"),
            *same(exits, svm, "guest", "exceptions", "events"),
            exits.of_fetch.eq(x.check == Check.FETCH), exits.access.eq(x.fault == AccessFault.PAGE),
            exits.access_nested.eq(x.nested), exits.access_code.eq(x.page_code), exits.access_table.eq(x.table),
            exits.row.eq(x.valid & x.intercept[8]), exits.code.eq(x.intercept[:8]),
            exits.forced.eq(x.valid & writes & (x.sys == Sys.FORCE_EXIT)),
            exits.spared.eq(writes & (((self.b ^ self.cr0.as_value()) & _SELECTIVE) == 0)),
            exits.paused.eq((x.repeat != _REP) | svm.pausing),
            *same(offer, exits, "asked", "exit", "combined"),
            svm.exit_en.eq(exit_now), svm.exit_forced.eq(exits.is_forced), svm.exit_shadow.eq(offer.shadow),
            svm.cause.eq(exits.cause),
            svm.pause.eq(self.commit & x.intercept[8] & (x.intercept[:8] == ExitCode.PAUSE) & (x.repeat == _REP)),
        ]
        # The code of an access that faults: it has just been fetched, and is so again.
        m.d.comb += [
            self.refetch.eq(exit_now & exits.of_access & ~offer.delivering),
            fetched.go.eq(self.refetch), fetched.drop.eq(self.take),
            fetched.linear.eq(self.cs_base[:12] + x.eip[:12]), fetched.length.eq(x.length),
            fetched.behind.eq(self.cs_limit - x.eip), fetched.fault.eq(self.fetch_fault),
            fetched.have.eq(self.x_have), fetched.bytes.eq(self.x_bytes),
            self.x_wanted.eq(fetched.wanted), self.x_needed.eq(fetched.needed),
            self.ready.eq((x.sys != Sys.FETCHED) | fetched.ready),
        ]

        # Entering, and what is delivered to a guest.
        m.d.comb += [
            self.entering.eq(svm.w_guest & self.b[0]), left.eq(svm.w_guest & ~self.b[0]),
            offer.forget.eq(left), offer.shadow_set.eq(svm.w_shadow_bit & self.b[0]),
            *same(offer, svm, "gif", "masking", "host_if", "virtual", "virtual_vector", "inject"),
            *same(svm, offer, "injected", "virtual_taken"),
            offer.init_exits.eq(svm.events[ExitCode.INIT & 31]),
            offer.inject_vector.eq(Mux(svm.event.type == EventType.NMI, Vector.NMI, svm.event.vector)),
            offer.inject_type.eq(svm.event.type),
            offer.inject_has_error.eq(svm.event.ev), offer.inject_error.eq(svm.event.error),
            offer.inject_next.eq(svm.event_next),
        ]
        with m.Switch(svm.event.type):
            with m.Case(EventType.EXCEPTION):
                # APM 15.20: #BP and #OF are injected as INT3 and INTO would raise them.
                m.d.comb += offer.inject_kind.eq(Mux(
                    (svm.event.vector == Vector.BP) | (svm.event.vector == Vector.OF), Kind.SOFTWARE, Kind.FAULT))
            with m.Case(EventType.SOFTWARE):
                m.d.comb += offer.inject_kind.eq(Kind.SOFTWARE)
            with m.Default():
                m.d.comb += offer.inject_kind.eq(Kind.INTERRUPT)
        with m.If(svm.w_guest):
            m.d.sync += offer.entered.eq(self.b[0])
        with m.If(self.done):
            m.d.sync += offer.entered.eq(0)

        # Address space.
        elsewhere = svm.flush_asid | svm.flush_nonglobal | svm.flush_page
        tlb, paging = self.maintenance, self.paging
        m.d.comb += [
            tlb.inv_all.eq(svm.flush_all), tlb.inv_asid.eq(self.inv_all | svm.flush_asid),
            tlb.inv_nonglobal.eq(self.inv_nonglobal | svm.flush_nonglobal),
            tlb.inv_page.eq((self.write & (x.sys == Sys.INVLPG)) | svm.flush_page),
            tlb.asid.eq(Mux(elsewhere, svm.flush_space, svm.asid)), tlb.inv_linear.eq(self.data),
            paging.eq(self.control), paging.asid.eq(svm.asid), paging.nested.eq(svm.nested),
            paging.n_pse.eq(svm.n_pse), paging.n_cr3_base.eq(svm.n_cr3[12:]),
        ]

        # Registers.
        io_info = Signal(shape(IoInfo))
        m.d.comb += [
            *same(svm, self, "code", "data"), svm.if_.eq(self.eflags.if_), svm.paging.eq(self.cr0.pg),
            svm.pse.eq(self.cr4.pse),
            *same(self, svm, "intercepted", "tsc_offset", "guest", "svme", "gif", "events"),
            self.hsave.eq(svm.r_hsave), self.exit_code.eq(svm.r_exit_code),
            # From the opcode, the prefixes and the segment.
            io_info.input.eq(~x.opcode[1]), io_info.rep.eq(x.repeat[1]), io_info.size8.eq(~x.opcode[0]),
            io_info.size16.eq(x.opcode[0] & x.opsize16), io_info.size32.eq(x.opcode[0] & ~x.opsize16),
            io_info.address16.eq(x.adsize16), io_info.address32.eq(~x.adsize16), io_info.segment.eq(x.sreg),
        ]
        with m.If(self.write):
            with m.Switch(x.sys):
                for name in WRITABLE:
                    with m.Case(Sys[name]):
                        m.d.comb += getattr(svm, f"w_{name.lower()}").eq(1)
        with m.Switch(x.sys):
            for number, value in {
                    Sys.IO_INFO: io_info.as_value(), Sys.FETCHED: fetched.words[0], Sys.FETCHED_1: fetched.words[1],
                    Sys.FETCHED_2: fetched.words[2], Sys.FETCHED_3: fetched.words[3],
                    **{Sys[name]: getattr(svm, f"r_{name.lower()}") for name in READABLE}}.items():
                with m.Case(number):
                    m.d.comb += self.read.eq(value)
        return m
