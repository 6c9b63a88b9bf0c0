/* shadow: INTERRUPT_SHADOW as #VMEXIT saves it and VMRUN loads it. APM 15.21.5.
 *
 * expect: shadow: 12 checks
 */
#include "suite.h"

GUEST(none, "", "nop");
GUEST(sti_, "", "sti");
GUEST(sti_nop, "sti", "nop");
GUEST(sti_enabled, "sti; nop", "sti");
GUEST(mov_ss, "movl %ss, %eax", "movl %eax, %ss");
GUEST(pop_ss, "pushl %ss", "popl %ss");
GUEST(popf_, "pushl $0x202", "popfl");
GUEST(sti_cpuid, "xorl %eax, %eax; sti", "cpuid");

static void shadow(const char *name, void (*code)(void), uint32_t wanted)
{
    guest_new(code);
    guest_run();
    expect_equal(name, vmcb.interrupt_shadow & 1, wanted);
}

int main(void)
{
    suite_begin();
    shadow("none", none, 0);
    shadow("after_sti", sti_, 1);
    shadow("one_instruction_later", sti_nop, 0);
    shadow("sti_when_enabled", sti_enabled, 0);
    shadow("after_mov_ss", mov_ss, 1);
    shadow("after_pop_ss", pop_ss, 1);
    shadow("after_popf", popf_, 0);
    guest_new(sti_cpuid);
    intercept(SVM_EXIT_CPUID);
    guest_run();
    expect_equal("at_an_instruction_exit", vmcb.interrupt_shadow & 1, 1);
    guest_run();
    expect_equal("loaded_and_saved", vmcb.interrupt_shadow & 1, 1);
    no_intercept(SVM_EXIT_CPUID);
    guest_run();
    expect_equal("loaded_and_over", vmcb.interrupt_shadow & 1, 0);
    return suite_end("shadow");
}
