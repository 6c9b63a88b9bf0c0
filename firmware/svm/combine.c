/* combine: faults in the delivery of faults: which is intercepted, what EXITINTINFO says, double fault, shutdown. APM
 * 15.7.2, 15.12.
 *
 * expect: combine: 28 checks
 */
#include "seg.h"
#include "suite.h"

GUEST(undefined, "", "ud2");
GUEST(protection, "movl $0x1234, %eax", "movl %eax, %ds");
GUEST(not_present, "movl $0x30, %eax", "movl %eax, %ds");
GUEST(interrupt, "", "int $0x30");
GUEST(breakpoint, "", "int3");
GUEST(misaligned, "movl $misaligned + 1, %eax", "movl (%eax), %ebx");

enum { FAULT = SVM_EVENT_V | SVM_EVENT_TYPE_EXCEPTION, FAULT_ERROR = FAULT | SVM_EVENT_EV };

static uint64_t gates[32];

static void break_gate(unsigned vector) { guest_idt[vector] &= ~((uint64_t)X86_ATTR_P << 40); }

static void mend_gates(void)
{
    for (unsigned vector = 0; vector < ARRAY_SIZE(gates); vector++)
        guest_idt[vector] = gates[vector];
}

static uint32_t broken(unsigned vector) { return vector * 8 + X86_ERROR_IDT + X86_ERROR_EXT; }

static void one_after_the_other(void)
{
    break_gate(X86_VEC_UD);
    expect_intercept("ud_np", undefined, undefined_at, SVM_EXIT_EXCEPTION_NP);
    expect_equal("ud_np_error", vmcb.exit_info1, broken(X86_VEC_UD));
    expect_exit_event("ud_np_event", FAULT | X86_VEC_UD, 0);
    guest_new(undefined);
    guest_run();
    expect_guest_trap("ud_np_delivered", X86_VEC_NP, broken(X86_VEC_UD), undefined_at);
    mend_gates();
    break_gate(X86_VEC_BP);
    expect_intercept("bp_np", breakpoint, breakpoint_at, SVM_EXIT_EXCEPTION_NP);
    expect_exit_event("bp_np_event", FAULT | X86_VEC_BP, 0);
    mend_gates();
    uint64_t gate_30 = guest_idt[0x30];

    break_gate(0x30);
    expect_intercept("int_np", interrupt, interrupt_at, SVM_EXIT_EXCEPTION_NP);
    expect_equal("int_np_error", vmcb.exit_info1, 0x30 * 8 + X86_ERROR_IDT);
    expect_exit_event("int_np_event", SVM_EVENT_V | SVM_EVENT_TYPE_SOFTWARE | 0x30, 0);
    guest_new(interrupt);
    intercept(SVM_EXIT_EXCEPTION_NP);
    vmcb.rflags |= X86_EFLAGS_RF;
    guest_run();
    expect_equal("int_np_rf", vmcb.rflags & X86_EFLAGS_RF, 0); /* INT n has begun */
    guest_idt[0x30] = gate_30;
}

static void double_fault(void)
{
    break_gate(X86_VEC_GP);
    expect_intercept("gp_np", protection, protection_at, SVM_EXIT_EXCEPTION_NP);
    expect_exit_event("gp_np_event", FAULT_ERROR | X86_VEC_GP, 0x1234);
    guest_new(protection);
    intercept(SVM_EXIT_EXCEPTION_DF);
    guest_run();
    expect_equal("gp_np_df", vmcb.exit_code, SVM_EXIT_EXCEPTION_DF);
    expect_exit_event("gp_np_df_event", FAULT_ERROR | X86_VEC_GP, 0x1234);
    guest_new(protection);
    intercept(SVM_EXIT_EXCEPTION_DF);
    intercept(SVM_EXIT_EXCEPTION_NP);
    guest_run();
    expect_exit("fault_goes_before_df", SVM_EXIT_EXCEPTION_NP, protection_at);
    guest_new(protection);
    guest_run();
    expect_guest_trap("df_delivered", X86_VEC_DF, 0, protection_at);
    mend_gates();
    break_gate(X86_VEC_UD);
    break_gate(X86_VEC_NP);
    guest_new(undefined);
    vmcb.rflags |= X86_EFLAGS_RF;
    guest_run();
    const struct guest_trap *trap = guest_trapped();

    /* An abort pushes EFLAGS as they are, and the instruction is not done: SDM vol. 3B, 18.3.1.1. */
    expect("df_has_rf_as_it_was", trap != NULL && trap->vector == X86_VEC_DF && (trap->eflags & X86_EFLAGS_RF) != 0);
    mend_gates();
    break_gate(X86_VEC_GP);
    break_gate(X86_VEC_DF);
    guest_new(protection);
    guest_run();
    expect_equal("shutdown", vmcb.exit_code, SVM_EXIT_SHUTDOWN);
    guest_new(protection);
    intercept(SVM_EXIT_EXCEPTION_DF);
    guest_run();
    expect_equal("df_goes_before_shutdown", vmcb.exit_code, SVM_EXIT_EXCEPTION_DF);
    guest_new(undefined);
    vmcb.event = FAULT_ERROR | X86_VEC_DF;
    guest_run();
    expect_equal("injected_df_shutdown", vmcb.exit_code, SVM_EXIT_SHUTDOWN);
    mend_gates();
}

/* #AC on a stack where its delivery is misaligned: faults for ever, none of which makes a double fault. The manual has
 * no end to it but that of the host, which must get the processor back. */
static void for_ever(void)
{
    guest_new(misaligned);
    guest_ring3();
    guest_idt[X86_VEC_AC] = gate(SEL_UCODE, (uint32_t)guest_idt, ACC_INTERRUPT_GATE32 | ACC_DPL3, 0);
    vmcb.cr0 |= X86_CR0_AM;
    vmcb.rflags |= X86_EFLAGS_AC;
    vmcb.rsp -= 3;
    guest_run();
    expect_equal("misaligned_for_ever", vmcb.exit_code, SVM_EXIT_SHUTDOWN);
    expect_exit_event("misaligned_for_ever_event", FAULT_ERROR | X86_VEC_AC, 0);
    mend_gates();
}

/* The manual's own example: #NP, in whose delivery a #GP comes of an illegal gate. */
static void example(void)
{
    set_descriptor(SEL_FREE, descriptor(0, 0xFFFFF, ACC_DATA & ~X86_ATTR_P, SEG_FLAT));
    guest_idt[X86_VEC_NP] = 0;
    guest_new(not_present);
    intercept(SVM_EXIT_EXCEPTION_GP);
    intercept(SVM_EXIT_EXCEPTION_DF);
    guest_run();
    expect_exit("example_gp", SVM_EXIT_EXCEPTION_GP, not_present_at);
    expect_equal("example_gp_error", vmcb.exit_info1, broken(X86_VEC_NP));
    expect_exit_event("example_gp_event", FAULT_ERROR | X86_VEC_NP, SEL_FREE);
    guest_new(not_present);
    intercept(SVM_EXIT_EXCEPTION_DF);
    guest_run();
    expect_equal("example_df", vmcb.exit_code, SVM_EXIT_EXCEPTION_DF);
    mend_gates();
}

int main(void)
{
    suite_begin();
    guest_new(undefined);
    for (unsigned vector = 0; vector < ARRAY_SIZE(gates); vector++)
        gates[vector] = guest_idt[vector];
    one_after_the_other();
    double_fault();
    example();
    for_ever();
    return suite_end("combine");
}
