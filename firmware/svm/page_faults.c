/* page_faults: #PF of a guest with paging of its own, nested paging off: intercepted, delivered, CR2. APM 15.12.15.
 *
 * expect: page_faults: 20 checks
 */
#include "boot.h"
#include "page.h"
#include "suite.h"

#define WINDOW 0x40000000

GUEST(read, "", "movl 0x40000123, %eax");
GUEST(write, "", "movl %eax, 0x40000456");
GUEST(execute, "movl $0x40000000, %ecx", "jmp *%ecx");
GUEST(crossing, "", "movl 0x40000FFE, %eax");
GUEST(change_cr3, "movl other_tables, %eax; movl %eax, %cr3", "movl 0x40000000, %ebx");

uint32_t *other_tables;

static uint32_t *tables;
static uint32_t frame;

static void paged(void (*code)(void))
{
    guest_new(code);
    vmcb.cr0 |= X86_CR0_PG | X86_CR0_WP;
    vmcb.cr3 = (uint32_t)tables;
    vmcb.cr2 = 0xC2C2C2C2;
    vmcb.tlb_control = SVM_TLB_ALL;
}

static void fault(const char *name, void (*code)(void), const void *eip, int ring, uint32_t error, uint32_t address)
{
    paged(code);
    if (ring == 3)
        guest_ring3();
    intercept(SVM_EXIT_EXCEPTION_PF);
    guest_run();
    expect_exit_info(name, SVM_EXIT_EXCEPTION_PF, eip, error, address);
}

static void intercepted(void)
{
    fault("read_missing", read, read_at, 0, 0, WINDOW + 0x123);
    expect_equal("cr2_is_not_written", vmcb.cr2, 0xC2C2C2C2);
    fault("write_missing", write, write_at, 0, X86_PF_W, WINDOW + 0x456);
    fault("execute_missing", execute, (void *)WINDOW, 0, 0, WINDOW);
    fault("read_missing_ring3", read, read_at, 3, X86_PF_U, WINDOW + 0x123);
    map_page(tables, WINDOW, frame, X86_PTE_P);
    fault("write_protected", write, write_at, 0, X86_PF_P | X86_PF_W, WINDOW + 0x456);
    fault("read_supervisor", read, read_at, 3, X86_PF_P | X86_PF_U, WINDOW + 0x123);
    fault("write_supervisor", write, write_at, 3, X86_PF_P | X86_PF_U | X86_PF_W, WINDOW + 0x456);
    fault("crossing", crossing, crossing_at, 0, 0, WINDOW + 0x1000);
    expect_equal("fault_sets_no_dirty", *page_entry(tables, WINDOW) & X86_PTE_D, 0);
}

static void delivered(void)
{
    map_page(tables, WINDOW, 0, 0);
    paged(write);
    guest_run();
    expect_guest_trap("delivered", X86_VEC_PF, X86_PF_W, write_at);
    expect_equal("cr2_is_written", vmcb.cr2, WINDOW + 0x456);
    expect_equal("host_cr2_is_the_guests", read_cr2(), WINDOW + 0x456);
    map_page(tables, WINDOW, frame, X86_PTE_P | X86_PTE_W);
    *(volatile uint32_t *)frame = 0;
    paged(write);
    vmcb.rax = 0x600D;
    guest_run();
    expect_exit("mapped", SVM_EXIT_VMMCALL, write_next);
    expect_equal("written_through", *(volatile uint32_t *)(frame + 0x456), 0x600D);
    expect_equal("dirty", *page_entry(tables, WINDOW) & (X86_PTE_A | X86_PTE_D), X86_PTE_A | X86_PTE_D);
}

static void tables_change(void)
{
    uint32_t second = (uint32_t)frame_new();

    map_page(other_tables, WINDOW, second, X86_PTE_P | X86_PTE_W);
    *(volatile uint32_t *)second = 0x5EC0;
    paged(change_cr3);
    guest_run();
    expect_equal("guest_changes_its_tables", guest.ebx, 0x5EC0);
    expect_equal("cr3_out", vmcb.cr3, (uint32_t)other_tables);
}

int main(void)
{
    suite_begin();
    frame = (uint32_t)frame_new();
    tables = identity_directory(4 << 20, 0, X86_PTE_P | X86_PTE_W | X86_PTE_U);
    other_tables = identity_directory(4 << 20, 0, X86_PTE_P | X86_PTE_W | X86_PTE_U);
    intercepted();
    delivered();
    tables_change();
    return suite_end("page_faults");
}
