/* stepping: EFLAGS.TF of host and guest around VMRUN, which is one instruction to the host; the host's breakpoints
 * after it. APM 15.5.1, 15.6.
 *
 * expect: stepping: 7 checks
 */
#include "suite.h"

GUEST(two, "nop", "nop");
CODE(stepped, "pushl %ebp; movl $vmcb, %eax; clgi; pushfl; orl $0x100, (%esp); popfl",
     "vmrun; stepped_stop: popl %ebp");

extern char stepped_stop[];

static void in_guest(void)
{
    guest_new(two);
    intercept(SVM_EXIT_EXCEPTION_DB);
    vmcb.rflags |= X86_EFLAGS_TF;
    guest_run();
    expect_exit("guest_traps_after_its_first", SVM_EXIT_EXCEPTION_DB, two_at);
    expect_equal("guest_dr6", vmcb.dr6, X86_DR6_FIXED | X86_DR6_BS);
}

static void in_host(void)
{
    guest_new(two);
    write_dr6(X86_DR6_FIXED);
    const struct trap_frame *frame = run_guarded(stepped);

    asm volatile("stgi");
    expect("host_traps_after_vmrun", frame != NULL && frame->vector == X86_VEC_DB &&
                                         frame->eip == (uint32_t)stepped_stop);
    expect_exit("guest_ran_unstepped", SVM_EXIT_VMMCALL, two_next);
    write_dr6(X86_DR6_FIXED);
    guest_new(two);
    write_dr0(0x1234);
    write_dr7(X86_DR7_FIXED | 2);
    guest_run();
    expect_equal("host_breakpoints_are_off", read_dr7(), X86_DR7_FIXED);
    write_dr7(X86_DR7_FIXED);
}

int main(void)
{
    suite_begin();
    in_guest();
    in_host();
    return suite_end("stepping");
}
