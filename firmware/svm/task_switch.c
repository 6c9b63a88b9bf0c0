/* task_switch: the intercept of task switches by CALL, JMP, IRET, gates, interrupts and faults, after the checks of
 * the new TSS. APM 15.14.1.
 *
 * expect: task_switch: 36 checks
 */
#include "seg.h"
#include "string.h"
#include "suite.h"

enum {
    TASK = SEL_FREE,
    TASK_GATE = TASK + 8,
    ABSENT = TASK + 16,
    SHORT = TASK + 24,
    VECTOR = 0x50,
    BUSY = 2,
};

_Static_assert(TASK == 0x30, "the code below says it by number");

GUEST(call_task, "", "lcall $0x30, $0");
GUEST(jump_task, "", "ljmp $0x30, $0");
GUEST(call_gate, "", "lcall $0x38, $0");
GUEST(iret_nested, "pushfl; orl $0x4000, (%esp); popfl", "iretl");
GUEST(interrupt, "", "int $0x50");
GUEST(protection, "movl $0x1234, %eax", "movl %eax, %ds");
GUEST(call_absent, "", "lcall $0x40, $0");
GUEST(call_short, "", "lcall $0x48, $0");
GUEST(new_task, "", "");

static uint64_t guest_gdt[GDT_ENTRIES];
static struct tss task;
static uint32_t stack[64];

static void prepare(void (*code)(void))
{
    const struct tss fresh = {
        .eip = (uint32_t)new_task,
        .eflags = X86_EFLAGS_FIXED,
        .esp = (uint32_t)(stack + ARRAY_SIZE(stack)),
        .cs = SEL_KCODE,
        .ds = SEL_KDATA,
        .es = SEL_KDATA,
        .fs = SEL_KDATA,
        .gs = SEL_KDATA,
        .ss = SEL_KDATA,
        .io_base = sizeof fresh,
    };

    guest_new(code);
    memcpy(guest_gdt, gdt, sizeof guest_gdt);
    guest_gdt[SEL_TSS / 8] = descriptor((uint32_t)&guest_tss, sizeof guest_tss - 1, ACC_TSS32 | BUSY, 0);
    guest_gdt[TASK / 8] = descriptor((uint32_t)&task, sizeof task - 1, ACC_TSS32, 0);
    guest_gdt[TASK_GATE / 8] = gate(TASK, 0, ACC_TASK_GATE, 0);
    guest_gdt[ABSENT / 8] = descriptor((uint32_t)&task, sizeof task - 1, ACC_TSS32 & ~X86_ATTR_P, 0);
    guest_gdt[SHORT / 8] = descriptor((uint32_t)&task, 0x66, ACC_TSS32, 0);
    task = fresh;
    vmcb.gdtr.base = (uint32_t)guest_gdt;
    intercept(SVM_EXIT_TASK_SWITCH);
}

/* Bits 63:32 of EXITINFO2 but for RF's. */
static uint32_t flags(void) { return (uint32_t)(vmcb.exit_info2 >> 32) & ~SVM_TASK_RF_HIGH; }

static void exits(const char *name, const char *info_name, const void *at, uint32_t wanted)
{
    guest_run();
    expect_exit(name, SVM_EXIT_TASK_SWITCH, at);
    expect(info_name, (uint16_t)vmcb.exit_info1 == TASK && flags() == wanted);
}

static void by_instructions(void)
{
    prepare(call_task);
    exits("call", "call_info", call_task_at, 0);
    expect_equal("nothing_is_busy", guest_gdt[TASK / 8] >> 40 & 0xFF, ACC_TSS32);
    expect_equal("tr_is_the_old_one", vmcb.tr.selector, SEL_TSS);
    expect_equal("no_event_in_delivery", vmcb.exit_event & SVM_EVENT_V, 0);
    prepare(jump_task);
    exits("jump", "jump_info", jump_task_at, SVM_TASK_JUMP_HIGH);
    prepare(jump_task);
    vmcb.rflags |= X86_EFLAGS_RF;
    guest_run();
    expect_equal("jump_saves_no_rf", vmcb.exit_info2 >> 32, SVM_TASK_JUMP_HIGH);
    expect_equal("jump_keeps_rf", vmcb.rflags & X86_EFLAGS_RF, X86_EFLAGS_RF);
    prepare(call_gate);
    exits("task_gate", "task_gate_info", call_gate_at, 0);
    prepare(iret_nested);
    guest_tss.link = TASK;
    guest_gdt[TASK / 8] |= (uint64_t)BUSY << 40;
    exits("iret", "iret_info", iret_nested_at, SVM_TASK_IRET_HIGH);
    guest_tss.link = 0;
}

static void by_events(void)
{
    const uint64_t old = guest_idt[VECTOR], old_fault = guest_idt[X86_VEC_GP];

    guest_idt[VECTOR] = gate(TASK, 0, ACC_TASK_GATE, 0);
    guest_idt[X86_VEC_GP] = gate(TASK, 0, ACC_TASK_GATE, 0);
    prepare(interrupt);
    exits("int_n", "int_n_info", interrupt_at, 0);
    expect_exit_event("int_n_event", SVM_EVENT_V | SVM_EVENT_TYPE_SOFTWARE | VECTOR, 0);
    prepare(interrupt);
    vmcb.event = SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT | VECTOR;
    exits("injected", "injected_info", interrupt, 0);
    expect_exit_event("injected_event", SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT | VECTOR, 0);
    prepare(protection);
    exits("fault", "fault_info", protection_at, SVM_TASK_HAS_ERROR_HIGH);
    expect_equal("fault_error", (uint32_t)vmcb.exit_info2, 0x1234);
    expect_exit_event("fault_event", SVM_EVENT_V | SVM_EVENT_TYPE_EXCEPTION | SVM_EVENT_EV | X86_VEC_GP, 0x1234);
    expect_equal("fault_rf", vmcb.exit_info2 >> 32 & SVM_TASK_RF_HIGH, SVM_TASK_RF_HIGH);
    guest_idt[VECTOR] = old;
    guest_idt[X86_VEC_GP] = old_fault;
}

static void checks_first(void)
{
    prepare(call_absent);
    guest_run();
    expect_guest_trap("absent_tss", X86_VEC_NP, ABSENT, call_absent_at);
    prepare(call_short);
    guest_run();
    expect_guest_trap("short_tss", X86_VEC_TS, SHORT, call_short_at);
    prepare(call_task);
    guest_gdt[TASK / 8] |= (uint64_t)BUSY << 40;
    guest_run();
    expect_guest_trap("busy_tss", X86_VEC_GP, TASK, call_task_at);
    prepare(call_gate);
    guest_gdt[TASK_GATE / 8] &= ~((uint64_t)X86_ATTR_P << 40);
    guest_run();
    expect_guest_trap("absent_gate", X86_VEC_NP, TASK_GATE, call_gate_at);
}

/* Nothing else a switch does is intercepted one by one. */
static void not_intercepted(void)
{
    prepare(call_task);
    no_intercept(SVM_EXIT_TASK_SWITCH);
    intercept(SVM_EXIT_CR3_WRITE);
    intercept(SVM_EXIT_CR0_WRITE);
    intercept(SVM_EXIT_CR0_SEL_WRITE);
    intercept(SVM_EXIT_TR_WRITE);
    intercept(SVM_EXIT_LDTR_WRITE);
    guest_run();
    expect_exit("not_intercepted", SVM_EXIT_VMMCALL, new_task_next);
    expect("switched", vmcb.tr.selector == TASK && task.link == SEL_TSS && (vmcb.cr0 & X86_CR0_TS) != 0);
    /* An instruction clears RF when it begins: SDM vol. 3B, 18.3.1.1. */
    prepare(jump_task);
    no_intercept(SVM_EXIT_TASK_SWITCH);
    vmcb.rflags |= X86_EFLAGS_RF;
    guest_tss.eflags = 0;
    guest_run();
    expect_exit("switched_with_rf", SVM_EXIT_VMMCALL, new_task_next);
    expect_equal("no_rf_saved", guest_tss.eflags & X86_EFLAGS_RF, 0);
    /* A segment of the new task cannot be loaded: the fault is the new task's. */
    prepare(jump_task);
    no_intercept(SVM_EXIT_TASK_SWITCH);
    intercept(SVM_EXIT_EXCEPTION_TS);
    vmcb.rflags |= X86_EFLAGS_DF;
    task.eflags = X86_EFLAGS_FIXED | X86_EFLAGS_CF;
    task.ds = 0xFFF0;
    guest_run();
    expect_exit("fault_of_the_new_task", SVM_EXIT_EXCEPTION_TS, new_task);
    expect_equal("flags_of_the_new_task", vmcb.rflags, X86_EFLAGS_FIXED | X86_EFLAGS_CF);
}

int main(void)
{
    suite_begin();
    by_instructions();
    by_events();
    checks_first();
    not_intercepted();
    return suite_end("task_switch");
}
