/* call_gates: far calls, jumps and returns, direct and through gates, with and without a change of ring.
 *
 * expect:
 *   PASS far_call_direct
 *   PASS far_call_pushes_cs
 *   PASS far_jump_wrong_dpl
 *   PASS far_jump_null
 *   PASS far_jump_data
 *   PASS far_call_conforming_from_ring3
 *   PASS gate_same_ring
 *   PASS gate_jump
 *   PASS gate_to_ring0
 *   PASS gate_copies_parameters
 *   PASS gate_saves_outer_stack
 *   PASS gate_return_drops_parameters
 *   PASS gate_privilege
 *   PASS gate_rpl
 *   PASS gate_not_present
 *   PASS gate_jump_to_ring0
 *   PASS gate_16
 *   PASS return_to_inner_ring
 *   PASS return_to_ring3
 *   PASS return_nulls_kernel_segments
 *   PASS return_null_cs
 */
#include "check.h"
#include "gigogne.h"
#include "seg.h"

enum slot {
    CONFORMING = 0x30,
    GATE = 0x38,
    GATE_RING3 = 0x40,
    GATE_ABSENT = 0x48,
    GATE_16 = 0x50,
    LOW_CODE = 0x58, /* the image seen from 0 */
    IMAGE = 0x100000,
};

_Static_assert(CONFORMING == SEL_FREE, "the slots of this test are the free ones of the GDT");

CODE(far_call, "", "lcall $8, $target");
CODE(far_jump_wrong_dpl, "", "ljmp $0x18, $target");
CODE(far_jump_null, "", "ljmp $0, $target");
CODE(far_jump_data, "", "ljmp $0x10, $target");
CODE(far_call_conforming, "", "lcall $0x30, $target");
CODE(gate_call, "", "lcall $0x38, $0");
CODE(gate_jump, "", "ljmp $0x38, $0; gate_jump_back: nop");
CODE(gate_from_ring3, "movl %esp, outer; pushl $0x1111; pushl $0x2222",
     "lcall $0x43, $0; subl %esp, outer; movw %ss, outer+4");
CODE(gate_privilege, "", "lcall $0x3B, $0");
CODE(gate_rpl, "", "lcall $0x3B, $0");
CODE(gate_not_present, "", "lcall $0x4B, $0");
CODE(gate_jump_to_ring0, "", "ljmp $0x43, $0");
CODE(call_16, "ljmp $0x58, $1f-0x100000; 1: movl %esp, %edi",
     "lcall $0x50, $0; call_16_back: subl %esp, %edi; movl %edi, outer; ljmp $8, $2f; 2:");
CODE(return_to_inner_ring, "pushl $8; pushl $target", "lret");
CODE(return_null_cs, "pushl $0; pushl $target", "lret");
CODE(return_to_ring3,
     "movl $0x10, %eax; movl %eax, %gs; movl $0x23, %eax; movl %eax, %fs; "
     "pushl $0x23; pushl $ring3_stack+2048; pushl $0x1B; pushl $in_ring3",
     "lret");

uint32_t seen[4], outer[2];
extern char call_16_back[];

/* Where the calls arrive. The gates of ring 3 copy two parameters; seen[] tells what was on the inner stack. */
void target(void);
void target_ring0(void);
void target_jumped(void);
void target_16(void);
void in_ring3(void);
asm(".pushsection .text.checks, \"ax\"\n"
    "target: movl 4(%esp), %eax; movl %eax, seen; movw %cs, %ax; movw %ax, seen+4; lret\n"
    "target_ring0: movw %cs, %ax; movw %ax, seen+4\n"
    "    movl 8(%esp), %eax; movl %eax, seen; movl 12(%esp), %eax; movl %eax, seen+8\n"
    "    movl 16(%esp), %eax; movl %eax, seen+12; lret $8\n"
    "target_jumped: jmp gate_jump_back\n"
    "target_16: movl (%esp), %eax; movl %eax, seen; lretw\n"
    "in_ring3: movw %gs, %ax; movw %ax, %fs:seen; movw %fs, %ax; movw %ax, %fs:seen+4\n" /* DS is null here */
    "    movw %cs, %ax; movw %ax, %fs:seen+8\n"
    "    int $0x81\n"
    ".popsection");

static void direct(void)
{
    check_runs("far_call_direct", far_call);
    check_equal("far_call_pushes_cs", seen[0], SEL_KCODE);
    CHECK_FAULT(far_jump_wrong_dpl, X86_VEC_GP, 0x18);
    CHECK_FAULT(far_jump_null, X86_VEC_GP, 0);
    CHECK_FAULT(far_jump_data, X86_VEC_GP, SEL_KDATA);
    seen[1] = 0;
    run_ring3(far_call_conforming);
    check_equal("far_call_conforming_from_ring3", seen[1], CONFORMING | 3);
}

static void gates(void)
{
    seen[1] = 0;
    run_guarded(gate_call);
    check_equal("gate_same_ring", seen[1], SEL_KCODE);
    set_descriptor(GATE, gate(SEL_KCODE, (uint32_t)target_jumped, ACC_CALL_GATE32, 0));
    CHECK_RUNS(gate_jump);
    seen[1] = 0;
    run_ring3(gate_from_ring3);
    check_equal("gate_to_ring0", seen[1], SEL_KCODE);
    check("gate_copies_parameters", seen[0] == 0x2222 && seen[2] == 0x1111);
    check("gate_saves_outer_stack", seen[3] - (uint32_t)ring3_stack < sizeof ring3_stack);
    /* LRET 8 takes the parameters off both stacks. */
    check("gate_return_drops_parameters", outer[0] == 0 && (uint16_t)outer[1] == SEL_UDATA);
    CHECK_FAULT_RING3(gate_privilege, X86_VEC_GP, GATE);
    CHECK_FAULT(gate_rpl, X86_VEC_GP, GATE);
    CHECK_FAULT_RING3(gate_not_present, X86_VEC_NP, GATE_ABSENT);
    CHECK_FAULT_RING3(gate_jump_to_ring0, X86_VEC_GP, SEL_KCODE);
    run_guarded(call_16);
    check("gate_16", seen[0] == (LOW_CODE << 16 | ((uint32_t)call_16_back - IMAGE)) && outer[0] == 0);
}

int main(void)
{
    const struct trap_frame *frame;

    guard_init();
    set_descriptor(CONFORMING, descriptor(0, 0xFFFFF, ACC_CODE | X86_TYPE_CONFORMING, SEG_FLAT));
    set_descriptor(LOW_CODE, descriptor(IMAGE, 0xFFFFF, ACC_CODE, SEG_FLAT));
    set_descriptor(GATE, gate(SEL_KCODE, (uint32_t)target, ACC_CALL_GATE32, 0));
    set_descriptor(GATE_RING3, gate(SEL_KCODE, (uint32_t)target_ring0, ACC_CALL_GATE32 | ACC_DPL3, 2));
    set_descriptor(GATE_ABSENT, gate(SEL_KCODE, 0, (ACC_CALL_GATE32 | ACC_DPL3) & ~X86_ATTR_P, 0));
    set_descriptor(GATE_16, gate(LOW_CODE, (uint32_t)target_16 - IMAGE, ACC_CALL_GATE16, 0));
    direct();
    gates();
    CHECK_FAULT_RING3(return_to_inner_ring, X86_VEC_GP, SEL_KCODE);
    frame = run_guarded(return_to_ring3);
    check("return_to_ring3", frame->vector == VEC_RING3_DONE && (uint16_t)seen[2] == SEL_UCODE);
    check("return_nulls_kernel_segments", (uint16_t)seen[0] == 0 && (uint16_t)seen[1] == SEL_UDATA);
    CHECK_FAULT(return_null_cs, X86_VEC_GP, 0);
    return check_failures();
}
