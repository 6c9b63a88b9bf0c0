#ifndef SEG_H
#define SEG_H

#include "selectors.h"
#include "types.h"

/* Our GDT: flat segments for two rings, one TSS, and slots that tests fill. */
enum { GDT_FREE = 26, GDT_ENTRIES = SEL_FREE / 8 + GDT_FREE };

/* Access bytes: present, privilege, S, type. */
enum access {
    ACC_CODE = 0x9A,
    ACC_DATA = 0x92,
    ACC_LDT = 0x82,
    ACC_TASK_GATE = 0x85,
    ACC_TSS16 = 0x81,
    ACC_CALL_GATE16 = 0x84,
    ACC_INTERRUPT_GATE16 = 0x86,
    ACC_TRAP_GATE16 = 0x87,
    ACC_TSS32 = 0x89,
    ACC_TSS32_BUSY = 0x8B,
    ACC_CALL_GATE32 = 0x8C,
    ACC_INTERRUPT_GATE32 = 0x8E,
    ACC_TRAP_GATE32 = 0x8F,
    ACC_DPL3 = 0x60,
};

/* The upper nibble of byte 6. */
enum segment_flags { SEG_GRANULAR = 8, SEG_32 = 4, SEG_FLAT = SEG_GRANULAR | SEG_32 };

struct tss {
    uint16_t link, link_;
    uint32_t esp0;
    uint16_t ss0, ss0_;
    uint32_t esp1;
    uint16_t ss1, ss1_;
    uint32_t esp2;
    uint16_t ss2, ss2_;
    uint32_t cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint16_t es, es_, cs, cs_, ss, ss_, ds, ds_, fs, fs_, gs, gs_, ldt, ldt_;
    uint16_t trap, io_base;
};

extern uint64_t gdt[GDT_ENTRIES];
extern struct tss tss;

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags);
uint64_t gate(unsigned selector, uint32_t offset, unsigned access, unsigned parameters);
void set_descriptor(unsigned selector, uint64_t value);

/* Load the GDT, reload every segment register and the task register. */
void seg_init(void);

#endif
