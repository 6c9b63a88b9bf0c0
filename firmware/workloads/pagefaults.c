/* pagefaults: demand-zero pages, write protection and copies, all made by the fault handler.
 *
 * Each round touches a window of 64 pages: first reads find it empty (a fault maps the zero page read-only), first
 * writes find that page read-only (a fault gives it a frame of its own), and the end of the round unmaps it all.
 *
 * iterations: rounds (default 10)
 * expect: pagefaults: 1280 faults
 * expect: pagefaults: checksum 37FFF4BF
 */
#include "boot.h"
#include "console.h"
#include "cpu.h"
#include "page.h"
#include "string.h"
#include "trap.h"

enum { WINDOW = 0x40000000, PAGES = 64 };

static uint32_t *directory, *zero_page, *frames[PAGES], faults;

static void page_fault(struct trap_frame *frame)
{
    uint32_t at = read_cr2(), page = at & -PAGE_SIZE, index = (at - WINDOW) / PAGE_SIZE;

    if (index >= PAGES)
        panic("page fault at %p from %p", (void *)at, (void *)frame->eip);
    faults++;
    if ((frame->error & X86_PF_P) == 0) {
        map_page(directory, page, (uint32_t)zero_page, X86_PTE_P);
    } else {
        memset(frames[index], 0, PAGE_SIZE);
        map_page(directory, page, (uint32_t)frames[index], X86_PTE_P | X86_PTE_W);
        invlpg((void *)page);
    }
}

int main(void)
{
    uint32_t rounds = option_number("iterations", 10), sum = 0;
    volatile uint32_t *window = (volatile uint32_t *)WINDOW;

    zero_page = frame_new();
    for (int n = 0; n < PAGES; n++)
        frames[n] = frame_new();
    directory = identity_directory(boot.ram_end, 1, X86_PTE_P | X86_PTE_W);
    set_handler(X86_VEC_PF, page_fault);
    paging_on(directory);
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t page = 0; page < PAGES; page++) {
            volatile uint32_t *word = &window[page * 1024 + (page * 17 + round) % 1024];

            sum += *word;
            *word += page * round + 1;
        }
        for (uint32_t page = 0; page < PAGES; page++) {
            sum = (sum << 1 | sum >> 31) + window[page * 1024 + (page * 17 + round) % 1024];
            *page_entry(directory, WINDOW + page * PAGE_SIZE) = 0;
        }
        write_cr3(read_cr3());
    }
    printf("pagefaults: %u faults\n", (unsigned)faults);
    print_checksum("pagefaults", sum);
    return 0;
}
