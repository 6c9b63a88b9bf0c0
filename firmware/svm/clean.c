/* clean: the clean bits: what is never cached is read, what is not marked clean is read, a VMCB never seen is read
 * whole. APM 15.15.
 *
 * expect: clean: 15 checks
 */
#include "suite.h"

GUEST(look, "movl %cr2, %ebx; movl %cr3, %ecx; movl %dr6, %edx", "nop");

static struct vmcb other;

static void all_clean(void)
{
    guest_new(look);
    vmcb.cr2 = 0x1000;
    guest_run();
    vmcb.clean = 0xFFFFFFFF;
    guest_goto(look);
    guest_run();
    expect_exit("unchanged", SVM_EXIT_VMMCALL, look_next);
    expect_equal("unchanged_cr2", guest.ebx, 0x1000);
    guest_goto(look_at);
    vmcb.rax = 0x77;
    guest_run();
    expect_exit("eip_is_not_cached", SVM_EXIT_VMMCALL, look_next);
    expect_equal("eax_is_not_cached", vmcb.rax, 0x77);
    guest_goto(look);
    vmcb.event = SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT | 0x33;
    guest_run();
    expect_guest_trap("event_is_not_cached", 0x33, 0, look);
    guest_goto(look);
    vmcb.rflags = X86_EFLAGS_FIXED | X86_EFLAGS_CF;
    guest_run();
    expect_equal("flags_are_not_cached", vmcb.rflags & X86_EFLAGS_CF, X86_EFLAGS_CF);
}

static void changed(void)
{
    guest_new(look);
    guest_run();
    vmcb.clean = 0xFFFFFFFF & ~(SVM_CLEAN_CR2 | SVM_CLEAN_CONTROL_REGISTERS | SVM_CLEAN_DEBUG_REGISTERS |
                                SVM_CLEAN_INTERCEPTS);
    vmcb.cr2 = 0x2000;
    vmcb.cr3 = 0x3000;
    vmcb.dr6 = X86_DR6_FIXED | X86_DR6_BS;
    guest_goto(look);
    guest_run();
    expect_equal("cr2", guest.ebx, 0x2000);
    expect_equal("cr3", guest.ecx, 0x3000);
    expect_equal("dr6", guest.edx, X86_DR6_FIXED | X86_DR6_BS);
    intercept(SVM_EXIT_CR2_READ);
    guest_goto(look);
    guest_run();
    expect_exit("intercepts", SVM_EXIT_CR2_READ, look);
    no_intercept(SVM_EXIT_CR2_READ);
    vmcb.clean = 0xFFFFFFFF;
    vmcb.cr2 = 0x4000;
    guest_goto(look);
    guest_run();
    expect("a_lie_gives_one_or_the_other", vmcb.exit_code == SVM_EXIT_CR2_READ || guest.ebx == 0x2000 ||
                                               guest.ebx == 0x4000);
}

/* All bits set in a VMCB that was never run: it is not cached, so it is read. */
static void unseen(void)
{
    uint32_t ebx, ecx;

    guest_new(look);
    guest_run();
    other = vmcb;
    other.clean = 0xFFFFFFFF;
    other.cr2 = 0x5000;
    other.cr3 = 0x6000;
    other.rip = (uint32_t)look;
    asm volatile("pushl %%ebp; clgi; vmrun; stgi; popl %%ebp"
                 : "=b"(ebx), "=c"(ecx)
                 : "a"(&other)
                 : "edx", "esi", "edi", "memory", "cc");
    expect_equal("unseen_cr2", ebx, 0x5000);
    expect_equal("unseen_cr3", ecx, 0x6000);
}

int main(void)
{
    suite_begin();
    all_clean();
    changed();
    unseen();
    return suite_end("clean");
}
