/* gif: the global interrupt flag: what it holds back in the host, after #VMEXIT, and in a guest that clears it. APM
 * 15.17.
 *
 * expect: gif: 16 checks
 */
#include "suite.h"
#include "svm.h"

GUEST(open_up, "sti; nop", "nop");
GUEST(closed, "clgi; sti; nop", "nop");
GUEST(nothing, "", "nop");
CODE(hold, "clgi; sti; nop; nop", "stgi; hold_stop: nop; cli");
CODE(step_with_gif_clear, "clgi; pushfl; orl $0x100, (%esp); popfl; nop", "stgi");
CODE(breakpoint_with_gif_clear, "clgi; stgi; clgi", "nop; stgi");
CODE(breakpoint_with_gif_set, "stgi", "nop");

extern char hold_stop[], svm_switch_open[];

static void in_host(void)
{
    alarm_now();
    expect("nothing_traps", run_guarded(hold) == NULL);
    expect_equal("taken_once", alarms, 1);
    expect_equal("taken_at_stgi", alarm_eip, (uint32_t)hold_stop);
    const struct trap_frame *frame = run_guarded(step_with_gif_clear);

    expect("single_step_goes_on", frame != NULL && frame->vector == X86_VEC_DB &&
                                      frame->eip == (uint32_t)step_with_gif_clear_at);
    asm volatile("stgi");
    write_dr0((uint32_t)breakpoint_with_gif_set_at);
    write_dr7(X86_DR7_FIXED | 2);
    frame = run_guarded(breakpoint_with_gif_set);
    expect("breakpoint_with_gif", frame != NULL && frame->vector == X86_VEC_DB);
    write_dr0((uint32_t)breakpoint_with_gif_clear_at);
    write_dr7(X86_DR7_FIXED | 2);
    frame = run_guarded(breakpoint_with_gif_clear);
    asm volatile("stgi");
    expect("breakpoint_is_discarded", frame == NULL);
    write_dr7(X86_DR7_FIXED);
    write_dr6(X86_DR6_FIXED);
}

static void around_exits(void)
{
    watchdog = 0;
    guest_new(nothing);
    alarm_now();
    guest_run();
    expect_exit("interrupt_exits", SVM_EXIT_INTR, nothing);
    expect_equal("host_takes_it_once", alarms, 1);
    expect_equal("host_takes_it_at_stgi", alarm_eip, (uint32_t)svm_switch_open);
}

static void in_guest(void)
{
    guest_new(open_up);
    vmcb.vintr = 0;
    alarm_now();
    guest_run();
    expect_exit("guest_with_gif", SVM_EXIT_INTR, open_up_at);
    guest_new(closed);
    vmcb.vintr = 0;
    alarm_now();
    guest_run();
    expect_exit("guest_clears_gif", SVM_EXIT_VMMCALL, closed_next);
    expect_equal("host_takes_it_then", alarms, 1);
    watchdog = 1;
    guest_new(closed);
    vmcb.vintr |= SVM_VINTR_IRQ | SVM_VINTR_IGNORE_TPR;
    vmcb.vintr_vector = 0x51;
    guest_run();
    expect_exit("virtual_one_is_held", SVM_EXIT_VMMCALL, closed_next);
    expect_equal("virtual_one_stays", vmcb.vintr & SVM_VINTR_IRQ, SVM_VINTR_IRQ);
}

int main(void)
{
    suite_begin();
    in_host();
    around_exits();
    in_guest();
    return suite_end("gif");
}
