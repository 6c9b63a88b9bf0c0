/* faults: the exceptions that push no error code, each at the right EIP.
 *
 * expect:
 *   PASS divide_by_zero
 *   PASS divide_overflow
 *   PASS divide_most_negative
 *   PASS divide_byte_overflow
 *   PASS aam_zero
 *   PASS breakpoint
 *   PASS overflow
 *   PASS no_overflow
 *   PASS bound_low
 *   PASS bound_high
 *   PASS bound_edges
 *   PASS ud2
 *   PASS undefined_opcode
 *   PASS lock_on_register
 *   PASS lock_on_load
 *   PASS lea_of_register
 *   PASS far_jump_to_register
 *   PASS move_to_cs
 *   PASS move_to_segment_6
 *   PASS cr1
 *   PASS x87_task_switched
 *   PASS x87_emulated
 *   PASS wait_monitored
 *   PASS too_long
 *   PASS divide_faults_precisely
 * qemu-deviation: lock_on_load: it ignores LOCK on instructions that cannot take it
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"

CODE(divide_by_zero, "xorl %ecx, %ecx; xorl %edx, %edx; movl $1, %eax", "divl %ecx");
CODE(divide_overflow, "movl $2, %ecx; movl $2, %edx; xorl %eax, %eax", "divl %ecx");
CODE(divide_most_negative, "movl $-1, %ecx; movl $0x80000000, %eax; cltd", "idivl %ecx");
CODE(divide_byte_overflow, "movw $0x400, %ax; movb $4, %cl", "divb %cl");
CODE(aam_zero, "movb $5, %al", ".byte 0xD4, 0");
CODE(breakpoint, "", "int3");
CODE(overflow, "movl $0x7FFFFFFF, %eax; incl %eax", "into");
CODE(no_overflow, "xorl %eax, %eax", "into");
CODE(bound_low, "movl $9, %eax", ".byte 0x62, 0x05; .long bounds");
CODE(bound_high, "movl $21, %eax", ".byte 0x62, 0x05; .long bounds");
CODE(bound_edges, "movl $10, %eax; .byte 0x62, 0x05; .long bounds; movl $20, %eax", ".byte 0x62, 0x05; .long bounds");
CODE(undefined, "", "ud2");
CODE(undefined_opcode, "", ".byte 0x0F, 0xFF, 0xC0");
CODE(lock_on_register, "", ".byte 0xF0, 0x01, 0xC0");
CODE(lock_on_load, "", ".byte 0xF0, 0x8B, 0x00");
CODE(lea_of_register, "", ".byte 0x8D, 0xC0");
CODE(far_jump_to_register, "", ".byte 0xFF, 0xE8");
CODE(move_to_cs, "movl $8, %eax", ".byte 0x8E, 0xC8");
CODE(move_to_segment_6, "movl $8, %eax", ".byte 0x8E, 0xF0");
CODE(cr1, "", ".byte 0x0F, 0x20, 0xC8");
CODE(x87, "", ".byte 0xD8, 0xC0");
CODE(wait, "", ".byte 0x9B");
CODE(too_long, "", ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");

int32_t bounds[2] = {10, 20};

int main(void)
{
    uint32_t cr0 = read_cr0();
    const struct trap_frame *frame;

    guard_init();
    CHECK_FAULT(divide_by_zero, X86_VEC_DE, 0);
    CHECK_FAULT(divide_overflow, X86_VEC_DE, 0);
    CHECK_FAULT(divide_most_negative, X86_VEC_DE, 0);
    CHECK_FAULT(divide_byte_overflow, X86_VEC_DE, 0);
    CHECK_FAULT(aam_zero, X86_VEC_DE, 0);
    CHECK_TRAP(breakpoint, X86_VEC_BP, 0);
    CHECK_TRAP(overflow, X86_VEC_OF, 0);
    CHECK_RUNS(no_overflow);
    CHECK_FAULT(bound_low, X86_VEC_BR, 0);
    CHECK_FAULT(bound_high, X86_VEC_BR, 0);
    CHECK_RUNS(bound_edges);
    check_trap("ud2", undefined, X86_VEC_UD, 0, undefined_at);
    CHECK_FAULT(undefined_opcode, X86_VEC_UD, 0);
    CHECK_FAULT(lock_on_register, X86_VEC_UD, 0);
    CHECK_FAULT(lock_on_load, X86_VEC_UD, 0);
    CHECK_FAULT(lea_of_register, X86_VEC_UD, 0);
    CHECK_FAULT(far_jump_to_register, X86_VEC_UD, 0);
    CHECK_FAULT(move_to_cs, X86_VEC_UD, 0);
    CHECK_FAULT(move_to_segment_6, X86_VEC_UD, 0);
    CHECK_FAULT(cr1, X86_VEC_UD, 0);
    write_cr0(cr0 | X86_CR0_TS);
    check_trap("x87_task_switched", x87, X86_VEC_NM, 0, x87_at);
    write_cr0((cr0 & ~X86_CR0_TS) | X86_CR0_EM);
    check_trap("x87_emulated", x87, X86_VEC_NM, 0, x87_at);
    write_cr0(cr0 | X86_CR0_TS | X86_CR0_MP);
    check_trap("wait_monitored", wait, X86_VEC_NM, 0, wait_at);
    write_cr0(cr0);
    CHECK_FAULT(too_long, X86_VEC_GP, 0);
    frame = run_guarded(divide_overflow);
    check("divide_faults_precisely", frame != NULL && frame->eax == 0 && frame->edx == 2 && frame->ecx == 2);
    return check_failures();
}
