/* chase: a linked list whose every node lies in another page, in an order no prefetcher guesses.
 *
 * Paging is on, so that each step asks the TLB for a new page.
 *
 * iterations: rounds over the list (default 100)
 * pages: how many nodes (default 256; the machine needs as many free pages)
 * size: page size, 4k (default) or 4m
 * expect: chase: checksum F3FF9BFF
 */
#include "boot.h"
#include "console.h"
#include "page.h"

struct node {
    struct node *next;
    uint32_t value;
};

static struct node *make_list(uint32_t pages)
{
    uint32_t *order = frame_new(), random = 7;
    struct node *first;

    if (pages == 0 || pages > PAGE_SIZE / sizeof *order)
        panic("pages=%u: wanted 1 to %u", (unsigned)pages, (unsigned)(PAGE_SIZE / sizeof *order));
    for (uint32_t n = 0; n < pages; n++)
        order[n] = (uint32_t)frame_new() + n % 64 * 64; /* spread over the lines of a page, and so over cache sets */
    for (uint32_t n = pages - 1; n > 0; n--) {
        random = random * 1664525 + 1013904223;
        uint32_t other = (random >> 8) % (n + 1), t = order[n];

        order[n] = order[other];
        order[other] = t;
    }
    first = (struct node *)order[0];
    for (uint32_t n = 0; n < pages; n++) {
        struct node *node = (struct node *)order[n];

        node->next = (struct node *)order[(n + 1) % pages];
        node->value = n;
    }
    return first;
}

static uint32_t NOINLINE chase(const struct node *node, uint32_t steps)
{
    uint32_t sum = 0;

    for (; steps != 0; steps--) {
        sum = (sum << 1 | sum >> 31) + node->value;
        node = node->next;
    }
    return sum;
}

int main(void)
{
    uint32_t rounds = option_number("iterations", 100), pages = option_number("pages", 256);
    struct node *list = make_list(pages);

    paging_on(identity_directory(boot.ram_end, option_is("size", "4m"), X86_PTE_P | X86_PTE_W));
    print_checksum("chase", chase(list, rounds * pages));
    return 0;
}
