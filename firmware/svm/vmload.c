/* vmload: what VMLOAD and VMSAVE carry between the processor and a VMCB, and nothing else. APM 15.5.2.
 *
 * expect: vmload: 25 checks
 */
#include "seg.h"
#include "string.h"
#include "suite.h"

CODE(load_unaligned, "movl $area + 8, %eax", "vmload");
CODE(save_unaligned, "movl $area + 8, %eax", "vmsave");

CODE(use_ldt, "movl $0xC, %eax", "movw %ax, %fs");

struct vmcb area;

static struct vmcb mine;

static void vmload(const struct vmcb *from) { asm volatile("vmload" : : "a"(from) : "memory"); }
static void vmsave(struct vmcb *to) { asm volatile("vmsave" : : "a"(to) : "memory"); }

static void saved(void)
{
    set_descriptor(SEL_FREE, descriptor(0x12345000, 0x777, ACC_DATA | ACC_DPL3, SEG_32));
    set_descriptor(SEL_FREE + 8, descriptor(0x23456000, 0x3F, ACC_LDT, 0));
    wrmsr(X86_MSR_SYSENTER_CS, 0x8);
    wrmsr(X86_MSR_SYSENTER_ESP, 0x11111111);
    wrmsr(X86_MSR_SYSENTER_EIP, 0x22222222);
    asm volatile("movw %w0, %%fs; lldt %w1" : : "r"(SEL_FREE), "r"(SEL_FREE + 8));
    memset(&area, 0xA5, sizeof area);
    vmsave(&area);
    expect("fs", area.fs.selector == SEL_FREE && area.fs.limit == 0x777 && (uint32_t)area.fs.base == 0x12345000);
    expect_equal("fs_attributes", area.fs.attributes, SEG_32 << 8 | X86_ACCESS_DATA | ACC_DPL3);
    expect("gs", area.gs.selector == SEL_KDATA && area.gs.limit == 0xFFFFFFFF && (uint32_t)area.gs.base == 0);
    expect("ldtr",
           area.ldtr.selector == SEL_FREE + 8 && area.ldtr.limit == 0x3F && (uint32_t)area.ldtr.base == 0x23456000);
    expect_equal("ldtr_attributes", area.ldtr.attributes, ACC_LDT);
    expect("tr",
           area.tr.selector == SEL_TSS && area.tr.limit == sizeof tss - 1 && (uint32_t)area.tr.base == (uint32_t)&tss);
    expect_equal("tr_is_busy", area.tr.attributes, X86_ATTR_P | X86_TYPE_TSS32_AVAILABLE | 2);
    expect("sysenter", (uint32_t)area.sysenter_cs == 8 && (uint32_t)area.sysenter_esp == 0x11111111 &&
                           (uint32_t)area.sysenter_eip == 0x22222222);
    expect("others_untouched", area.es.base == 0xA5A5A5A5A5A5A5A5 && area.cs.limit == 0xA5A5A5A5 &&
                                   area.gdtr.limit == 0xA5A5A5A5 && area.idtr.limit == 0xA5A5A5A5 &&
                                   area.cr0 == 0xA5A5A5A5A5A5A5A5 && area.rax == 0xA5A5A5A5A5A5A5A5 &&
                                   area.asid == 0xA5A5A5A5 && area.rip == 0xA5A5A5A5A5A5A5A5 && area.cpl == 0xA5);
    expect_equal("base_is_64_bits", area.fs.base, 0x12345000);
}

static void loaded(void)
{
    uint32_t selectors;
    static uint32_t far_word[4];

    far_word[2] = 0xFEED;
    area.fs = area.gs = (struct vmcb_segment){0x33, area.fs.attributes, 0xB, (uint32_t)far_word};
    area.ldtr = (struct vmcb_segment){0, 0, 0, 0};
    area.tr.limit = 0x6F;
    area.sysenter_cs = 0x18;
    area.sysenter_esp = 0x33333333;
    area.sysenter_eip = 0x44444444;
    vmload(&area);
    asm volatile("movw %%fs, %w0" : "=r"(selectors));
    expect_equal("load_fs_selector", selectors & 0xFFFF, 0x33);
    asm volatile("movl %%fs:8, %0" : "=r"(selectors));
    expect_equal("load_fs_base", selectors, 0xFEED);
    asm volatile("movl %%gs:8, %0" : "=r"(selectors));
    expect_equal("load_gs_base", selectors, 0xFEED);
    asm volatile("sldt %0" : "=r"(selectors));
    expect_equal("load_ldtr", selectors & 0xFFFF, 0);
    expect("load_sysenter", (uint32_t)rdmsr(X86_MSR_SYSENTER_CS) == 0x18 &&
                                (uint32_t)rdmsr(X86_MSR_SYSENTER_ESP) == 0x33333333 &&
                                (uint32_t)rdmsr(X86_MSR_SYSENTER_EIP) == 0x44444444);
    struct vmcb *const back = &mine;

    vmsave(back);
    expect("load_save_agree", memcmp(&back->fs, &area.fs, sizeof area.fs) == 0 && back->tr.limit == 0x6F &&
                                  back->ldtr.selector == 0 && (back->ldtr.attributes & X86_ATTR_P) == 0);
    area.fs = (struct vmcb_segment){0, 0, 0, 0};
    vmload(&area);
    vmsave(back);
    expect("load_null", back->fs.selector == 0 && (back->fs.attributes & X86_ATTR_P) == 0);
}

/* 15.5.1: of LDTR, P counts. */
static void local_table(void)
{
    static uint64_t table[2] = {0, 0};

    table[1] = descriptor(0, 0xFFFFF, ACC_DATA | ACC_DPL3, SEG_FLAT);
    vmsave(&area);
    area.ldtr = (struct vmcb_segment){SEL_FREE, ACC_LDT, sizeof table - 1, (uint32_t)table};
    vmload(&area);
    expect("local_table", run_guarded(use_ldt) == NULL);
    area.ldtr.attributes &= ~X86_ATTR_P;
    vmload(&area);
    expect_host_fault("absent_local_table", use_ldt, use_ldt_at, X86_VEC_GP, 0xC);
}

static void refused(void)
{
    expect_host_fault("load_unaligned", load_unaligned, load_unaligned_at, X86_VEC_GP, 0);
    expect_host_fault("save_unaligned", save_unaligned, save_unaligned_at, X86_VEC_GP, 0);
    wrmsr(X86_MSR_EFER, 0);
    expect_host_fault("load_without_svme", load_unaligned, load_unaligned_at, X86_VEC_UD, 0);
    expect_host_fault("save_without_svme", save_unaligned, save_unaligned_at, X86_VEC_UD, 0);
    wrmsr(X86_MSR_EFER, X86_EFER_SVME);
}

int main(void)
{
    static struct vmcb before;

    suite_begin();
    vmsave(&before);
    saved();
    loaded();
    local_table();
    vmload(&before);
    refused();
    return suite_end("vmload");
}
