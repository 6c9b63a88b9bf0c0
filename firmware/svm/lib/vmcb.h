#ifndef VMCB_H
#define VMCB_H

#include "types.h"

/* The virtual machine control block: AMD64 APM vol. 2, appendix B. */

struct vmcb_segment {
    uint16_t selector, attributes; /* attributes: bits 40-47 and 52-55 of the descriptor */
    uint32_t limit;
    uint64_t base;
};

struct vmcb {
    uint32_t intercept[5]; /* bit (exit code & 31) of word (exit code >> 5) */
    uint8_t reserved_014[0x28];
    uint16_t pause_threshold, pause_count;
    uint64_t iopm_base, msrpm_base;
    uint64_t tsc_offset;
    uint32_t asid, tlb_control;
    uint32_t vintr, vintr_vector;
    uint64_t interrupt_shadow;
    uint64_t exit_code, exit_info1, exit_info2;
    uint32_t exit_event, exit_event_error;
    uint64_t np_enable;
    uint8_t reserved_098[0x10];
    uint32_t event, event_error;
    uint64_t n_cr3;
    uint64_t lbr;
    uint64_t clean;
    uint64_t next_rip;
    uint8_t fetched_count, fetched[15];
    uint8_t reserved_0e0[0x320];
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved_4a0[0x2B];
    uint8_t cpl;
    uint32_t reserved_4cc;
    uint64_t efer;
    uint8_t reserved_4d8[0x70];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved_580[0x58];
    uint64_t rsp;
    uint8_t reserved_5e0[0x18];
    uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, cr2;
    uint8_t reserved_648[0x20];
    uint64_t g_pat;
    uint8_t reserved_670[0x990];
} __attribute__((aligned(4096)));

#endif
