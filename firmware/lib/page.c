/* Page tables and the frames they are made of. */
#include "page.h"

#include "boot.h"
#include "console.h"
#include "cpu.h"
#include "string.h"

static uint32_t next_frame;

void *frame_new(void)
{
    if (next_frame == 0)
        next_frame = ((uint32_t)image_end + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    if (next_frame + PAGE_SIZE > boot.ram_end)
        panic("out of memory at %p", (void *)next_frame);
    void *frame = (void *)next_frame;

    next_frame += PAGE_SIZE;
    return memset(frame, 0, PAGE_SIZE);
}

uint32_t *directory_entry(uint32_t *directory, uint32_t at) { return &directory[at / LARGE_PAGE_SIZE]; }

uint32_t *page_entry(uint32_t *directory, uint32_t at)
{
    uint32_t *entry = directory_entry(directory, at);

    /* Rights are the intersection of the two levels: the directory allows all, the page decides. */
    if ((*entry & X86_PTE_P) == 0)
        *entry = (uint32_t)frame_new() | X86_PTE_P | X86_PTE_W | X86_PTE_U;
    return (uint32_t *)(*entry & -PAGE_SIZE) + at / PAGE_SIZE % 1024;
}

void map_page(uint32_t *directory, uint32_t at, uint32_t frame, uint32_t flags)
{
    *page_entry(directory, at) = frame | flags;
}

void map_large(uint32_t *directory, uint32_t at, uint32_t frame, uint32_t flags)
{
    *directory_entry(directory, at) = frame | flags | X86_PTE_PS;
}

uint32_t *identity_directory(uint32_t end, int large, uint32_t flags)
{
    uint32_t *directory = frame_new();

    for (uint32_t at = 0; at < end; at += large ? LARGE_PAGE_SIZE : PAGE_SIZE) {
        if (large)
            map_large(directory, at, at, flags);
        else
            map_page(directory, at, at, flags);
    }
    return directory;
}

void paging_on(uint32_t *directory)
{
    write_cr4(read_cr4() | X86_CR4_PSE);
    write_cr3((uint32_t)directory);
    write_cr0(read_cr0() | X86_CR0_PG | X86_CR0_WP);
}

void paging_off(void) { write_cr0(read_cr0() & ~X86_CR0_PG); }
