/* pat: G_PAT, the page attributes of a guest with nested paging: its own where there is a register for them, checked at
 * VMRUN, and never changed on the way. APM 15.25.2, 15.25.4, 7.8.1.
 *
 * expect: pat: 13 checks
 */
#include "nested.h"

GUEST(here, "", "nop");
GUEST(read, "movl $0x277, %ecx", "rdmsr");
GUEST(write, "movl $0x277, %ecx; movl $0x01010101, %eax; movl $0x07070707, %edx", "wrmsr");
CODE(read_in_host, "movl $0x277, %ecx", "rdmsr");

enum { WRITTEN_LOW = 0x01010101, WRITTEN_HIGH = 0x07070707 };

static const uint64_t mine = 0x0001040506070004;

static uint64_t wide(uint32_t high, uint32_t low) { return (uint64_t)high << 32 | low; }

static void new_guest(void (*code)(void))
{
    nested_new(code, 1);
    vmcb.g_pat = mine;
}

/* Each of the eight fields takes the six types there are, and no others. */
static void types(void)
{
    static const uint8_t good[] = {0, 1, 4, 5, 6, 7}, bad[] = {2, 3, 8, 0x10, 0x24, 0x41, 0x80, 0xFF};
    uint32_t accepted = 0, refused = 0;

    for (unsigned field = 0; field < 64; field += 8) {
        for (unsigned n = 0; n < ARRAY_SIZE(good); n++) {
            new_guest(here);
            vmcb.g_pat = (mine & ~(0xFFull << field)) | (uint64_t)good[n] << field;
            accepted += guest_run() == SVM_EXIT_VMMCALL;
        }
        for (unsigned n = 0; n < ARRAY_SIZE(bad); n++) {
            new_guest(here);
            vmcb.g_pat = (mine & ~(0xFFull << field)) | (uint64_t)bad[n] << field;
            refused += guest_run() == SVM_EXIT_INVALID;
        }
    }
    expect_equal("types_accepted", accepted, 8 * ARRAY_SIZE(good));
    expect_equal("types_refused", refused, 8 * ARRAY_SIZE(bad));
}

/* A processor that announces no page attributes has no register 277h, in either mode. */
static void registers(int announced)
{
    const uint64_t hosts = announced ? rdmsr(X86_MSR_PAT) : 0;

    new_guest(read);
    guest_run();
    if (announced)
        expect("guest_reads_its_own", wide(guest.edx, vmcb.rax) == mine);
    else
        expect_guest_trap("guest_reads_its_own", X86_VEC_GP, 0, read_at);
    expect_equal("reading_keeps_it", vmcb.g_pat, mine);
    new_guest(write);
    guest_run();
    if (announced)
        expect_exit("guest_writes_its_own", SVM_EXIT_VMMCALL, write_next);
    else
        expect_guest_trap("guest_writes_its_own", X86_VEC_GP, 0, write_at);
    expect_equal("written_comes_out", vmcb.g_pat, announced ? wide(WRITTEN_HIGH, WRITTEN_LOW) : mine);
    if (announced)
        expect_equal("hosts_stays", rdmsr(X86_MSR_PAT), hosts);
    else
        expect_host_fault("hosts_stays", read_in_host, read_in_host_at, X86_VEC_GP, 0);
    new_guest(read);
    intercept(SVM_EXIT_MSR);
    msrpm[2 * X86_MSR_PAT / 8] = 1 << 2 * X86_MSR_PAT % 8;
    guest_run();
    expect_exit("intercepted", SVM_EXIT_MSR, read_at);
}

/* Without nested paging the field means nothing. */
static void without(void)
{
    guest_new(here);
    vmcb.g_pat = 0x0202020202020202;
    guest_run();
    expect_exit("ignored_without_nested_paging", SVM_EXIT_VMMCALL, here_next);
    expect_equal("kept_without_nested_paging", vmcb.g_pat, 0x0202020202020202);
}

int main(void)
{
    nested_begin();
    new_guest(here);
    guest_run();
    expect_equal("kept", vmcb.g_pat, mine);
    types();
    registers((cpuid(1).edx & X86_CPUID_PAT) != 0);
    without();
    return suite_end("pat");
}
