/* Exceptions: what user code may be forgiven, and what kills it. */
#include "fault.h"

#include "abi.h"
#include "console.h"
#include "cpu.h"
#include "gigogne.h"
#include "process.h"
#include "trap.h"

enum { EXCEPTIONS = 32 };

static void kill(struct trap_frame *frame)
{
    if (current == NULL || (frame->cs & 3) == 0)
        panic("exception %u error %x at %p cr2 %p in the kernel", (unsigned)frame->vector, (unsigned)frame->error,
              (void *)frame->eip, (void *)read_cr2());
    printf("kernel: process %d killed: exception %u error %x", current->pid, (unsigned)frame->vector,
           (unsigned)frame->error);
    if (frame->vector == X86_VEC_PF)
        printf(" address %p", (void *)read_cr2());
    printf("\n");
    process_exit(KILLED_BY(frame->vector));
}

static void page_fault(struct trap_frame *frame)
{
    uint32_t at = read_cr2();

    /* The kernel faults here too, when it follows a checked pointer to a page not made yet. */
    if (current == NULL || at < USER_BASE)
        kill(frame);
    switch (space_fault(&current->space, at, (frame->error & X86_PF_W) != 0)) {
    case FAULT_RESOLVED:
        return;
    case FAULT_NO_MEMORY:
        printf("kernel: process %d killed: out of memory\n", current->pid);
        process_exit(KILLED_BY(X86_VEC_PF));
    case FAULT_BAD_ACCESS:
        kill(frame);
    }
}

void fault_init(void)
{
    for (int vector = 0; vector < EXCEPTIONS; vector++)
        set_handler(vector, kill);
    set_handler(X86_VEC_PF, page_fault);
}
