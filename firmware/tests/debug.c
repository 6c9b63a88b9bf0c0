/* debug: single step, breakpoints on code, data and I/O, general detect, and what DR6 says of each.
 *
 * expect:
 *   PASS step_traps_after_instruction
 *   PASS step_dr6
 *   PASS step_clears_tf_in_handler
 *   PASS step_into_int_is_not_taken
 *   PASS step_over_mov_ss
 *   PASS step_over_pop_ss
 *   PASS step_each_iteration
 *   PASS popf_sets_tf_next
 *   PASS code_breakpoint
 *   PASS code_breakpoint_dr6
 *   PASS code_breakpoint_rf
 *   PASS write_breakpoint
 *   PASS write_breakpoint_dr6
 *   PASS write_breakpoint_ignores_read
 *   PASS access_breakpoint
 *   PASS breakpoint_overlap
 *   PASS breakpoint_misses_neighbour
 *   PASS disabled_breakpoint
 *   PASS io_breakpoint
 *   PASS general_detect
 *   PASS general_detect_dr6
 *   PASS icebp
 *   PASS dr4_is_dr6
 *   PASS dr4_with_de
 * qemu-deviation: general_detect: it does not implement DR7.GD
 * qemu-deviation: general_detect_dr6: it does not implement DR7.GD
 * qemu-deviation: icebp: it gives F1 to its own debugger
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "selectors.h"

#define SET_TF "pushfl; orl $0x100, (%esp); popfl; "
#define CLEAR_TF "; pushfl; andl $~0x100, (%esp); popfl"

CODE(step, SET_TF, "movl $1, %eax");
CODE(step_int, SET_TF "nop", "int $0x90");
CODE(step_mov_ss, "movl %ss, %ecx; " SET_TF, "movl %ecx, %ss; incl %eax");
CODE(step_pop_ss, "pushl %ss; " SET_TF, "popl %ss; incl %eax");
CODE(step_rep, "movl $buffer, %edi; movl $3, %ecx; " SET_TF, "rep stosb");
CODE(breakpoint_here, "movl $1, %eax", "incl %eax");
CODE(store, "", "movl $7, word");
CODE(load, "", "movl word, %eax");
CODE(store_byte, "", "movb $7, word+3");
CODE(store_neighbour, "", "movb $7, word+4");
CODE(out_80, "", "outb %al, $0x80");
CODE(from_dr0, "", "movl %dr0, %eax");
CODE(icebp, "", ".byte 0xF1");
CODE(read_dr4, "", ".byte 0x0F, 0x21, 0xE0");

uint32_t word[2];
uint8_t buffer[8];

static uint32_t steps[4];
static int step_count;
static uint32_t handler_eflags;

static const struct trap_frame *debug(void (*code)(void), uint32_t dr7)
{
    write_dr6(X86_DR6_FIXED);
    write_dr7(dr7);
    const struct trap_frame *frame = run_guarded(code);

    write_dr7(X86_DR7_FIXED);
    return frame;
}

static int is_debug(const struct trap_frame *frame, const void *eip)
{
    return frame != NULL && frame->vector == X86_VEC_DB && frame->eip == (uint32_t)eip;
}

/* Let three steps go by, then end. */
static void count_steps(struct trap_frame *frame)
{
    handler_eflags = read_eflags();
    if (step_count < 3) {
        steps[step_count++] = frame->ecx;
        return;
    }
    guard_trap(frame);
}

static void resume(struct trap_frame *frame)
{
    step_count++;
    frame->eflags |= X86_EFLAGS_RF;
}

static void single_step(void)
{
    const struct trap_frame *frame = debug(step, X86_DR7_FIXED);

    check("step_traps_after_instruction", is_debug(frame, step_next) && frame->eax == 1);
    check_equal("step_dr6", read_dr6(), X86_DR6_FIXED | X86_DR6_BS);
    set_handler(X86_VEC_DB, count_steps);
    step_count = 3;
    frame = debug(step, X86_DR7_FIXED);
    check("step_clears_tf_in_handler", (handler_eflags & X86_EFLAGS_TF) == 0 && (frame->eflags & X86_EFLAGS_TF) != 0);
    step_count = 2;
    frame = debug(step_int, X86_DR7_FIXED);
    check("step_into_int_is_not_taken", frame->vector == 0x90 && frame->eip == (uint32_t)step_int_next);
    set_handler(X86_VEC_DB, guard_trap);
    check("step_over_mov_ss", is_debug(debug(step_mov_ss, X86_DR7_FIXED), step_mov_ss_next));
    check("step_over_pop_ss", is_debug(debug(step_pop_ss, X86_DR7_FIXED), step_pop_ss_next));
    set_handler(X86_VEC_DB, count_steps);
    step_count = 0;
    frame = debug(step_rep, X86_DR7_FIXED);
    check("step_each_iteration", steps[0] == 2 && steps[1] == 1 && steps[2] == 0);
    set_handler(X86_VEC_DB, guard_trap);
    frame = debug(step, X86_DR7_FIXED);
    check("popf_sets_tf_next", frame->eip == (uint32_t)step_next);
}

static void breakpoints(void)
{
    enum { ENABLE_0 = 2, ENABLE_1 = 8, TYPE_0 = 16, LENGTH_0 = 18, FOUR = 3 };
    const uint32_t write_4 = X86_DR7_FIXED | ENABLE_0 | X86_DR7_TYPE_WRITE << TYPE_0 | FOUR << LENGTH_0;
    const uint32_t access_4 = X86_DR7_FIXED | ENABLE_0 | (uint32_t)X86_DR7_TYPE_ACCESS << TYPE_0 | FOUR << LENGTH_0;
    const struct trap_frame *frame;

    write_dr0((uint32_t)breakpoint_here_at);
    frame = debug(breakpoint_here, X86_DR7_FIXED | ENABLE_0);
    check("code_breakpoint", is_debug(frame, breakpoint_here_at) && frame->eax == 1);
    check_equal("code_breakpoint_dr6", read_dr6(), X86_DR6_FIXED | X86_DR6_B0);
    set_handler(X86_VEC_DB, resume);
    step_count = 0;
    frame = debug(breakpoint_here, X86_DR7_FIXED | ENABLE_0);
    check("code_breakpoint_rf", frame == NULL && step_count == 1);
    set_handler(X86_VEC_DB, guard_trap);
    write_dr0((uint32_t)word);
    check("write_breakpoint", is_debug(debug(store, write_4), store_next) && word[0] == 7);
    check_equal("write_breakpoint_dr6", read_dr6(), X86_DR6_FIXED | X86_DR6_B0);
    check("write_breakpoint_ignores_read", debug(load, write_4) == NULL);
    check("access_breakpoint", is_debug(debug(load, access_4), load_next));
    check("breakpoint_overlap", is_debug(debug(store_byte, write_4), store_byte_next));
    check("breakpoint_misses_neighbour", debug(store_neighbour, write_4) == NULL);
    check("disabled_breakpoint", debug(store, write_4 & ~ENABLE_0) == NULL);
    write_dr0(GIG_PORT_POST);
    write_cr4(read_cr4() | X86_CR4_DE);
    frame = debug(out_80, X86_DR7_FIXED | ENABLE_0 | X86_DR7_TYPE_IO << TYPE_0);
    check("io_breakpoint", is_debug(frame, out_80_next));
    write_cr4(read_cr4() & ~X86_CR4_DE);
}

int main(void)
{
    const struct trap_frame *frame;

    guard_init();
    set_handler(0x90, guard_trap);
    single_step();
    breakpoints();
    frame = debug(from_dr0, X86_DR7_FIXED | X86_DR7_GD);
    check("general_detect", is_debug(frame, from_dr0_at));
    check("general_detect_dr6", (read_dr6() & X86_DR6_BD) != 0);
    check("icebp", is_debug(debug(icebp, X86_DR7_FIXED), icebp_next));
    write_dr6(X86_DR6_FIXED);
    frame = run_guarded(read_dr4);
    check("dr4_is_dr6", frame == NULL);
    write_cr4(read_cr4() | X86_CR4_DE);
    check_trap("dr4_with_de", read_dr4, X86_VEC_UD, 0, read_dr4_at);
    return check_failures();
}
