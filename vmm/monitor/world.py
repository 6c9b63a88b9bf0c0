"""The way into the guest and back: what the stub, the VMCB and the doorbell have to be told."""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.exitcodes import INTERCEPT_WORDS, ExitCode, intercept_bit, intercept_word
from rtl.isa.msrs import EFER_SVME, Msr
from rtl.isa.registers import Cr0, Cr4
from rtl.isa.svm import NP_ENABLE, VINTR_IGNORE_TPR, VINTR_IRQ, VINTR_MASKING, VINTR_PRIORITY, TlbControl, Vmcb
from sim.stop import ArchState, Reason
from vmm.monitor.area import Area
from vmm.monitor.control import Control
from vmm.monitor.host import Host
from vmm.monitor.report import ExitStatistics
from vmm.monitor.stub import CODE, Wish
from vmm.state import EAX, ESP, CpuState, CpuView
from vmm.vcpu import VcpuError

_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1
#: What the guest may not do by itself. SVM does not exist for it.
_INTERCEPTED = (
    ExitCode.INTR, ExitCode.CPUID, ExitCode.INVD, ExitCode.HLT, ExitCode.IOIO, ExitCode.MSR, ExitCode.SHUTDOWN,
    ExitCode.VMRUN, ExitCode.VMMCALL, ExitCode.VMLOAD, ExitCode.VMSAVE, ExitCode.STGI, ExitCode.CLGI, ExitCode.SKINIT,
    ExitCode.INVLPGA, ExitCode.CR0_SEL_WRITE)
_ASID = 1
#: The reset value of PAT, which the processor wants legal.
_PAT = 0x0007_0406
_INVALID = _M32
#: The stub answers much sooner.
_PATIENCE = 10_000
#: Cycles between two looks at a switch that is under way.
_STEP = 8


class Paused(Exception):
    """The cycles of `World.pause` are over; the next `run` goes on as if it had not been cut."""


class World:
    """One guest on the processor of a host.

    1. `begin`, then `run` until it returns: the guest has left, for the reason that `cause` says once.
    2. `fill` and `set_state` are for the time between, while `is_inside` is false; `processor_state` for any time.

    Parameters
    ----------
    host, area : where the monitor's memory lies; it is laid out, and the stub started.

    Members
    -------
    control : VMCB and frame. costs : exits and their cycles.
    exit_cost : cycles that what the monitor does at an exit is said to take. paid : those of all exits so far.
    pause : cycles the processor may run before `run` raises Paused, None for no limit.
    is_inside : the guest was begun, and has not left.
    flush_wanted : forget at the next entry what the processor knows of the guest's tables; nested ones, too.
    """

    def __init__(self, host: Host, area: Area) -> None:
        self.host = host
        self.area = area
        self.control = Control(host, area)
        self.costs = ExitStatistics()
        self.exit_cost = self.paid = 0
        self.pause: Callable[[], int | None] = lambda: None
        self.is_inside = self.flush_wanted = False
        #: The doorbell has rung, and `run` has not said so.
        self._has_rung = False
        self._load_wanted = True
        self._kicked = self._window = False
        self._begun = self._vintr = 0
        self._seen = 0, 0
        self._intercepts = [0] * INTERCEPT_WORDS
        self._set_up()

    def _set_up(self) -> None:
        """Lay out the monitor's memory, and start the host's processor up to the first ring."""
        host, area, control = self.host, self.area, self.control
        view = host.ram.data.cast("B")
        for address, content in {**area.contents(), area.stub: CODE}.items():
            view[address:address + len(content)] = content
        state = CpuState()
        state.eip, state.gpr[EAX], state.gpr[ESP] = area.stub, area.vmcb, area.frame
        state.cr0 = int(Cr0.PE | Cr0.ET | Cr0.PG)
        state.cr3, state.cr4 = area.host_directory, int(Cr4.PSE)
        state.msrs = {Msr.EFER: EFER_SVME, Msr.VM_HSAVE_PA: area.host_save}
        host.start(state.to_dict())
        for code in _INTERCEPTED:
            self.intercept(code, True)
        for field, value in (
                (Vmcb.IOPM_BASE, area.iopm), (Vmcb.MSRPM_BASE, area.msrpm), (Vmcb.ASID, _ASID),
                (Vmcb.NP_ENABLE, NP_ENABLE), (Vmcb.N_CR3, area.nested_directory), (Vmcb.G_PAT, _PAT),
                (Vmcb.G_PAT + 4, _PAT)):
            control.put(field, value)
        control.store(CpuState())
        self._wait_for_ring()
        self._seen = host.cycle, host.guest_cycles

    def _wait_for_ring(self) -> None:
        reason = self.host.run(_PATIENCE, heeding=False)
        if reason is not Reason.DOORBELL:
            raise VcpuError(f"the monitor's part on the processor does not answer: {reason.value}")

    def intercept(self, code: ExitCode, wanted: bool) -> None:
        """Whether the guest leaves for this reason."""
        word, bit = intercept_word(code), intercept_bit(code)
        self._intercepts[word] = self._intercepts[word] & ~bit | (bit if wanted else 0)
        self.control.keep(4 * word, self._intercepts[word])

    def fill(self, state: CpuView) -> None:
        """Give it the guest's registers; VMSAVE is asked of the stub. Raises VcpuError while the guest runs."""
        if self.is_inside and not self._has_rung:
            raise VcpuError("the registers cannot be had while the guest runs")
        if not self._load_wanted:
            self.control.wish(Wish.VMSAVE)
            self._wait_for_ring()
        self.control.load(state)

    def processor_state(self) -> ArchState | None:
        """The processor's state, in the midst of the guest; None if `fill` is to be asked.

        A switch between the worlds is completed first, so that somewhere the guest's registers are all together.
        """
        while self.is_inside and not self._has_rung:
            state = self.host.state()
            if state.get("svm", {}).get("guest"):
                return state
            self._has_rung = self.host.run(_STEP, heeding=False) is Reason.DOORBELL
        return None

    def set_state(self, state: CpuView) -> None:
        self.control.store(state)
        self._load_wanted = True

    def begin(self, vector: int | None, window: bool, event: int, tsc: int) -> None:
        """Say what the guest is to run with.

        Parameters
        ----------
        vector : of a virtual interrupt. window : without one, leave as soon as the guest could take one.
        event : EVENTINJ, or 0. tsc : what the guest's time-stamp counter shows now.
        """
        control = self.control
        vintr = VINTR_MASKING
        if vector is not None or window:
            vintr |= VINTR_IRQ | VINTR_IGNORE_TPR | VINTR_PRIORITY
        if self._window != (vector is None and window):
            self._window = not self._window
            self.intercept(ExitCode.VINTR, self._window)
        # A #VMEXIT brings back VINTR as it was but for V_IRQ, and clears V of EVENTINJ.
        if vintr != self._vintr or vintr & VINTR_IRQ:
            control.put(Vmcb.VINTR, vintr)
        self._vintr = vintr
        control.keep(Vmcb.VINTR + 4, vector or 0)
        if event:
            control.put_wide(Vmcb.EVENTINJ, event)
        control.keep(Vmcb.TLB_CONTROL, TlbControl.ASID if self.flush_wanted else TlbControl.NOTHING)
        self.flush_wanted = False
        offset = tsc - self.host.cycle & _M64
        control.keep(Vmcb.TSC_OFFSET, offset & _M32)
        control.keep(Vmcb.TSC_OFFSET + 4, offset >> 32)
        control.wish(Wish.VMLOAD if self._load_wanted else Wish.RUN)
        self._load_wanted = False
        self.is_inside = True
        self._kicked = False
        self._begun = self.host.guest_instructions

    @property
    def has_gone_on(self) -> bool:
        """Whether the guest has done an instruction since `begin`."""
        return self.host.guest_instructions != self._begun

    def run(self, until: int | None) -> bool:
        """Run to the next ring; from `until` on with an interrupt request, once an instruction or iteration is done.

        So it is when the host is interrupted. The result is whether the virtual interrupt was taken, if there was one.
        """
        host, heeding = self.host, True
        reason = Reason.DOORBELL if self._has_rung else Reason.CYCLE_LIMIT
        while reason is not Reason.DOORBELL:
            if reason is Reason.USER_INTERRUPT:
                until, heeding = host.cycle, False
            pause = self.pause()
            if pause is not None and pause <= 0:
                raise Paused
            if until is not None and not self._kicked and host.cycle >= until and (
                    self.has_gone_on or host.has_iterated):
                self._kicked = True
                host.kick(True)
            wait = None if until is None or self._kicked else max(until - host.cycle, 1)
            limits = [limit for limit in (wait, pause) if limit is not None]
            reason = host.run(min(limits) if limits else None, heeding)
        self.is_inside = self._has_rung = False
        if self._kicked:
            host.kick(False)
        return bool(self._vintr & VINTR_IRQ) and not self.control.get(Vmcb.VINTR) & VINTR_IRQ

    def cause(self) -> int:
        """EXITCODE of the exit that has just come; it is counted."""
        code = self.control.get(Vmcb.EXITCODE)
        if code == _INVALID:
            code = ExitCode.INVALID
            self.control.put_wide(Vmcb.EVENTINJ, 0)
        (cycle, guest), self._seen = self._seen, (self.host.cycle, self.host.guest_cycles)
        self.costs.count(code, self._seen[0] - cycle - (self._seen[1] - guest))
        self.paid += self.exit_cost
        return code
