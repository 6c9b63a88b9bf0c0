/* beyond: VMCB, I/O and MSR maps where there is no memory: refused, a fault, or nothing, but the host lives. APM 15.5.
 *
 * expect: beyond: 7 checks
 */
#include "suite.h"

static struct vmcb host_again;

GUEST(nothing, "", "nop");
CODE(vmrun_beyond, "movl $0x80000000, %eax", "vmrun");
CODE(vmload_beyond, "movl $0x80000000, %eax", "vmload");
CODE(vmsave_beyond, "movl $0x80000000, %eax", "vmsave");

int main(void)
{
    suite_begin();
    asm volatile("vmsave" : : "a"(&host_again) : "memory");
    const struct trap_frame *frame = run_guarded(vmrun_beyond);

    asm volatile("stgi");
    expect("vmrun_beyond", frame == NULL || frame->vector == X86_VEC_GP);
    frame = run_guarded(vmload_beyond);
    expect("vmload_beyond", frame == NULL || frame->vector == X86_VEC_GP);
    frame = run_guarded(vmsave_beyond);
    expect("vmsave_beyond", frame == NULL || frame->vector == X86_VEC_GP);
    asm volatile("vmload" : : "a"(&host_again) : "memory");
    guest_new(nothing);
    vmcb.iopm_base = vmcb.msrpm_base = 0x80000000;
    intercept(SVM_EXIT_IOIO);
    intercept(SVM_EXIT_MSR);
    guest_run();
    expect_exit("maps_beyond", SVM_EXIT_VMMCALL, nothing_next);
    expect_passes("still_alive", nothing, nothing_next);
    return suite_end("beyond");
}
