/* assists: the next EIP, the decode assists and the instruction bytes that #VMEXIT saves. APM 15.7.1, 15.8.
 *
 * expect: assists: 32 checks
 */
#include "page.h"
#include "string.h"
#include "suite.h"

#define WINDOW 0x40000000

GUEST(cpuid_, "xorl %eax, %eax", "cpuid");
GUEST(prefixed, "xorl %eax, %eax", "cs; ds; cpuid");
GUEST(hlt_, "", "hlt");
GUEST(call, "", "vmmcall");
GUEST(in_, "", "inb $0x80, %al");
GUEST(rdmsr_, "movl $0x10, %ecx", "rdmsr");
GUEST(iret_, "pushl $2; pushl $8; pushl $iret__next", "iretl");
GUEST(breakpoint, "", "int3");
GUEST(overflow, "movb $0x7F, %al; incb %al", "into");
GUEST(bound, "movl $9, %eax", ".byte 0x62, 0x05; .long bounds");
GUEST(undefined, "", "ud2");
GUEST(from_cr0_ebx, "", "movl %cr0, %ebx");
GUEST(to_cr3_esi, "", "movl %esi, %cr3");
GUEST(to_cr0_edx, "movl %cr0, %edx", "movl %edx, %cr0");
GUEST(from_dr7_edi, "", "movl %dr7, %edi");
GUEST(to_dr7_ecx, "movl $0x400, %ecx", "movl %ecx, %dr7");
GUEST(smsw_ebx, "", "smswl %ebx");
GUEST(lmsw_ebx, "movl $1, %ebx", "lmsw %bx");
GUEST(clts_, "", "clts");
GUEST(interrupt, "", "int $0x42");
GUEST(invlpg_, "movl $0x1000, %ebx", "invlpg 0x234(%ebx)");
GUEST(invlpg_based, "movl $0x1000, %ebx", "fs; invlpg 0x234(%ebx)");
GUEST(fault, "", "movl 0x40000000, %eax");
GUEST(fetch_fault, "movl $0x40000000, %ecx", "jmp *%ecx");

uint32_t bounds[2] = {0, 8};

static uint32_t *tables;

static void next(const char *name, void (*code)(void), uint32_t exit, const void *eip)
{
    guest_new(code);
    intercept(exit);
    vmcb.next_rip = 0xDEAD;
    guest_run();
    if (!svm_has(SVM_CPUID_NRIP))
        skip(name);
    else if (vmcb.exit_code != exit)
        expect_exit(name, exit, eip);
    else
        expect_equal(name, vmcb.next_rip, (uint32_t)eip);
}

static void next_eip(void)
{
    iopm[0x80 / 8] = 1;
    msrpm[0x10 / 4] = 1;
    next("next_cpuid", cpuid_, SVM_EXIT_CPUID, cpuid__next);
    next("next_prefixed", prefixed, SVM_EXIT_CPUID, prefixed_next);
    next("next_hlt", hlt_, SVM_EXIT_HLT, hlt__next);
    next("next_vmmcall", call, SVM_EXIT_VMMCALL, call_next);
    next("next_in", in_, SVM_EXIT_IOIO, in__next);
    next("next_rdmsr", rdmsr_, SVM_EXIT_MSR, rdmsr__next);
    next("next_iret", iret_, SVM_EXIT_IRET, iret__next);
    next("next_int", interrupt, SVM_EXIT_SWINT, interrupt_next);
    next("next_cr", to_cr3_esi, SVM_EXIT_CR3_WRITE, to_cr3_esi_next);
    next("next_breakpoint", breakpoint, SVM_EXIT_EXCEPTION_BP, breakpoint_next);
    next("next_overflow", overflow, SVM_EXIT_EXCEPTION_OF, overflow_next);
    next("next_bound", bound, SVM_EXIT_EXCEPTION_BR, bound_next);
    next("next_of_a_fault_is_zero", undefined, SVM_EXIT_EXCEPTION_UD, 0);
    iopm[0x80 / 8] = 0;
    msrpm[0x10 / 4] = 0;
}

static void assist(const char *name, void (*code)(void), uint32_t exit, uint64_t info1)
{
    guest_new(code);
    vmcb.fs.base = 0x100000;
    intercept(exit);
    guest_run();
    if (!svm_has(SVM_CPUID_DECODE_ASSISTS))
        skip(name);
    else
        expect_equal(name, vmcb.exit_info1, info1);
}

static void operands(void)
{
    const uint64_t mov_cr = 1ull << 63;

    assist("from_cr0_ebx", from_cr0_ebx, SVM_EXIT_CR0_READ, mov_cr | 3);
    assist("to_cr3_esi", to_cr3_esi, SVM_EXIT_CR3_WRITE, mov_cr | 6);
    assist("to_cr0_edx", to_cr0_edx, SVM_EXIT_CR0_WRITE, mov_cr | 2);
    assist("from_dr7_edi", from_dr7_edi, SVM_EXIT_DR7_READ, 7);
    assist("to_dr7_ecx", to_dr7_ecx, SVM_EXIT_DR7_WRITE, 1);
    assist("smsw_is_no_mov", smsw_ebx, SVM_EXIT_CR0_READ, 0);
    assist("lmsw_is_no_mov", lmsw_ebx, SVM_EXIT_CR0_WRITE, 0);
    assist("clts_is_no_mov", clts_, SVM_EXIT_CR0_WRITE, 0);
    assist("int_vector", interrupt, SVM_EXIT_SWINT, 0x42);
    assist("invlpg_address", invlpg_, SVM_EXIT_INVLPG, 0x1234);
    assist("invlpg_segment_base", invlpg_based, SVM_EXIT_INVLPG, 0x101234);
}

static void paged_within(void (*code)(void), uint32_t limit)
{
    guest_new(code);
    vmcb.cs.limit = limit;
    intercept(SVM_EXIT_EXCEPTION_PF);
    vmcb.cr0 |= X86_CR0_PG;
    vmcb.cr3 = (uint32_t)tables;
    vmcb.tlb_control = SVM_TLB_ALL;
    vmcb.fetched_count = 9;
    guest_run();
}

static void paged(void (*code)(void)) { paged_within(code, 0xFFFFFFFF); }

static void bytes(void)
{
    static const char *const names[] = {"bytes", "bytes_are_the_instructions", "bytes_end_with_the_page",
                                        "bytes_of_a_fetch", "bytes_of_other_exits", "bytes_end_with_the_segment"};

    if (!svm_has(SVM_CPUID_DECODE_ASSISTS)) {
        for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
            skip(names[n]);
        return;
    }
    paged(fault);
    expect_equal(names[0], vmcb.fetched_count, 15);
    expect(names[1], memcmp(vmcb.fetched, fault_at, 15) == 0);
    uint8_t *page = frame_new();

    memcpy(page + 0xFF9, fault_at, 6);
    map_page(tables, WINDOW + 0x1000, (uint32_t)page, X86_PTE_P | X86_PTE_W);
    paged((void (*)(void))(WINDOW + 0x1FF9));
    expect_equal(names[2], vmcb.fetched_count, 7);
    paged(fetch_fault);
    expect_equal(names[3], vmcb.fetched_count, 0);
    guest_new(cpuid_);
    vmcb.fetched_count = 9;
    intercept(SVM_EXIT_CPUID);
    guest_run();
    expect_equal(names[4], vmcb.fetched_count, 0);
    paged_within(fault, (uint32_t)fault_at + 6);
    expect_equal(names[5], vmcb.fetched_count, 7);
}

int main(void)
{
    suite_begin();
    tables = identity_directory(4 << 20, 0, X86_PTE_P | X86_PTE_W | X86_PTE_U);
    next_eip();
    operands();
    bytes();
    return suite_end("assists");
}
