/* interrupts: physical interrupts in guest mode: intercepted or delivered, masked by whose IF, held by the shadow,
 * ending HLT. APM 15.13.1, 15.21.1.
 *
 * expect: interrupts: 19 checks
 */
#include "suite.h"
#include "svm.h"
#include "timer.h"

GUEST(here, "", "nop");
GUEST(enable, "", "sti; enable_shadow: nop; enable_stop: nop");
GUEST(halt_enabled, "sti", "hlt");
GUEST(halt_disabled, "", "hlt");

GUEST(trap_in_shadow, "movl $0x00044030, 0xFEE00300", "movw stack_selector, %ss; nop; nop");

enum { DR7_WATCH_2 = X86_DR7_FIXED | 2 | X86_DR7_TYPE_ACCESS << 16 | 1 << 18 };

extern char enable_stop[];

uint16_t stack_selector = SEL_KDATA;

/* A guest with an interrupt pending; `masking` says whose IF counts. */
static void pending(void (*code)(void), uint32_t masking, uint32_t host_if, uint32_t guest_if)
{
    guest_new(code);
    vmcb.vintr = masking;
    vmcb.rflags = X86_EFLAGS_FIXED | guest_if;
    host_interrupts = host_if;
    alarm_now();
    guest_run();
    host_interrupts = 1;
}

static void masks(void)
{
    pending(here, SVM_VINTR_MASKING, 1, 0);
    expect_exit("host_if_lets_in", SVM_EXIT_INTR, here);
    expect_equal("still_pending", alarms, 1);
    expect_equal("next_eip_is_not_an_instructions", vmcb.next_rip, 0);
    pending(here, SVM_VINTR_MASKING, 0, X86_EFLAGS_IF);
    expect_exit("host_if_keeps_out", SVM_EXIT_VMMCALL, here_next);
    expect_equal("not_taken", alarms, 0);
    pending(here, 0, 1, 0);
    expect_exit("guest_if_keeps_out", SVM_EXIT_VMMCALL, here_next);
    pending(here, 0, 0, X86_EFLAGS_IF);
    expect_exit("guest_if_lets_in", SVM_EXIT_INTR, here);
    pending(enable, 0, 1, 0);
    expect_exit("guest_sti_and_shadow", SVM_EXIT_INTR, enable_stop);
    pending(enable, SVM_VINTR_MASKING, 0, 0);
    expect_exit("guest_sti_is_virtual", SVM_EXIT_VMMCALL, enable_next);
}

static void shadows(void)
{
    guest_new(here);
    vmcb.vintr = 0;
    vmcb.rflags |= X86_EFLAGS_IF;
    vmcb.interrupt_shadow = 1;
    alarm_now();
    guest_run();
    expect_exit("shadow_holds_one_instruction", SVM_EXIT_INTR, here_next);
    expect_equal("shadow_is_over", vmcb.interrupt_shadow & 1, 0);
}

/* Not intercepted: the guest gets it, acknowledged; the host must end it at the controller. */
static void not_intercepted(const char *name, uint32_t masking, uint32_t guest_if)
{
    guest_new(here);
    no_intercept(SVM_EXIT_INTR);
    vmcb.vintr = masking;
    vmcb.rflags = X86_EFLAGS_FIXED | guest_if;
    alarm_now();
    guest_run();
    expect_guest_trap(name, VEC_IRQ, 0, here);
    pic_end_of_interrupt(0);
}

static void acknowledge(struct trap_frame *frame)
{
    (void)frame;
    *(volatile uint32_t *)(GIG_MEM_LOCAL_APIC + X86_APIC_EOI) = 0;
}

/* A load of SS touches a watchpoint while an interrupt of the local APIC is on its way, which no shadow holds off under
 * V_INTR_MASKING: wherever it ends the guest, the trap comes. */
static void trap_is_not_lost(void)
{
    set_handler(0x30, acknowledge);
    write_dr0((uint32_t)&stack_selector);
    guest_new(trap_in_shadow);
    vmcb.dr7 = DR7_WATCH_2;
    intercept(SVM_EXIT_EXCEPTION_DB);
    while (guest_run() == SVM_EXIT_INTR)
        ;
    expect_equal("trap_is_not_lost", vmcb.exit_code, SVM_EXIT_EXCEPTION_DB);
    write_dr0(0);
}

static void halted(const char *name, void (*code)(void), const void *next, uint32_t masking)
{
    guest_new(code);
    vmcb.vintr = masking;
    alarm_in(2000);
    guest_run();
    expect_exit(name, SVM_EXIT_INTR, next);
}

int main(void)
{
    suite_begin();
    watchdog = 0;
    masks();
    shadows();
    not_intercepted("delivered_to_guest", 0, X86_EFLAGS_IF);
    expect_equal("host_gets_none", alarms, 0);
    not_intercepted("delivered_by_host_if", SVM_VINTR_MASKING, 0);
    halted("halt_ends_enabled", halt_enabled, halt_enabled_next, 0);
    halted("halt_ends_by_host_if", halt_disabled, halt_disabled_next, SVM_VINTR_MASKING);
    trap_is_not_lost();
    return suite_end("interrupts");
}
