/* heap: memory that appears, zeroed, when touched: the heap grown and shrunk, the stack deep below its first page. */
#include "user.h"

enum { PAGES = 40, PAGE = 4096 };

static int NOINLINE descend(int depth)
{
    volatile uint8_t room[512];

    for (uint32_t n = 0; n < sizeof room; n += 64)
        room[n] = depth;
    return depth == 0 ? 0 : descend(depth - 1) + (room[64] == (uint8_t)depth);
}

int main(void)
{
    volatile uint32_t *heap = sbrk(PAGES * PAGE);
    int dirty = 0;

    for (int page = 0; page < PAGES; page += 3) {
        for (int word = 0; word < 1024; word += 100)
            dirty += heap[page * 1024 + word] != 0;
        heap[page * 1024 + 1023] = page;
    }
    for (int page = 0; page < PAGES; page += 3)
        dirty += heap[page * 1024 + 1023] != (uint32_t)page;
    int grown = (char *)sbrk(0) - (char *)heap == PAGES * PAGE;
    int refused = (int)sbrk(0x7FFFFFFF) == E_NO_MEMORY;
    int depth = descend(300);

    /* What is given back comes again as zeroes; a page is whole, so an odd break leaves its page in place. */
    heap[5 * 1024] = heap[0] = 7;
    sbrk(-(PAGES * PAGE) + 100);
    sbrk(PAGES * PAGE - 100);
    dirty += heap[5 * 1024] != 0;
    dirty += heap[0] != 7;

    say("heap: %d words dirty, grown %d, too much refused %d, %d frames deep", dirty, grown, refused, depth);
    return dirty != 0 || !grown || !refused || depth != 300;
}
