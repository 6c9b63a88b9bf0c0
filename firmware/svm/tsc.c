/* tsc: TSC_OFFSET in what a guest reads, by RDTSC and RDMSR, and only in a guest. APM 15.5.1.
 *
 * expect: tsc: 10 checks
 */
#include "suite.h"

GUEST(by_rdtsc, "", "rdtsc");
GUEST(by_rdmsr, "movl $0x10, %ecx", "rdmsr");

/* What the guest reads with this offset lies between two readings of the host, taken the offset. */
static void within(const char *name, void (*code)(void), uint64_t offset)
{
    guest_new(code);
    vmcb.tsc_offset = offset;
    uint64_t before = rdtsc();

    guest_run();
    uint64_t after = rdtsc(), read = ((uint64_t)guest.edx << 32 | (uint32_t)vmcb.rax) - offset;

    expect(name, vmcb.exit_code == SVM_EXIT_VMMCALL && before < read && read < after);
}

int main(void)
{
    suite_begin();
    within("no_offset", by_rdtsc, 0);
    within("offset", by_rdtsc, 1000000);
    within("large_offset", by_rdtsc, 0x123456789ABCull);
    within("negative_offset", by_rdtsc, -(uint64_t)0x100000000);
    within("rdmsr", by_rdmsr, 0);
    within("rdmsr_offset", by_rdmsr, 0x123456789ABCull);
    expect("host_has_none", rdtsc() < 0x100000000000ull);
    expect_equal("offset_unchanged", vmcb.tsc_offset, 0x123456789ABCull);
    return suite_end("tsc");
}
