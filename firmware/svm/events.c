/* events: EVENTINJ of every type, with and without error code, and faults in its delivery. APM 15.20, 15.7.2.
 *
 * expect: events: 49 checks
 */
#include "seg.h"
#include "suite.h"

GUEST(here, "", "nop");
GUEST(writes_event, "", "movl $0x80012345, (%edi)");

enum {
    INTERRUPT = SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT,
    NMI = SVM_EVENT_V | SVM_EVENT_TYPE_NMI,
    FAULT = SVM_EVENT_V | SVM_EVENT_TYPE_EXCEPTION,
    FAULT_ERROR = FAULT | SVM_EVENT_EV,
    SOFTWARE = SVM_EVENT_V | SVM_EVENT_TYPE_SOFTWARE,
};

static void inject(uint32_t event, uint32_t error)
{
    guest_new(here);
    vmcb.event = event;
    vmcb.event_error = error;
    vmcb.next_rip = (uint32_t)here; /* behind the instruction that software interrupts are said to come of */
}

static void delivered(const char *name, uint32_t event, uint32_t error, uint32_t vector)
{
    inject(event, error);
    guest_run();
    expect_guest_trap(name, vector, event & SVM_EVENT_EV ? error : 0, here);
}

static void types(void)
{
    delivered("interrupt", INTERRUPT | 0x20, 0, 0x20);
    delivered("interrupt_255", INTERRUPT | 0xFF, 0, 0xFF);
    delivered("interrupt_of_an_exceptions_vector", INTERRUPT | X86_VEC_UD, 0, X86_VEC_UD);
    delivered("nmi", NMI | X86_VEC_NMI, 0, X86_VEC_NMI);
    delivered("nmi_ignores_vector", NMI | 0x55, 0, X86_VEC_NMI);
    delivered("divide", FAULT | X86_VEC_DE, 0, X86_VEC_DE);
    delivered("undefined", FAULT | X86_VEC_UD, 0, X86_VEC_UD);
    delivered("protection", FAULT_ERROR | X86_VEC_GP, 0x1234, X86_VEC_GP);
    delivered("page_fault", FAULT_ERROR | X86_VEC_PF, X86_PF_W, X86_VEC_PF);
    delivered("double_fault", FAULT_ERROR | X86_VEC_DF, 0, X86_VEC_DF);
    delivered("breakpoint", FAULT | X86_VEC_BP, 0, X86_VEC_BP);
    delivered("overflow", FAULT | X86_VEC_OF, 0, X86_VEC_OF);
    delivered("software", SOFTWARE | 0x30, 0, 0x30);
}

/* What an instruction raises goes on behind it, where the hypervisor says that is. */
static void behind(const char *name, uint32_t event, uint32_t vector, const void *eip)
{
    inject(event, 0);
    vmcb.next_rip = (uint32_t)here_next;
    guest_run();
    expect_guest_trap(name, vector, 0, eip);
}

/* Whatever EV says. */
static void without_error_code(const char *name, uint32_t event, uint32_t vector)
{
    inject(event | SVM_EVENT_EV, 0xABCD);
    guest_run();
    expect_guest_trap(name, vector, 0, here);
}

static void rules(void)
{
    expect_equal("event_is_cleared", vmcb.event & SVM_EVENT_V, 0);
    guest_new(writes_event);
    guest.edi = (uint32_t)&vmcb.event;
    guest_run();
    expect_equal("event_is_cleared_whoever_wrote_it", vmcb.event & SVM_EVENT_V, 0);
    behind("software_goes_on_behind", SOFTWARE | 0x30, 0x30, here_next);
    behind("exception_does_not", FAULT | X86_VEC_UD, X86_VEC_UD, here);
    without_error_code("interrupt_has_no_error_code", INTERRUPT | 0x20, 0x20);
    without_error_code("nmi_has_no_error_code", NMI | X86_VEC_NMI, X86_VEC_NMI);
    without_error_code("software_has_no_error_code", SOFTWARE | 0x30, 0x30);
    inject(INTERRUPT | 0x20, 0);
    vmcb.rflags = X86_EFLAGS_FIXED;
    guest_run();
    expect_guest_trap("interrupt_ignores_if", 0x20, 0, here);
    inject(INTERRUPT | 0x20, 0);
    vmcb.rflags |= X86_EFLAGS_IF | X86_EFLAGS_CF;
    vmcb.interrupt_shadow = 1;
    guest_run();
    expect_guest_trap("interrupt_ignores_shadow", 0x20, 0, here);
    const struct guest_trap *trap = guest_trapped();

    expect("frame_flags", trap != NULL && (trap->eflags & X86_EFLAGS_IF) != 0 && (trap->eflags & X86_EFLAGS_CF) != 0);
    expect_equal("interrupt_clears_if", vmcb.rflags & X86_EFLAGS_IF, 0);
    inject(FAULT | X86_VEC_UD, 0);
    intercept(SVM_EXIT_EXCEPTION_UD);
    guest_run();
    expect_guest_trap("injected_exception_is_not_intercepted", X86_VEC_UD, 0, here);
    inject(SOFTWARE | 0x30, 0);
    intercept(SVM_EXIT_SWINT);
    guest_run();
    expect_guest_trap("injected_software_is_not_intercepted", 0x30, 0, here);
    inject(INTERRUPT | 0x30, 0);
    intercept(SVM_EXIT_INTR);
    intercept(SVM_EXIT_VINTR);
    guest_run();
    expect_guest_trap("injected_interrupt_is_not_intercepted", 0x30, 0, here);
    inject(FAULT_ERROR | X86_VEC_PF, 0);
    vmcb.cr2 = 0xCAFE0000;
    guest_run();
    expect_equal("injected_page_fault_has_cr2", vmcb.cr2, 0xCAFE0000);
    inject(INTERRUPT | 0x41, 0);
    guest_ring3();
    guest_run();
    expect_guest_trap("from_ring_3", 0x41, 0, here);
    expect("from_ring_3_stack", guest_trapped() != NULL && guest_trapped()->cs == SEL_UCODE &&
                                    vmcb.rsp == (uint32_t)(guest_stack + ARRAY_SIZE(guest_stack) - 6));
    inject(0x20, 0);
    guest_run();
    expect_exit("not_valid_is_not_delivered", SVM_EXIT_VMMCALL, here_next);
}

/* The gate of vector 30h broken: the fault tells of the event. */
static void faulting(const char *name, const char *event_name, uint32_t event, uint32_t vector, uint32_t error,
                     uint32_t fault_error)
{
    inject(event, error);
    uint64_t gate = guest_idt[vector];

    guest_idt[vector] &= ~((uint64_t)X86_ATTR_P << 40);
    intercept(SVM_EXIT_EXCEPTION_NP);
    guest_run();
    expect_exit_info(name, SVM_EXIT_EXCEPTION_NP, here, fault_error, vmcb.exit_info2);
    expect_exit_event(event_name, event, error);
    guest_idt[vector] = gate;
}

static void faults(void)
{
    faulting("interrupt_faults", "interrupt_fault_event", INTERRUPT | 0x30, 0x30, 0, 0x30 * 8 + 3);
    faulting("nmi_faults", "nmi_fault_event", NMI | X86_VEC_NMI, X86_VEC_NMI, 0, X86_VEC_NMI * 8 + 3);
    faulting("exception_faults", "exception_fault_event", FAULT | X86_VEC_UD, X86_VEC_UD, 0, X86_VEC_UD * 8 + 3);
    faulting("error_code_faults", "error_code_fault_event", FAULT_ERROR | X86_VEC_GP, X86_VEC_GP, 0x1230,
             X86_VEC_GP * 8 + 3);
    faulting("double_fault_faults", "double_fault_fault_event", FAULT_ERROR | X86_VEC_DF, X86_VEC_DF, 0,
             X86_VEC_DF * 8 + 3);
    faulting("software_faults", "software_fault_event", SOFTWARE | 0x30, 0x30, 0, 0x30 * 8 + 2);
    inject(SOFTWARE | 0x42, 0);
    guest_ring3();
    guest_idt[0x42] &= ~((uint64_t)ACC_DPL3 << 40);
    intercept(SVM_EXIT_EXCEPTION_GP);
    guest_run();
    expect_exit_info("software_checks_dpl", SVM_EXIT_EXCEPTION_GP, here, 0x42 * 8 + 2, vmcb.exit_info2);
    inject(FAULT | X86_VEC_BP, 0);
    guest_ring3();
    guest_idt[X86_VEC_BP] &= ~((uint64_t)ACC_DPL3 << 40);
    intercept(SVM_EXIT_EXCEPTION_GP);
    guest_run();
    expect_exit("breakpoint_checks_dpl", SVM_EXIT_EXCEPTION_GP, here);
    inject(FAULT | X86_VEC_UD, 0);
    guest_ring3();
    guest_idt[X86_VEC_UD] &= ~((uint64_t)ACC_DPL3 << 40);
    guest_run();
    expect_guest_trap("exception_checks_no_dpl", X86_VEC_UD, 0, here);
    inject(INTERRUPT | 0x43, 0);
    guest_ring3();
    guest_idt[0x43] &= ~((uint64_t)ACC_DPL3 << 40);
    guest_run();
    expect_guest_trap("interrupt_checks_no_dpl", 0x43, 0, here);
}

int main(void)
{
    suite_begin();
    types();
    rules();
    faults();
    return suite_end("events");
}
