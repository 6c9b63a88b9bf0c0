/* instructions: intercepts of single instructions, and that they run where nothing intercepts them. APM 15.9.
 *
 * expect: instructions: 54 checks
 */
#include "suite.h"

GUEST(do_rdtsc, "", "rdtsc");
GUEST(do_rdpmc, "xorl %ecx, %ecx", "rdpmc");
GUEST(do_pushf, "", "pushfl");
GUEST(pushf16, "", "pushfw");
GUEST(do_popf, "pushl $2", "popfl");
GUEST(popf16, "pushw $2", "popfw");
GUEST(do_cpuid, "xorl %eax, %eax", "cpuid");
GUEST(do_iret, "pushfl; pushl %cs; pushl $do_iret_next", "iretl");
GUEST(int_30, "", "int $0x30");
GUEST(int_3_long, "", ".byte 0xCD, 3");
GUEST(do_int3, "", "int3");
GUEST(do_into, "movb $0x7F, %al; incb %al", "into");
GUEST(icebp, "", ".byte 0xF1");
GUEST(do_invd, "", "invd");
GUEST(do_wbinvd, "", "wbinvd");
GUEST(do_pause, "", "pause");
GUEST(do_hlt, "", "hlt");
GUEST(do_invlpg, "", "invlpg 0x1234");
GUEST(do_invlpga, "xorl %eax, %eax; movl $1, %ecx", "invlpga %eax, %ecx");
GUEST(do_vmrun, "movl $scratch, %eax", "vmrun");
GUEST(do_vmmcall, "", "vmmcall");
GUEST(do_vmload, "movl $scratch, %eax", "vmload");
GUEST(do_vmsave, "movl $scratch, %eax", "vmsave");
GUEST(do_stgi, "", "stgi");
GUEST(do_clgi, "", "clgi");
GUEST(do_skinit, "", "skinit");
GUEST(do_rdtscp, "", "rdtscp");
GUEST(do_nop, "", "nop");

struct vmcb scratch;

static void trapped_alone(const char *name, void (*code)(void), uint32_t vector, const void *eip)
{
    guest_new(code);
    guest_run();
    expect_guest_trap(name, vector, 0, eip);
}

int main(void)
{
    suite_begin();
    EXPECT_INTERCEPT(do_rdtsc, SVM_EXIT_RDTSC);
    EXPECT_INTERCEPT(do_rdpmc, SVM_EXIT_RDPMC);
    EXPECT_INTERCEPT(do_pushf, SVM_EXIT_PUSHF);
    EXPECT_INTERCEPT(pushf16, SVM_EXIT_PUSHF);
    EXPECT_INTERCEPT(do_popf, SVM_EXIT_POPF);
    EXPECT_INTERCEPT(popf16, SVM_EXIT_POPF);
    EXPECT_INTERCEPT(do_cpuid, SVM_EXIT_CPUID);
    EXPECT_INTERCEPT(do_iret, SVM_EXIT_IRET);
    expect_intercept("int_30", int_30, int_30_at, SVM_EXIT_SWINT);
    trapped_alone("int_30_alone", int_30, 0x30, int_30_next);
    expect_intercept("int_3_long", int_3_long, int_3_long_at, SVM_EXIT_SWINT);
    guest_new(int_3_long);
    intercept(SVM_EXIT_EXCEPTION_BP);
    guest_run();
    expect_guest_trap("int_n_is_no_exception", X86_VEC_BP, 0, int_3_long_next);
    guest_new(do_int3);
    intercept(SVM_EXIT_SWINT);
    guest_run();
    expect_guest_trap("int3_is_no_int_n", X86_VEC_BP, 0, do_int3_next);
    guest_new(do_into);
    intercept(SVM_EXIT_SWINT);
    guest_run();
    expect_guest_trap("into_is_no_int_n", X86_VEC_OF, 0, do_into_next);
    expect_intercept("icebp", icebp, icebp_at, SVM_EXIT_ICEBP);
    trapped_alone("icebp_alone", icebp, X86_VEC_DB, icebp_next);
    guest_new(icebp);
    intercept(SVM_EXIT_EXCEPTION_DB);
    guest_run();
    expect_guest_trap("icebp_is_no_exception", X86_VEC_DB, 0, icebp_next);
    EXPECT_INTERCEPT(do_invd, SVM_EXIT_INVD);
    EXPECT_INTERCEPT(do_wbinvd, SVM_EXIT_WBINVD);
    guest_new(do_invd);
    intercept(SVM_EXIT_WBINVD);
    guest_run();
    expect_exit("invd_is_not_wbinvd", SVM_EXIT_VMMCALL, do_invd_next);
    guest_new(do_wbinvd);
    intercept(SVM_EXIT_INVD);
    guest_run();
    expect_exit("wbinvd_is_not_invd", SVM_EXIT_VMMCALL, do_wbinvd_next);
    EXPECT_INTERCEPT(do_pause, SVM_EXIT_PAUSE);
    guest_new(do_nop);
    intercept(SVM_EXIT_PAUSE);
    guest_run();
    expect_exit("nop_is_no_pause", SVM_EXIT_VMMCALL, do_nop_next);
    expect_intercept("hlt", do_hlt, do_hlt_at, SVM_EXIT_HLT);
    EXPECT_INTERCEPT(do_invlpg, SVM_EXIT_INVLPG);
    EXPECT_INTERCEPT(do_invlpga, SVM_EXIT_INVLPGA);
    expect_intercept("vmrun", do_vmrun, do_vmrun_at, SVM_EXIT_VMRUN);
    expect_intercept("vmmcall", do_vmmcall, do_vmmcall_at, SVM_EXIT_VMMCALL);
    guest_new(do_vmmcall);
    no_intercept(SVM_EXIT_VMMCALL);
    intercept(SVM_EXIT_EXCEPTION_UD);
    guest_run();
    expect_exit("vmmcall_alone", SVM_EXIT_EXCEPTION_UD, do_vmmcall_at);
    expect_passes("vmsave_alone", do_vmsave, do_vmsave_next);
    expect_intercept("vmsave", do_vmsave, do_vmsave_at, SVM_EXIT_VMSAVE);
    expect_passes("vmload_alone", do_vmload, do_vmload_next);
    expect_intercept("vmload", do_vmload, do_vmload_at, SVM_EXIT_VMLOAD);
    EXPECT_INTERCEPT(do_stgi, SVM_EXIT_STGI);
    EXPECT_INTERCEPT(do_clgi, SVM_EXIT_CLGI);
    trapped_alone("skinit_alone", do_skinit, X86_VEC_UD, do_skinit_at);
    guest_new(do_rdtscp);
    intercept(SVM_EXIT_RDTSCP);
    guest_run();
    expect_guest_trap("rdtscp_does_not_exist", X86_VEC_UD, 0, do_rdtscp_at);
    return suite_end("instructions");
}
