#ifndef GUARD_H
#define GUARD_H

#include "trap.h"
#include "vectors.h"

/* Running code that may trap, here or in ring 3, and looking at the trap afterwards. */

/* Catch vectors 0 to 31 and VEC_RING3_DONE while guarded code runs. Vectors given to another handler stay its own. */
void guard_init(void);

/* Call `code`. The frame of the trap that ended it, or NULL when it returned. Flat segments are loaded again. */
const struct trap_frame *run_guarded(void (*code)(void));

/* Call `code` in ring 3, on a stack of its own, with these EFLAGS. Its return is a trap too: VEC_RING3_DONE. */
const struct trap_frame *run_ring3_flags(void (*code)(void), uint32_t eflags);
const struct trap_frame *run_ring3(void (*code)(void));

/* The stack of ring 3; it holds nothing between runs. */
extern uint32_t ring3_stack[1024];

/* What a handler of guarded code calls to end it; `frame` is copied. */
void guard_trap(struct trap_frame *frame);

#endif
