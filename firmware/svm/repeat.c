/* repeat: a REP instruction that exits half-way has done so much and no more, and goes on when the guest is run
 * again. APM 15.7, 15.25.6.
 *
 * expect: repeat: 15 checks
 */
#include "nested.h"
#include "string.h"
#include "svm.h"

#define LINEAR 0x40000000
#define GUEST_PHYSICAL 0x80000000

GUEST(store, "", "rep stosb");
GUEST(copy, "", "rep movsl");

enum { LONG = 2 << 20 };

static uint32_t first, second; /* frames of two pages in a row */

static void map(uint32_t second_flags)
{
    for (uint32_t n = 0; n < 2; n++)
        map_page(guest_tables, LINEAR + n * PAGE_SIZE, GUEST_PHYSICAL + n * PAGE_SIZE, NESTED_RW);
    map_page(nested_tables, GUEST_PHYSICAL, first, NESTED_RW);
    map_page(nested_tables, GUEST_PHYSICAL + PAGE_SIZE, second, second_flags);
}

static void faults(void)
{
    memset((void *)first, 0, PAGE_SIZE);
    memset((void *)second, 0, PAGE_SIZE);
    map(0);
    nested_new(store, 1);
    vmcb.rax = 0x77;
    guest.edi = LINEAR + PAGE_SIZE - 5;
    guest.ecx = 12;
    guest_run();
    expect_npf("store_faults", store_at, SVM_NPF_U | SVM_NPF_W, SVM_NPF_FINAL_HIGH, GUEST_PHYSICAL + PAGE_SIZE);
    expect("store_progress", guest.ecx == 7 && guest.edi == LINEAR + PAGE_SIZE);
    expect("store_so_much", *(volatile uint8_t *)(first + 4095) == 0x77 && *(volatile uint8_t *)(first + 4090) == 0);
    map(NESTED_RW);
    guest_run();
    expect_exit("store_goes_on", SVM_EXIT_VMMCALL, store_next);
    expect("store_complete", guest.ecx == 0 && *(volatile uint8_t *)(second + 6) == 0x77 &&
                                 *(volatile uint8_t *)(second + 7) == 0);
    map(X86_PTE_P | X86_PTE_U);
    nested_new(copy, 1);
    guest.esi = (uint32_t)guest_stack;
    guest.edi = LINEAR + PAGE_SIZE - 8;
    guest.ecx = 4;
    guest_run();
    expect_npf("copy_faults", copy_at, SVM_NPF_P | SVM_NPF_U | SVM_NPF_W, SVM_NPF_FINAL_HIGH,
               GUEST_PHYSICAL + PAGE_SIZE);
    expect("copy_progress", guest.ecx == 2 && guest.esi == (uint32_t)guest_stack + 8);
    map(0);
    nested_new(copy, 1);
    guest.edi = (uint32_t)guest_stack;
    guest.esi = LINEAR + PAGE_SIZE - 4;
    guest.ecx = 4;
    guest_run();
    expect_npf("copy_from_faults", copy_at, SVM_NPF_U, SVM_NPF_FINAL_HIGH, GUEST_PHYSICAL + PAGE_SIZE);
    expect("copy_from_progress", guest.ecx == 3 && guest.edi == (uint32_t)guest_stack + 4);
}

/* An interrupt ends it between two iterations. */
static void interrupts(void)
{
    guest_new(store);
    vmcb.vintr = 0;
    vmcb.rflags |= X86_EFLAGS_IF;
    guest.edi = 8 << 20;
    guest.ecx = LONG;
    watchdog = 0;
    alarm_in(60);
    guest_run();
    watchdog = 1;
    expect_exit("interrupted", SVM_EXIT_INTR, store);
    expect("interrupted_progress", guest.ecx < LONG && guest.edi - (8 << 20) == LONG - guest.ecx);
    guest.ecx = guest.ecx < 100 ? guest.ecx : 100;
    uint32_t rest = guest.edi + guest.ecx;

    guest_run();
    expect_exit("interrupted_goes_on", SVM_EXIT_VMMCALL, store_next);
    expect("interrupted_complete", guest.ecx == 0 && guest.edi == rest);
}

int main(void)
{
    nested_begin();
    first = (uint32_t)frame_new();
    second = (uint32_t)frame_new();
    faults();
    interrupts();
    return suite_end("repeat");
}
