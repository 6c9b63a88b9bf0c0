#ifndef PAGE_H
#define PAGE_H

#include "gigogne.h"
#include "types.h"

/* Two-level page tables, for programs that want paging without a kernel. Flags are X86_PTE_* bits. */

enum { PAGE_SIZE = 4096, LARGE_PAGE_SIZE = 4 << 20 };

/* A zeroed page of RAM beyond the image; never given back. Panics when RAM is out. */
void *frame_new(void);

/* The entry of a 4 KiB page, its table made on demand. */
uint32_t *page_entry(uint32_t *directory, uint32_t at);

/* The directory entry that covers an address. */
uint32_t *directory_entry(uint32_t *directory, uint32_t at);

void map_page(uint32_t *directory, uint32_t at, uint32_t frame, uint32_t flags);
void map_large(uint32_t *directory, uint32_t at, uint32_t frame, uint32_t flags);

/* A new directory in which [0, end) maps to itself, by 4 KiB pages or by 4 MiB ones. */
uint32_t *identity_directory(uint32_t end, int large, uint32_t flags);

/* Load CR3 and set CR0.PG, CR0.WP and CR4.PSE. */
void paging_on(uint32_t *directory);
void paging_off(void);

#endif
