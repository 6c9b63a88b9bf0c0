/* virtual_interrupts: V_IRQ and its priority, V_TPR, V_IGN_TPR, the VINTR intercept, shadow, HLT, faults in delivery.
 * APM 15.21.
 *
 * expect: virtual_interrupts: 38 checks
 */
#include "seg.h"
#include "suite.h"
#include "svm.h"

GUEST(here, "", "nop");
GUEST(enable, "", "sti; enable_shadow: nop; enable_stop: nop");
GUEST(halt, "sti", "hlt");
GUEST(repeat, "movl $5, %ecx; movl $guest_stack3, %esi; sti", "rep lodsb");
GUEST(flags_on, "pushl $0x202", "popfl; flags_on_stop: nop");

extern char enable_stop[], flags_on_stop[];

enum { VECTOR = 0x51, PRIORITY_SHIFT = 16 };

static void prepare(void (*code)(void), uint32_t priority, uint32_t tpr, uint32_t guest_if)
{
    guest_new(code);
    vmcb.vintr = SVM_VINTR_MASKING | SVM_VINTR_IRQ | priority << PRIORITY_SHIFT | tpr;
    vmcb.vintr_vector = VECTOR;
    vmcb.rflags = X86_EFLAGS_FIXED | guest_if;
}

static void delivered(const char *name, const void *eip)
{
    guest_run();
    expect_guest_trap(name, VECTOR, 0, eip);
}

static void held(const char *name, const void *next)
{
    guest_run();
    expect_exit(name, SVM_EXIT_VMMCALL, next);
}

static void flag(void)
{
    prepare(here, 1, 0, X86_EFLAGS_IF);
    delivered("delivered", here);
    expect_equal("irq_is_cleared", vmcb.vintr & SVM_VINTR_IRQ, 0);
    expect("frame", guest_trapped() != NULL && (guest_trapped()->eflags & X86_EFLAGS_IF) != 0);
    expect_equal("if_is_cleared", vmcb.rflags & X86_EFLAGS_IF, 0);
    prepare(here, 1, 0, 0);
    held("held_by_if", here_next);
    expect_equal("irq_stays", vmcb.vintr & SVM_VINTR_IRQ, SVM_VINTR_IRQ);
    prepare(enable, 1, 0, 0);
    delivered("after_sti_and_shadow", enable_stop);
    prepare(flags_on, 1, 0, 0);
    delivered("after_popf", flags_on_stop);
    prepare(here, 1, 0, X86_EFLAGS_IF);
    vmcb.vintr &= ~SVM_VINTR_MASKING;
    delivered("without_masking", here);
    prepare(here, 1, 0, 0);
    vmcb.vintr &= ~SVM_VINTR_MASKING;
    held("without_masking_held_by_if", here_next);
    prepare(here, 1, 0, X86_EFLAGS_IF);
    host_interrupts = 0;
    delivered("host_if_does_not_matter", here);
    host_interrupts = 1;
}

static void priorities(void)
{
    prepare(here, 5, 4, X86_EFLAGS_IF);
    delivered("priority_above_tpr", here);
    expect_equal("tpr_is_saved", vmcb.vintr & SVM_VINTR_TPR, 4);
    prepare(here, 4, 4, X86_EFLAGS_IF);
    held("priority_equal_to_tpr", here_next);
    expect_equal("held_irq_stays", vmcb.vintr & SVM_VINTR_IRQ, SVM_VINTR_IRQ);
    prepare(here, 3, 4, X86_EFLAGS_IF);
    held("priority_below_tpr", here_next);
    prepare(here, 0, 0, X86_EFLAGS_IF);
    held("priority_zero", here_next);
    prepare(here, 15, 14, X86_EFLAGS_IF);
    delivered("priority_15", here);
    prepare(here, 0, 15, X86_EFLAGS_IF);
    vmcb.vintr |= SVM_VINTR_IGNORE_TPR;
    delivered("ignore_tpr", here);
}

static void intercepted(void)
{
    prepare(here, 1, 0, X86_EFLAGS_IF);
    intercept(SVM_EXIT_VINTR);
    guest_run();
    expect_exit("intercepted", SVM_EXIT_VINTR, here);
    expect_equal("intercepted_irq_stays", vmcb.vintr & SVM_VINTR_IRQ, SVM_VINTR_IRQ);
    expect_equal("intercepted_is_not_in_delivery", vmcb.exit_event & SVM_EVENT_V, 0);
    prepare(enable, 1, 0, 0);
    intercept(SVM_EXIT_VINTR);
    guest_run();
    expect_exit("window", SVM_EXIT_VINTR, enable_stop);
    prepare(here, 3, 4, X86_EFLAGS_IF);
    intercept(SVM_EXIT_VINTR);
    held("intercept_respects_tpr", here_next);
    prepare(here, 1, 0, 0);
    intercept(SVM_EXIT_VINTR);
    held("intercept_respects_if", here_next);
    prepare(here, 1, 0, X86_EFLAGS_IF);
    vmcb.vintr &= ~SVM_VINTR_IRQ;
    intercept(SVM_EXIT_VINTR);
    held("intercept_needs_irq", here_next);
}

static void company(void)
{
    prepare(here, 1, 0, X86_EFLAGS_IF);
    vmcb.interrupt_shadow = 1;
    delivered("shadow_holds_one_instruction", here_next);
    prepare(repeat, 1, 0, 0);
    delivered("shadow_holds_all_iterations", repeat_next);
    prepare(halt, 1, 0, 0);
    delivered("halt_ends", halt_next);
    prepare(here, 1, 0, X86_EFLAGS_IF);
    uint64_t gate = guest_idt[VECTOR];

    guest_idt[VECTOR] &= ~((uint64_t)X86_ATTR_P << 40);
    intercept(SVM_EXIT_EXCEPTION_NP);
    guest_run();
    expect_exit("delivery_faults", SVM_EXIT_EXCEPTION_NP, here);
    expect_exit_event("fault_event", SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT | VECTOR, 0);
    expect_equal("fault_irq_is_cleared", vmcb.vintr & SVM_VINTR_IRQ, 0);
    guest_idt[VECTOR] = gate;
    prepare(here, 1, 0, X86_EFLAGS_IF);
    vmcb.event = SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT | 0x30;
    guest_run();
    expect_guest_trap("injected_event_first", 0x30, 0, here);
    expect_equal("virtual_one_waits", vmcb.vintr & SVM_VINTR_IRQ, SVM_VINTR_IRQ);
    prepare(here, 1, 0, X86_EFLAGS_IF);
    watchdog = 0;
    alarm_now();
    guest_run();
    expect_exit("physical_one_first", SVM_EXIT_INTR, here);
    expect_equal("virtual_one_waits_again", vmcb.vintr & SVM_VINTR_IRQ, SVM_VINTR_IRQ);
    watchdog = 1;
}

int main(void)
{
    suite_begin();
    flag();
    priorities();
    intercepted();
    company();
    return suite_end("virtual_interrupts");
}
