#ifndef TRAP_H
#define TRAP_H

#include "types.h"

/* What trap.S leaves on the stack; esp and ss are there only when the trap came from an outer ring. */
struct trap_frame {
    uint32_t gs, fs, es, ds;
    uint32_t edi, esi, ebp, esp_before, ebx, edx, ecx, eax;
    uint32_t vector, error;
    uint32_t eip, cs, eflags, esp, ss;
};

typedef void (*trap_handler)(struct trap_frame *frame);

extern uint64_t idt[256];

/* Gates for all 256 vectors: interrupt gates, DPL 0, to trap_dispatch. */
void trap_init(void);

/* Send a vector to `handler`; NULL gives it back to the panic of trap_dispatch. */
void set_handler(unsigned vector, trap_handler handler);

/* Replace a gate of the IDT. */
void set_gate(unsigned vector, uint64_t value);

/* Address of the assembly entry of a vector, for gates with other attributes. */
uint32_t trap_entry(unsigned vector);

/* Called by trap.S. */
void trap_dispatch(struct trap_frame *frame);

/* Restore the registers of `frame` and IRET. */
void trap_return(struct trap_frame *frame) __attribute__((noreturn));

#endif
