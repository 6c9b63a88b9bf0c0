/* Address spaces, demand-zero pages and copy-on-write. */
#include "space.h"

#include "abi.h"
#include "cpu.h"
#include "gigogne.h"
#include "memory.h"
#include "string.h"

enum {
    ENTRIES = 1024,
    LARGE_SIZE = 4 << 20,
    FIRST_USER_ENTRY = USER_BASE / LARGE_SIZE,
    PTE_COPY_ON_WRITE = 1 << 9, /* one of the bits the processor leaves to us */
    PTE_FLAGS = 0xFFF,
};

static uint32_t kernel_directory;

static uint32_t *entries(uint32_t table) { return (uint32_t *)(table & ~PTE_FLAGS); }

void space_init(void)
{
    uint32_t *directory;

    kernel_directory = frame_alloc();
    directory = entries(kernel_directory);
    for (uint32_t at = 0; at < memory_end(); at += LARGE_SIZE)
        directory[at / LARGE_SIZE] = at | X86_PTE_P | X86_PTE_W | X86_PTE_PS | X86_PTE_G;
    write_cr4(read_cr4() | X86_CR4_PSE);
    write_cr3(kernel_directory);
    write_cr0(read_cr0() | X86_CR0_PG | X86_CR0_WP);
    write_cr4(read_cr4() | X86_CR4_PGE); /* only after PG, SDM vol. 3A, 4.10.2.4 */
}

void space_use(const struct space *space) { write_cr3(space == NULL ? kernel_directory : space->directory); }

int space_new(struct space *space)
{
    memset(space, 0, sizeof *space);
    space->directory = frame_alloc();
    if (space->directory == 0)
        return 0;
    memcpy(entries(space->directory), entries(kernel_directory), FIRST_USER_ENTRY * sizeof(uint32_t));
    return 1;
}

/* The entry of a user page, or NULL when it has no table. */
static uint32_t *find_entry(const struct space *space, uint32_t at)
{
    uint32_t table = entries(space->directory)[at / LARGE_SIZE];

    return table & X86_PTE_P ? &entries(table)[at / FRAME_SIZE % ENTRIES] : NULL;
}

/* The same, the table made if need be; NULL when memory is out. */
static uint32_t *make_entry(struct space *space, uint32_t at)
{
    uint32_t *slot = &entries(space->directory)[at / LARGE_SIZE];

    if ((*slot & X86_PTE_P) == 0) {
        uint32_t table = frame_alloc();

        if (table == 0)
            return NULL;
        *slot = table | X86_PTE_P | X86_PTE_W | X86_PTE_U;
    }
    return find_entry(space, at);
}

void space_unmap(struct space *space, uint32_t start, uint32_t end)
{
    for (uint32_t at = start; at < end; at += FRAME_SIZE) {
        uint32_t *entry = find_entry(space, at);

        if (entry == NULL || (*entry & X86_PTE_P) == 0)
            continue;
        frame_release(*entry & ~PTE_FLAGS);
        *entry = 0;
        invlpg((void *)at);
    }
}

void space_free(struct space *space)
{
    if (space->directory == 0)
        return;
    for (int n = 0; n < REGIONS; n++)
        space_unmap(space, space->regions[n].start, space->regions[n].end);
    for (int n = FIRST_USER_ENTRY; n < ENTRIES; n++)
        if (entries(space->directory)[n] & X86_PTE_P)
            frame_release(entries(space->directory)[n] & ~PTE_FLAGS);
    frame_release(space->directory);
    space->directory = 0;
}

/* Let the child share a page; a page that may be written is then neither's own. */
static int share_page(struct space *child, uint32_t at, uint32_t *entry)
{
    uint32_t *copy = make_entry(child, at);

    if (copy == NULL)
        return 0;
    if (*entry & X86_PTE_W)
        *entry = (*entry & ~X86_PTE_W) | PTE_COPY_ON_WRITE;
    *copy = *entry;
    frame_share(*entry & ~PTE_FLAGS);
    return 1;
}

int space_fork(struct space *child, struct space *parent)
{
    int made;

    if (!space_new(child))
        return 0;
    memcpy(child->regions, parent->regions, sizeof child->regions);
    child->heap = child->regions + (parent->heap - parent->regions);
    made = 1;
    for (int n = 0; n < REGIONS; n++) {
        for (uint32_t at = parent->regions[n].start; at < parent->regions[n].end && made; at += FRAME_SIZE) {
            uint32_t *entry = find_entry(parent, at);

            if (entry != NULL && (*entry & X86_PTE_P) != 0)
                made = share_page(child, at, entry);
        }
    }
    write_cr3(read_cr3()); /* the parent's pages just became read-only */
    return made;
}

static const struct region *find_region(const struct space *space, uint32_t at)
{
    for (int n = 0; n < REGIONS; n++)
        if (at >= space->regions[n].start && at < space->regions[n].end)
            return &space->regions[n];
    return NULL;
}

int space_allows(const struct space *space, uint32_t start, uint32_t length, int writing)
{
    if (start + length < start)
        return 0;
    for (uint32_t at = start; at < start + length;) {
        const struct region *region = find_region(space, at);

        if (region == NULL || (writing && !region->writable))
            return 0;
        at = region->end;
    }
    return 1;
}

enum fault_answer space_fault(struct space *space, uint32_t at, int writing)
{
    const struct region *region = find_region(space, at);
    uint32_t *entry, frame;

    if (region == NULL || (writing && !region->writable))
        return FAULT_BAD_ACCESS;
    entry = make_entry(space, at);
    if (entry == NULL)
        return FAULT_NO_MEMORY;
    if ((*entry & X86_PTE_P) == 0) {
        frame = frame_alloc();
        if (frame == 0)
            return FAULT_NO_MEMORY;
        *entry = frame | X86_PTE_P | X86_PTE_U | (region->writable ? X86_PTE_W : 0);
        return FAULT_RESOLVED;
    }
    if (!writing || (*entry & PTE_COPY_ON_WRITE) == 0)
        return FAULT_BAD_ACCESS;
    frame = *entry & ~PTE_FLAGS;
    if (frame_references(frame) > 1) {
        uint32_t copy = frame_alloc();

        if (copy == 0)
            return FAULT_NO_MEMORY;
        memcpy((void *)copy, (void *)frame, FRAME_SIZE);
        frame_release(frame);
        frame = copy;
    }
    *entry = frame | X86_PTE_P | X86_PTE_U | X86_PTE_W;
    invlpg((void *)at);
    return FAULT_RESOLVED;
}

static int copy_in(struct space *space, uint32_t at, const char *from, uint32_t length, int writable)
{
    while (length != 0) {
        uint32_t *entry = make_entry(space, at), offset = at % FRAME_SIZE, n = FRAME_SIZE - offset;

        if (n > length)
            n = length;
        if (entry == NULL)
            return 0;
        if ((*entry & X86_PTE_P) == 0) {
            uint32_t frame = frame_alloc();

            if (frame == 0)
                return 0;
            *entry = frame | X86_PTE_P | X86_PTE_U | (writable ? X86_PTE_W : 0);
        }
        memcpy((void *)((*entry & ~PTE_FLAGS) + offset), from, n);
        at += n;
        from += n;
        length -= n;
    }
    return 1;
}

struct elf_header {
    uint8_t identity[16];
    uint16_t type, machine;
    uint32_t version, entry, segments, sections, flags;
    uint16_t header_size, segment_size, segment_count;
};

struct elf_segment {
    uint32_t type, offset, address, physical, file_size, memory_size, flags, align;
};

enum { ELF_LOAD = 1, ELF_WRITABLE = 2 };

int space_load(struct space *space, const void *elf, uint32_t *entry)
{
    const struct elf_header *header = elf;
    struct region *region = space->regions;
    uint32_t end = USER_BASE;

    if (!space_new(space))
        return 0;
    for (int n = 0; n < header->segment_count; n++) {
        const struct elf_segment *segment = (const void *)((const char *)elf + header->segments + n * sizeof *segment);
        int writable = (segment->flags & ELF_WRITABLE) != 0;

        if (segment->type != ELF_LOAD || segment->memory_size == 0 || region == space->regions + REGIONS - 2)
            continue;
        region->start = segment->address & -FRAME_SIZE;
        region->end = (segment->address + segment->memory_size + FRAME_SIZE - 1) & -FRAME_SIZE;
        region->writable = writable;
        end = region->end;
        region++;
        if (!copy_in(space, segment->address, (const char *)elf + segment->offset, segment->file_size, writable))
            return 0;
    }
    *region = (struct region){end, end, 1};
    space->heap = region++;
    *region = (struct region){USER_STACK_TOP - USER_STACK_SIZE, USER_STACK_TOP, 1};
    *entry = header->entry;
    return 1;
}
