/* syscalls: ring 3 asks ring 0, through INT 80h and through SYSENTER, in turn.
 *
 * iterations: calls of each kind (default 500)
 * expect: syscalls: 500 by int, 500 by sysenter
 * expect: syscalls: checksum 246FF293
 */
#include "boot.h"
#include "console.h"
#include "cpu.h"
#include "gigogne.h"
#include "guard.h"
#include "seg.h"

static uint32_t rounds, sum, by_int, by_sysenter;
static uint32_t sysenter_stack[256];

uint32_t sysenter_service(uint32_t a, uint32_t b);
void sysenter_entry(void);

/* The caller left its stack in ECX and its return address in EDX, where SYSEXIT wants them. */
asm(".pushsection .text.sysenter, \"ax\"\n"
    "sysenter_entry:\n"
    "    pushl %ecx\n"
    "    pushl %edx\n"
    "    pushl %ebx\n"
    "    pushl %eax\n"
    "    call sysenter_service\n"
    "    addl $8, %esp\n"
    "    popl %edx\n"
    "    popl %ecx\n"
    "    sysexit\n"
    ".popsection");

uint32_t sysenter_service(uint32_t a, uint32_t b)
{
    by_sysenter++;
    return a * 3 + b;
}

static void int_service(struct trap_frame *frame)
{
    by_int++;
    frame->eax = (frame->eax ^ frame->ebx) + 1;
}

static uint32_t call_by_int(uint32_t a, uint32_t b)
{
    asm volatile("int $0x80" : "+a"(a) : "b"(b) : "memory");
    return a;
}

static uint32_t call_by_sysenter(uint32_t a, uint32_t b)
{
    asm volatile("movl %%esp, %%ecx\n\t"
                 "movl $1f, %%edx\n\t"
                 "sysenter\n"
                 "1:"
                 : "+a"(a)
                 : "b"(b)
                 : "ecx", "edx", "memory");
    return a;
}

static void user_program(void)
{
    for (uint32_t n = 0; n < rounds; n++) {
        sum = (sum << 5 | sum >> 27) ^ call_by_int(sum, n);
        sum = (sum << 5 | sum >> 27) ^ call_by_sysenter(sum, n);
    }
}

int main(void)
{
    rounds = option_number("iterations", 500);
    guard_init();
    set_handler(VEC_SYSCALL, int_service);
    set_gate(VEC_SYSCALL, gate(SEL_KCODE, trap_entry(VEC_SYSCALL), ACC_INTERRUPT_GATE32 | ACC_DPL3, 0));
    wrmsr(X86_MSR_SYSENTER_CS, SEL_KCODE);
    wrmsr(X86_MSR_SYSENTER_ESP, (uint32_t)(sysenter_stack + ARRAY_SIZE(sysenter_stack)));
    wrmsr(X86_MSR_SYSENTER_EIP, (uint32_t)sysenter_entry);
    if (run_ring3(user_program)->vector != VEC_RING3_DONE)
        panic("the user program did not end");
    printf("syscalls: %u by int, %u by sysenter\n", (unsigned)by_int, (unsigned)by_sysenter);
    print_checksum("syscalls", sum);
    return 0;
}
