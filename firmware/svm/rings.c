/* rings: CPL and guest mode are independent of each other, the course's table CPL x GUEST/HOST, cell by cell.
 *
 * A privileged instruction (CLTS), a sensitive one that faults nowhere (SGDT), one meant for everybody (CPUID) and the
 * hypercall, each at CPL 0 and 3, in the host and in a guest, intercepted and not. APM 15.2, 15.9, 15.18.
 *
 * expect: rings: 45 checks
 */
#include "seg.h"
#include "suite.h"

GUEST(privileged, "", "clts");
GUEST(sensitive, "", "sgdt pointer");
GUEST(common, "xorl %eax, %eax", "cpuid");
GUEST(call, "", "vmmcall");
GUEST(system_call, "", "int $0x30");
GUEST(look, "", "movl %cs, %ebx");
CODE(host_privileged, "", "clts");
CODE(host_sensitive, "", "sgdt pointer");
CODE(host_common, "xorl %eax, %eax", "cpuid");
CODE(host_call, "", "vmmcall");
CODE(host_vmrun, "movl $vmcb, %eax", "vmrun");
CODE(host_vmload, "movl $vmcb, %eax", "vmload");
CODE(host_vmsave, "movl $vmcb, %eax", "vmsave");
CODE(host_stgi, "", "stgi");
CODE(host_clgi, "", "clgi");
CODE(host_invlpga, "xorl %eax, %eax; xorl %ecx, %ecx", "invlpga %eax, %ecx");
GUEST(guest_vmrun, "", "vmrun");
GUEST(guest_vmload, "", "vmload");
GUEST(guest_vmsave, "", "vmsave");
GUEST(guest_stgi, "", "stgi");
GUEST(guest_clgi, "", "clgi");
GUEST(guest_invlpga, "", "invlpga %eax, %ecx");

uint16_t pointer[3];

static void in_host(void)
{
    expect("host_0_privileged", run_guarded(host_privileged) == NULL);
    expect("host_0_sensitive", run_guarded(host_sensitive) == NULL);
    expect("host_0_common", run_guarded(host_common) == NULL);
    expect_host_fault("host_0_call", host_call, host_call_at, X86_VEC_UD, 0);
    expect_ring3_fault("host_3_privileged", host_privileged, host_privileged_at, X86_VEC_GP, 0);
    expect("host_3_sensitive", run_ring3(host_sensitive)->vector == VEC_RING3_DONE);
    expect("host_3_common", run_ring3(host_common)->vector == VEC_RING3_DONE);
    expect_ring3_fault("host_3_call", host_call, host_call_at, X86_VEC_UD, 0);
    expect_ring3_fault("host_3_vmrun", host_vmrun, host_vmrun_at, X86_VEC_GP, 0);
    expect_ring3_fault("host_3_vmload", host_vmload, host_vmload_at, X86_VEC_GP, 0);
    expect_ring3_fault("host_3_vmsave", host_vmsave, host_vmsave_at, X86_VEC_GP, 0);
    expect_ring3_fault("host_3_stgi", host_stgi, host_stgi_at, X86_VEC_GP, 0);
    expect_ring3_fault("host_3_clgi", host_clgi, host_clgi_at, X86_VEC_GP, 0);
    expect_ring3_fault("host_3_invlpga", host_invlpga, host_invlpga_at, X86_VEC_GP, 0);
}

static void in_guest_0(void)
{
    expect_passes("guest_0_privileged", privileged, privileged_next);
    expect_intercept("guest_0_privileged_intercepted", privileged, privileged_at, SVM_EXIT_CR0_WRITE);
    expect_passes("guest_0_sensitive", sensitive, sensitive_next);
    expect_intercept("guest_0_sensitive_intercepted", sensitive, sensitive_at, SVM_EXIT_GDTR_READ);
    expect_passes("guest_0_common", common, common_next);
    expect_intercept("guest_0_common_intercepted", common, common_at, SVM_EXIT_CPUID);
    expect_intercept("guest_0_call_intercepted", call, call_at, SVM_EXIT_VMMCALL);
    guest_new(call);
    no_intercept(SVM_EXIT_VMMCALL);
    intercept(SVM_EXIT_EXCEPTION_UD);
    guest_run();
    expect_exit("guest_0_call", SVM_EXIT_EXCEPTION_UD, call_at);
}

/* In ring 3, the intercept of `code_of_exit` set unless it is 0. */
static void run_3(void (*code)(void), uint32_t code_of_exit)
{
    guest_new(code);
    guest_ring3();
    if (code_of_exit != 0)
        intercept(code_of_exit);
    guest_run();
}

static void in_guest_3(void)
{
    run_3(look, 0);
    expect("guest_3_runs", vmcb.exit_code == SVM_EXIT_VMMCALL && (guest.ebx & 3) == 3);
    expect_equal("guest_3_cpl_out", vmcb.cpl, 3);
    run_3(privileged, 0);
    expect_guest_trap("guest_3_privileged", X86_VEC_GP, 0, privileged_at);
    expect_equal("guest_3_trap_to_0", vmcb.cpl, 0);
    run_3(privileged, SVM_EXIT_CR0_WRITE);
    expect_guest_trap("guest_3_privileged_intercepted", X86_VEC_GP, 0, privileged_at);
    run_3(privileged, SVM_EXIT_EXCEPTION_GP);
    expect_exit("guest_3_privileged_fault_intercepted", SVM_EXIT_EXCEPTION_GP, privileged_at);
    expect_equal("guest_3_fault_cpl", vmcb.cpl, 3);
    run_3(sensitive, 0);
    expect_exit("guest_3_sensitive", SVM_EXIT_VMMCALL, sensitive_next);
    run_3(sensitive, SVM_EXIT_GDTR_READ);
    expect_exit("guest_3_sensitive_intercepted", SVM_EXIT_GDTR_READ, sensitive_at);
    run_3(common, 0);
    expect_exit("guest_3_common", SVM_EXIT_VMMCALL, common_next);
    run_3(common, SVM_EXIT_CPUID);
    expect_exit("guest_3_common_intercepted", SVM_EXIT_CPUID, common_at);
    run_3(call, 0);
    expect_exit("guest_3_call_intercepted", SVM_EXIT_VMMCALL, call_at);
    guest_new(call);
    guest_ring3();
    no_intercept(SVM_EXIT_VMMCALL);
    intercept(SVM_EXIT_EXCEPTION_UD);
    guest_run();
    expect_exit("guest_3_call", SVM_EXIT_EXCEPTION_UD, call_at);
    run_3(system_call, 0);
    expect_guest_trap("guest_3_to_0", 0x30, 0, system_call_next);
    expect("guest_3_frame", guest_trapped() != NULL && guest_trapped()->cs == SEL_UCODE &&
                                guest_trapped()->stack[4] == SEL_UDATA);
}

static void svm_instructions_3(void)
{
    run_3(guest_vmrun, 0);
    expect_guest_trap("guest_3_vmrun", X86_VEC_GP, 0, guest_vmrun_at);
    run_3(guest_vmload, SVM_EXIT_VMLOAD);
    expect_guest_trap("guest_3_vmload", X86_VEC_GP, 0, guest_vmload_at);
    run_3(guest_vmsave, SVM_EXIT_VMSAVE);
    expect_guest_trap("guest_3_vmsave", X86_VEC_GP, 0, guest_vmsave_at);
    run_3(guest_stgi, SVM_EXIT_STGI);
    expect_guest_trap("guest_3_stgi", X86_VEC_GP, 0, guest_stgi_at);
    run_3(guest_clgi, SVM_EXIT_CLGI);
    expect_guest_trap("guest_3_clgi", X86_VEC_GP, 0, guest_clgi_at);
    run_3(guest_invlpga, SVM_EXIT_INVLPGA);
    expect_guest_trap("guest_3_invlpga", X86_VEC_GP, 0, guest_invlpga_at);
}

int main(void)
{
    suite_begin();
    in_host();
    in_guest_0();
    in_guest_3();
    svm_instructions_3();
    return suite_end("rings");
}
