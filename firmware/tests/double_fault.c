/* double_fault: a fault while another is being delivered: #DF, error code 0, or one after the other.
 *
 * #DF has a task gate, so that it needs no stack of the task at fault.
 *
 * expect:
 *   PASS contributory_on_contributory
 *   PASS error_code_is_zero
 *   PASS saved_eip_is_at_first_fault
 *   PASS contributory_on_page_fault
 *   PASS page_fault_on_page_fault
 *   PASS page_fault_on_contributory_is_serial
 *   PASS contributory_on_benign_is_serial
 * qemu-deviation: contributory_on_benign_is_serial: it does not set EXT in the error code
 */
#include "boot.h"
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "page.h"
#include "seg.h"

enum { TASK = SEL_FREE };

CODE(protection, "movl $0x1000, %eax", "movl %eax, %ds");
CODE(protection_without_stack, "movl $0x1000, %eax; movl $0x40000000, %esp", "movl %eax, %ds");
CODE(undefined, "", "ud2");
CODE(page_fault, "", "movl 0x40000000, %eax");
CODE(lose_stack, "movl $0x40000000, %esp", "pushl %eax");

uint32_t error_seen, eip_seen, runs;
static struct tss task;
static uint32_t stack[256];

/* Notes what happened, then sends the task at fault to the end of run_guarded. */
void fault_task(void);
asm(".pushsection .text.checks, \"ax\"\n"
    "fault_task: popl error_seen; movl tss+0x20, %eax; movl %eax, eip_seen; movl $guard_leave, tss+0x20\n"
    "    incl runs; clts; iretl; jmp fault_task\n"
    ".popsection");

static void run(void (*code)(void))
{
    runs = 0;
    error_seen = 0xFFFF;
    run_guarded(code);
}

static void set_present(unsigned vector, int present)
{
    set_gate(vector, gate(SEL_KCODE, trap_entry(vector), ACC_INTERRUPT_GATE32 & (present ? ~0 : ~X86_ATTR_P), 0));
}

int main(void)
{
    uint32_t *directory = identity_directory(boot.ram_end, 1, X86_PTE_P | X86_PTE_W);
    const struct trap_frame *frame;

    guard_init();
    paging_on(directory);
    tss.cr3 = read_cr3();
    task = (struct tss){
        .cr3 = read_cr3(),
        .eip = (uint32_t)fault_task,
        .eflags = X86_EFLAGS_FIXED,
        .esp = (uint32_t)(stack + ARRAY_SIZE(stack)),
        .cs = SEL_KCODE,
        .ds = SEL_KDATA,
        .es = SEL_KDATA,
        .ss = SEL_KDATA,
        .io_base = sizeof task,
    };
    set_descriptor(TASK, descriptor((uint32_t)&task, sizeof task - 1, ACC_TSS32, 0));
    set_gate(X86_VEC_DF, gate(TASK, 0, ACC_TASK_GATE, 0));
    set_present(X86_VEC_GP, 0);
    run(protection);
    check_equal("contributory_on_contributory", runs, 1);
    check_equal("error_code_is_zero", error_seen, 0);
    check_equal("saved_eip_is_at_first_fault", eip_seen, (uint32_t)protection_at);
    set_present(X86_VEC_GP, 1);
    set_present(X86_VEC_PF, 0);
    run(page_fault);
    check("contributory_on_page_fault", runs == 1 && error_seen == 0 && eip_seen == (uint32_t)page_fault_at);
    set_present(X86_VEC_PF, 1);
    run(lose_stack);
    check("page_fault_on_page_fault", runs == 1 && error_seen == 0 && eip_seen == (uint32_t)lose_stack_at);
    set_gate(X86_VEC_PF, gate(TASK, 0, ACC_TASK_GATE, 0));
    run(protection_without_stack);
    check("page_fault_on_contributory_is_serial", runs == 1 && error_seen == X86_PF_W);
    set_present(X86_VEC_PF, 1);
    set_present(X86_VEC_UD, 0);
    frame = run_guarded(undefined);
    check("contributory_on_benign_is_serial",
          frame->vector == X86_VEC_NP && frame->error == (X86_VEC_UD << 3 | X86_ERROR_IDT | X86_ERROR_EXT));
    return check_failures();
}
