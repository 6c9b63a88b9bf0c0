#ifndef SEG_H
#define SEG_H

#include "gigogne.h"
#include "selectors.h"
#include "types.h"

/* Our GDT: flat segments for two rings, one TSS, and slots that tests fill. */
enum { GDT_FREE = 26, GDT_ENTRIES = SEL_FREE / 8 + GDT_FREE };

/* Access bytes: present, privilege, S, type. */
enum access {
    ACC_CODE = X86_ACCESS_CODE & ~X86_TYPE_ACCESSED, /* so that the processor has the bit to set */
    ACC_DATA = X86_ACCESS_DATA & ~X86_TYPE_ACCESSED,
    ACC_LDT = X86_ATTR_P | X86_TYPE_LDT,
    ACC_TASK_GATE = X86_ATTR_P | X86_TYPE_TASK_GATE,
    ACC_TSS16 = X86_ATTR_P | X86_TYPE_TSS16_AVAILABLE,
    ACC_CALL_GATE16 = X86_ATTR_P | X86_TYPE_CALL_GATE16,
    ACC_INTERRUPT_GATE16 = X86_ATTR_P | X86_TYPE_INTERRUPT_GATE16,
    ACC_TSS32 = X86_ATTR_P | X86_TYPE_TSS32_AVAILABLE,
    ACC_CALL_GATE32 = X86_ATTR_P | X86_TYPE_CALL_GATE32,
    ACC_INTERRUPT_GATE32 = X86_ATTR_P | X86_TYPE_INTERRUPT_GATE32,
    ACC_TRAP_GATE32 = X86_ATTR_P | X86_TYPE_TRAP_GATE32,
    ACC_DPL3 = X86_ATTR_DPL3,
};

/* The upper nibble of byte 6: granularity, default size. */
enum segment_flags { SEG_16 = 0, SEG_32 = 4, SEG_FLAT = X86_FLAGS_FLAT32 };

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

_Static_assert(offsetof(struct tss, cr3) == X86_TSS32_CR3 && offsetof(struct tss, es) == X86_TSS32_ES &&
                   offsetof(struct tss, io_base) == X86_TSS32_IO_BASE && sizeof(struct tss) == X86_TSS32_SIZE,
               "the TSS has the processor's layout");

extern uint64_t gdt[GDT_ENTRIES];
extern struct tss tss;

static inline uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
    uint32_t low = (limit & 0xFFFF) | base << 16;
    uint32_t high = (base >> 16 & 0xFF) | access << 8 | (limit & 0xF0000) | flags << 20 | (base & 0xFF000000);

    return (uint64_t)high << 32 | low;
}

static inline uint64_t gate(unsigned selector, uint32_t offset, unsigned access, unsigned parameters)
{
    uint32_t low = (offset & 0xFFFF) | selector << 16;
    uint32_t high = (offset & 0xFFFF0000) | access << 8 | parameters;

    return (uint64_t)high << 32 | low;
}

void set_descriptor(unsigned selector, uint64_t value);

/* Load the GDT, reload every segment register and the task register. */
void seg_init(void);

#endif
