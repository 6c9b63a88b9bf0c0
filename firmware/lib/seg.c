/* Descriptor tables. */
#include "seg.h"

#include "boot.h"

uint64_t gdt[GDT_ENTRIES] __attribute__((aligned(8)));
struct tss tss __attribute__((aligned(128)));

extern char boot_stack_top[];

void set_descriptor(unsigned selector, uint64_t value) { gdt[selector / 8] = value; }

void seg_init(void)
{
    struct {
        uint16_t limit;
        const void *base;
    } __attribute__((packed)) pointer = {sizeof gdt - 1, gdt};

    set_descriptor(SEL_KCODE, descriptor(0, 0xFFFFF, ACC_CODE, SEG_FLAT));
    set_descriptor(SEL_KDATA, descriptor(0, 0xFFFFF, ACC_DATA, SEG_FLAT));
    set_descriptor(SEL_UCODE, descriptor(0, 0xFFFFF, ACC_CODE | ACC_DPL3, SEG_FLAT));
    set_descriptor(SEL_UDATA, descriptor(0, 0xFFFFF, ACC_DATA | ACC_DPL3, SEG_FLAT));
    set_descriptor(SEL_TSS, descriptor((uint32_t)&tss, sizeof tss - 1, ACC_TSS32, 0));
    tss.ss0 = SEL_KDATA;
    tss.esp0 = (uint32_t)boot_stack_top;
    tss.io_base = sizeof tss;
    asm volatile("lgdt %0\n\t"
                 "ljmp %1, $1f\n"
                 "1:\tmovw %w2, %%ds\n\t"
                 "movw %w2, %%es\n\t"
                 "movw %w2, %%fs\n\t"
                 "movw %w2, %%gs\n\t"
                 "movw %w2, %%ss\n\t"
                 "ltr %w3"
                 :
                 : "m"(pointer), "i"(SEL_KCODE), "r"(SEL_KDATA), "r"(SEL_TSS)
                 : "memory");
}
