/* system: control registers, CPUID, time-stamp counter, MSRs, SYSENTER, and the loads that must fault.
 *
 * expect:
 *   PASS id_flag_toggles
 *   PASS cpuid_has_leaf_1
 *   PASS cpuid_promises
 *   PASS lmsw_cannot_clear_pe
 *   PASS lmsw_sets_ts
 *   PASS clts_clears_ts
 *   PASS smsw_shows_cr0
 *   PASS tsc_advances
 *   PASS tsc_is_writable
 *   PASS rdmsr_unknown
 *   PASS wrmsr_unknown
 *   PASS sysenter_msrs_keep
 *   PASS sysenter_without_cs
 *   PASS sysenter_state
 *   PASS sysexit_without_cs
 *   PASS sysexit_from_ring3
 *   PASS sysexit_state
 *   PASS sgdt_sidt
 *   PASS str_sldt
 *   PASS bswap
 *   PASS cr2_is_a_register
 *   PASS dr7_reserved_bits
 * qemu-deviation: tsc_is_writable: it ignores writes of the time-stamp counter
 * qemu-deviation: rdmsr_unknown: it gives zero for registers it does not know
 * qemu-deviation: wrmsr_unknown: it ignores registers it does not know
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "seg.h"

CODE(rdmsr_unknown, "movl $0x12345678, %ecx", "rdmsr");
CODE(wrmsr_unknown, "movl $0x12345678, %ecx; xorl %eax, %eax; xorl %edx, %edx", "wrmsr");
CODE(sysenter, "movl %esp, %ecx", "sysenter");
CODE(sysexit, "movl $1f, %edx; movl $ring3_stack+2048, %ecx", "sysexit; 1: int $0x81");

static uint32_t stack[64];
uint32_t seen[4];

void sysenter_target(void);
asm(".pushsection .text.checks, \"ax\"\n"
    "sysenter_target: movl %esp, seen; movl %ss, %eax; movl %eax, seen+4; pushfl; popl seen+8; int3\n"
    ".popsection");

static void control(void)
{
    uint32_t cr0 = read_cr0(), v;

    asm volatile("smsw %%ax; andb $0xFE, %%al; lmsw %%ax" : : : "eax");
    check_equal("lmsw_cannot_clear_pe", read_cr0() & X86_CR0_PE, X86_CR0_PE);
    asm volatile("smsw %%ax; orb $8, %%al; lmsw %%ax" : : : "eax");
    check_equal("lmsw_sets_ts", read_cr0() & X86_CR0_TS, X86_CR0_TS);
    asm volatile("clts");
    check_equal("clts_clears_ts", read_cr0() & X86_CR0_TS, 0);
    write_cr0(cr0);
    asm volatile("movl $0xFFFFFFFF, %0; smsw %w0" : "=r"(v));
    check_equal("smsw_shows_cr0", v & 0xFFFF, cr0 & 0xFFFF);
}

static void counters(void)
{
    uint64_t before = rdtsc();

    for (volatile int n = 0; n < 100; n++)
        ;
    check("tsc_advances", rdtsc() > before);
    wrmsr(X86_MSR_TSC, 0x1000000000ull);
    uint64_t after = rdtsc();

    check("tsc_is_writable", after >= 0x1000000000ull && after < 0x2000000000ull);
    CHECK_FAULT(rdmsr_unknown, X86_VEC_GP, 0);
    CHECK_FAULT(wrmsr_unknown, X86_VEC_GP, 0);
}

static void fast_calls(void)
{
    const struct trap_frame *frame;

    wrmsr(X86_MSR_SYSENTER_CS, SEL_KCODE);
    wrmsr(X86_MSR_SYSENTER_ESP, (uint32_t)(stack + ARRAY_SIZE(stack)));
    wrmsr(X86_MSR_SYSENTER_EIP, (uint32_t)sysenter_target);
    check("sysenter_msrs_keep", rdmsr(X86_MSR_SYSENTER_CS) == SEL_KCODE &&
                                    rdmsr(X86_MSR_SYSENTER_EIP) == (uint32_t)sysenter_target);
    wrmsr(X86_MSR_SYSENTER_CS, 0);
    check_trap_ring3("sysenter_without_cs", sysenter, X86_VEC_GP, 0, sysenter_at);
    wrmsr(X86_MSR_SYSENTER_CS, SEL_KCODE);
    frame = run_ring3_flags(sysenter, X86_EFLAGS_FIXED | X86_EFLAGS_IF | X86_EFLAGS_CF);
    check("sysenter_state", frame->vector == X86_VEC_BP && frame->cs == SEL_KCODE && (uint16_t)seen[1] == SEL_KDATA &&
                                seen[0] == (uint32_t)(stack + ARRAY_SIZE(stack)) &&
                                (seen[2] & (X86_EFLAGS_IF | X86_EFLAGS_CF)) == X86_EFLAGS_CF);
    wrmsr(X86_MSR_SYSENTER_CS, 0);
    check_trap("sysexit_without_cs", sysexit, X86_VEC_GP, 0, sysexit_at);
    wrmsr(X86_MSR_SYSENTER_CS, SEL_KCODE);
    check_trap_ring3("sysexit_from_ring3", sysexit, X86_VEC_GP, 0, sysexit_at);
    frame = run_guarded(sysexit);
    check("sysexit_state", frame->vector == VEC_RING3_DONE && frame->cs == SEL_UCODE && frame->ss == SEL_UDATA &&
                               frame->esp == (uint32_t)ring3_stack + 2048);
}

static void tables(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) g, i;
    uint32_t tr, ldtr, v = 0x11223344;

    asm volatile("sgdt %0; sidt %1" : "=m"(g), "=m"(i));
    check("sgdt_sidt", g.base == (uint32_t)gdt && g.limit == sizeof gdt - 1 && i.base == (uint32_t)idt &&
                           i.limit == sizeof idt - 1);
    asm volatile("str %0; sldt %1" : "=r"(tr), "=r"(ldtr));
    check("str_sldt", (uint16_t)tr == SEL_TSS && (uint16_t)ldtr == 0);
    asm("bswap %0" : "+r"(v));
    check_equal("bswap", v, 0x44332211);
    write_cr2(0xDEADBEEF);
    check_equal("cr2_is_a_register", read_cr2(), 0xDEADBEEF);
    write_dr7(0);
    check_equal("dr7_reserved_bits", read_dr7(), X86_DR7_FIXED);
}

int main(void)
{
    const uint32_t promised = X86_CPUID_DE | X86_CPUID_PSE | X86_CPUID_TSC | X86_CPUID_MSR | X86_CPUID_CX8 |
                              X86_CPUID_SEP | X86_CPUID_PGE | X86_CPUID_CMOV;

    guard_init();
    write_eflags(read_eflags() ^ X86_EFLAGS_ID);
    uint32_t with = read_eflags();

    write_eflags(with ^ X86_EFLAGS_ID);
    check_equal("id_flag_toggles", (with ^ read_eflags()) & X86_EFLAGS_ID, X86_EFLAGS_ID);
    check("cpuid_has_leaf_1", cpuid(0).eax >= 1);
    check_equal("cpuid_promises", cpuid(1).edx & promised, promised);
    control();
    counters();
    fast_calls();
    tables();
    return check_failures();
}
