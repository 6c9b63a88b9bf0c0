/* segments: what loading a segment register checks, and what using one does: limits, types, expand-down, null.
 *
 * expect:
 *   PASS load_beyond_table
 *   PASS load_not_present
 *   PASS load_ss_not_present
 *   PASS load_system_segment
 *   PASS load_execute_only
 *   PASS load_ss_null
 *   PASS load_ss_wrong_rpl
 *   PASS load_ss_read_only
 *   PASS load_ss_of_ring3
 *   PASS load_ds_kernel_in_ring3
 *   PASS load_ds_null
 *   PASS load_ds_code
 *   PASS load_sets_accessed
 *   PASS lfs_loads_both
 *   PASS pop_fs
 *   PASS base_is_added
 *   PASS base_wraps
 *   PASS limit_last_byte
 *   PASS limit_exceeded
 *   PASS limit_straddled
 *   PASS limit_through_fs_is_gp
 *   PASS stack_limit
 *   PASS expand_down_above
 *   PASS expand_down_below
 *   PASS write_read_only
 *   PASS write_code
 *   PASS read_execute_only
 *   PASS use_null
 *   PASS code_limit
 *   PASS ldt_segment
 *   PASS ldt_null
 *   PASS lldt_of_data
 * qemu-deviation: limit_exceeded: it checks no limits
 * qemu-deviation: limit_straddled: it checks no limits
 * qemu-deviation: limit_through_fs_is_gp: it checks no limits
 * qemu-deviation: stack_limit: it checks no limits
 * qemu-deviation: expand_down_below: it checks no limits
 * qemu-deviation: write_read_only: it checks no types
 * qemu-deviation: write_code: it checks no types
 * qemu-deviation: read_execute_only: it checks no types
 * qemu-deviation: use_null: it checks no null segments
 */
#include "check.h"
#include "gigogne.h"
#include "seg.h"

enum slot {
    NOT_PRESENT = 0x30,
    EXECUTE_ONLY = 0x38,
    READ_ONLY = 0x40,
    WINDOW = 0x48,     /* 16 bytes of `area` */
    EXPAND_DOWN = 0x50, /* all but the first 16 bytes of it */
    STACK = 0x58,
    HIGH = 0x60, /* base FFFFFFF0h */
    SHORT_CODE = 0x68,
    LDT = 0x70,
    READABLE_CODE = 0x78,
    IN_LDT = 0x0C,
};

_Static_assert(NOT_PRESENT == SEL_FREE, "the slots of this test are the free ones of the GDT");

#define LOAD(selector) "movl $" #selector ", %eax"

CODE(load_beyond_table, LOAD(0x1000), "movl %eax, %ds");
CODE(load_not_present, LOAD(0x30), "movl %eax, %es");
CODE(load_ss_not_present, LOAD(0x30), "movl %eax, %ss");
CODE(load_system_segment, LOAD(0x28), "movl %eax, %fs");
CODE(load_execute_only, LOAD(0x38), "movl %eax, %gs");
CODE(load_ss_null, LOAD(0), "movl %eax, %ss");
CODE(load_ss_wrong_rpl, LOAD(0x11), "movl %eax, %ss");
CODE(load_ss_read_only, LOAD(0x40), "movl %eax, %ss");
CODE(load_ss_of_ring3, LOAD(0x20), "movl %eax, %ss");
CODE(load_ds_kernel_in_ring3, LOAD(0x13), "movl %eax, %ds");
CODE(load_ds_null, LOAD(3), "movl %eax, %ds");
CODE(load_ds_code, LOAD(0x78), "movl %eax, %ds");
CODE(load_window, LOAD(0x48), "movl %eax, %fs");
CODE(load_far, "", "lfs far_pointer, %ebx; movw %fs, %ax; movw %ax, result+4; movl %ebx, result");
CODE(pop_fs, "pushl $0x12340048", "popl %fs; movw %fs, %ax; movw %ax, result");
CODE(base_is_added, LOAD(0x48) "; movl %eax, %fs", "movl %fs:4, %eax; movl %eax, result");
CODE(base_wraps, LOAD(0x60) "; movl %eax, %fs; leal area+16+4, %ecx", "movl %fs:(%ecx), %eax; movl %eax, result");
CODE(limit_last_byte, LOAD(0x48) "; movl %eax, %fs", "movb %fs:15, %al; movl %fs:12, %eax");
CODE(limit_exceeded, LOAD(0x48) "; movl %eax, %ds", "movb 16, %al");
CODE(limit_straddled, LOAD(0x48) "; movl %eax, %es", "movl %es:13, %eax");
CODE(limit_through_fs_is_gp, LOAD(0x48) "; movl %eax, %fs", "movl %eax, %fs:0xFFFFFFFE");
CODE(stack_limit, LOAD(0x5B) "; movl %eax, %ss; movl $0x20, %ebp",
     "movl 4(%ebp), %eax; movl $0x23, %eax; movl %eax, %ss");
CODE(expand_down_above, LOAD(0x50) "; movl %eax, %fs", "movl %fs:16, %eax");
CODE(expand_down_below, LOAD(0x50) "; movl %eax, %fs", "movl %fs:12, %eax");
CODE(write_read_only, LOAD(0x40) "; movl %eax, %fs", "movl %eax, %fs:area");
CODE(write_code, "", "movl %eax, %cs:area");
CODE(read_execute_only, "ljmp $0x38, $1f; 1: nop", "movl %cs:area, %eax; ljmp $8, $2f; 2: nop");
CODE(use_null, LOAD(0) "; movl %eax, %fs", "movl %fs:area, %eax");
CODE(code_limit, "", "ljmp $0x68, $0x10");
CODE(ldt_segment, LOAD(0x70) "; lldt %ax; " LOAD(0x0C) "; movl %eax, %fs", "movl %fs:4, %eax; movl %eax, result");
CODE(ldt_null, "xorl %eax, %eax; lldt %ax; " LOAD(0x0C), "movl %eax, %fs");
CODE(lldt_of_data, LOAD(0x10), "lldt %ax");

uint32_t area[8] = {0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107}, result[2];
struct {
    uint32_t offset;
    uint16_t selector;
} __attribute__((packed)) far_pointer = {0xABCD, WINDOW};

static uint64_t ldt[4];

static void make_segments(void)
{
    uint32_t base = (uint32_t)area;

    set_descriptor(NOT_PRESENT, descriptor(0, 0xFFFFF, ACC_DATA & ~X86_ATTR_P, SEG_FLAT));
    set_descriptor(EXECUTE_ONLY, descriptor(0, 0xFFFFF, ACC_CODE & ~X86_TYPE_READABLE, SEG_FLAT));
    set_descriptor(READ_ONLY, descriptor(0, 0xFFFFF, ACC_DATA & ~X86_TYPE_WRITABLE, SEG_FLAT));
    set_descriptor(WINDOW, descriptor(base, 15, ACC_DATA, SEG_32));
    set_descriptor(EXPAND_DOWN, descriptor(base, 15, ACC_DATA | X86_TYPE_EXPAND_DOWN, SEG_32));
    set_descriptor(STACK, descriptor(base, 0x21, ACC_DATA | ACC_DPL3, SEG_32));
    set_descriptor(HIGH, descriptor(0xFFFFFFF0, 0xFFFFF, ACC_DATA, SEG_FLAT));
    set_descriptor(SHORT_CODE, descriptor(base, 0x0F, ACC_CODE, SEG_32));
    set_descriptor(READABLE_CODE, descriptor(0, 0xFFFFF, ACC_CODE, SEG_FLAT));
    ldt[1] = descriptor(base + 4, 15, ACC_DATA, SEG_32);
    set_descriptor(LDT, descriptor((uint32_t)ldt, sizeof ldt - 1, ACC_LDT, 0));
}

static void loads(void)
{
    CHECK_FAULT(load_beyond_table, X86_VEC_GP, 0x1000);
    CHECK_FAULT(load_not_present, X86_VEC_NP, NOT_PRESENT);
    CHECK_FAULT(load_ss_not_present, X86_VEC_SS, NOT_PRESENT);
    CHECK_FAULT(load_system_segment, X86_VEC_GP, SEL_TSS);
    CHECK_FAULT(load_execute_only, X86_VEC_GP, EXECUTE_ONLY);
    CHECK_FAULT(load_ss_null, X86_VEC_GP, 0);
    CHECK_FAULT(load_ss_wrong_rpl, X86_VEC_GP, 0x10);
    CHECK_FAULT(load_ss_read_only, X86_VEC_GP, READ_ONLY);
    CHECK_FAULT(load_ss_of_ring3, X86_VEC_GP, 0x20);
    CHECK_FAULT_RING3(load_ds_kernel_in_ring3, X86_VEC_GP, 0x10);
    check_runs_ring3("load_ds_null", load_ds_null);
    CHECK_RUNS(load_ds_code);
    set_descriptor(WINDOW, descriptor((uint32_t)area, 15, ACC_DATA, SEG_32));
    run_guarded(load_window);
    check_equal("load_sets_accessed", gdt[WINDOW / 8] >> 40 & 1, 1);
    run_guarded(load_far);
    check("lfs_loads_both", result[0] == 0xABCD && (uint16_t)result[1] == WINDOW);
    run_guarded(pop_fs);
    check_equal("pop_fs", (uint16_t)result[0], WINDOW);
}

static void uses(void)
{
    run_guarded(base_is_added);
    check_equal("base_is_added", result[0], 0x101);
    run_guarded(base_wraps);
    check_equal("base_wraps", result[0], 0x101);
    CHECK_RUNS(limit_last_byte);
    CHECK_FAULT(limit_exceeded, X86_VEC_GP, 0);
    CHECK_FAULT(limit_straddled, X86_VEC_GP, 0);
    CHECK_FAULT(limit_through_fs_is_gp, X86_VEC_GP, 0);
    /* In ring 3, since a stack too small for its own fault's frame would make that a double fault. */
    CHECK_FAULT_RING3(stack_limit, X86_VEC_SS, 0);
}

static void types(void)
{
    CHECK_RUNS(expand_down_above);
    CHECK_FAULT(expand_down_below, X86_VEC_GP, 0);
    CHECK_FAULT(write_read_only, X86_VEC_GP, 0);
    CHECK_FAULT(write_code, X86_VEC_GP, 0);
    CHECK_FAULT(read_execute_only, X86_VEC_GP, 0);
    CHECK_FAULT(use_null, X86_VEC_GP, 0);
    CHECK_FAULT(code_limit, X86_VEC_GP, 0);
    run_guarded(ldt_segment);
    check_equal("ldt_segment", result[0], area[2]);
    CHECK_FAULT(ldt_null, X86_VEC_GP, IN_LDT);
    CHECK_FAULT(lldt_of_data, X86_VEC_GP, SEL_KDATA);
}

int main(void)
{
    guard_init();
    make_segments();
    loads();
    uses();
    types();
    return check_failures();
}
