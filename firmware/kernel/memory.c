/* The frame allocator: a list threaded through the free frames, and a count for each. */
#include "memory.h"

#include "abi.h"
#include "boot.h"
#include "console.h"
#include "string.h"

static uint16_t *references;
static uint32_t free_list, free_count, first_frame;

uint32_t memory_end(void)
{
    uint32_t end = boot.ram_end < USER_BASE ? boot.ram_end : USER_BASE;

    return end & -FRAME_SIZE;
}

void memory_init(void)
{
    uint32_t end = memory_end(), table = ((uint32_t)image_end + 3) & ~3u;

    references = (uint16_t *)table;
    memset(references, 0, end / FRAME_SIZE * sizeof *references);
    first_frame = (table + end / FRAME_SIZE * sizeof *references + FRAME_SIZE - 1) & -FRAME_SIZE;
    for (uint32_t frame = end; frame > first_frame;) {
        frame -= FRAME_SIZE;
        *(uint32_t *)frame = free_list;
        free_list = frame;
        free_count++;
    }
}

uint32_t frame_alloc(void)
{
    uint32_t frame = free_list;

    if (frame == 0)
        return 0;
    free_list = *(uint32_t *)frame;
    free_count--;
    references[frame / FRAME_SIZE] = 1;
    memset((void *)frame, 0, FRAME_SIZE);
    return frame;
}

void frame_share(uint32_t frame) { references[frame / FRAME_SIZE]++; }

void frame_release(uint32_t frame)
{
    if (references[frame / FRAME_SIZE] == 0)
        panic("frame %p released twice", (void *)frame);
    if (--references[frame / FRAME_SIZE] != 0)
        return;
    *(uint32_t *)frame = free_list;
    free_list = frame;
    free_count++;
}

uint32_t frame_references(uint32_t frame) { return references[frame / FRAME_SIZE]; }

uint32_t frames_free(void) { return free_count; }
