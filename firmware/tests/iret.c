/* iret: the forms of IRET in protected mode, what it may change of EFLAGS, and how it fails.
 *
 * expect:
 *   PASS same_ring_flags
 *   PASS same_ring_stack
 *   PASS operand_16
 *   PASS outer_ring
 *   PASS outer_ring_nulls_kernel_segments
 *   PASS ring3_keeps_if_and_iopl
 *   PASS iopl3_changes_if
 *   PASS null_cs
 *   PASS cs_is_data
 *   PASS cs_not_present
 *   PASS cs_inner_ring
 *   PASS eip_beyond_limit
 *   PASS outer_ss_null
 *   PASS outer_ss_wrong_ring
 *   PASS nested_without_task
 *   PASS sets_tf
 *   PASS rf_hides_breakpoint
 * qemu-deviation: eip_beyond_limit: it checks no limits
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "seg.h"

enum { NOT_PRESENT = SEL_FREE, SHORT_CODE = SEL_FREE + 8, LOW_CODE = SEL_FREE + 16 };

_Static_assert(SEL_FREE == 0x30, "the selectors below are those of the free slots");

CODE(same_ring, "pushl $0x8D7; pushl $8; pushl $1f", "iretl; 1: pushfl; popl result");
CODE(operand_16, "movl %esp, %edi; ljmp $0x40, $1f-0x100000; 1: pushw $0x0803; pushw $0x40; movl $2f-0x100000, %eax; pushw %ax",
     "iretw; 2: pushfl; popl result; ljmp $8, $3f; 3: subl %esp, %edi; movl %edi, result+4");
CODE(to_ring3, "movl $0x10, %eax; movl %eax, %gs; movl $0x23, %eax; movl %eax, %fs; "
               "pushl $0x23; pushl $ring3_stack+2048; pushl $0x202; pushl $0x1B; pushl $arrive",
     "iretl");
CODE(ring3_flags, "pushl $0x3202; pushl $0x1B; pushl $1f", "iretl; 1: pushfl; popl result");
CODE(null_cs, "pushfl; pushl $3; pushl $arrive", "iretl");
CODE(cs_is_data, "pushfl; pushl $0x10; pushl $arrive", "iretl");
CODE(cs_not_present, "pushfl; pushl $0x30; pushl $arrive", "iretl");
CODE(cs_inner_ring, "pushfl; pushl $8; pushl $arrive", "iretl");
CODE(eip_beyond_limit, "pushfl; pushl $0x38; pushl $arrive", "iretl");
CODE(outer_ss_null, "pushl $0; pushl $0; pushfl; pushl $0x1B; pushl $arrive", "iretl");
CODE(outer_ss_wrong_ring, "pushl $0x10; pushl $0; pushfl; pushl $0x1B; pushl $arrive", "iretl");
CODE(nested, "pushl $0x4002; popfl", "iretl");
CODE(set_tf, "pushl $0x102; pushl $8; pushl $1f", "iretl; 1: movl $1, %eax; set_tf_stop: nop");
CODE(set_rf, "pushl $0x10002; pushl $8; pushl $set_rf_here", "iretl; set_rf_here: movl $1, %eax; movl $2, %eax");

extern char set_tf_stop[], set_rf_here[];
uint32_t result[4];

void arrive(void);
asm(".pushsection .text.checks, \"ax\"\n"
    "arrive: pushfl; popl %fs:result; movw %gs, %ax; movw %ax, %fs:result+4\n" /* DS is null here */
    "    movw %fs, %ax; movw %ax, %fs:result+8; int $0x81\n"
    ".popsection");

int main(void)
{
    const struct trap_frame *frame;

    guard_init();
    set_descriptor(NOT_PRESENT, descriptor(0, 0xFFFFF, ACC_CODE & ~X86_ATTR_P, SEG_FLAT));
    set_descriptor(SHORT_CODE, descriptor(0, 0xFFF, ACC_CODE, SEG_32));
    set_descriptor(LOW_CODE, descriptor(0x100000, 0xFFFFF, ACC_CODE, SEG_FLAT));
    frame = run_guarded(same_ring);
    check_equal("same_ring_flags", result[0], 0x8D7);
    check("same_ring_stack", frame == NULL);
    run_guarded(operand_16);
    check("operand_16", (result[0] & 0x8D5) == 0x801 && result[1] == 0);
    frame = run_guarded(to_ring3);
    check("outer_ring", frame->vector == VEC_RING3_DONE && frame->cs == SEL_UCODE && result[0] == 0x202);
    check("outer_ring_nulls_kernel_segments", (uint16_t)result[1] == 0 && (uint16_t)result[2] == SEL_UDATA);
    run_ring3(ring3_flags);
    check_equal("ring3_keeps_if_and_iopl", result[0], X86_EFLAGS_FIXED);
    run_ring3_flags(ring3_flags, 0x3002);
    check_equal("iopl3_changes_if", result[0], 0x3202);
    check_trap("null_cs", null_cs, X86_VEC_GP, 0, null_cs_at);
    check_trap("cs_is_data", cs_is_data, X86_VEC_GP, SEL_KDATA, cs_is_data_at);
    check_trap("cs_not_present", cs_not_present, X86_VEC_NP, NOT_PRESENT, cs_not_present_at);
    check_trap_ring3("cs_inner_ring", cs_inner_ring, X86_VEC_GP, SEL_KCODE, cs_inner_ring_at);
    check_trap("eip_beyond_limit", eip_beyond_limit, X86_VEC_GP, 0, eip_beyond_limit_at);
    check_trap("outer_ss_null", outer_ss_null, X86_VEC_GP, 0, outer_ss_null_at);
    check_trap("outer_ss_wrong_ring", outer_ss_wrong_ring, X86_VEC_GP, SEL_KDATA, outer_ss_wrong_ring_at);
    tss.link = 0;
    check_trap("nested_without_task", nested, X86_VEC_TS, 0, nested_at);
    check_trap("sets_tf", set_tf, X86_VEC_DB, 0, set_tf_stop);
    write_dr0((uint32_t)set_rf_here);
    write_dr7(X86_DR7_FIXED | 2);
    frame = run_guarded(set_rf);
    write_dr7(X86_DR7_FIXED);
    check("rf_hides_breakpoint", frame == NULL);
    return check_failures();
}
