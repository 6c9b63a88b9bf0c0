#ifndef SPACE_H
#define SPACE_H

#include "types.h"

/* Address spaces: the kernel below USER_BASE, in global 4 MiB pages of its own; the user above, in 4 KiB pages. */

enum { REGIONS = 6 };

/* A range the user may touch; its pages appear, zeroed, when first touched. */
struct region {
    uint32_t start, end;
    int writable;
};

struct space {
    uint32_t directory; /* 0: none */
    struct region regions[REGIONS];
    struct region *heap;
};

enum fault_answer { FAULT_RESOLVED, FAULT_BAD_ACCESS, FAULT_NO_MEMORY };

/* Make the kernel's own directory and turn paging on. */
void space_init(void);

/* Each false when memory is out; what was made is then left for space_free. */
int space_new(struct space *space);
int space_fork(struct space *child, struct space *parent);
int space_load(struct space *space, const void *elf, uint32_t *entry);

void space_free(struct space *space);

/* Give back the pages of [start, end), multiples of the page size; they are zeroes when touched again. */
void space_unmap(struct space *space, uint32_t start, uint32_t end);

void space_use(const struct space *space); /* NULL: the kernel's own directory */

/* True when all of [start, start + length) is the user's; `writing` wants it writable too. */
int space_allows(const struct space *space, uint32_t start, uint32_t length, int writing);

/* Answer a page fault: a missing page of a region is made, a shared one copied. */
enum fault_answer space_fault(struct space *space, uint32_t at, int writing);

#endif
