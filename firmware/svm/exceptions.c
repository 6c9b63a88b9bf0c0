/* exceptions: the intercept of each vector, the error code it gives, and what is delivered where none is set. APM
 * 15.12.
 *
 * expect: exceptions: 43 checks
 */
#include "seg.h"
#include "suite.h"

GUEST(divide, "xorl %ecx, %ecx", "divl %ecx");
GUEST(single_step, "pushfl; orl $0x100, (%esp); popfl; nop", "");
GUEST(breakpoint, "", "int3");
GUEST(overflow, "movb $0x7F, %al; incb %al", "into");
GUEST(no_overflow, "xorl %eax, %eax", "into");
GUEST(bound, "movl $9, %eax", ".byte 0x62, 0x05; .long bounds");
GUEST(undefined, "", "ud2");
GUEST(no_device, "", ".byte 0xD9, 0xD0");
GUEST(invalid_tss, "", "int $0x30");
GUEST(not_present, "movl $0x30, %eax", "movl %eax, %ds");
GUEST(stack_not_present, "movl $0x30, %eax", "movl %eax, %ss");
GUEST(protection, "movl $0x1234, %eax", "movl %eax, %ds");
GUEST(protection_idt, "", "int $0xFF");
GUEST(alignment, "", "movl misaligned + 1, %eax");
GUEST(store, "", "movl $1, watched");
GUEST(here, "", "nop");

GUEST(debug_register, "", "movl %dr7, %eax");

uint32_t bounds[2] = {0, 8}, misaligned[2], watched;

enum { DR7_WATCH_4 = X86_DR7_FIXED | 2 | 1 << 16 | 3 << 18, DR7_EXECUTE = X86_DR7_FIXED | 2 };

static void without_error_code(void)
{
    expect_intercept("divide", divide, divide_at, SVM_EXIT_EXCEPTION_DE);
    expect_intercept("breakpoint", breakpoint, breakpoint_at, SVM_EXIT_EXCEPTION_BP);
    expect_intercept("overflow", overflow, overflow_at, SVM_EXIT_EXCEPTION_OF);
    guest_new(no_overflow);
    intercept(SVM_EXIT_EXCEPTION_OF);
    guest_run();
    expect_exit("no_overflow", SVM_EXIT_VMMCALL, no_overflow_next);
    expect_intercept("bound", bound, bound_at, SVM_EXIT_EXCEPTION_BR);
    expect_intercept("undefined", undefined, undefined_at, SVM_EXIT_EXCEPTION_UD);
    guest_new(no_device);
    intercept(SVM_EXIT_EXCEPTION_NM);
    vmcb.cr0 |= X86_CR0_EM;
    guest_run();
    expect_exit("no_device", SVM_EXIT_EXCEPTION_NM, no_device_at);
    expect_equal("no_event_in_delivery", vmcb.exit_event & SVM_EVENT_V, 0);
}

static void debug(void)
{
    expect_intercept("single_step", single_step, single_step_at, SVM_EXIT_EXCEPTION_DB);
    expect_equal("single_step_dr6", vmcb.dr6, X86_DR6_FIXED | X86_DR6_BS);
    write_dr0((uint32_t)&watched);
    guest_new(store);
    intercept(SVM_EXIT_EXCEPTION_DB);
    vmcb.dr7 = DR7_WATCH_4;
    watched = 0;
    guest_run();
    expect_exit("watchpoint", SVM_EXIT_EXCEPTION_DB, store_next);
    expect("watchpoint_is_a_trap", watched == 1);
    expect_equal("watchpoint_dr6", vmcb.dr6, X86_DR6_FIXED | X86_DR6_B0);
    write_dr0((uint32_t)here);
    guest_new(here);
    intercept(SVM_EXIT_EXCEPTION_DB);
    vmcb.dr7 = DR7_EXECUTE;
    guest_run();
    expect_exit("code_breakpoint", SVM_EXIT_EXCEPTION_DB, here);
    expect_equal("code_breakpoint_dr6", vmcb.dr6, X86_DR6_FIXED | X86_DR6_B0);
    guest_new(here);
    intercept(SVM_EXIT_EXCEPTION_DB);
    vmcb.dr7 = DR7_EXECUTE;
    vmcb.rflags |= X86_EFLAGS_RF;
    guest_run();
    expect_exit("code_breakpoint_rf", SVM_EXIT_VMMCALL, here_next);
    write_dr0(0);
}

/* DR7 is saved as the handler would find it. */
static void detect(void)
{
    guest_new(debug_register);
    intercept(SVM_EXIT_EXCEPTION_DB);
    intercept(SVM_EXIT_DR7_READ);
    vmcb.dr7 |= X86_DR7_GD;
    guest_run();
    expect_exit("debug_register", SVM_EXIT_EXCEPTION_DB, debug_register_at);
    expect_equal("debug_register_dr6", vmcb.dr6, X86_DR6_FIXED | X86_DR6_BD);
    expect_equal("debug_register_dr7", vmcb.dr7, X86_DR7_FIXED);
    guest_new(single_step);
    intercept(SVM_EXIT_EXCEPTION_DB);
    vmcb.dr7 |= X86_DR7_GD;
    guest_run();
    expect_equal("single_step_dr7", vmcb.dr7, X86_DR7_FIXED);
}

static void with_error_code(void)
{
    set_descriptor(SEL_FREE, descriptor(0, 0xFFFFF, ACC_DATA & ~X86_ATTR_P, SEG_FLAT));
    expect_intercept("not_present", not_present, not_present_at, SVM_EXIT_EXCEPTION_NP);
    expect_equal("not_present_error", vmcb.exit_info1, SEL_FREE);
    expect_intercept("stack_not_present", stack_not_present, stack_not_present_at, SVM_EXIT_EXCEPTION_SS);
    expect_equal("stack_not_present_error", vmcb.exit_info1, SEL_FREE);
    expect_intercept("protection", protection, protection_at, SVM_EXIT_EXCEPTION_GP);
    expect_equal("protection_error", vmcb.exit_info1, 0x1234);
    guest_new(protection_idt);
    intercept(SVM_EXIT_EXCEPTION_GP);
    vmcb.idtr.limit = 0xFF * 8 - 1;
    guest_run();
    expect_exit("protection_idt", SVM_EXIT_EXCEPTION_GP, protection_idt_at);
    expect_equal("protection_idt_error", vmcb.exit_info1, 0xFF * 8 + X86_ERROR_IDT);
    guest_new(alignment);
    guest_ring3();
    intercept(SVM_EXIT_EXCEPTION_AC);
    vmcb.cr0 |= X86_CR0_AM;
    vmcb.rflags |= X86_EFLAGS_AC;
    guest_run();
    expect_exit("alignment", SVM_EXIT_EXCEPTION_AC, alignment_at);
    expect_equal("alignment_error", vmcb.exit_info1, 0);
    guest_new(invalid_tss);
    guest_ring3();
    intercept(SVM_EXIT_EXCEPTION_TS);
    guest_tss.ss0 = 0;
    guest_run();
    expect_exit("invalid_tss", SVM_EXIT_EXCEPTION_TS, invalid_tss_at);
}

static void delivered(const char *name, void (*code)(void), uint32_t vector, uint32_t error, const void *eip)
{
    guest_new(code);
    guest_run();
    expect_guest_trap(name, vector, error, eip);
}

/* Intercepts of every other vector change nothing. */
static void others(void)
{
    guest_new(undefined);
    vmcb.intercept[2] = ~(1u << X86_VEC_UD);
    guest_run();
    expect_guest_trap("others", X86_VEC_UD, 0, undefined_at);
}

int main(void)
{
    suite_begin();
    without_error_code();
    debug();
    detect();
    with_error_code();
    delivered("divide_delivered", divide, X86_VEC_DE, 0, divide_at);
    delivered("single_step_delivered", single_step, X86_VEC_DB, 0, single_step_at);
    delivered("breakpoint_delivered", breakpoint, X86_VEC_BP, 0, breakpoint_next);
    delivered("overflow_delivered", overflow, X86_VEC_OF, 0, overflow_next);
    delivered("bound_delivered", bound, X86_VEC_BR, 0, bound_at);
    delivered("undefined_delivered", undefined, X86_VEC_UD, 0, undefined_at);
    delivered("not_present_delivered", not_present, X86_VEC_NP, SEL_FREE, not_present_at);
    delivered("stack_delivered", stack_not_present, X86_VEC_SS, SEL_FREE, stack_not_present_at);
    delivered("protection_delivered", protection, X86_VEC_GP, 0x1234, protection_at);
    others();
    return suite_end("exceptions");
}
