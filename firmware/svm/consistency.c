/* consistency: every illegal state VMRUN must refuse with VMEXIT_INVALID, the host none the worse. APM 15.5.1, 15.20.
 *
 * expect: consistency: 40 checks
 */
#include "page.h"
#include "suite.h"

GUEST(nothing, "", "movl $1, ran");

uint32_t ran;

/* Run the guest as it was made: refused, and not one of its instructions executed. */
static void invalid(const char *name)
{
    guest_run();
    expect_refused(name, ran == 0);
    guest_new(nothing);
    ran = 0;
}

static void valid(const char *name)
{
    guest_run();
    expect_exit(name, SVM_EXIT_VMMCALL, nothing_next);
    guest_new(nothing);
    ran = 0;
}

static void registers(void)
{
    vmcb.efer = 0;
    invalid("efer_without_svme");
    vmcb.efer |= 1 << 1;
    invalid("efer_bit_1");
    vmcb.efer |= 1ull << 40;
    invalid("efer_bit_40");
    vmcb.cr0 |= X86_CR0_NW;
    invalid("nw_without_cd");
    vmcb.cr0 |= X86_CR0_NW | X86_CR0_CD;
    valid("nw_with_cd");
    vmcb.cr0 |= 1ull << 32;
    invalid("cr0_bit_32");
    vmcb.cr0 |= 1ull << 63;
    invalid("cr0_bit_63");
    vmcb.cr4 |= 1ull << 31;
    invalid("cr4_bit_31");
    vmcb.cr4 |= 1ull << 32;
    invalid("cr4_bit_32");
    vmcb.dr6 |= 1ull << 32;
    invalid("dr6_bit_32");
    vmcb.dr7 |= 1ull << 32;
    invalid("dr7_bit_32");
    vmcb.dr6 |= 1ull << 63;
    invalid("dr6_bit_63");
    vmcb.dr7 |= 1ull << 63;
    invalid("dr7_bit_63");
}

static void controls(void)
{
    no_intercept(SVM_EXIT_VMRUN);
    invalid("vmrun_not_intercepted");
    vmcb.asid = 0;
    invalid("asid_0");
    vmcb.asid = cpuid(SVM_CPUID_LEAF).ebx - 1;
    valid("last_asid");
    intercept(SVM_EXIT_IOIO);
    vmcb.iopm_base = 0xFFFFFFFFFFFFF000;
    invalid("iopm_beyond_memory");
    intercept(SVM_EXIT_MSR);
    vmcb.msrpm_base = 0xFFFFFFFFFFFFF000;
    invalid("msrpm_beyond_memory");
    intercept(SVM_EXIT_IOIO);
    vmcb.iopm_base |= 0xFFF;
    valid("iopm_low_bits_ignored");
    intercept(SVM_EXIT_MSR);
    vmcb.msrpm_base |= 0xFFF;
    valid("msrpm_low_bits_ignored");
}

static void event(const char *name, uint32_t what)
{
    vmcb.event = SVM_EVENT_V | what;
    invalid(name);
}

static void events(void)
{
    event("event_type_1", 0x100 | 0x20);
    event("event_type_5", 0x500 | 0x20);
    event("event_type_6", 0x600 | 0x20);
    event("event_type_7", 0x700 | 0x20);
    event("exception_2", SVM_EVENT_TYPE_EXCEPTION | 2);
    event("exception_32", SVM_EVENT_TYPE_EXCEPTION | 32);
    event("exception_255", SVM_EVENT_TYPE_EXCEPTION | 255);
    vmcb.event = SVM_EVENT_TYPE_EXCEPTION | 255;
    valid("event_not_valid_is_not_checked");
}

/* Several wrongs at once, and what an illegal VMRUN leaves in the VMCB. */
static void leavings(void)
{
    vmcb.asid = 0;
    vmcb.efer = 0;
    vmcb.event = SVM_EVENT_V | 0x700;
    invalid("three_at_once");
    vmcb.asid = 0;
    vmcb.event = SVM_EVENT_V | SVM_EVENT_TYPE_EXCEPTION | X86_VEC_UD;
    guest_run();
    expect_equal("exit_code_is_64_ones", vmcb.exit_code, (uint64_t)-1);
    guest_new(nothing);
    valid("then_a_good_guest");
}

static void nested(void)
{
    if (!svm_has(SVM_CPUID_NESTED_PAGING)) {
        skip("np_without_host_paging");
        skip("np_with_host_paging");
        skip("pat_type_2");
        skip("pat_type_3");
        skip("pat_reserved_bit");
        skip("pat_unused_without_np");
        return;
    }
    uint32_t *tables = identity_directory(16 << 20, 1, X86_PTE_P | X86_PTE_W | X86_PTE_U);

    vmcb.np_enable = 1;
    vmcb.n_cr3 = (uint32_t)tables;
    invalid("np_without_host_paging");
    paging_on(tables);
    vmcb.np_enable = 1;
    vmcb.n_cr3 = (uint32_t)tables;
    valid("np_with_host_paging");
    vmcb.np_enable = 1;
    vmcb.n_cr3 = (uint32_t)tables;
    vmcb.g_pat = (vmcb.g_pat & ~0xFFull) | 2;
    invalid("pat_type_2");
    vmcb.np_enable = 1;
    vmcb.n_cr3 = (uint32_t)tables;
    vmcb.g_pat = (vmcb.g_pat & ~(0xFFull << 56)) | 3ull << 56;
    invalid("pat_type_3");
    vmcb.np_enable = 1;
    vmcb.n_cr3 = (uint32_t)tables;
    vmcb.g_pat |= 1 << 7;
    invalid("pat_reserved_bit");
    vmcb.g_pat = 0x0202020202020202;
    valid("pat_unused_without_np");
    paging_off();
}

int main(void)
{
    suite_begin();
    guest_new(nothing);
    valid("template");
    registers();
    controls();
    events();
    leavings();
    nested();
    return suite_end("consistency");
}
