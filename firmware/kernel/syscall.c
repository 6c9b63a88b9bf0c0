/* System calls: one dispatch, one short arm per number, every pointer checked. */
#include "syscall.h"

#include "abi.h"
#include "console.h"
#include "cpu.h"
#include "gigogne.h"
#include "memory.h"
#include "process.h"
#include "seg.h"
#include "trap.h"
#include "vectors.h"

enum { NAME_SIZE = 32 };

void sysenter_entry(void);

static int write_text(uint32_t text, uint32_t length)
{
    if (!space_allows(&current->space, text, length, 0))
        return E_FAULT;
    for (uint32_t n = 0; n < length; n++)
        putchar(((const char *)text)[n]);
    return length;
}

static uint32_t page_up(uint32_t at) { return (at + FRAME_SIZE - 1) & -FRAME_SIZE; }

static int move_break(int32_t bytes)
{
    struct region *heap = current->space.heap;
    uint32_t old = current->heap_break, end = old + bytes;

    if (end < heap->start || end > USER_STACK_TOP - USER_STACK_SIZE || (bytes > 0) != (end > old))
        return bytes == 0 ? (int)old : E_NO_MEMORY;
    /* Regions are whole pages; the break itself may lie inside the last one. */
    if (page_up(end) < page_up(old))
        space_unmap(&current->space, page_up(end), page_up(old));
    current->heap_break = end;
    heap->end = page_up(end);
    return old;
}

static int spawn(uint32_t name)
{
    char copy[NAME_SIZE];

    for (int n = 0; n < NAME_SIZE; n++) {
        if (!space_allows(&current->space, name + n, 1, 0))
            return E_FAULT;
        copy[n] = ((const char *)name)[n];
        if (copy[n] == 0)
            return process_spawn(copy, current->pid);
    }
    return E_NO_PROGRAM;
}

static int wait(int pid, uint32_t status)
{
    if (!space_allows(&current->space, status, sizeof(int), 1))
        return E_FAULT;
    return process_wait(pid, (int *)status);
}

static void dispatch(struct trap_frame *frame)
{
    uint32_t a = frame->ebx, b = frame->esi;
    int result = 0;

    switch (frame->eax) {
    case SYS_EXIT:
        process_exit(a);
    case SYS_WRITE:
        result = write_text(a, b);
        break;
    case SYS_GETPID:
        result = current->pid;
        break;
    case SYS_FORK:
        result = process_fork(frame);
        break;
    case SYS_YIELD:
        process_yield();
        break;
    case SYS_SBRK:
        result = move_break(a);
        break;
    case SYS_WAIT:
        result = wait(a, b);
        break;
    case SYS_SPAWN:
        result = spawn(a);
        break;
    case SYS_SLEEP:
        process_sleep(a);
        break;
    case SYS_PREEMPTIONS:
        result = current->preemptions;
        break;
    case SYS_TICKS:
        result = ticks;
        break;
    default:
        result = E_NO_CALL;
        break;
    }
    frame->eax = result;
}

void syscall_init(void)
{
    set_handler(VEC_SYSCALL, dispatch);
    set_gate(VEC_SYSCALL, gate(SEL_KCODE, trap_entry(VEC_SYSCALL), ACC_INTERRUPT_GATE32 | ACC_DPL3, 0));
    wrmsr(X86_MSR_SYSENTER_CS, SEL_KCODE);
    wrmsr(X86_MSR_SYSENTER_ESP, (uint32_t)&tss.esp0);
    wrmsr(X86_MSR_SYSENTER_EIP, (uint32_t)sysenter_entry);
}
