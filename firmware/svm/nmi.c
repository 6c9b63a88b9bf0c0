/* nmi: NMIs in guest mode, intercepted, delivered, held back by GIF, before other interrupts. The local APIC sends
 * them. APM 15.13.2, 15.14.1, 15.17, 15.21.9.
 *
 * expect: nmi: 18 checks
 */
#include "seg.h"
#include "suite.h"
#include "svm.h"

GUEST(here, "", "nop");
GUEST(closed, "clgi; movl $0xFEE00300, %edi; movl $0x4400, (%edi); movl (%edi), %eax; .fill 16, 1, 0x90",
      "stgi; closed_stop: nop");
GUEST(iret_to_task, "pushfl; orl $0x4000, (%esp); popfl", "iretl");

extern char closed_stop[], svm_switch_open[];

enum { SEND_NMI = 1 << 14 | 4 << 8 }; /* a command: assert, delivery mode NMI */

static uint32_t nmis, nmi_eip;
static struct tss task;

static volatile uint32_t *apic(uint32_t offset) { return (volatile uint32_t *)(GIG_MEM_LOCAL_APIC + offset); }

static void on_nmi(struct trap_frame *frame)
{
    nmis++;
    nmi_eip = frame->eip;
}

/* An NMI to ourselves that waits for GIF. */
static void send(void)
{
    nmis = 0;
    *apic(X86_APIC_ICR_HIGH) = *apic(X86_APIC_ID);
    asm volatile("clgi" : : : "memory");
    *apic(X86_APIC_ICR_LOW) = SEND_NMI;
}

/* NMIs are blocked until an IRET. */
static void let_in(void) { asm volatile("pushfl; pushl %%cs; pushl $1f; iretl; 1:" : : : "memory"); }

static void in_host(void)
{
    send();
    asm volatile("nop; nop");
    expect_equal("held_by_gif", nmis, 0);
    asm volatile("stgi; nop" : : : "memory");
    expect_equal("taken_at_stgi", nmis, 1);
}

static void intercepted(void)
{
    guest_new(here);
    intercept(SVM_EXIT_NMI);
    send();
    guest_run();
    expect_exit("intercepted", SVM_EXIT_NMI, here);
    expect_equal("host_takes_it_once", nmis, 1);
    expect_equal("host_takes_it_at_stgi", nmi_eip, (uint32_t)svm_switch_open);
    expect_equal("no_event_in_delivery", vmcb.exit_event & SVM_EVENT_V, 0);
    guest_new(here);
    intercept(SVM_EXIT_NMI);
    vmcb.vintr = 0;
    vmcb.rflags |= X86_EFLAGS_IF;
    alarm_now();
    send();
    guest_run();
    expect_exit("before_interrupts", SVM_EXIT_NMI, here);
    guest_new(here);
    intercept(SVM_EXIT_NMI);
    host_interrupts = 0;
    send();
    guest_run();
    expect_exit("no_flag_masks_it", SVM_EXIT_NMI, here);
    host_interrupts = 1;
}

static void delivered(void)
{
    guest_new(here);
    send();
    guest_run();
    expect_guest_trap("delivered", X86_VEC_NMI, 0, here);
    expect_equal("host_gets_none", nmis, 0);
    let_in();
    guest_new(here);
    vmcb.event = SVM_EVENT_V | SVM_EVENT_TYPE_NMI;
    intercept(SVM_EXIT_NMI);
    guest_run();
    send();
    guest_goto(here);
    guest_run();
    expect_exit("injected_one_blocks_none", SVM_EXIT_NMI, here);
    guest_new(closed);
    intercept(SVM_EXIT_NMI);
    *apic(X86_APIC_ICR_HIGH) = *apic(X86_APIC_ID);
    nmis = 0;
    guest_run();
    expect_exit("held_by_gif_in_guest", SVM_EXIT_NMI, closed_stop);
    expect_equal("then_the_hosts", nmis, 1);
}

/* An IRET that leaves the guest in place of its task switch is still to come. */
static void still_blocked(void)
{
    guest_new(here);
    send();
    guest_run();
    guest_new(iret_to_task);
    set_descriptor(SEL_FREE, descriptor((uint32_t)&task, sizeof task - 1, ACC_TSS32 | 2, 0)); /* busy */
    guest_tss.link = SEL_FREE;
    intercept(SVM_EXIT_TASK_SWITCH);
    guest_run();
    guest_tss.link = 0;
    expect_exit("iret_to_a_task", SVM_EXIT_TASK_SWITCH, iret_to_task_at);
    send();
    asm volatile("stgi; nop" : : : "memory");
    expect_equal("which_lets_none_in", nmis, 0);
    let_in();
    expect_equal("a_whole_one_does", nmis, 1);
}

int main(void)
{
    static const char *const names[] = {
        "held_by_gif", "taken_at_stgi", "intercepted", "host_takes_it_once", "host_takes_it_at_stgi",
        "no_event_in_delivery", "before_interrupts", "no_flag_masks_it", "delivered", "host_gets_none",
        "injected_one_blocks_none", "held_by_gif_in_guest", "then_the_hosts", "iret_to_a_task",
        "which_lets_none_in", "a_whole_one_does",
    };

    suite_begin();
    if ((cpuid(1).edx & X86_CPUID_APIC) == 0) {
        for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
            skip(names[n]);
        return suite_end("nmi");
    }
    set_handler(X86_VEC_NMI, on_nmi);
    watchdog = 0;
    in_host();
    intercepted();
    delivered();
    still_blocked();
    return suite_end("nmi");
}
