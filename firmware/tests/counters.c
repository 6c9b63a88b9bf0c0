/* counters: the performance counters as a program reads them, by RDPMC and as MSRs.
 *
 * expect:
 *   PASS instructions_count_exactly
 *   PASS rep_counts_once
 *   PASS cycles_advance
 *   PASS msr_reads_the_same
 *   PASS unknown_event
 *   PASS counter_is_read_only
 *   PASS ring3_needs_pce
 *   PASS ring3_with_pce
 * qemu-skip: it has none of these counters
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"

CODE(unknown_event, "movl $0x3FFFFFFF, %ecx", "rdpmc");
CODE(write_counter, "movl $0xC0011000, %ecx; xorl %eax, %eax; xorl %edx, %edx", "wrmsr");
CODE(read_in_ring3, "xorl %ecx, %ecx", "rdpmc");

static uint8_t buffer[64];

static uint64_t rdpmc(uint32_t event)
{
    uint64_t v;

    asm volatile("rdpmc" : "=A"(v) : "c"(event));
    return v;
}

int main(void)
{
    uint32_t first, second;

    guard_init();
    asm volatile("rdpmc; movl %%eax, %%esi; nop; nop; nop; rdpmc; subl %%esi, %%eax"
                 : "=a"(second)
                 : "c"(GIG_EVENT_INSTRUCTIONS)
                 : "edx", "esi", "cc");
    check_equal("instructions_count_exactly", second, 5); /* RDPMC, MOV and three NOPs */
    asm volatile("movl %2, %%ecx; rdpmc; movl %%eax, %%esi; movl $64, %%ecx; rep stosb; movl %2, %%ecx; rdpmc;"
                 "subl %%esi, %%eax"
                 : "=a"(second), "=D"(first)
                 : "i"(GIG_EVENT_INSTRUCTIONS), "1"(buffer)
                 : "ecx", "edx", "esi", "cc", "memory");
    check_equal("rep_counts_once", second, 5);
    uint64_t before = rdpmc(GIG_EVENT_CYCLES);

    check("cycles_advance", rdpmc(GIG_EVENT_CYCLES) > before);
    before = rdpmc(GIG_EVENT_EXCEPTIONS);
    check("msr_reads_the_same", rdmsr(X86_MSR_PERF_BASE + GIG_EVENT_EXCEPTIONS) == before);
    CHECK_FAULT(unknown_event, X86_VEC_GP, 0);
    check_trap("counter_is_read_only", write_counter, X86_VEC_GP, 0, write_counter_at);
    check_trap_ring3("ring3_needs_pce", read_in_ring3, X86_VEC_GP, 0, read_in_ring3_at);
    write_cr4(read_cr4() | X86_CR4_PCE);
    check_runs_ring3("ring3_with_pce", read_in_ring3);
    return check_failures();
}
