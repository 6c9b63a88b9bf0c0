/* control_registers: intercepts of reads and writes of CR0 to CR4 and DR0 to DR7. APM 15.9.
 *
 * expect: control_registers: 75 checks
 */
#include "suite.h"

GUEST(mov_from_cr0, "", "movl %cr0, %eax");
GUEST(mov_from_cr2, "", "movl %cr2, %eax");
GUEST(mov_from_cr3, "", "movl %cr3, %eax");
GUEST(mov_from_cr4, "", "movl %cr4, %eax");
GUEST(mov_to_cr0, "movl %cr0, %eax", "movl %eax, %cr0");
GUEST(mov_to_cr2, "", "movl %eax, %cr2");
GUEST(mov_to_cr3, "movl $0x5000, %eax", "movl %eax, %cr3");
GUEST(mov_to_cr4, "movl $4, %eax", "movl %eax, %cr4");
GUEST(smsw, "", "smsww %ax");
GUEST(lmsw, "movl $1, %eax", "lmsw %ax");
GUEST(clts, "", "clts");
GUEST(set_cd, "movl %cr0, %eax; orl $0x40000000, %eax", "movl %eax, %cr0");
GUEST(set_am, "movl %cr0, %eax; orl $0x40000, %eax", "movl %eax, %cr0");
GUEST(set_em, "movl %cr0, %eax; orl $4, %eax", "movl %eax, %cr0");
GUEST(set_ts_mp, "movl %cr0, %eax; orl $0xA, %eax", "movl %eax, %cr0");
GUEST(clear_et, "movl %cr0, %eax; andl $~0x10, %eax", "movl %eax, %cr0");
GUEST(set_reserved, "movl %cr0, %eax; orl $0x40, %eax", "movl %eax, %cr0");
GUEST(lmsw_ts, "movl $9, %eax", "lmsw %ax");
GUEST(mov_from_dr0, "", "movl %dr0, %eax");
GUEST(mov_from_dr1, "", "movl %dr1, %eax");
GUEST(mov_from_dr2, "", "movl %dr2, %eax");
GUEST(mov_from_dr3, "", "movl %dr3, %eax");
GUEST(mov_from_dr4, "", ".byte 0x0F, 0x21, 0xE0");
GUEST(mov_from_dr5, "", ".byte 0x0F, 0x21, 0xE8");
GUEST(mov_from_dr6, "", "movl %dr6, %eax");
GUEST(mov_from_dr7, "", "movl %dr7, %eax");
GUEST(mov_to_dr0, "", "movl %eax, %dr0");
GUEST(mov_to_dr1, "", "movl %eax, %dr1");
GUEST(mov_to_dr2, "", "movl %eax, %dr2");
GUEST(mov_to_dr3, "", "movl %eax, %dr3");
GUEST(mov_to_dr4, "", ".byte 0x0F, 0x23, 0xE0");
GUEST(mov_to_dr5, "movl $0x400, %eax", ".byte 0x0F, 0x23, 0xE8");
GUEST(mov_to_dr6, "", "movl %eax, %dr6");
GUEST(mov_to_dr7, "movl $0x400, %eax", "movl %eax, %dr7");

/* The intercepts of all other registers of the kind, but not its own: nothing happens. */
static void others(const char *name, void (*code)(void), const void *next, uint32_t code_of_exit)
{
    guest_new(code);
    vmcb.intercept[code_of_exit / 32] = ~(1u << code_of_exit % 32);
    guest_run();
    expect_exit(name, SVM_EXIT_VMMCALL, next);
}

static void unselected(const char *name, void (*code)(void), const void *next)
{
    guest_new(code);
    intercept(SVM_EXIT_CR0_SEL_WRITE);
    guest_run();
    expect_exit(name, SVM_EXIT_VMMCALL, next);
}

static void selective(void)
{
    expect_intercept("selective_cd", set_cd, set_cd_at, SVM_EXIT_CR0_SEL_WRITE);
    expect_intercept("selective_am", set_am, set_am_at, SVM_EXIT_CR0_SEL_WRITE);
    expect_intercept("selective_em", set_em, set_em_at, SVM_EXIT_CR0_SEL_WRITE);
    unselected("selective_ts_mp", set_ts_mp, set_ts_mp_next);
    /* Neither can be changed. */
    unselected("selective_et", clear_et, clear_et_next);
    unselected("selective_reserved", set_reserved, set_reserved_next);
    unselected("selective_unchanged", mov_to_cr0, mov_to_cr0_next);
    expect_intercept("selective_lmsw", lmsw_ts, lmsw_ts_at, SVM_EXIT_CR0_SEL_WRITE);
    expect_intercept("selective_lmsw_unchanged", lmsw, lmsw_at, SVM_EXIT_CR0_SEL_WRITE);
    unselected("selective_clts_passes", clts, clts_next);
    guest_new(set_cd);
    intercept(SVM_EXIT_CR0_SEL_WRITE);
    intercept(SVM_EXIT_CR0_WRITE);
    guest_run();
    expect_exit("plain_goes_first", SVM_EXIT_CR0_WRITE, set_cd_at);
}

static void effects(void)
{
    expect_intercept("mov_to_cr3_again", mov_to_cr3, mov_to_cr3_at, SVM_EXIT_CR3_WRITE);
    expect_equal("intercepted_cr3_is_not_written", vmcb.cr3, 0);
    expect_intercept("mov_to_cr4_again", mov_to_cr4, mov_to_cr4_at, SVM_EXIT_CR4_WRITE);
    expect_equal("intercepted_cr4_is_not_written", vmcb.cr4, 0);
    expect_passes("mov_to_cr4_passes", mov_to_cr4, mov_to_cr4_next);
    expect_equal("cr4_is_written", vmcb.cr4, 4);
}

int main(void)
{
    suite_begin();
    EXPECT_INTERCEPT(mov_from_cr0, SVM_EXIT_CR0_READ);
    EXPECT_INTERCEPT(mov_from_cr2, SVM_EXIT_CR2_READ);
    EXPECT_INTERCEPT(mov_from_cr3, SVM_EXIT_CR3_READ);
    EXPECT_INTERCEPT(mov_from_cr4, SVM_EXIT_CR4_READ);
    EXPECT_INTERCEPT(mov_to_cr0, SVM_EXIT_CR0_WRITE);
    EXPECT_INTERCEPT(mov_to_cr2, SVM_EXIT_CR2_WRITE);
    EXPECT_INTERCEPT(mov_to_cr3, SVM_EXIT_CR3_WRITE);
    EXPECT_INTERCEPT(mov_to_cr4, SVM_EXIT_CR4_WRITE);
    EXPECT_INTERCEPT(smsw, SVM_EXIT_CR0_READ);
    EXPECT_INTERCEPT(lmsw, SVM_EXIT_CR0_WRITE);
    EXPECT_INTERCEPT(clts, SVM_EXIT_CR0_WRITE);
    others("others_of_cr3", mov_to_cr3, mov_to_cr3_next, SVM_EXIT_CR3_WRITE);
    selective();
    effects();
    EXPECT_INTERCEPT(mov_from_dr0, SVM_EXIT_DR0_READ);
    EXPECT_INTERCEPT(mov_from_dr1, SVM_EXIT_DR1_READ);
    EXPECT_INTERCEPT(mov_from_dr2, SVM_EXIT_DR2_READ);
    EXPECT_INTERCEPT(mov_from_dr3, SVM_EXIT_DR3_READ);
    EXPECT_INTERCEPT(mov_from_dr4, SVM_EXIT_DR4_READ);
    EXPECT_INTERCEPT(mov_from_dr5, SVM_EXIT_DR5_READ);
    EXPECT_INTERCEPT(mov_from_dr6, SVM_EXIT_DR6_READ);
    EXPECT_INTERCEPT(mov_from_dr7, SVM_EXIT_DR7_READ);
    EXPECT_INTERCEPT(mov_to_dr0, SVM_EXIT_DR0_WRITE);
    EXPECT_INTERCEPT(mov_to_dr1, SVM_EXIT_DR1_WRITE);
    EXPECT_INTERCEPT(mov_to_dr2, SVM_EXIT_DR2_WRITE);
    EXPECT_INTERCEPT(mov_to_dr3, SVM_EXIT_DR3_WRITE);
    EXPECT_INTERCEPT(mov_to_dr4, SVM_EXIT_DR4_WRITE);
    EXPECT_INTERCEPT(mov_to_dr5, SVM_EXIT_DR5_WRITE);
    EXPECT_INTERCEPT(mov_to_dr6, SVM_EXIT_DR6_WRITE);
    EXPECT_INTERCEPT(mov_to_dr7, SVM_EXIT_DR7_WRITE);
    others("others_of_dr7", mov_to_dr7, mov_to_dr7_next, SVM_EXIT_DR7_WRITE);
    return suite_end("control_registers");
}
