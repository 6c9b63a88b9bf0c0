/* The guest of nested.h. */
#include "nested.h"

#include "console.h"

enum { IDENTITY = 16 << 20 };

uint32_t *nested_tables, *guest_tables;

void nested_begin(void)
{
    suite_begin();
    if (!svm_has(SVM_CPUID_NESTED_PAGING)) {
        printf("SKIP no nested paging\n");
        exit(0);
    }
    nested_tables = identity_directory(IDENTITY, 0, NESTED_RW);
    guest_tables = identity_directory(IDENTITY, 0, NESTED_RW);
    paging_on(identity_directory(IDENTITY, 1, NESTED_RW));
}

void nested_new(void (*code)(void), int paging)
{
    guest_new(code);
    vmcb.np_enable = SVM_NP_ENABLE;
    vmcb.n_cr3 = (uint32_t)nested_tables;
    vmcb.tlb_control = SVM_TLB_ALL;
    vmcb.cr3 = (uint32_t)guest_tables;
    vmcb.cr4 = X86_CR4_PSE;
    if (paging)
        vmcb.cr0 |= X86_CR0_PG | X86_CR0_WP;
}

void expect_npf(const char *name, const void *eip, uint32_t error, uint32_t where, uint32_t address)
{
    expect_exit_info(name, SVM_EXIT_NPF, eip, (uint64_t)where << 32 | error, address);
}
