/* nested_faults: nested page faults: what EXITINFO1 and EXITINFO2 say of each kind, and which fault comes before
 * which. APM 15.25.6.
 *
 * expect: nested_faults: 40 checks
 */
#include "nested.h"

#define LINEAR 0x40000000
#define GUEST_PHYSICAL 0x80000000

GUEST(read, "", "movl 0x40000123, %eax");
GUEST(write, "", "movl %eax, 0x40000456");
GUEST(modify, "", "incl 0x40000456");
GUEST(execute, "movl $0x40000010, %ecx", "jmp *%ecx");
GUEST(crossing, "", "movl 0x40000FFE, %eax");
GUEST(push, "movl $0x40000800, %esp", "pushl %eax");
GUEST(interrupt, "movl $0x40000800, %esp", "int $0x30");
GUEST(read_flat, "", "movl 0x80000123, %eax");
GUEST(write_flat, "", "movl %eax, 0x80000456");

static uint32_t frame, guest_frame; /* where GUEST_PHYSICAL lies; a page of guest tables for LINEAR, system = guest */

enum { FINAL = SVM_NPF_FINAL_HIGH, TABLE = SVM_NPF_TABLE_HIGH, U = SVM_NPF_U, W = SVM_NPF_W, P = SVM_NPF_P };

/* The tables as a good guest has them; a test then breaks one thing. */
static void mend(void)
{
    *directory_entry(guest_tables, LINEAR) = guest_frame | NESTED_RW;
    map_page(guest_tables, LINEAR, GUEST_PHYSICAL, NESTED_RW);
    map_page(guest_tables, LINEAR + PAGE_SIZE, GUEST_PHYSICAL + PAGE_SIZE, NESTED_RW);
    *directory_entry(nested_tables, GUEST_PHYSICAL) = 0;
    map_page(nested_tables, GUEST_PHYSICAL, frame, NESTED_RW);
    map_page(nested_tables, GUEST_PHYSICAL + PAGE_SIZE, frame, NESTED_RW);
    map_page(nested_tables, guest_frame, guest_frame, NESTED_RW);
    map_page(nested_tables, (uint32_t)guest_tables, (uint32_t)guest_tables, NESTED_RW);
}

static void run(void (*code)(void))
{
    nested_new(code, 1);
    vmcb.cr2 = 0xC2C2C2C2;
    guest_run();
}

static void final_page(void)
{
    mend();
    run(read);
    expect_exit("mapped", SVM_EXIT_VMMCALL, read_next);
    map_page(nested_tables, GUEST_PHYSICAL, 0, 0);
    run(read);
    expect_npf("read_missing", read_at, U, FINAL, GUEST_PHYSICAL + 0x123);
    expect_equal("cr2_is_not_written", vmcb.cr2, 0xC2C2C2C2);
    expect_equal("no_event_in_delivery", vmcb.exit_event & SVM_EVENT_V, 0);
    run(write);
    expect_npf("write_missing", write_at, U | W, FINAL, GUEST_PHYSICAL + 0x456);
    run(modify);
    expect_npf("modify_missing", modify_at, U | W, FINAL, GUEST_PHYSICAL + 0x456);
    run(push);
    expect_npf("push_missing", push_at, U | W, FINAL, GUEST_PHYSICAL + 0x7FC);
    run(execute);
    expect_npf("execute_missing", (void *)(LINEAR + 0x10), U | SVM_NPF_FETCH, FINAL, GUEST_PHYSICAL + 0x10);
    *directory_entry(nested_tables, GUEST_PHYSICAL) = 0;
    run(read);
    expect_npf("directory_missing", read_at, U, FINAL, GUEST_PHYSICAL + 0x123);
    mend();
    map_page(nested_tables, GUEST_PHYSICAL + PAGE_SIZE, 0, 0);
    run(crossing);
    expect_npf("second_page_missing", crossing_at, U, FINAL, GUEST_PHYSICAL + PAGE_SIZE);
    mend();
    map_page(nested_tables, GUEST_PHYSICAL, frame, X86_PTE_P | X86_PTE_U);
    run(read);
    expect_exit("read_only_reads", SVM_EXIT_VMMCALL, read_next);
    run(write);
    expect_npf("read_only_writes", write_at, P | U | W, FINAL, GUEST_PHYSICAL + 0x456);
    nested_new(write, 1);
    vmcb.cr0 &= ~(uint64_t)X86_CR0_WP;
    guest_run();
    expect_npf("guest_wp_does_not_matter", write_at, P | U | W, FINAL, GUEST_PHYSICAL + 0x456);
    write_cr0(read_cr0() & ~X86_CR0_WP);
    run(write);
    expect_npf("host_wp_does_not_matter", write_at, P | U | W, FINAL, GUEST_PHYSICAL + 0x456);
    write_cr0(read_cr0() | X86_CR0_WP);
    map_page(nested_tables, GUEST_PHYSICAL, frame, X86_PTE_P | X86_PTE_W);
    run(read);
    expect_npf("supervisor_page", read_at, P | U, FINAL, GUEST_PHYSICAL + 0x123);
    mend();
    *directory_entry(nested_tables, GUEST_PHYSICAL) &= ~X86_PTE_W;
    run(write);
    expect_npf("read_only_directory", write_at, P | U | W, FINAL, GUEST_PHYSICAL + 0x456);
    map_large(nested_tables, GUEST_PHYSICAL, 8 << 20, NESTED_RW | 1 << 21);
    run(read);
    expect_npf("reserved_bit", read_at, P | U | SVM_NPF_RSVD, FINAL, GUEST_PHYSICAL + 0x123);
}

static void tables(void)
{
    mend();
    map_page(nested_tables, guest_frame, 0, 0);
    run(read);
    expect_npf("table_missing", read_at, U | W, TABLE, guest_frame);
    run(execute);
    expect_npf("table_missing_execute", (void *)(LINEAR + 0x10), U | W, TABLE, guest_frame);
    map_page(nested_tables, guest_frame, guest_frame, X86_PTE_P | X86_PTE_U);
    run(read);
    expect_npf("table_read_only", read_at, P | U | W, TABLE, guest_frame);
    map_page(nested_tables, guest_frame, guest_frame, X86_PTE_P | X86_PTE_W);
    run(read);
    expect_npf("table_supervisor", read_at, P | U | W, TABLE, guest_frame);
    mend();
    map_page(nested_tables, (uint32_t)guest_tables, 0, 0);
    run(read);
    expect_equal("directory_page_missing", vmcb.exit_info1, (uint64_t)TABLE << 32 | U | W);
    mend();
    *directory_entry(guest_tables, LINEAR) = 0x90000000 | NESTED_RW;
    run(crossing);
    expect_npf("table_beyond", crossing_at, U | W, TABLE, 0x90000000);
    mend();
}

static void order(void)
{
    mend();
    map_page(nested_tables, GUEST_PHYSICAL, 0, 0);
    map_page(guest_tables, LINEAR, GUEST_PHYSICAL, X86_PTE_P | X86_PTE_U);
    run(write);
    expect_guest_trap("guest_permission_before_final", X86_VEC_PF, X86_PF_P | X86_PF_W, write_at);
    expect_equal("guest_fault_writes_cr2", vmcb.cr2, LINEAR + 0x456);
    map_page(guest_tables, LINEAR, GUEST_PHYSICAL, 0);
    run(read);
    expect_guest_trap("guest_not_present", X86_VEC_PF, 0, read_at);
    map_page(nested_tables, guest_frame, 0, 0);
    run(read);
    expect_npf("table_before_guest_not_present", read_at, U | W, TABLE, guest_frame);
    nested_new(read, 1);
    map_page(nested_tables, guest_frame, guest_frame, NESTED_RW);
    intercept(SVM_EXIT_EXCEPTION_PF);
    guest_run();
    expect_exit_info("guest_fault_intercepted", SVM_EXIT_EXCEPTION_PF, read_at, 0, LINEAR + 0x123);
}

static void in_delivery(void)
{
    mend();
    map_page(nested_tables, GUEST_PHYSICAL, 0, 0);
    run(interrupt);
    expect_npf("in_delivery", interrupt_at, U | W, FINAL, (uint32_t)vmcb.exit_info2);
    expect("in_delivery_address",
           vmcb.exit_info2 - GUEST_PHYSICAL < 0x800 && vmcb.exit_info2 - GUEST_PHYSICAL >= 0x7F4);
    expect_exit_event("in_delivery_event", SVM_EVENT_V | SVM_EVENT_TYPE_SOFTWARE | 0x30, 0);
    nested_new(read, 1);
    vmcb.event = SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT | 0x31;
    vmcb.rsp = LINEAR + 0x800;
    guest_run();
    expect_equal("in_injection", vmcb.exit_code, SVM_EXIT_NPF);
    expect_exit_event("in_injection_event", SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT | 0x31, 0);
}

/* The host mends its table and the guest goes on where it was, as if nothing had happened. */
static void resumed(void)
{
    mend();
    map_page(nested_tables, GUEST_PHYSICAL, 0, 0);
    run(write);
    map_page(nested_tables, GUEST_PHYSICAL, frame, NESTED_RW);
    vmcb.rax = 0x5AFE;
    guest_run();
    expect_exit("resumed", SVM_EXIT_VMMCALL, write_next);
    expect_equal("resumed_write", *(volatile uint32_t *)(frame + 0x456), 0x5AFE);
}

static void paging_off_in_guest(void)
{
    mend();
    map_page(nested_tables, GUEST_PHYSICAL, 0, 0);
    nested_new(read_flat, 0);
    guest_run();
    expect_npf("flat_read", read_flat_at, U, FINAL, GUEST_PHYSICAL + 0x123);
    nested_new(write_flat, 0);
    guest_run();
    expect_npf("flat_write", write_flat_at, U | W, FINAL, GUEST_PHYSICAL + 0x456);
    nested_new(read_flat, 0);
    guest_ring3();
    guest_run();
    expect_npf("flat_ring3", read_flat_at, U, FINAL, GUEST_PHYSICAL + 0x123);
}

int main(void)
{
    nested_begin();
    frame = (uint32_t)frame_new();
    guest_frame = (uint32_t)frame_new();
    final_page();
    tables();
    order();
    in_delivery();
    resumed();
    paging_off_in_guest();
    return suite_end("nested_faults");
}
