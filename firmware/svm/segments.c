/* segments: a guest's segments are what the VMCB says of them, whatever its descriptor tables hold: bases, limits,
 * sizes, CPL. APM 15.5.1.
 *
 * expect: segments: 23 checks
 */
#include "seg.h"
#include "suite.h"

GUEST(flat, "", "nop");
GUEST(load_8, "", "movl 8, %ebx");
GUEST(load_es_8, "", "movl %es:8, %ebx");
GUEST(load_fs_8, "", "movl %fs:8, %ebx");
GUEST(load_at_limit, "", "movb 0xFFF, %bl");
GUEST(load_beyond_limit, "", "movb 0x1000, %bl");
GUEST(store_8, "", "movl %ebx, 8");
GUEST(push, "", "pushl $0x12345678");
GUEST(code_16, ".code16; movw $0x1234, %bx; .byte 0x66; movl $0x11112222, %ecx", "nop; .code32");
GUEST(reload, "movl $0x2B, %eax", "movl %eax, %ds");
GUEST(ldt, "movl $0x0C, %eax; movl %eax, %fs", "movl %fs:0, %ebx");

static uint32_t words[1024] PAGE_ALIGNED;
static uint64_t local_table[2];

static void expect_loaded(const char *name, const void *next, uint32_t wanted)
{
    if (vmcb.exit_code != SVM_EXIT_VMMCALL || vmcb.rip != (uint32_t)next)
        expect_exit(name, SVM_EXIT_VMMCALL, next);
    else
        expect_equal(name, guest.ebx, wanted);
}

static void data(void)
{
    words[2] = 0xDA7A;
    guest_new(load_8);
    vmcb.ds.base = (uint32_t)words;
    guest_run();
    expect_loaded("ds_base", load_8_next, 0xDA7A);
    guest_new(load_es_8);
    vmcb.es.base = (uint32_t)words;
    guest_run();
    expect_loaded("es_base", load_es_8_next, 0xDA7A);
    guest_new(load_fs_8);
    vmcb.fs.base = (uint32_t)words;
    guest_run();
    expect_loaded("fs_base", load_fs_8_next, 0xDA7A);
    guest_new(load_at_limit);
    vmcb.ds.limit = 0xFFF;
    guest_run();
    expect_exit("ds_limit", SVM_EXIT_VMMCALL, load_at_limit_next);
    guest_new(load_beyond_limit);
    vmcb.ds.limit = 0xFFF;
    guest_run();
    expect_guest_trap("ds_beyond_limit", X86_VEC_GP, 0, load_beyond_limit_at);
    guest_new(store_8);
    vmcb.ds.base = (uint32_t)words + 0x800;
    vmcb.ds.attributes &= ~X86_TYPE_WRITABLE;
    guest_run();
    expect_guest_trap("ds_read_only", X86_VEC_GP, 0, store_8_at);
    guest_new(load_8);
    vmcb.ds = (struct vmcb_segment){0, 0, 0, 0};
    guest_run();
    expect_guest_trap("ds_null", X86_VEC_GP, 0, load_8_at);
    guest_new(load_8);
    vmcb.ds.base = (uint32_t)words;
    vmcb.ds.selector = 0xFFF8;
    guest_run();
    expect_loaded("selector_is_only_a_number", load_8_next, 0xDA7A);
}

static void tables(void)
{
    guest_new(flat);
    vmcb.gdtr.limit = 0;
    guest_run();
    expect_exit("no_table_is_read", SVM_EXIT_VMMCALL, flat_next);
    guest_new(reload);
    vmcb.gdtr.limit = 0x27;
    guest_run();
    expect_guest_trap("gdt_limit", X86_VEC_GP, 0x28, reload_at);
    local_table[1] = descriptor((uint32_t)words + 8, 0xFFF, ACC_DATA, SEG_32);
    guest_new(ldt);
    vmcb.ldtr = (struct vmcb_segment){0x30, ACC_LDT, sizeof local_table - 1, (uint32_t)local_table};
    guest_run();
    expect_loaded("ldt", ldt_next, 0xDA7A);
    expect_equal("ldt_segment_out", vmcb.fs.base, (uint32_t)words + 8);
}

static void code(void)
{
    guest_new(flat);
    vmcb.cs.base = 0x10000;
    vmcb.rip = (uint32_t)flat - 0x10000;
    guest_run();
    expect_exit("cs_base", SVM_EXIT_VMMCALL, (void *)((uint32_t)flat_next - 0x10000));
    guest_new(code_16);
    vmcb.cs.attributes &= ~(SEG_32 << 8);
    vmcb.rip = (uint32_t)code_16;
    guest_run();
    expect_exit("cs_16_bits", SVM_EXIT_VMMCALL, code_16_next);
    expect("cs_16_bits_operands", guest.ebx == 0x1234 && guest.ecx == 0x11112222);
    guest_new(flat);
    vmcb.cs.limit = (uint32_t)flat - 1;
    vmcb.cs.attributes &= ~(8 << 8);
    intercept(SVM_EXIT_EXCEPTION_GP);
    guest_run();
    expect_exit_info("eip_beyond_limit", SVM_EXIT_EXCEPTION_GP, flat, 0, vmcb.exit_info2);
}

static void stack(void)
{
    guest_new(push);
    vmcb.ss.base = (uint32_t)words;
    vmcb.rsp = 0x100;
    guest_run();
    expect_exit("ss_base", SVM_EXIT_VMMCALL, push_next);
    expect_equal("ss_base_push", words[0xFC / 4], 0x12345678);
    guest_new(push);
    vmcb.ss.base = (uint32_t)words;
    vmcb.ss.attributes &= ~(SEG_32 << 8);
    vmcb.rsp = 0xABCD0200;
    guest_run();
    expect_equal("ss_16_bits", vmcb.rsp, 0xABCD01FC);
    expect_equal("ss_16_bits_push", words[0x1FC / 4], 0x12345678);
    guest_new(push);
    vmcb.ss.limit = 0xFFF;
    vmcb.rsp = 0x2000;
    intercept(SVM_EXIT_EXCEPTION_SS);
    guest_run();
    expect_exit_info("ss_limit", SVM_EXIT_EXCEPTION_SS, push_at, 0, vmcb.exit_info2);
}

int main(void)
{
    suite_begin();
    data();
    tables();
    code();
    stack();
    return suite_end("segments");
}
