/* A guest to try things on: its VMCB, the run, and what came of it. */
#include "guest.h"

#include "string.h"
#include "svm.h"
#include "timer.h"

extern char guest_trap_entries[], guest_trap_at[];

struct vmcb vmcb;
struct guest_registers guest;
uint64_t guest_idt[256] __attribute__((aligned(8)));
uint32_t guest_stack[1024] PAGE_ALIGNED, guest_stack3[1024] PAGE_ALIGNED;
struct tss guest_tss __attribute__((aligned(128)));
uint8_t iopm[3 * 4096] PAGE_ALIGNED, msrpm[2 * 4096] PAGE_ALIGNED;

_Static_assert(sizeof(struct vmcb) == VMCB_BYTES && offsetof(struct vmcb, iopm_base) == VMCB_IOPM_BASE &&
                   offsetof(struct vmcb, pause_count) == VMCB_PAUSE_COUNT &&
                   offsetof(struct vmcb, exit_event) == VMCB_EXITINTINFO &&
                   offsetof(struct vmcb, np_enable) == VMCB_NP_ENABLE &&
                   offsetof(struct vmcb, event) == VMCB_EVENTINJ &&
                   offsetof(struct vmcb, fetched_count) == VMCB_FETCHED_COUNT && offsetof(struct vmcb, es) == VMCB_ES &&
                   offsetof(struct vmcb, tr) == VMCB_TR && offsetof(struct vmcb, cpl) == VMCB_CPL &&
                   offsetof(struct vmcb, efer) == VMCB_EFER && offsetof(struct vmcb, cr4) == VMCB_CR4 &&
                   offsetof(struct vmcb, rip) == VMCB_RIP && offsetof(struct vmcb, rsp) == VMCB_RSP &&
                   offsetof(struct vmcb, rax) == VMCB_RAX && offsetof(struct vmcb, cr2) == VMCB_CR2 &&
                   offsetof(struct vmcb, g_pat) == VMCB_G_PAT,
               "the VMCB has the processor's layout");

/* Attributes of flat code and data: bits 40-47 and 52-55 of their descriptors. */
enum {
    ATTRIBUTES_CODE = X86_ACCESS_CODE | SEG_FLAT << 8,
    ATTRIBUTES_DATA = X86_ACCESS_DATA | SEG_FLAT << 8,
    PAT_AT_RESET_LOW = 0x00070406,
};

static struct vmcb_segment flat(uint16_t selector, uint16_t attributes)
{
    return (struct vmcb_segment){selector, attributes, 0xFFFFFFFF, 0};
}

void guest_goto(const void *eip)
{
    vmcb.rip = (uint32_t)eip;
    vmcb.rsp = (uint32_t)(guest_stack + ARRAY_SIZE(guest_stack));
}

void guest_new(void (*code)(void))
{
    memset(&vmcb, 0, sizeof vmcb);
    memset(&guest, 0, sizeof guest);
    if (guest_idt[0] == 0)
        for (unsigned vector = 0; vector < ARRAY_SIZE(guest_idt); vector++)
            guest_idt[vector] = gate(SEL_KCODE, (uint32_t)guest_trap_entries + vector * 16, ACC_INTERRUPT_GATE32, 0);
    intercept(SVM_EXIT_VMRUN);
    intercept(SVM_EXIT_VMMCALL);
    intercept(SVM_EXIT_SHUTDOWN);
    intercept(SVM_EXIT_INTR);
    vmcb.iopm_base = (uint32_t)iopm;
    vmcb.msrpm_base = (uint32_t)msrpm;
    vmcb.asid = 1;
    vmcb.vintr = SVM_VINTR_MASKING;
    vmcb.cs = flat(SEL_KCODE, ATTRIBUTES_CODE);
    vmcb.ss = vmcb.ds = vmcb.es = vmcb.fs = vmcb.gs = flat(SEL_KDATA, ATTRIBUTES_DATA);
    vmcb.gdtr.limit = sizeof gdt - 1;
    vmcb.gdtr.base = (uint32_t)gdt;
    vmcb.idtr.limit = sizeof guest_idt - 1;
    vmcb.idtr.base = (uint32_t)guest_idt;
    vmcb.tr = host.tr; /* busy or not: as this processor keeps it */
    vmcb.tr.base = (uint32_t)&guest_tss;
    guest_tss.ss0 = SEL_KDATA;
    guest_tss.esp0 = (uint32_t)(guest_stack + ARRAY_SIZE(guest_stack));
    guest_tss.io_base = sizeof guest_tss;
    vmcb.efer = X86_EFER_SVME;
    vmcb.cr0 = X86_CR0_PE | X86_CR0_ET;
    vmcb.dr6 = X86_DR6_FIXED;
    vmcb.dr7 = X86_DR7_FIXED;
    vmcb.rflags = X86_EFLAGS_FIXED;
    vmcb.g_pat = (uint64_t)PAT_AT_RESET_LOW << 32 | PAT_AT_RESET_LOW;
    guest_goto(code);
}

void guest_ring3(void)
{
    vmcb.cpl = 3;
    vmcb.cs = flat(SEL_UCODE, ATTRIBUTES_CODE | X86_ATTR_DPL3);
    vmcb.ss = vmcb.ds = vmcb.es = vmcb.fs = vmcb.gs = flat(SEL_UDATA, ATTRIBUTES_DATA | X86_ATTR_DPL3);
    vmcb.rsp = (uint32_t)(guest_stack3 + ARRAY_SIZE(guest_stack3));
    for (unsigned vector = 0; vector < ARRAY_SIZE(guest_idt); vector++)
        guest_idt[vector] |= (uint64_t)ACC_DPL3 << 40;
}

void intercept(uint32_t code) { vmcb.intercept[code / 32] |= 1u << code % 32; }

void no_intercept(uint32_t code) { vmcb.intercept[code / 32] &= ~(1u << code % 32); }

const struct guest_trap *guest_trapped(void)
{
    static struct guest_trap trap;
    uint32_t *stack = (uint32_t *)(uint32_t)vmcb.rsp;

    if (vmcb.exit_code != SVM_EXIT_VMMCALL || vmcb.rip != (uint32_t)guest_trap_at)
        return NULL;
    trap.vector = *stack++;
    trap.error = 0;
    if (trap.vector < 32 && (X86_VECTORS_WITH_ERROR_CODE >> trap.vector & 1) != 0)
        trap.error = *stack++;
    trap.eip = stack[0];
    trap.cs = stack[1];
    trap.eflags = stack[2];
    trap.stack = stack;
    return &trap;
}
