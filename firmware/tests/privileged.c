/* privileged: what ring 3 may not do, and the sensitive instructions that silently let it see or ignore it.
 *
 * expect:
 *   PASS hlt
 *   PASS cli
 *   PASS sti
 *   PASS lgdt
 *   PASS lidt
 *   PASS lldt
 *   PASS ltr
 *   PASS lmsw
 *   PASS clts
 *   PASS invd
 *   PASS wbinvd
 *   PASS invlpg
 *   PASS from_cr0
 *   PASS to_cr3
 *   PASS from_dr7
 *   PASS rdmsr
 *   PASS wrmsr
 *   PASS in_port
 *   PASS out_port
 *   PASS rdtsc_allowed
 *   PASS rdtsc_disabled
 *   PASS popf_ignores_if
 *   PASS popf_ignores_iopl
 *   PASS pushf_shows_if
 *   PASS smsw_shows_cr0
 *   PASS sgdt_shows_base
 *   PASS str_shows_tr
 *   PASS sldt_shows_ldtr
 *   PASS iopl_3_may_cli
 *   PASS unprivileged_cpuid
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "seg.h"

#define PRIVILEGED(X)                                                                                                  \
    X(hlt, "hlt")                                                                                                      \
    X(cli_, "cli")                                                                                                     \
    X(sti_, "sti")                                                                                                     \
    X(lgdt, "lgdt pointer")                                                                                            \
    X(lidt, "lidt pointer")                                                                                            \
    X(lldt, "lldt %ax")                                                                                                \
    X(ltr, "ltr %ax")                                                                                                  \
    X(lmsw, "lmsw %ax")                                                                                                \
    X(clts, "clts")                                                                                                    \
    X(invd, "invd")                                                                                                    \
    X(wbinvd, "wbinvd")                                                                                                \
    X(invlpg_, "invlpg pointer")                                                                                       \
    X(from_cr0, "movl %cr0, %eax")                                                                                     \
    X(to_cr3, "movl %eax, %cr3")                                                                                       \
    X(from_dr7, "movl %dr7, %eax")                                                                                     \
    X(rdmsr_, "rdmsr")                                                                                                 \
    X(wrmsr_, "wrmsr")                                                                                                 \
    X(in_port, "inb $0x80, %al")                                                                                       \
    X(out_port, "outb %al, $0x80")

#define DEFINE(name, text) CODE(name, "xorl %eax, %eax; movl $0x10, %ecx", text);
PRIVILEGED(DEFINE)
CODE(rdtsc_, "", "rdtsc");
CODE(popf_if, "", "pushl $0x202; popfl; pushfl; popl result");
CODE(popf_iopl, "", "pushl $0x3002; popfl; pushfl; popl result");
CODE(pushf, "", "pushfl; popl result");
CODE(smsw, "", "smsw %eax; movl %eax, result");
CODE(sgdt, "", "sgdt pointer");
CODE(str, "", "strw result");
CODE(sldt, "movl $-1, result", "sldtw result");
CODE(cpuid_, "xorl %eax, %eax", "cpuid");

uint32_t result;
struct {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed)) pointer;

static const char *bare_name(const char *name)
{
    static char copy[24];
    int n = 0;

    for (; name[n] != 0 && !(name[n] == '_' && name[n + 1] == 0); n++)
        copy[n] = name[n];
    copy[n] = 0;
    return copy;
}

int main(void)
{
    enum { IOPL_3 = 3 << 12 };

    guard_init();
#define CHECK(name, text) check_trap_ring3(bare_name(#name), name, X86_VEC_GP, 0, name##_at);
    PRIVILEGED(CHECK)
    check_runs_ring3("rdtsc_allowed", rdtsc_);
    write_cr4(read_cr4() | X86_CR4_TSD);
    check_trap_ring3("rdtsc_disabled", rdtsc_, X86_VEC_GP, 0, rdtsc__at);
    write_cr4(read_cr4() & ~X86_CR4_TSD);
    run_ring3(popf_if);
    check_equal("popf_ignores_if", result, X86_EFLAGS_FIXED);
    run_ring3(popf_iopl);
    check_equal("popf_ignores_iopl", result, X86_EFLAGS_FIXED);
    run_ring3_flags(pushf, X86_EFLAGS_FIXED | X86_EFLAGS_IF);
    check_equal("pushf_shows_if", result, X86_EFLAGS_FIXED | X86_EFLAGS_IF);
    run_ring3(smsw);
    check_equal("smsw_shows_cr0", result & 0xFFFF, read_cr0() & 0xFFFF);
    run_ring3(sgdt);
    check("sgdt_shows_base", pointer.base == (uint32_t)gdt && pointer.limit == sizeof gdt - 1);
    run_ring3(str);
    check_equal("str_shows_tr", (uint16_t)result, SEL_TSS);
    run_ring3(sldt);
    check_equal("sldt_shows_ldtr", (uint16_t)result, 0);
    check("iopl_3_may_cli", run_ring3_flags(cli_, X86_EFLAGS_FIXED | IOPL_3)->vector == VEC_RING3_DONE);
    check_runs_ring3("unprivileged_cpuid", cpuid_);
    return check_failures();
}
