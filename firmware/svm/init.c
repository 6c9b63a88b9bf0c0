/* init: INIT in guest mode: intercepted, before all other interrupts, held back by GIF, and still there afterwards. The
 * local APIC sends one; nothing takes it away but the reset it asks for, so that the host never opens GIF again.
 * APM 15.13.4, 15.17, 15.21.
 *
 * expect: init: 10 checks
 */
#include "suite.h"
#include "svm.h"

GUEST(here, "", "nop");
GUEST(closed, "clgi; movl $0xFEE00300, %edi; movl $0x4500, (%edi); movl (%edi), %eax; .fill 16, 1, 0x90",
      "stgi; closed_stop: nop");

extern char closed_stop[], guest_trap_entries[];

enum { SEND_NMI = 1 << 14 | 4 << 8 }; /* a command: assert, delivery mode NMI; 4500h is INIT likewise */

static volatile uint32_t *apic(uint32_t offset) { return (volatile uint32_t *)(GIG_MEM_LOCAL_APIC + offset); }

/* A run before and behind which GIF is clear; EFLAGS.IF of the host is set. */
static void run_closed(void)
{
    asm volatile("clgi; sti; pushl %%ebp; vmrun; popl %%ebp; cli"
                 :
                 : "a"(&vmcb)
                 : "ebx", "ecx", "edx", "esi", "edi", "memory", "cc");
}

static void again(const char *name, const void *eip)
{
    run_closed();
    expect_exit(name, SVM_EXIT_INIT, eip);
}

static void new_guest(void (*code)(void))
{
    guest_new(code);
    intercept(SVM_EXIT_INIT);
}

static void first(void)
{
    new_guest(closed);
    *apic(X86_APIC_ICR_HIGH) = *apic(X86_APIC_ID);
    again("held_by_gif_in_guest", closed_stop);
    expect_equal("no_event_in_delivery", vmcb.exit_event & SVM_EVENT_V, 0);
}

static void pending(void)
{
    again("still_there", closed_stop);
    new_guest(here);
    again("held_by_gif_in_host", here);
    new_guest(here);
    vmcb.rflags |= X86_EFLAGS_IF;
    vmcb.vintr |= SVM_VINTR_IRQ | SVM_VINTR_IGNORE_TPR;
    intercept(SVM_EXIT_VINTR);
    again("before_virtual_interrupts", here);
    alarm_now();
    new_guest(here);
    vmcb.vintr = 0;
    vmcb.rflags |= X86_EFLAGS_IF;
    intercept(SVM_EXIT_NMI);
    *apic(X86_APIC_ICR_LOW) = SEND_NMI;
    again("before_nmi_and_interrupts", here);
    no_intercept(SVM_EXIT_INTR);
    no_intercept(SVM_EXIT_NMI);
    again("before_those_that_are_delivered", here);
}

static void injected(void)
{
    new_guest(here);
    vmcb.event = SVM_EVENT_V | SVM_EVENT_TYPE_EXCEPTION | X86_VEC_UD;
    again("after_the_injected_event", guest_trap_entries + 16 * X86_VEC_UD);
}

int main(void)
{
    suite_begin();
    watchdog = 0;
    asm volatile("clgi" : : : "memory");
    first();
    pending();
    injected();
    return suite_end("init");
}
