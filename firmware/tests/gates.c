/* gates: INT n and exceptions through interrupt, trap and 16-bit gates; what a bad gate answers.
 *
 * expect:
 *   PASS int_n_frame
 *   PASS interrupt_gate_clears_if
 *   PASS trap_gate_keeps_if
 *   PASS gate_clears_tf_nt
 *   PASS int_privilege
 *   PASS int3_privilege
 *   PASS fault_ignores_privilege
 *   PASS not_present
 *   PASS beyond_limit
 *   PASS not_a_gate
 *   PASS null_target
 *   PASS target_is_data
 *   PASS target_not_present
 *   PASS sixteen_bit_gate
 *   PASS inner_stack
 *   PASS conforming_handler_keeps_cpl
 *   PASS inner_stack_null
 *   PASS inner_stack_bad
 *   PASS resume_flag_in_fault_image
 * qemu-deviation: resume_flag_in_fault_image: it pushes EFLAGS as they were
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "seg.h"

enum {
    VECTOR = 0x90,
    VECTOR_2 = 0x91,
    NOT_PRESENT_CODE = SEL_FREE,
    CONFORMING = SEL_FREE + 8,
    LOW_CODE = SEL_FREE + 16, /* the image seen from 0, where offsets fit 16 bits */
    IMAGE = 0x100000,
    ERROR = VECTOR << 3 | X86_ERROR_IDT,
};

CODE(raise, "", "int $0x90");
CODE(raise_sti, "sti", "int $0x90");
CODE(raise_nt, "pushl $0x4003; popfl", "int $0x90");
CODE(raise_beyond, "", "int $0xF0");
CODE(raise_int3, "", "int3");
CODE(undefined, "", "ud2");
CODE(raise_16, "ljmp $0x40, $1f-0x100000; 1: movl %esp, %edi",
     "int $0x91; raise_16_back: subl %esp, %edi; movl %edi, result+4; ljmp $8, $2f; 2:");
CODE(raise_conforming, "", "int $0x91; movl %eax, result");
CODE(raise_without_stack, "movl $-1, result", "int $0x90; movw $0x10, tss+8"); /* TSS.SS0 is right again */

extern char raise_16_back[];
uint32_t result[2];

static uint32_t handler_eflags;

/* handler_16 finds IP, CS and FLAGS as words; handler_ts skips the INT n that found no inner stack. */
void handler_16(void);
void handler_conforming(void);
void handler_ts(void);
asm(".pushsection .text.checks, \"ax\"\n"
    "handler_16: movl (%esp), %eax; movl %eax, result; iretw\n"
    "handler_conforming: movw %cs, %ax; movzwl %ax, %eax; iretl\n"
    "handler_ts: popl result; addl $2, (%esp); iretl\n"
    ".popsection");

static void look(struct trap_frame *frame)
{
    handler_eflags = read_eflags();
    guard_trap(frame);
}

static void set(unsigned selector, unsigned access)
{
    set_gate(VECTOR, gate(selector, trap_entry(VECTOR), access, 0));
}

static void good_gates(void)
{
    const struct trap_frame *frame;

    set(SEL_KCODE, ACC_INTERRUPT_GATE32);
    check_trap("int_n_frame", raise, VECTOR, 0, raise_next);
    run_guarded(raise_sti);
    check_equal("interrupt_gate_clears_if", handler_eflags & X86_EFLAGS_IF, 0);
    set(SEL_KCODE, ACC_TRAP_GATE32);
    run_guarded(raise_sti);
    check_equal("trap_gate_keeps_if", handler_eflags & X86_EFLAGS_IF, X86_EFLAGS_IF);
    frame = run_guarded(raise_nt);
    check("gate_clears_tf_nt", (handler_eflags & X86_EFLAGS_NT) == 0 && (frame->eflags & X86_EFLAGS_NT) != 0 &&
                                   (frame->eflags & X86_EFLAGS_CF) != 0);
    check_trap_ring3("int_privilege", raise, X86_VEC_GP, ERROR, raise_at);
    check_trap_ring3("int3_privilege", raise_int3, X86_VEC_GP, X86_VEC_BP << 3 | X86_ERROR_IDT, raise_int3_at);
    check_trap_ring3("fault_ignores_privilege", undefined, X86_VEC_UD, 0, undefined_at);
}

static void bad_gates(void)
{
    struct {
        uint16_t limit;
        const void *base;
    } __attribute__((packed)) pointer = {0xE7, idt};

    set(SEL_KCODE, ACC_INTERRUPT_GATE32 & ~X86_ATTR_P);
    check_trap("not_present", raise, X86_VEC_NP, ERROR, raise_at);
    asm volatile("lidt %0" : : "m"(pointer));
    check_trap("beyond_limit", raise_beyond, X86_VEC_GP, 0xF0 << 3 | X86_ERROR_IDT, raise_beyond_at);
    pointer.limit = sizeof idt - 1;
    asm volatile("lidt %0" : : "m"(pointer));
    set(SEL_KCODE, ACC_CALL_GATE32);
    check_trap("not_a_gate", raise, X86_VEC_GP, ERROR, raise_at);
    set(SEL_NULL, ACC_INTERRUPT_GATE32);
    check_trap("null_target", raise, X86_VEC_GP, 0, raise_at);
    set(SEL_KDATA, ACC_INTERRUPT_GATE32);
    check_trap("target_is_data", raise, X86_VEC_GP, SEL_KDATA, raise_at);
    set_descriptor(NOT_PRESENT_CODE, descriptor(0, 0xFFFFF, ACC_CODE & ~X86_ATTR_P, SEG_FLAT));
    set(NOT_PRESENT_CODE, ACC_INTERRUPT_GATE32);
    check_trap("target_not_present", raise, X86_VEC_NP, NOT_PRESENT_CODE, raise_at);
}

static void inner_stacks(void)
{
    const struct trap_frame *frame;

    set(SEL_KCODE, ACC_INTERRUPT_GATE32 | ACC_DPL3);
    frame = run_ring3(raise);
    check("inner_stack", frame->vector == VECTOR && frame->cs == SEL_UCODE && frame->ss == SEL_UDATA &&
                             frame->esp > (uint32_t)ring3_stack);
    set_descriptor(CONFORMING, descriptor(0, 0xFFFFF, ACC_CODE | X86_TYPE_CONFORMING, SEG_FLAT));
    set_gate(VECTOR_2, gate(CONFORMING, (uint32_t)handler_conforming, ACC_INTERRUPT_GATE32 | ACC_DPL3, 0));
    run_ring3(raise_conforming);
    check_equal("conforming_handler_keeps_cpl", result[0], CONFORMING | 3);
    /* The #TS of a bad inner stack needs a handler that does without one: conforming code stays in ring 3. */
    set_gate(X86_VEC_TS, gate(CONFORMING, (uint32_t)handler_ts, ACC_INTERRUPT_GATE32, 0));
    tss.ss0 = SEL_NULL;
    run_ring3(raise_without_stack);
    check_equal("inner_stack_null", result[0], 0);
    tss.ss0 = SEL_UDATA;
    run_ring3(raise_without_stack);
    check_equal("inner_stack_bad", result[0], SEL_UDATA & ~X86_SEL_RPL);
    set_gate(X86_VEC_TS, gate(SEL_KCODE, trap_entry(X86_VEC_TS), ACC_INTERRUPT_GATE32, 0));
}

static void sixteen_bits(void)
{
    uint32_t back = (uint32_t)raise_16_back - IMAGE;

    set_descriptor(LOW_CODE, descriptor(IMAGE, 0xFFFFF, ACC_CODE, SEG_FLAT));
    set_gate(VECTOR_2, gate(LOW_CODE, (uint32_t)handler_16 - IMAGE, ACC_INTERRUPT_GATE16, 0));
    run_guarded(raise_16);
    check("sixteen_bit_gate", result[0] == (LOW_CODE << 16 | back) && result[1] == 0);
}

int main(void)
{
    const struct trap_frame *frame;

    guard_init();
    set_handler(VECTOR, look);
    good_gates();
    bad_gates();
    sixteen_bits();
    inner_stacks();
    frame = run_guarded(undefined);
    check("resume_flag_in_fault_image", (frame->eflags & X86_EFLAGS_RF) != 0);
    return check_failures();
}
