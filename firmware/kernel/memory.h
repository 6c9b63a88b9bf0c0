#ifndef MEMORY_H
#define MEMORY_H

#include "types.h"

/* Physical frames, counted: a frame shared by copy-on-write has one reference per space that maps it. */

enum { FRAME_SIZE = 4096 };

/* RAM the kernel maps and uses, at most 1 GiB. */
uint32_t memory_end(void);

void memory_init(void);

/* A zeroed frame with one reference, or 0. Physical and kernel addresses are the same. */
uint32_t frame_alloc(void);
void frame_share(uint32_t frame);
void frame_release(uint32_t frame);
uint32_t frame_references(uint32_t frame);
uint32_t frames_free(void);

#endif
