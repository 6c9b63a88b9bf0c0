/* tasks: hardware task switches by CALL, JMP, IRET, interrupt and task gates, and how they fail.
 *
 * expect:
 *   PASS call_runs_task
 *   PASS call_sets_nt
 *   PASS call_sets_link
 *   PASS call_keeps_caller_busy
 *   PASS call_sets_ts
 *   PASS task_register_follows
 *   PASS iret_comes_back
 *   PASS iret_frees_callee
 *   PASS caller_state_is_saved
 *   PASS iret_saves_callee_eip
 *   PASS second_call_goes_on
 *   PASS jump_runs_task
 *   PASS jump_does_not_nest
 *   PASS jump_frees_old_task
 *   PASS gdt_task_gate
 *   PASS idt_task_gate
 *   PASS task_error_code
 *   PASS tss16_task
 *   PASS tss16_registers
 *   PASS call_to_busy
 *   PASS call_not_present
 *   PASS call_short_tss
 *   PASS call_privilege
 *   PASS iret_to_available
 *   PASS ltr_busy
 *   PASS bad_cs_in_new_task
 *   PASS fault_in_new_task_eip
 *   PASS bad_ss_in_new_task
 *   PASS bad_ds_in_new_task
 *   PASS bad_ldt_in_new_task
 *   PASS trap_bit
 * qemu-deviation: fault_in_new_task_eip: it saves the EIP of the instruction that switched
 * qemu-deviation: trap_bit: it does not implement the T bit
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "seg.h"

enum slot {
    TASK = 0x30,
    TASK_JUMP = 0x38,
    TASK_GATE = 0x40,
    TASK_16 = 0x48,
    LOW_CODE = 0x50,
    STACK_16 = 0x58,
    SHORT_TSS = 0x60,
    IMAGE = 0x100000,
    BUSY = 2,
};

_Static_assert(TASK == SEL_FREE, "the slots of this test are the free ones of the GDT");

struct tss16 {
    uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

_Static_assert(sizeof(struct tss16) == X86_TSS16_SIZE, "the 16-bit TSS has the processor's layout");

CODE(call_task, "movl $0xAAAA5555, %ebx", "lcall $0x30, $0; movl %ebx, after");
CODE(call_gate, "", "lcall $0x40, $0");
CODE(call_16, "movl $0x77777777, %ebx", "lcall $0x48, $0; movl %ebx, after");
CODE(call_short, "", "lcall $0x60, $0");
CODE(call_self, "", "lcall $0x28, $0");
CODE(jump_task, "", "ljmp $0x38, $0");
CODE(raise, "", "int $0x90");
CODE(iret_nested, "pushfl; orl $0x4000, (%esp); popfl", "iretl");
CODE(ltr_busy, "movl $0x28, %eax", "ltr %ax");

uint32_t flags_seen, cr0_seen, tr_seen, error_seen, runs, after, ax_seen;
static uint32_t saved_eip;
static struct tss task, task_jump, short_tss;
static struct tss16 task_16;
static uint32_t stack[256], stack_jump[256];
static uint16_t stack_16[64];

void task_code(void);
void task_jump_code(void);
void task_error_code(void);
void task_16_code(void);
void task_late_code(void);
extern char task_code_after[];
asm(".pushsection .text.checks, \"ax\"\n"
    "look: pushfl; popl flags_seen; movl %cr0, %eax; movl %eax, cr0_seen; str %eax; movl %eax, tr_seen; clts; ret\n"
    "task_code: call look; incl runs; iretl\n"
    "task_code_after: call look; addl $16, runs; iretl; jmp task_code\n"
    "task_jump_code: call look; incl runs; ljmp $0x28, $0; jmp task_jump_code\n"
    "task_error_code: popl error_seen; incl runs; addl $2, tss+0x20; clts; iretl; jmp task_error_code\n"
    "task_late_code: popl error_seen; incl runs; andb $~2, gdt+0x28+5; clts; ljmp $0x28, $0\n"
    "task_16_code: movw %ax, ax_seen; incl runs; clts; iretl\n"
    ".popsection");

static unsigned access_of(unsigned selector) { return gdt[selector / 8] >> 40 & 0xFF; }

static void make_task(struct tss *t, unsigned selector, void (*code)(void), uint32_t *top)
{
    *t = (struct tss){
        .cr3 = read_cr3(),
        .eip = (uint32_t)code,
        .eflags = X86_EFLAGS_FIXED,
        .esp = (uint32_t)top,
        .cs = SEL_KCODE,
        .ds = SEL_KDATA,
        .es = SEL_KDATA,
        .fs = SEL_KDATA,
        .gs = SEL_KDATA,
        .ss = SEL_KDATA,
        .esp0 = (uint32_t)top,
        .ss0 = SEL_KDATA,
        .io_base = sizeof *t,
    };
    set_descriptor(selector, descriptor((uint32_t)t, sizeof *t - 1, ACC_TSS32, 0));
}

/* Back to the first task after a test that ended in another one. */
static void reset(void)
{
    set_descriptor(SEL_TSS, descriptor((uint32_t)&tss, sizeof tss - 1, ACC_TSS32, 0));
    asm volatile("ltr %w0; clts" : : "r"(SEL_TSS));
    write_eflags(X86_EFLAGS_FIXED);
    make_task(&task, TASK, task_code, stack + ARRAY_SIZE(stack));
    make_task(&task_jump, TASK_JUMP, task_jump_code, stack_jump + ARRAY_SIZE(stack_jump));
    runs = 0;
}

static void calls(void)
{
    check("call_runs_task", run_guarded(call_task) == NULL && runs == 1);
    check_equal("call_sets_nt", flags_seen & X86_EFLAGS_NT, X86_EFLAGS_NT);
    check_equal("call_sets_link", task.link, SEL_TSS);
    check_equal("call_keeps_caller_busy", access_of(SEL_TSS), ACC_TSS32 | BUSY);
    check_equal("call_sets_ts", cr0_seen & X86_CR0_TS, X86_CR0_TS);
    check_equal("task_register_follows", (uint16_t)tr_seen, TASK);
    check_equal("iret_comes_back", after, 0xAAAA5555);
    check_equal("iret_frees_callee", access_of(TASK), ACC_TSS32);
    check("caller_state_is_saved", tss.ebx == 0xAAAA5555 && tss.eip == (uint32_t)call_task_at + 7 &&
                                       tss.cs == SEL_KCODE);
    check("iret_saves_callee_eip", task.eip == (uint32_t)task_code_after && (task.eflags & X86_EFLAGS_NT) == 0);
    run_guarded(call_task);
    check_equal("second_call_goes_on", runs, 17);
    reset();
    check("jump_runs_task", run_guarded(jump_task) == NULL && runs == 1);
    check("jump_does_not_nest", (flags_seen & X86_EFLAGS_NT) == 0 && task_jump.link == 0);
    check_equal("jump_frees_old_task", access_of(TASK_JUMP), ACC_TSS32);
}

static void gates(void)
{
    reset();
    set_descriptor(TASK_GATE, gate(TASK, 0, ACC_TASK_GATE, 0));
    check("gdt_task_gate", run_guarded(call_gate) == NULL && runs == 1);
    reset();
    set_gate(0x90, gate(TASK, 0, ACC_TASK_GATE, 0));
    check("idt_task_gate", run_guarded(raise) == NULL && runs == 1 && task.link == SEL_TSS);
    reset();
    /* A fault pushes its error code on the new task's stack. This one skips the INT n that caused it. */
    make_task(&task, TASK, task_error_code, stack + ARRAY_SIZE(stack));
    set_gate(X86_VEC_GP, gate(TASK, 0, ACC_TASK_GATE, 0));
    set_gate(0x90, 0);
    check("task_error_code", run_guarded(raise) == NULL && runs == 1 && error_seen == (0x90 << 3 | X86_ERROR_IDT));
    set_gate(X86_VEC_GP, gate(SEL_KCODE, trap_entry(X86_VEC_GP), ACC_INTERRUPT_GATE32, 0));
}

static void sixteen_bits(void)
{
    reset();
    task_16 = (struct tss16){
        .ip = (uint32_t)task_16_code - IMAGE,
        .flags = X86_EFLAGS_FIXED,
        .ax = 0x1616,
        .sp = sizeof stack_16,
        .cs = LOW_CODE,
        .ss = STACK_16,
        .ds = SEL_KDATA,
        .es = SEL_KDATA,
    };
    set_descriptor(LOW_CODE, descriptor(IMAGE, 0xFFFFF, ACC_CODE, SEG_FLAT));
    set_descriptor(STACK_16, descriptor((uint32_t)stack_16, sizeof stack_16 - 1, ACC_DATA, SEG_16));
    set_descriptor(TASK_16, descriptor((uint32_t)&task_16, sizeof task_16 - 1, ACC_TSS16, 0));
    after = ax_seen = 0;
    check("tss16_task", run_guarded(call_16) == NULL && runs == 1 && task_16.link == SEL_TSS);
    check("tss16_registers", (uint16_t)ax_seen == 0x1616 && after == 0x77777777);
}

static void refused(void)
{
    reset();
    check_trap("call_to_busy", call_self, X86_VEC_GP, SEL_TSS, call_self_at);
    set_descriptor(TASK, descriptor((uint32_t)&task, sizeof task - 1, ACC_TSS32 & ~X86_ATTR_P, 0));
    check_trap("call_not_present", call_task, X86_VEC_NP, TASK, call_task_at);
    set_descriptor(SHORT_TSS, descriptor((uint32_t)&short_tss, X86_TSS32_SIZE - 2, ACC_TSS32, 0));
    check_trap("call_short_tss", call_short, X86_VEC_TS, SHORT_TSS, call_short_at);
    reset();
    check_trap_ring3("call_privilege", call_task, X86_VEC_GP, TASK, call_task_at);
    tss.link = TASK;
    check_trap("iret_to_available", iret_nested, X86_VEC_TS, TASK, iret_nested_at);
    tss.link = 0;
    reset();
    check_trap("ltr_busy", ltr_busy, X86_VEC_GP, SEL_TSS, ltr_busy_at);
}

/* The switch is past its point of no return: the fault belongs to the new task, at its first instruction. Its stack
 * may be the thing that is bad, so #TS has a task gate; that task goes back to the first one. */
static void check_new_task(const char *name, uint32_t error)
{
    make_task(&task_jump, TASK_JUMP, task_late_code, stack_jump + ARRAY_SIZE(stack_jump));
    set_gate(X86_VEC_TS, gate(TASK_JUMP, 0, ACC_TASK_GATE, 0));
    error_seen = 0xFFFF;
    check(name, run_guarded(call_task) == NULL && error_seen == error && task_jump.link == TASK && runs == 1);
    saved_eip = task.eip;
    set_gate(X86_VEC_TS, gate(SEL_KCODE, trap_entry(X86_VEC_TS), ACC_INTERRUPT_GATE32, 0));
    reset();
}

static void half_way(void)
{
    const struct trap_frame *frame;

    reset();
    task.cs = SEL_KDATA;
    check_new_task("bad_cs_in_new_task", SEL_KDATA);
    check_equal("fault_in_new_task_eip", saved_eip, (uint32_t)task_code);
    task.ss = SEL_UDATA;
    check_new_task("bad_ss_in_new_task", SEL_UDATA & ~X86_SEL_RPL);
    task.ds = SEL_TSS;
    check_new_task("bad_ds_in_new_task", SEL_TSS);
    task.ldt = SEL_KDATA;
    check_new_task("bad_ldt_in_new_task", SEL_KDATA);
    task.trap = 1;
    write_dr6(X86_DR6_FIXED);
    frame = run_guarded(call_task);
    check("trap_bit", frame != NULL && frame->vector == X86_VEC_DB && frame->eip == (uint32_t)task_code && runs == 0 &&
                          (read_dr6() & X86_DR6_BT) != 0);
    reset();
}

int main(void)
{
    guard_init();
    reset();
    calls();
    gates();
    sixteen_bits();
    refused();
    half_way();
    return check_failures();
}
