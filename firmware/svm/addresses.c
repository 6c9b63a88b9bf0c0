/* addresses: VMRUN and its like where they must not work: SVME clear, addresses unaligned; the MSRs of SVM and CPUID.
 * APM 15.4, 15.5, 15.30.
 *
 * expect: addresses: 25 checks
 */
#include "suite.h"

GUEST(nothing, "", "nop");
CODE(vmrun_here, "movl $vmcb, %eax", "vmrun");
CODE(vmrun_unaligned, "movl $vmcb + 8, %eax", "vmrun");
CODE(stgi_here, "", "stgi");
CODE(clgi_here, "", "clgi");
CODE(invlpga_here, "xorl %eax, %eax; xorl %ecx, %ecx", "invlpga %eax, %ecx");
CODE(invlpga_far_asid, "xorl %eax, %eax; movl $0x12345, %ecx", "invlpga %eax, %ecx");
CODE(skinit_here, "xorl %eax, %eax", "skinit");
CODE(vmmcall_here, "", "vmmcall");
CODE(hsave_unaligned, "movl $0xC0010117, %ecx; movl $0x1008, %eax; xorl %edx, %edx", "wrmsr");
CODE(hsave_beyond, "movl $0xC0010117, %ecx; movl $0x1000, %eax; movl $0x7FFF0000, %edx", "wrmsr");
CODE(efer_reserved, "movl $0xC0000080, %ecx; movl $0x1002, %eax; xorl %edx, %edx", "wrmsr");
CODE(efer_high, "movl $0xC0000080, %ecx; movl $0x1000, %eax; movl $0x10, %edx", "wrmsr");

static void without_svme(void)
{
    wrmsr(X86_MSR_EFER, rdmsr(X86_MSR_EFER) & ~(uint64_t)X86_EFER_SVME);
    expect_host_fault("vmrun_without_svme", vmrun_here, vmrun_here_at, X86_VEC_UD, 0);
    expect_host_fault("stgi_without_svme", stgi_here, stgi_here_at, X86_VEC_UD, 0);
    expect_host_fault("clgi_without_svme", clgi_here, clgi_here_at, X86_VEC_UD, 0);
    expect_host_fault("invlpga_without_svme", invlpga_here, invlpga_here_at, X86_VEC_UD, 0);
    expect_ring3_fault("vmrun_without_svme_ring3", vmrun_here, vmrun_here_at, X86_VEC_UD, 0);
    expect_host_fault("vmmcall_without_svme", vmmcall_here, vmmcall_here_at, X86_VEC_UD, 0);
    wrmsr(X86_MSR_EFER, rdmsr(X86_MSR_EFER) | X86_EFER_SVME);
}

static void registers(void)
{
    struct cpuid leaf = cpuid(SVM_CPUID_LEAF);

    expect_equal("revision", leaf.eax & 0xFF, 1);
    expect("several_asids", leaf.ebx >= 2);
    expect_equal("reserved_leaf_bits", leaf.ecx, 0);
    expect_equal("svme_reads_back", rdmsr(X86_MSR_EFER) & X86_EFER_SVME, X86_EFER_SVME);
    expect_host_fault("efer_reserved", efer_reserved, efer_reserved_at, X86_VEC_GP, 0);
    expect_host_fault("efer_high", efer_high, efer_high_at, X86_VEC_GP, 0);
    expect_equal("svm_is_not_disabled", rdmsr(X86_MSR_VM_CR) & SVM_VM_CR_SVMDIS, 0);
    uint64_t area = rdmsr(X86_MSR_VM_HSAVE_PA);

    expect_host_fault("hsave_unaligned", hsave_unaligned, hsave_unaligned_at, X86_VEC_GP, 0);
    expect_host_fault("hsave_beyond", hsave_beyond, hsave_beyond_at, X86_VEC_GP, 0);
    expect_equal("hsave_unchanged", rdmsr(X86_MSR_VM_HSAVE_PA), area);
    wrmsr(X86_MSR_VM_HSAVE_PA, 0x5000);
    expect_equal("hsave_reads_back", rdmsr(X86_MSR_VM_HSAVE_PA), 0x5000);
    wrmsr(X86_MSR_VM_HSAVE_PA, area);
}

int main(void)
{
    suite_begin();
    expect_host_fault("vmrun_unaligned", vmrun_unaligned, vmrun_unaligned_at, X86_VEC_GP, 0);
    expect_ring3_fault("vmrun_ring3", vmrun_here, vmrun_here_at, X86_VEC_GP, 0);
    expect_host_fault("vmmcall_in_host", vmmcall_here, vmmcall_here_at, X86_VEC_UD, 0);
    expect_host_fault("skinit", skinit_here, skinit_here_at, X86_VEC_UD, 0);
    expect("invlpga_of_any_asid", run_guarded(invlpga_far_asid) == NULL);
    without_svme();
    registers();
    expect_passes("still_alive", nothing, nothing_next);
    return suite_end("addresses");
}
