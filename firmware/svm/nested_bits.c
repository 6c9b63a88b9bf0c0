/* nested_bits: accessed and dirty bits in both dimensions: a guest's table is written at the nested level even to be
 * read. APM 15.25.5.
 *
 * expect: nested_bits: 29 checks
 */
#include "nested.h"

#define LINEAR 0x40000000
#define GUEST_PHYSICAL 0x80000000

GUEST(read, "", "movl 0x40000123, %eax");
GUEST(write, "", "movl %eax, 0x40000456");
GUEST(write_flat, "", "movl %eax, 0x80000456");
GUEST(read_flat, "", "movl 0x80000456, %eax");

static uint32_t guest_frame; /* the page of guest tables for LINEAR */

enum { A = X86_PTE_A, D = X86_PTE_D };

static uint32_t bits(const uint32_t *entry) { return *entry & (A | D); }

/* All entries of interest with neither bit set. */
static void fresh(int large, uint32_t guest_flags, uint32_t nested_flags)
{
    *directory_entry(guest_tables, LINEAR) = guest_frame | NESTED_RW;
    map_page(guest_tables, LINEAR, GUEST_PHYSICAL, guest_flags);
    *directory_entry(nested_tables, GUEST_PHYSICAL) = 0;
    if (large) {
        map_large(guest_tables, LINEAR, GUEST_PHYSICAL, guest_flags);
        map_large(nested_tables, GUEST_PHYSICAL, 8 << 20, nested_flags);
    } else
        map_page(nested_tables, GUEST_PHYSICAL, 8 << 20, nested_flags);
    *directory_entry(nested_tables, guest_frame) &= ~(A | D);
    map_page(nested_tables, guest_frame, guest_frame, NESTED_RW);
    map_page(nested_tables, (uint32_t)guest_tables, (uint32_t)guest_tables, NESTED_RW);
}

static void run(void (*code)(void), int paging)
{
    nested_new(code, paging);
    guest_run();
}

static void reading(void)
{
    fresh(0, NESTED_RW, NESTED_RW);
    run(read, 1);
    expect_exit("read", SVM_EXIT_VMMCALL, read_next);
    expect_equal("read_guest_page", bits(page_entry(guest_tables, LINEAR)), A);
    expect_equal("read_guest_directory", bits(directory_entry(guest_tables, LINEAR)) & A, A);
    expect_equal("read_nested_page", bits(page_entry(nested_tables, GUEST_PHYSICAL)), A);
    expect_equal("read_nested_directory", bits(directory_entry(nested_tables, GUEST_PHYSICAL)) & A, A);
    expect_equal("nested_page_of_guest_table", bits(page_entry(nested_tables, guest_frame)), A | D);
    expect_equal("nested_page_of_guest_directory", bits(page_entry(nested_tables, (uint32_t)guest_tables)), A | D);
}

static void writing(void)
{
    fresh(0, NESTED_RW, NESTED_RW);
    run(write, 1);
    expect_exit("write", SVM_EXIT_VMMCALL, write_next);
    expect_equal("write_guest_page", bits(page_entry(guest_tables, LINEAR)), A | D);
    expect_equal("write_nested_page", bits(page_entry(nested_tables, GUEST_PHYSICAL)), A | D);
    fresh(0, NESTED_RW, NESTED_RW);
    run(read, 1);
    nested_new(write, 1);
    vmcb.tlb_control = SVM_TLB_NOTHING;
    guest_run();
    expect_equal("write_after_read_guest_page", bits(page_entry(guest_tables, LINEAR)), A | D);
    expect_equal("write_after_read_nested_page", bits(page_entry(nested_tables, GUEST_PHYSICAL)), A | D);
    fresh(1, NESTED_RW, NESTED_RW);
    run(read, 1);
    expect_equal("large_read_guest", bits(directory_entry(guest_tables, LINEAR)), A);
    expect_equal("large_read_nested", bits(directory_entry(nested_tables, GUEST_PHYSICAL)), A);
    run(write, 1);
    expect_equal("large_write_guest", bits(directory_entry(guest_tables, LINEAR)), A | D);
    expect_equal("large_write_nested", bits(directory_entry(nested_tables, GUEST_PHYSICAL)), A | D);
}

static void faulting(void)
{
    fresh(0, 0, NESTED_RW);
    run(read, 1);
    expect_guest_trap("guest_fault", X86_VEC_PF, 0, read_at);
    expect_equal("guest_fault_dirties_nested_table_page", bits(page_entry(nested_tables, guest_frame)), A | D);
    expect_equal("guest_fault_leaves_final_page", bits(page_entry(nested_tables, GUEST_PHYSICAL)), 0);
    fresh(0, X86_PTE_P | X86_PTE_U, NESTED_RW);
    run(write, 1);
    expect_guest_trap("guest_write_fault", X86_VEC_PF, X86_PF_P | X86_PF_W, write_at);
    expect_equal("guest_write_fault_sets_no_dirty", bits(page_entry(guest_tables, LINEAR)) & D, 0);
    expect_equal("guest_write_fault_leaves_final_page", bits(page_entry(nested_tables, GUEST_PHYSICAL)), 0);
    fresh(0, NESTED_RW, X86_PTE_P | X86_PTE_U);
    run(write, 1);
    expect_equal("nested_fault", vmcb.exit_code, SVM_EXIT_NPF);
    expect_equal("nested_fault_sets_no_nested_dirty", bits(page_entry(nested_tables, GUEST_PHYSICAL)) & D, 0);
    fresh(0, NESTED_RW, NESTED_RW);
    run(write_flat, 0);
    expect_equal("flat_write", bits(page_entry(nested_tables, GUEST_PHYSICAL)), A | D);
    expect_equal("flat_reads_no_guest_table", bits(page_entry(guest_tables, LINEAR)), 0);
    fresh(0, NESTED_RW, NESTED_RW);
    run(read_flat, 0);
    expect_equal("flat_read", bits(page_entry(nested_tables, GUEST_PHYSICAL)), A);
}

int main(void)
{
    nested_begin();
    guest_frame = (uint32_t)frame_new();
    reading();
    writing();
    faulting();
    return suite_end("nested_bits");
}
