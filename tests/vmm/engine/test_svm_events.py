"""Events of a guest: injected, intercepted, combined, virtual and physical."""

from __future__ import annotations

import pytest

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import EXCEPTION, ExitCode
from rtl.isa.registers import DR7_FIXED, Cr0, Dr6, Dr7, Eflags
from rtl.isa.retire import RetireCause
from rtl.isa.segments import SystemType
from rtl.isa.svm import Event, EventType, TaskInfo, VintrLayout, Vmcb
from tests.vmm.engine.machine import FREE, HANDLERS, KERNEL_CODE, gate, set_descriptor, set_gate
from tests.vmm.engine.svmguest import (
    AFTER,
    GUEST,
    GUEST_STACK,
    enter,
    intercept,
    leave,
    outcome,
    read,
    to_user_guest,
    world,
    write,
)
from vmm.engine.interpreter import Interpreter

IF, TF, RF = int(Eflags.IF), int(Eflags.TF), int(Eflags.RF)
VMMCALL = "0f01d9"


def event(vector: int, kind: int = EventType.EXCEPTION, error: int | None = None) -> int:
    return Event.build(vector=vector, type=kind, v=1, ev=int(error is not None), error=error or 0)


def frame(cpu: Interpreter, count: int) -> tuple[int, ...]:
    return cpu.memory.words_at(cpu.state.gpr[4], count)


# EVENTINJ

@pytest.mark.parametrize(("kind", "vector", "error", "cause"), [
    (EventType.INTERRUPT, 0x21, None, RetireCause.INTERRUPT), (EventType.NMI, 2, None, RetireCause.INTERRUPT),
    (EventType.EXCEPTION, 13, 0x1234, RetireCause.EXCEPTION), (EventType.EXCEPTION, 6, None, RetireCause.EXCEPTION),
    (EventType.EXCEPTION, 3, None, RetireCause.EXCEPTION), (EventType.SOFTWARE, 0x22, None, RetireCause.EXCEPTION),
])
def test_injection(kind: EventType, vector: int, error: int | None, cause: RetireCause) -> None:
    """A step of its own before the first instruction, never intercepted, whatever IF says. What an instruction raises
    goes on at NRIP."""
    cpu = world(VMMCALL, (ExitCode.INTR, ExitCode.NMI, ExitCode.SWINT, *range(EXCEPTION, EXCEPTION + 32)))
    intercept(cpu, EXCEPTION + 2, on=False)
    write(cpu, Vmcb.EVENTINJ, event(vector, kind, error))
    write(cpu, Vmcb.NRIP, GUEST + 2)
    enter(cpu)
    retired = cpu.step()
    assert (retired.cause, retired.vector, retired.error) == (cause, vector, error)
    assert cpu.state.eip == HANDLERS + vector
    pushed = frame(cpu, 4 if error is not None else 3)
    back = GUEST + 2 if vector in (3, 0x22) else GUEST
    assert pushed[-3:] == (back, KERNEL_CODE, 2) and (error is None or pushed[0] == error)
    cpu.memory.load_blob(HANDLERS + vector, bytes.fromhex(VMMCALL))
    leave(cpu)
    assert read(cpu, Vmcb.EVENTINJ) == event(vector, kind, error) & ~(1 << 31) and read(cpu, Vmcb.EXITINTINFO) == 0


@pytest.mark.parametrize(("code", "saved"), [("cd25", 0), ("0f0b", RF)])
def test_rf_when_a_delivery_meets_a_fault(code: str, saved: int) -> None:
    """INT n has cleared RF when it began, and an instruction that faults is not done: SDM vol. 3B, 18.3.1.1."""
    cpu = world(code, (ExitCode.EXCEPTION_NP,))
    for vector in (6, 0x25):
        set_gate(cpu, vector, gate(HANDLERS, KERNEL_CODE, SystemType.TRAP_GATE32, present=False))
    write(cpu, Vmcb.RFLAGS, 2 | RF)
    assert outcome(cpu) == ExitCode.EXCEPTION_NP and read(cpu, Vmcb.RFLAGS) == 2 | saved


def test_a_double_fault_pushes_rf_as_it_was() -> None:
    cpu = world("0f0b")
    for vector in (Vector.UD, Vector.NP):
        set_gate(cpu, vector, gate(HANDLERS, KERNEL_CODE, SystemType.TRAP_GATE32, present=False))
    write(cpu, Vmcb.RFLAGS, 2 | RF)
    enter(cpu)
    assert cpu.step().vector == Vector.DF and frame(cpu, 4) == (0, GUEST, KERNEL_CODE, 2 | RF)


def test_nothing_is_injected_without_v() -> None:
    cpu = world(VMMCALL)
    write(cpu, Vmcb.EVENTINJ, event(13, error=5) & ~(1 << 31))
    assert outcome(cpu) == ExitCode.VMMCALL


def test_an_nmi_has_vector_2() -> None:
    cpu = world(VMMCALL)
    write(cpu, Vmcb.EVENTINJ, event(0x55, EventType.NMI))
    enter(cpu)
    assert cpu.step().vector == 2


@pytest.mark.parametrize(("kind", "vector", "stopped"), [
    (EventType.SOFTWARE, 0x22, True), (EventType.EXCEPTION, 3, True), (EventType.EXCEPTION, 6, False),
    (EventType.INTERRUPT, 0x22, False)])
def test_gate_privilege_stops_what_instructions_raise(kind: EventType, vector: int, stopped: bool) -> None:
    cpu = world(VMMCALL)
    to_user_guest(cpu)
    write(cpu, Vmcb.EVENTINJ, event(vector, kind))
    enter(cpu)
    retired = cpu.step()
    assert retired.vector == (Vector.GP if stopped else vector)


@pytest.mark.parametrize("kind", [EventType.INTERRUPT, EventType.EXCEPTION, EventType.SOFTWARE])
def test_an_event_that_faults_is_in_exitintinfo(kind: EventType) -> None:
    """The gate is not present: #NP is intercepted, and says what was being delivered."""
    vector = 0x24 if kind is not EventType.EXCEPTION else 6
    cpu = world(VMMCALL, (ExitCode.EXCEPTION_NP,))
    set_gate(cpu, vector, gate(HANDLERS, KERNEL_CODE, SystemType.INTERRUPT_GATE32, present=False))
    write(cpu, Vmcb.EVENTINJ, event(vector, kind))
    assert outcome(cpu) == ExitCode.EXCEPTION_NP
    assert read(cpu, Vmcb.EXITINTINFO) == event(vector, kind)
    assert read(cpu, Vmcb.EXITINFO1) == vector * 8 + 2 + (kind is not EventType.SOFTWARE)
    assert read(cpu, Vmcb.RIP) == GUEST and read(cpu, Vmcb.RSP) == GUEST_STACK


# exceptions

@pytest.mark.parametrize(("code", "vector", "error"), [
    ("f7f1", Vector.DE, 0), ("ce", Vector.OF, 0), ("620b", Vector.BR, 0), ("0f0b", Vector.UD, 0),
    ("d8c0", Vector.NM, 0), ("8ed8", Vector.GP, 0x100), ("36a1 00000100", Vector.SS, 0), ("8ee0", Vector.NP, FREE),
])
def test_intercepted_exceptions(code: str, vector: Vector, error: int) -> None:
    cpu = world(code, (EXCEPTION + vector,), ebx=GUEST + 0x80, ecx=0, eax=FREE if vector is Vector.NP else 0x100)
    cpu.memory.load_blob(GUEST + 0x80, bytes.fromhex("0100000002000000"))
    set_descriptor(cpu, FREE, 0x00CF_1200_0000_FFFF)
    write(cpu, Vmcb.SS + 4, 0xFFFF, 4)
    if vector is Vector.NM:
        write(cpu, Vmcb.CR0, 0x19)
    if vector is Vector.OF:
        write(cpu, Vmcb.RFLAGS, 2 | int(Eflags.OF))
    assert outcome(cpu) == EXCEPTION + vector
    length = len(bytes.fromhex(code)) if vector in (Vector.OF, Vector.BR) else 0
    assert read(cpu, Vmcb.EXITINFO1) == error and read(cpu, Vmcb.RIP) == GUEST
    assert read(cpu, Vmcb.NRIP) == (GUEST + length if length else 0)
    assert read(cpu, Vmcb.EXITINTINFO) == 0


def test_an_exception_that_is_not_intercepted_is_the_guests() -> None:
    cpu = world("0f0b", (ExitCode.EXCEPTION_GP,))
    enter(cpu)
    retired = cpu.step()
    assert (retired.cause, retired.vector) == (RetireCause.EXCEPTION, Vector.UD) and cpu.state.svm.guest
    assert frame(cpu, 3) == (GUEST, KERNEL_CODE, 2 | RF)


def test_the_state_with_which_an_exception_is_intercepted() -> None:
    """RF and the interrupt shadow are as they were before the instruction that faults."""
    cpu = world("fb0f0b", (ExitCode.EXCEPTION_UD,))
    assert outcome(cpu) == ExitCode.EXCEPTION_UD and read(cpu, Vmcb.INTERRUPT_SHADOW) == 1
    cpu = world("0f0b", (ExitCode.EXCEPTION_UD,))
    write(cpu, Vmcb.RFLAGS, 2 | RF)
    assert outcome(cpu) == ExitCode.EXCEPTION_UD and read(cpu, Vmcb.RFLAGS) == 2 | RF


def test_debug_trap_exits_behind_the_instruction_with_dr6_set() -> None:
    cpu = world("90 90", (ExitCode.EXCEPTION_DB,))
    write(cpu, Vmcb.RFLAGS, 2 | TF)
    assert outcome(cpu) == ExitCode.EXCEPTION_DB
    assert read(cpu, Vmcb.RIP) == GUEST + 1 and read(cpu, Vmcb.DR6) & Dr6.BS and read(cpu, Vmcb.RFLAGS) == 2 | TF


def test_general_detect_is_clear_behind_the_exit() -> None:
    """What is saved is what a handler would see."""
    cpu = world("0f21c3", (ExitCode.EXCEPTION_DB,))
    write(cpu, Vmcb.DR7, DR7_FIXED | Dr7.GD)
    assert outcome(cpu) == ExitCode.EXCEPTION_DB
    assert read(cpu, Vmcb.DR7) == DR7_FIXED and read(cpu, Vmcb.DR6) & Dr6.BD


def test_icebp_is_no_debug_exception_to_intercept() -> None:
    cpu = world("f1", (ExitCode.EXCEPTION_DB,))
    enter(cpu)
    assert cpu.step().cause is RetireCause.INSTRUCTION and cpu.state.eip == HANDLERS + 1


@pytest.mark.parametrize(("code", "vector", "kind"), [
    ("cd23", 0x23, EventType.SOFTWARE), ("cd03", 3, EventType.SOFTWARE), ("cc", 3, EventType.EXCEPTION),
    ("f1", 1, EventType.EXCEPTION)])
def test_instructions_that_fail_to_reach_their_handler(code: str, vector: int, kind: EventType) -> None:
    """Only INT n is a software interrupt in EXITINTINFO."""
    cpu = world(code, (ExitCode.EXCEPTION_NP,))
    set_gate(cpu, vector, gate(HANDLERS, KERNEL_CODE, SystemType.INTERRUPT_GATE32, present=False))
    assert outcome(cpu) == ExitCode.EXCEPTION_NP
    assert read(cpu, Vmcb.EXITINTINFO) == event(vector, kind) and read(cpu, Vmcb.RIP) == GUEST


def double_fault_guest(*codes: int) -> Interpreter:
    """#DE whose gate is not present."""
    cpu = world("f7f1", codes, ecx=0)
    set_gate(cpu, Vector.DE, gate(HANDLERS, KERNEL_CODE, SystemType.INTERRUPT_GATE32, present=False))
    return cpu


def test_the_second_exceptions_own_intercept_goes_before_the_double_fault() -> None:
    cpu = double_fault_guest(ExitCode.EXCEPTION_NP, ExitCode.EXCEPTION_DF)
    assert outcome(cpu) == ExitCode.EXCEPTION_NP
    assert read(cpu, Vmcb.EXITINTINFO) == event(Vector.DE) and read(cpu, Vmcb.EXITINFO1) == 3


def test_double_fault() -> None:
    cpu = double_fault_guest(ExitCode.EXCEPTION_DF)
    assert outcome(cpu) == ExitCode.EXCEPTION_DF
    assert read(cpu, Vmcb.EXITINTINFO) == event(Vector.DE) and read(cpu, Vmcb.EXITINFO1) == 0
    cpu = double_fault_guest()
    enter(cpu)
    retired = cpu.step()
    assert (retired.vector, retired.error) == (Vector.DF, 0) and frame(cpu, 2) == (0, GUEST)


@pytest.mark.parametrize("intercepted", [False, True])
def test_shutdown(intercepted: bool) -> None:
    cpu = double_fault_guest(*((ExitCode.SHUTDOWN,) if intercepted else ()))
    set_gate(cpu, Vector.DF, gate(HANDLERS, KERNEL_CODE, SystemType.INTERRUPT_GATE32, present=False))
    enter(cpu)
    retired = cpu.step()
    if intercepted:
        assert (retired.cause, retired.error) == (RetireCause.VMEXIT, ExitCode.SHUTDOWN) and cpu.state.eip == AFTER
        assert read(cpu, Vmcb.EXITINTINFO) == event(Vector.DF, error=0) and not cpu.state.shutdown
    else:
        assert retired.cause is RetireCause.SHUTDOWN and cpu.state.shutdown


def test_deliveries_without_end_shut_down() -> None:
    """#UD whose handler is conforming and whose frame is misaligned for #AC, again and again: the host stays alive."""
    cpu = world("0f0b", (ExitCode.SHUTDOWN,))
    to_user_guest(cpu)
    write(cpu, Vmcb.CR0, 0x11 | int(Cr0.AM))
    write(cpu, Vmcb.RFLAGS, 2 | int(Eflags.AC))
    write(cpu, Vmcb.RSP, GUEST_STACK + 1)
    conforming = FREE | 3
    set_descriptor(cpu, FREE, 0x00CF_9E00_0000_FFFF)
    for vector in (Vector.UD, Vector.AC):
        set_gate(cpu, vector, gate(HANDLERS, conforming, SystemType.INTERRUPT_GATE32))
    assert outcome(cpu) == ExitCode.SHUTDOWN and read(cpu, Vmcb.RIP) == GUEST


def test_a_task_gate_says_what_it_delivers() -> None:
    cpu = world("8ed8", (ExitCode.TASK_SWITCH,), eax=0x100)
    set_descriptor(cpu, FREE, 0x0000_8900_5000_0067 | 0x5000 << 16)
    set_gate(cpu, Vector.GP, gate(0, FREE, SystemType.TASK_GATE))
    assert outcome(cpu) == ExitCode.TASK_SWITCH
    assert read(cpu, Vmcb.EXITINFO1) == FREE
    assert read(cpu, Vmcb.EXITINFO2) == TaskInfo.build(error=0x100, has_error=1, rf=1)
    assert read(cpu, Vmcb.EXITINTINFO) == event(Vector.GP, error=0x100)


# physical interrupts

@pytest.mark.parametrize(("host_if", "guest_if", "masking", "allowed"), [
    (False, False, False, False), (False, True, False, True), (True, False, False, False), (True, True, False, True),
    (False, False, True, False), (False, True, True, False), (True, False, True, True), (True, True, True, True)])
def test_whose_interrupt_flag_counts(host_if: bool, guest_if: bool, masking: bool, allowed: bool) -> None:
    cpu = world("90")
    cpu.state.system_flags |= IF if host_if else 0
    write(cpu, Vmcb.RFLAGS, 2 | (IF if guest_if else 0))
    write(cpu, Vmcb.VINTR, VintrLayout.build(masking=int(masking)))
    enter(cpu)
    assert cpu.can_interrupt is allowed


def test_an_intercepted_interrupt_is_not_acknowledged() -> None:
    cpu = world("90", (ExitCode.INTR,))
    write(cpu, Vmcb.RFLAGS, 2 | IF)
    enter(cpu)

    def acknowledge() -> int:
        raise AssertionError("the controller was asked for a vector")

    retired = cpu.accept(acknowledge)
    assert (retired.cause, retired.error) == (RetireCause.VMEXIT, ExitCode.INTR)
    assert read(cpu, Vmcb.EXITINTINFO) == read(cpu, Vmcb.NRIP) == 0 and not cpu.can_interrupt


def test_an_interrupt_of_the_guest() -> None:
    cpu = world("90")
    write(cpu, Vmcb.RFLAGS, 2 | IF)
    enter(cpu)
    retired = cpu.accept(lambda: 0x20)
    assert (retired.cause, retired.vector) == (RetireCause.INTERRUPT, 0x20) and cpu.state.svm.guest


def test_interrupts_wait_for_the_injected_event() -> None:
    cpu = world("90")
    write(cpu, Vmcb.EVENTINJ, event(6))
    write(cpu, Vmcb.VINTR, VintrLayout.build(masking=1))
    cpu.state.system_flags |= IF
    enter(cpu)
    assert not cpu.can_interrupt
    cpu.step()
    assert cpu.can_interrupt


def test_nmi_exit() -> None:
    cpu = world("90", (ExitCode.NMI,))
    enter(cpu)
    assert cpu.interrupt_exit(ExitCode.NMI).error == ExitCode.NMI and read(cpu, Vmcb.RIP) == GUEST


def test_an_nmi_exit_leaves_it_pending() -> None:
    cpu = world("90", (ExitCode.NMI,))
    enter(cpu)
    cpu.state.nmi_pending = True
    assert cpu.nmi_allowed and cpu.accept_nmi().error == ExitCode.NMI
    assert cpu.state.nmi_pending and not cpu.state.nmi_blocked and not cpu.nmi_allowed, "GIF is clear"
    cpu.set_global_interrupt_flag(1)
    assert cpu.nmi_allowed


def test_an_nmi_of_the_guest() -> None:
    cpu = world("90")
    enter(cpu)
    cpu.state.nmi_pending = True
    retired = cpu.accept_nmi()
    assert (retired.cause, retired.vector) == (RetireCause.INTERRUPT, Vector.NMI) and cpu.state.svm.guest
    assert cpu.state.nmi_blocked and not cpu.state.nmi_pending and not cpu.nmi_allowed


@pytest.mark.parametrize("intercepted", [False, True])
def test_init_in_guest_mode(intercepted: bool) -> None:
    cpu = world("90", (ExitCode.INIT,) if intercepted else ())
    write(cpu, Vmcb.EVENTINJ, event(6))
    enter(cpu)
    assert cpu.init_resets is not intercepted and not cpu.init_exits, "the injected event goes first"
    cpu.step()
    assert cpu.init_exits is intercepted
    if intercepted:
        assert cpu.interrupt_exit(ExitCode.INIT).error == ExitCode.INIT
        assert not cpu.init_exits and not cpu.init_resets, "GIF is clear"
        cpu.set_global_interrupt_flag(1)
        assert cpu.init_resets


# virtual interrupts

def virtual(code: str, *codes: int, flags: int = IF, **fields: int) -> Interpreter:
    cpu = world(code, codes)
    write(cpu, Vmcb.RFLAGS, 2 | flags)
    write(cpu, Vmcb.VINTR, VintrLayout.build(**{"irq": 1, "vector": 0x25, "priority": 3, **fields}))
    return enter(cpu)


@pytest.mark.parametrize(("fields", "taken"), [
    ({}, True), ({"tpr": 2}, True), ({"tpr": 3}, False), ({"tpr": 15, "ignore_tpr": 1}, True), ({"irq": 0}, False),
    ({"priority": 0}, False), ({"masking": 1}, True)])
def test_priority(fields: dict[str, int], taken: bool) -> None:
    cpu = virtual("90", **fields)
    retired = cpu.step()
    assert (retired.cause, retired.vector) == ((RetireCause.INTERRUPT, 0x25) if taken else
                                               (RetireCause.INSTRUCTION, None))


@pytest.mark.parametrize(("gif", "enabled", "taken"), [(0, 0, True), (1, 0, True), (0, 1, False), (1, 1, True)])
def test_virtual_gif_holds_it_back(gif: int, enabled: int, taken: bool) -> None:
    cpu = virtual("90" + VMMCALL, gif=gif, gif_enable=enabled)
    assert cpu.nmi_allowed and cpu.step().cause is (RetireCause.INTERRUPT if taken else RetireCause.INSTRUCTION)
    if not taken:
        leave(cpu)
        assert read(cpu, Vmcb.VINTR, 4) == VintrLayout.build(irq=1, priority=3, gif_enable=1)


def test_stgi_and_clgi_of_a_guest_change_its_virtual_gif_alone() -> None:
    cpu = virtual("0f01dd fb 90 0f01dc" + VMMCALL, ExitCode.VINTR, flags=0, gif=1, gif_enable=1)
    for gif in (0, 0, 0, 1):
        assert cpu.step().cause is RetireCause.INSTRUCTION
        assert VintrLayout.from_bits(cpu.state.svm.vintr).gif == gif and cpu.state.svm.gif
    assert leave(cpu).error == ExitCode.VINTR
    assert read(cpu, Vmcb.RIP) == GUEST + 8 and not cpu.state.svm.gif
    assert read(cpu, Vmcb.VINTR, 4) == VintrLayout.build(irq=1, priority=3, gif=1, gif_enable=1)


def test_a_guest_halts_on_while_virtual_gif_is_clear() -> None:
    cpu = virtual("fb f4", flags=0, gif_enable=1)
    cpu.step()
    cpu.step()
    assert cpu.state.halted and not cpu.virtual_interrupt


def test_taking_it_clears_v_irq_alone() -> None:
    cpu = virtual(VMMCALL, tpr=1)
    cpu.step()
    cpu.memory.load_blob(HANDLERS + 0x25, bytes.fromhex(VMMCALL))
    leave(cpu)
    assert read(cpu, Vmcb.VINTR) == VintrLayout.build(vector=0x25, priority=3, tpr=1)


def test_it_waits_for_if_and_the_shadow_of_sti() -> None:
    cpu = virtual("90 fb 90 90", flags=0)
    causes = [cpu.step().cause for _ in range(4)]
    assert causes == [RetireCause.INSTRUCTION] * 3 + [RetireCause.INTERRUPT]


def test_the_shadow_of_sti_reaches_to_the_end_of_a_repeat() -> None:
    """It used to end with the first iteration."""
    cpu = virtual("fb f3ac 90", flags=0)
    cpu.state.gpr[1] = 3
    causes = [cpu.step().cause for _ in range(5)]
    assert causes == [RetireCause.INSTRUCTION, RetireCause.ITERATION, RetireCause.ITERATION, RetireCause.INSTRUCTION,
                      RetireCause.INTERRUPT]
    assert frame(cpu, 1) == (GUEST + 3,)


def test_an_exit_between_the_iterations_saves_the_shadow() -> None:
    cpu = virtual("fb f3ac 90", ExitCode.INTR, flags=0)
    cpu.state.gpr[1] = 3
    cpu.step()
    cpu.step()
    write(cpu, Vmcb.INTERRUPT_SHADOW, 0)
    cpu.interrupt_exit()
    assert read(cpu, Vmcb.INTERRUPT_SHADOW) == 1 and read(cpu, Vmcb.RIP) == GUEST + 1


def test_its_intercept() -> None:
    cpu = virtual("90 fb 90" + VMMCALL, ExitCode.VINTR, flags=0)
    assert leave(cpu).error == ExitCode.VINTR
    assert read(cpu, Vmcb.RIP) == GUEST + 3 and read(cpu, Vmcb.VINTR) & 0x100 and read(cpu, Vmcb.INTERRUPT_SHADOW) == 0


def test_it_ends_hlt() -> None:
    cpu = virtual("fb f4 90", flags=0)
    cpu.step()
    retired = cpu.step()
    assert retired.cause is RetireCause.HALT and not cpu.is_idle
    assert cpu.step().cause is RetireCause.INTERRUPT and frame(cpu, 1) == (GUEST + 2,)


def test_order_at_a_boundary() -> None:
    """The injected event, the debug trap of an instruction, then the virtual interrupt."""
    cpu = world("90 90")
    for vector in (1, 6, 0x25):
        set_gate(cpu, vector, gate(GUEST + 0x80 + vector, KERNEL_CODE, SystemType.TRAP_GATE32))
    cpu.memory.load_blob(GUEST + 0x80 + 6, bytes.fromhex("9090"))
    write(cpu, Vmcb.EVENTINJ, event(6))
    write(cpu, Vmcb.RFLAGS, 2 | IF | TF)
    write(cpu, Vmcb.VINTR, VintrLayout.build(irq=1, vector=0x25, priority=3))
    enter(cpu)
    assert [cpu.step().vector for _ in range(2)] == [6, 0x25]
    cpu = world("90 90")
    write(cpu, Vmcb.RFLAGS, 2 | IF | TF)
    write(cpu, Vmcb.VINTR, VintrLayout.build(irq=1, vector=0x25, priority=3, tpr=3))
    enter(cpu)
    cpu.step()
    cpu.state.svm.vintr &= ~0xFF
    assert cpu.step().vector == 1


def test_a_virtual_interrupt_that_faults() -> None:
    cpu = world("90", (ExitCode.EXCEPTION_GP,))
    write(cpu, Vmcb.RFLAGS, 2 | IF)
    write(cpu, Vmcb.IDTR + 4, 0x20 * 8 - 1, 4)
    write(cpu, Vmcb.VINTR, VintrLayout.build(irq=1, vector=0x25, priority=3))
    assert outcome(cpu) == ExitCode.EXCEPTION_GP
    assert read(cpu, Vmcb.EXITINTINFO) == event(0x25, EventType.INTERRUPT) and not read(cpu, Vmcb.VINTR) & 0x100
