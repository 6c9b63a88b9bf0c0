/* The IDT and the way from a vector to a C function. A trap nobody asked for stops the machine with its frame. */
#include "trap.h"

#include "console.h"
#include "cpu.h"
#include "gigogne.h"
#include "seg.h"

enum { STUB_SIZE = 16 }; /* as aligned in trap.S */

uint64_t idt[256] __attribute__((aligned(8)));

static trap_handler handlers[256];
extern char trap_stubs[];

uint32_t trap_entry(unsigned vector) { return (uint32_t)trap_stubs + vector * STUB_SIZE; }

void set_gate(unsigned vector, uint64_t value) { idt[vector] = value; }

void set_handler(unsigned vector, trap_handler handler) { handlers[vector] = handler; }

void trap_init(void)
{
    struct {
        uint16_t limit;
        const void *base;
    } __attribute__((packed)) pointer = {sizeof idt - 1, idt};

    /* Every program pays for this loop before its first line: hence no call in it. */
    for (unsigned vector = 0; vector < ARRAY_SIZE(idt); vector++)
        idt[vector] = gate(SEL_KCODE, (uint32_t)trap_stubs + vector * STUB_SIZE, ACC_INTERRUPT_GATE32, 0);
    asm volatile("lidt %0" : : "m"(pointer));
}

void trap_dispatch(struct trap_frame *frame)
{
    trap_handler handler = handlers[frame->vector];

    if (handler != NULL) {
        handler(frame);
        return;
    }
    printf("\neax %p ebx %p ecx %p edx %p esi %p edi %p ebp %p\n", (void *)frame->eax, (void *)frame->ebx,
           (void *)frame->ecx, (void *)frame->edx, (void *)frame->esi, (void *)frame->edi, (void *)frame->ebp);
    panic("vector %u error %x at %04x:%p eflags %p cr2 %p", (unsigned)frame->vector, (unsigned)frame->error,
          (unsigned)frame->cs, (void *)frame->eip, (void *)frame->eflags, (void *)read_cr2());
}
