#ifndef GUEST_H
#define GUEST_H

#include "gigogne.h"
#include "seg.h"
#include "types.h"
#include "vmcb.h"

/* One guest, its VMCB, and the way in and out of it. */

/* Guest code `name` in assembly: `before`, then at the label name_at the `culprit`, then at name_next VMMCALL. */
#define GUEST(name, before, culprit)                                                                                   \
    void name(void);                                                                                                   \
    extern char name##_at[], name##_next[];                                                                            \
    asm(".pushsection .text.guests, \"ax\"\n" #name ":\n" before "\n" #name "_at: " culprit "\n"                       \
        #name "_next: vmmcall\n.popsection")

/* What VMRUN leaves alone; EAX, ESP and EIP are in the VMCB. */
struct guest_registers {
    uint32_t ebx, ecx, edx, esi, edi, ebp;
};

/* What a guest's trap left on its stack, as read from there. */
struct guest_trap {
    uint32_t vector, error, eip, cs, eflags;
    uint32_t *stack; /* the frame: EIP, CS, EFLAGS and, from an outer ring, ESP and SS */
};

extern struct vmcb vmcb;
extern struct guest_registers guest;
extern uint64_t guest_idt[256];
extern uint32_t guest_stack[1024], guest_stack3[1024];
extern struct tss guest_tss;
extern uint8_t iopm[3 * 4096], msrpm[2 * 4096];

/* A new guest that starts at `code`: ring 0, flat segments, paging off, interrupts off, its own IDT every gate of which
 * ends in VMMCALL, ASID 1; VMRUN, VMMCALL, SHUTDOWN and (masked by the host's IF) physical interrupts intercepted. */
void guest_new(void (*code)(void));

/* The same guest elsewhere, with a fresh stack. */
void guest_goto(const void *eip);

/* The guest that guest_new made, in ring 3; its traps come to its own ring 0. */
void guest_ring3(void);

/* Set or clear the intercept of an exit code. */
void intercept(uint32_t code);
void no_intercept(uint32_t code);

/* VMRUN to the next #VMEXIT. The low half of the exit code. */
uint32_t guest_run(void);

/* The trap the guest has just reported, or NULL when the last exit was another one. */
const struct guest_trap *guest_trapped(void);

/* A guest is ended by a physical interrupt after 55 ms unless this is zero. */
extern int watchdog;

#endif
