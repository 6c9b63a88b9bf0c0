/* nested_walk: guest-linear to guest-physical to system-physical, for every pair of page sizes, and the course's
 * example. APM 15.25.
 *
 * expect: nested_walk: 25 checks
 */
#include "nested.h"

#define LINEAR 0x40000000 /* what the guest uses */
#define GUEST_PHYSICAL 0x80000000
#define OFFSET 0x345678 /* in 4 MiB; its last twelve bits in 4 KiB */

GUEST(read, "", "movl (%esi), %ebx");
GUEST(read_two, "movl (%esi), %ebx", "movl (%edi), %ecx");
GUEST(write, "", "movl %ebx, (%esi)");
/* Two pages of 4 MiB, whose entry changes then. */
GUEST(invalidate, "movl 0x40005000, %ebx; movl 0x40011000, %ecx; movl %esi, (%edi); invlpg 0x40000000",
      "movl 0x40005000, %ebx; movl 0x40011000, %ecx");
GUEST(execute, "", "call *%esi");
GUEST(course, "movl 0x1000, %ebx; movl $0x14007, (%edi); movl $0x4000, %ecx; invlpg (%ecx)", "movl $0xC0DE, (%ecx)");

static uint32_t big; /* 4 MiB of RAM, aligned, that no table and no code is in */

static volatile uint32_t *word(uint32_t at) { return (volatile uint32_t *)at; }

/* Map LINEAR to GUEST_PHYSICAL to `big` with these sizes, the small pages being the ones that hold OFFSET. */
static uint32_t map(int guest_large, int host_large)
{
    const uint32_t page = OFFSET & -PAGE_SIZE;

    if (guest_large)
        map_large(guest_tables, LINEAR, GUEST_PHYSICAL, NESTED_RW);
    else {
        *directory_entry(guest_tables, LINEAR) = 0;
        map_page(guest_tables, LINEAR + page, GUEST_PHYSICAL + page, NESTED_RW);
    }
    if (host_large)
        map_large(nested_tables, GUEST_PHYSICAL, big, NESTED_RW);
    else {
        *directory_entry(nested_tables, GUEST_PHYSICAL) = 0;
        map_page(nested_tables, GUEST_PHYSICAL + page, big + page, NESTED_RW);
    }
    return LINEAR + OFFSET;
}

static void pair(const char *const names[3], int guest_large, int host_large)
{
    const uint32_t at = map(guest_large, host_large);

    *word(big + OFFSET) = 0x11110000 + guest_large * 2 + host_large;
    nested_new(read, 1);
    guest.esi = at;
    guest_run();
    expect_equal(names[0], guest.ebx, 0x11110000 + guest_large * 2 + host_large);
    nested_new(write, 1);
    guest.esi = at;
    guest.ebx = 0x22220000 + guest_large * 2 + host_large;
    guest_run();
    expect_equal(names[1], *word(big + OFFSET), guest.ebx);
    *word(big + OFFSET) = 0xC3; /* RET */
    nested_new(execute, 1);
    guest.esi = at;
    guest_run();
    expect_exit(names[2], SVM_EXIT_VMMCALL, execute_next);
}

static void paging_off_in_guest(void)
{
    map(0, 0);
    *word(big + OFFSET) = 0x0FF;
    nested_new(read, 0);
    guest.esi = GUEST_PHYSICAL + OFFSET;
    guest_run();
    expect_equal("no_guest_paging_4k", guest.ebx, 0x0FF);
    map(0, 1);
    *word(big + OFFSET) = 0x1FF;
    nested_new(read, 0);
    guest.esi = GUEST_PHYSICAL + OFFSET;
    guest_run();
    expect_equal("no_guest_paging_4m", guest.ebx, 0x1FF);
}

/* A large page of the guest over small ones of the host, and the other way round: neighbours go their own ways. */
static void splinters(void)
{
    static uint32_t other[1024] PAGE_ALIGNED;

    map(1, 0);
    map_page(nested_tables, GUEST_PHYSICAL + (OFFSET & -PAGE_SIZE) + PAGE_SIZE, (uint32_t)other, NESTED_RW);
    *word(big + (OFFSET & -PAGE_SIZE) + PAGE_SIZE - 4) = 0xB16;
    other[0] = 0x07E2;
    nested_new(read_two, 1);
    guest.esi = LINEAR + (OFFSET & -PAGE_SIZE) + PAGE_SIZE - 4;
    guest.edi = guest.esi + 4;
    guest_run();
    expect("large_over_small", guest.ebx == 0xB16 && guest.ecx == 0x07E2);
    map(0, 1);
    map_page(guest_tables, LINEAR + (OFFSET & -PAGE_SIZE) + PAGE_SIZE, GUEST_PHYSICAL, NESTED_RW);
    *word(big) = 0xF125;
    nested_new(read_two, 1);
    guest.esi = LINEAR + (OFFSET & -PAGE_SIZE) + PAGE_SIZE - 4;
    guest.edi = guest.esi + 4;
    guest_run();
    expect("small_over_large", guest.ebx == 0xB16 && guest.ecx == 0xF125);
    nested_new(read, 1);
    guest.esi = LINEAR + (OFFSET & -PAGE_SIZE) + PAGE_SIZE - 2;
    *word(big + (OFFSET & -PAGE_SIZE) + PAGE_SIZE - 4) = 0x1122CCCC;
    *word(big) = 0xCCCC3344;
    guest_run();
    expect_equal("across", guest.ebx, 0x33441122);
}

/* INVLPG of a large page of the guest takes every piece of it from the TLB. */
static void invalidated_splinters(void)
{
    const uint32_t moved = big + LARGE_PAGE_SIZE / 2;

    *directory_entry(nested_tables, GUEST_PHYSICAL) = 0;
    for (uint32_t page = 0x5000; page <= 0x11000; page += 0xC000) {
        *word(big + page) = page;
        *word(moved + page) = 0xB0000 + page;
        map_page(nested_tables, GUEST_PHYSICAL + page, big + page, NESTED_RW);
        map_page(nested_tables, GUEST_PHYSICAL + LARGE_PAGE_SIZE + page, moved + page, NESTED_RW);
    }
    map_large(guest_tables, LINEAR, GUEST_PHYSICAL, NESTED_RW);
    nested_new(invalidate, 1);
    guest.edi = (uint32_t)directory_entry(guest_tables, LINEAR);
    guest.esi = *(uint32_t *)guest.edi + LARGE_PAGE_SIZE;
    guest_run();
    expect("invlpg_of_all_pieces", guest.ebx == 0xB5000 && guest.ecx == 0xC1000);
}

/* GVA 1000h -> GPA 23000h -> HPA 17000h; then the guest maps VA 4000h -> PA 14000h, which the host has put at HPA
 * 1B000h. */
static void course_example(void)
{
    map_page(guest_tables, 0x1000, 0x23000, NESTED_RW);
    map_page(nested_tables, 0x23000, 0x17000, NESTED_RW);
    map_page(nested_tables, 0x14000, 0x1B000, NESTED_RW);
    *page_entry(guest_tables, 0x4000) = 0;
    *word(0x17000) = 0x17171717;
    *word(0x1B000) = *word(0x14000) = 0;
    nested_new(course, 1);
    guest.edi = (uint32_t)page_entry(guest_tables, 0x4000);
    guest_run();
    expect_exit("course_runs", SVM_EXIT_VMMCALL, course_next);
    expect_equal("course_reads_17000", guest.ebx, 0x17171717);
    expect_equal("course_writes_1b000", *word(0x1B000), 0xC0DE);
    expect_equal("course_leaves_14000", *word(0x14000), 0);
    expect_equal("course_entry_is_the_guests", *page_entry(guest_tables, 0x4000) & X86_PTE_FRAME, 0x14000);
}

int main(void)
{
    nested_begin();
    big = 8 << 20;
    pair((const char *const[]){"read_4k_4k", "write_4k_4k", "execute_4k_4k"}, 0, 0);
    pair((const char *const[]){"read_4k_4m", "write_4k_4m", "execute_4k_4m"}, 0, 1);
    pair((const char *const[]){"read_4m_4k", "write_4m_4k", "execute_4m_4k"}, 1, 0);
    pair((const char *const[]){"read_4m_4m", "write_4m_4m", "execute_4m_4m"}, 1, 1);
    paging_off_in_guest();
    splinters();
    invalidated_splinters();
    course_example();
    return suite_end("nested_walk");
}
