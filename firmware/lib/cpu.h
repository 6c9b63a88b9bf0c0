#ifndef CPU_H
#define CPU_H

#include "types.h"

/* One inline function per privileged or unusual instruction. */

static inline void outb(uint16_t port, uint8_t v) { asm volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t v) { asm volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { asm volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;

    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t v;

    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

#define CPU_REGISTER(name)                                                                                             \
    static inline uint32_t read_##name(void)                                                                           \
    {                                                                                                                  \
        uint32_t v;                                                                                                    \
        asm volatile("movl %%" #name ", %0" : "=r"(v));                                                                \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline void write_##name(uint32_t v) { asm volatile("movl %0, %%" #name : : "r"(v) : "memory"); }

CPU_REGISTER(cr0)
CPU_REGISTER(cr2)
CPU_REGISTER(cr3)
CPU_REGISTER(cr4)
CPU_REGISTER(dr0)
CPU_REGISTER(dr1)
CPU_REGISTER(dr2)
CPU_REGISTER(dr3)
CPU_REGISTER(dr6)
CPU_REGISTER(dr7)

static inline uint32_t read_eflags(void)
{
    uint32_t v;

    asm volatile("pushfl; popl %0" : "=r"(v));
    return v;
}

static inline void write_eflags(uint32_t v) { asm volatile("pushl %0; popfl" : : "r"(v) : "memory", "cc"); }

static inline void invlpg(const void *at) { asm volatile("invlpg %0" : : "m"(*(const char *)at) : "memory"); }
static inline void sti(void) { asm volatile("sti" : : : "memory"); }
static inline void cli(void) { asm volatile("cli" : : : "memory"); }

/* STI's shadow covers HLT, so no interrupt can slip in between and leave the processor asleep. */
static inline void sti_hlt(void) { asm volatile("sti; hlt" : : : "memory"); }

static inline uint64_t rdtsc(void)
{
    uint64_t v;

    asm volatile("rdtsc" : "=A"(v));
    return v;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint64_t v;

    asm volatile("rdmsr" : "=A"(v) : "c"(msr));
    return v;
}

static inline void wrmsr(uint32_t msr, uint64_t v) { asm volatile("wrmsr" : : "c"(msr), "A"(v) : "memory"); }

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf)
{
    struct cpuid r;

    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "0"(leaf), "2"(0));
    return r;
}

#endif
