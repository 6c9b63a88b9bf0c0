/* msr: the MSR permission map, its three ranges, what lies outside, reads and writes told apart. APM 15.11.
 *
 * expect: msr: 36 checks
 */
#include "suite.h"

GUEST(read, "", "rdmsr");
GUEST(write, "", "wrmsr");

static void run(void (*code)(void), uint32_t number)
{
    guest_new(code);
    intercept(SVM_EXIT_MSR);
    guest.ecx = number;
    guest_run();
}

/* The read bit at `bit` of the map, then the write bit after it: each catches its own kind only. */
static void pair(const char *name, const char *write_name, uint32_t number, uint32_t bit)
{
    msrpm[bit / 8] |= 1 << bit % 8;
    run(read, number);
    expect_exit_info(name, SVM_EXIT_MSR, read_at, 0, vmcb.exit_info2);
    msrpm[bit / 8] = 2 << bit % 8;
    run(write, number);
    expect_exit_info(write_name, SVM_EXIT_MSR, write_at, 1, vmcb.exit_info2);
    msrpm[bit / 8] = 0;
}

static void outside(const char *name, uint32_t number)
{
    run(read, number);
    expect_exit_info(name, SVM_EXIT_MSR, read_at, 0, vmcb.exit_info2);
}

static void told_apart(void)
{
    const uint32_t bit = 2 * X86_MSR_SYSENTER_ESP;

    msrpm[bit / 8] = 2 << bit % 8;
    run(read, X86_MSR_SYSENTER_ESP);
    expect_exit("read_passes_write_bit", SVM_EXIT_VMMCALL, read_next);
    msrpm[bit / 8] = 1 << bit % 8;
    guest_new(write);
    intercept(SVM_EXIT_MSR);
    guest = (struct guest_registers){.ecx = X86_MSR_SYSENTER_ESP};
    vmcb.rax = 0x7777;
    guest_run();
    expect_exit("write_passes_read_bit", SVM_EXIT_VMMCALL, write_next);
    expect_equal("written", vmcb.sysenter_esp, 0x7777);
    msrpm[bit / 8] = 0xFF & ~(3 << bit % 8);
    run(read, X86_MSR_SYSENTER_ESP);
    expect_exit("neighbours_intercepted", SVM_EXIT_VMMCALL, read_next);
    msrpm[bit / 8] = 3 << bit % 8;
    guest_new(read);
    guest.ecx = X86_MSR_SYSENTER_ESP;
    guest_run();
    expect_exit("map_without_intercept", SVM_EXIT_VMMCALL, read_next);
    msrpm[bit / 8] = 0;
}

int main(void)
{
    suite_begin();
    run(read, X86_MSR_TSC);
    expect_exit("allowed", SVM_EXIT_VMMCALL, read_next);
    pair("read_tsc", "write_tsc", X86_MSR_TSC, 2 * X86_MSR_TSC);
    pair("read_sysenter_cs", "write_sysenter_cs", X86_MSR_SYSENTER_CS, 2 * X86_MSR_SYSENTER_CS);
    pair("read_0", "write_0", 0, 0);
    pair("read_1fff", "write_1fff", 0x1FFF, 2 * 0x1FFF);
    pair("read_c0000000", "write_c0000000", 0xC0000000, 0x800 * 8);
    pair("read_efer", "write_efer", X86_MSR_EFER, 0x800 * 8 + 2 * 0x80);
    pair("read_c0001fff", "write_c0001fff", 0xC0001FFF, 0x800 * 8 + 2 * 0x1FFF);
    pair("read_c0010000", "write_c0010000", 0xC0010000, 0x1000 * 8);
    pair("read_hsave", "write_hsave", X86_MSR_VM_HSAVE_PA, 0x1000 * 8 + 2 * 0x117);
    pair("read_c0011fff", "write_c0011fff", 0xC0011FFF, 0x1000 * 8 + 2 * 0x1FFF);
    outside("read_2000", 0x2000);
    outside("read_bfffffff", 0xBFFFFFFF);
    outside("read_c0002000", 0xC0002000);
    outside("read_c0012000", 0xC0012000);
    outside("read_40000000", 0x40000000);
    outside("read_ffffffff", 0xFFFFFFFF);
    run(write, 0x80000000);
    expect_exit_info("write_80000000", SVM_EXIT_MSR, write_at, 1, vmcb.exit_info2);
    guest_new(read);
    guest.ecx = 0x2000;
    guest_run();
    expect_guest_trap("unknown_without_intercept", X86_VEC_GP, 0, read_at);
    told_apart();
    return suite_end("msr");
}
