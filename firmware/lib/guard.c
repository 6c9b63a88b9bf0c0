/* The C side of guard.h; the stack switches are in guard_switch.S. */
#include "guard.h"

#include "console.h"
#include "seg.h"
#include "string.h"
#include "timer.h"

uint32_t ring3_stack[1024] PAGE_ALIGNED;

static struct trap_frame caught;

extern uint32_t guard_stack; /* stack pointer to go back to; 0 when nothing is guarded */

/* guard_switch.S: zero when `code` returned. */
int guard_enter(void (*code)(void));
int guard_enter_ring3(void (*code)(void), uint32_t *stack, uint32_t eflags);
void guard_leave(void) __attribute__((noreturn));
void ring3_done(void);

void guard_trap(struct trap_frame *frame)
{
    caught = *frame;
    if (guard_stack == 0)
        panic("unguarded vector %u at %p", (unsigned)frame->vector, (void *)frame->eip);
    guard_leave();
}

void guard_init(void)
{
    pic_init(); /* the loader may have left lines open on vectors that now mean exceptions */
    for (unsigned vector = 0; vector < 32; vector++)
        set_handler(vector, guard_trap);
    set_handler(VEC_RING3_DONE, guard_trap);
    set_gate(VEC_RING3_DONE, gate(SEL_KCODE, trap_entry(VEC_RING3_DONE), ACC_INTERRUPT_GATE32 | ACC_DPL3, 0));
}

const struct trap_frame *run_guarded(void (*code)(void)) { return guard_enter(code) ? &caught : NULL; }

const struct trap_frame *run_ring3_flags(void (*code)(void), uint32_t eflags)
{
    uint32_t *top = ring3_stack + ARRAY_SIZE(ring3_stack) - 16;

    *--top = (uint32_t)ring3_done;
    guard_enter_ring3(code, top, eflags);
    return &caught;
}

const struct trap_frame *run_ring3(void (*code)(void)) { return run_ring3_flags(code, 2); }
