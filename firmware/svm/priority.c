/* priority: intercepts against the exceptions of the same instruction, Table 15-7 of the APM.
 *
 * expect: priority: 45 checks
 */
#include "page.h"
#include "seg.h"
#include "suite.h"

#define MISSING "0x40000000"

GUEST(rdtsc_, "", "rdtsc");
GUEST(rdpmc_, "xorl %ecx, %ecx", "rdpmc");
GUEST(hlt_, "", "hlt");
GUEST(invd_, "", "invd");
GUEST(wbinvd_, "", "wbinvd");
GUEST(invlpg_, "", "invlpg 0");
GUEST(from_cr0, "", "movl %cr0, %eax");
GUEST(to_cr3, "", "movl %eax, %cr3");
GUEST(from_dr7, "", "movl %dr7, %eax");
GUEST(lgdt_, "", "lgdt pointer");
GUEST(lldt_, "xorl %eax, %eax", "lldt %ax");
GUEST(ltr_, "movl $0x30, %eax", "ltr %ax");
GUEST(lmsw_, "movl $1, %eax", "lmsw %ax");
GUEST(rdmsr_, "movl $0x10, %ecx", "rdmsr");
GUEST(sgdt_, "", "sgdt pointer");
GUEST(smsw_, "", "smsww %ax");
GUEST(str_, "", "str %eax");
GUEST(pushf_, "", "pushfl");
GUEST(popf_, "", "popfl");
GUEST(iret_, "", "iretl");
GUEST(int_, "", "int $0x40");
GUEST(int_80_, "", "int $0x80");
GUEST(paging_without_protection, "movl $0x80000010, %eax", "movl %eax, %cr0");
GUEST(leaving_protection, "movl $0x10, %eax", "movl %eax, %cr0");
GUEST(nw_without_cd, "movl $0x20000011, %eax", "movl %eax, %cr0");
GUEST(cr4_reserved, "movl $0x80000000, %eax", "movl %eax, %cr4");
GUEST(dr4_with_de, "", ".byte 0x0F, 0x21, 0xE0");
GUEST(no_cr5, "", ".byte 0x0F, 0x20, 0xE8");
GUEST(invlpg_register, "", ".byte 0x0F, 0x01, 0xF8");
GUEST(sgdt_missing, "", "sgdt " MISSING);
GUEST(lidt_missing, "", "lidt " MISSING);
GUEST(sldt_missing, "", "sldt " MISSING);
GUEST(ltr_missing, "", "ltr " MISSING);
GUEST(lmsw_missing, "", "lmsw " MISSING);
GUEST(smsw_missing, "", "smsw " MISSING);
GUEST(unknown_msr, "movl $0x1234, %ecx", "rdmsr");
GUEST(reserved_efer, "movl $0xC0000080, %ecx; movl $-1, %eax; movl $-1, %edx", "wrmsr");
GUEST(ins_missing, "movl $" MISSING ", %edi; movl $0x80, %edx", "insb");
GUEST(outs_missing, "movl $" MISSING ", %esi; movl $0x80, %edx", "outsb");
GUEST(in_80, "", "inb $0x80, %al");
GUEST(cpuid_, "xorl %eax, %eax", "cpuid");
GUEST(step_cpuid, "pushfl; orl $0x100, (%esp); popfl; nop", "cpuid");

uint16_t pointer[3];

static uint32_t *tables;

/* With the intercept set, in ring 3: the fault comes first. */
static void faults_in_3(const char *name, void (*code)(void), const void *at, uint32_t exit)
{
    guest_new(code);
    guest_ring3();
    intercept(exit);
    vmcb.cr4 = X86_CR4_TSD;
    guest_run();
    expect_guest_trap(name, X86_VEC_GP, 0, at);
}

/* In ring 3: the intercept comes first, or nothing else does. */
static void exits_in_3(const char *name, void (*code)(void), const void *at, uint32_t exit)
{
    guest_new(code);
    guest_ring3();
    intercept(exit);
    guest_run();
    expect_exit(name, exit, at);
}

/* With paging on and the operand's page missing: the intercept comes first. */
static void exits_before_access(const char *name, void (*code)(void), const void *at, uint32_t exit)
{
    guest_new(code);
    intercept(exit);
    vmcb.cr0 |= X86_CR0_PG;
    vmcb.cr3 = (uint32_t)tables;
    vmcb.tlb_control = SVM_TLB_ALL;
    guest_run();
    expect_exit(name, exit, at);
}

/* In ring 0: the exception comes first. */
static void faults(const char *name, void (*code)(void), const void *at, uint32_t exit, uint32_t vector)
{
    guest_new(code);
    intercept(exit);
    if (vector == X86_VEC_UD)
        vmcb.cr4 = X86_CR4_DE;
    guest_run();
    expect_guest_trap(name, vector, 0, at);
}

#define BEFORE_ACCESS(name, exit) exits_before_access(#name, name, name##_at, exit)
#define FAULTS(name, exit, vector) faults(#name, name, name##_at, exit, vector)

static void privilege(void)
{
    faults_in_3("rdtsc_3", rdtsc_, rdtsc__at, SVM_EXIT_RDTSC);
    faults_in_3("rdpmc_3", rdpmc_, rdpmc__at, SVM_EXIT_RDPMC);
    faults_in_3("hlt_3", hlt_, hlt__at, SVM_EXIT_HLT);
    faults_in_3("invd_3", invd_, invd__at, SVM_EXIT_INVD);
    faults_in_3("wbinvd_3", wbinvd_, wbinvd__at, SVM_EXIT_WBINVD);
    faults_in_3("invlpg_3", invlpg_, invlpg__at, SVM_EXIT_INVLPG);
    faults_in_3("from_cr0_3", from_cr0, from_cr0_at, SVM_EXIT_CR0_READ);
    faults_in_3("to_cr3_3", to_cr3, to_cr3_at, SVM_EXIT_CR3_WRITE);
    faults_in_3("from_dr7_3", from_dr7, from_dr7_at, SVM_EXIT_DR7_READ);
    faults_in_3("lgdt_3", lgdt_, lgdt__at, SVM_EXIT_GDTR_WRITE);
    faults_in_3("lldt_3", lldt_, lldt__at, SVM_EXIT_LDTR_WRITE);
    faults_in_3("ltr_3", ltr_, ltr__at, SVM_EXIT_TR_WRITE);
    faults_in_3("lmsw_3", lmsw_, lmsw__at, SVM_EXIT_CR0_WRITE);
    faults_in_3("rdmsr_3", rdmsr_, rdmsr__at, SVM_EXIT_MSR);
    faults_in_3("in_3", in_80, in_80_at, SVM_EXIT_IOIO);
    exits_in_3("sgdt_3", sgdt_, sgdt__at, SVM_EXIT_GDTR_READ);
    exits_in_3("smsw_3", smsw_, smsw__at, SVM_EXIT_CR0_READ);
    exits_in_3("str_3", str_, str__at, SVM_EXIT_TR_READ);
}

static void above_exceptions(void)
{
    for (int which = 0; which < 3; which++) {
        static void (*const codes[])(void) = {pushf_, popf_, iret_};
        static const void *const at[] = {pushf__at, popf__at, iret__at};
        static const char *const names[] = {"pushf_before_stack", "popf_before_stack", "iret_before_stack"};
        static const uint32_t exits[] = {SVM_EXIT_PUSHF, SVM_EXIT_POPF, SVM_EXIT_IRET};

        guest_new(codes[which]);
        intercept(exits[which]);
        vmcb.ss.limit = 0xFFF;
        vmcb.ss.attributes &= ~(8 << 8);
        guest_run();
        expect_exit(names[which], exits[which], at[which]);
    }
    guest_new(int_);
    intercept(SVM_EXIT_SWINT);
    vmcb.idtr.limit = 0x1FF;
    guest_run();
    expect_exit("int_before_idt_limit", SVM_EXIT_SWINT, int__at);
    guest_new(int_80_);
    guest_ring3();
    guest_idt[0x80] &= ~((uint64_t)ACC_DPL3 << 40);
    intercept(SVM_EXIT_SWINT);
    guest_run();
    expect_exit("int_before_privilege", SVM_EXIT_SWINT, int_80__at);
}

static void below_exceptions(void)
{
    FAULTS(paging_without_protection, SVM_EXIT_CR0_WRITE, X86_VEC_GP);
    FAULTS(leaving_protection, SVM_EXIT_CR0_WRITE, X86_VEC_GP); /* there is no real mode */
    FAULTS(nw_without_cd, SVM_EXIT_CR0_WRITE, X86_VEC_GP);
    FAULTS(cr4_reserved, SVM_EXIT_CR4_WRITE, X86_VEC_GP);
    FAULTS(dr4_with_de, SVM_EXIT_DR4_READ, X86_VEC_UD);
    FAULTS(no_cr5, 5, X86_VEC_UD);
    FAULTS(invlpg_register, SVM_EXIT_INVLPG, X86_VEC_UD);
    guest_new(from_dr7);
    intercept(SVM_EXIT_DR7_READ);
    vmcb.dr7 |= X86_DR7_GD;
    guest_run();
    expect_guest_trap("general_detect", X86_VEC_DB, 0, from_dr7_at);
}

static void before_access(void)
{
    BEFORE_ACCESS(sgdt_missing, SVM_EXIT_GDTR_READ);
    BEFORE_ACCESS(lidt_missing, SVM_EXIT_IDTR_WRITE);
    BEFORE_ACCESS(sldt_missing, SVM_EXIT_LDTR_READ);
    BEFORE_ACCESS(ltr_missing, SVM_EXIT_TR_WRITE);
    BEFORE_ACCESS(lmsw_missing, SVM_EXIT_CR0_WRITE);
    BEFORE_ACCESS(smsw_missing, SVM_EXIT_CR0_READ);
    iopm[0x80 / 8] = 1;
    BEFORE_ACCESS(ins_missing, SVM_EXIT_IOIO);
    BEFORE_ACCESS(outs_missing, SVM_EXIT_IOIO);
    iopm[0x80 / 8] = 0;
    msrpm[0x1234 / 4] = 3;
    BEFORE_ACCESS(unknown_msr, SVM_EXIT_MSR);
    msrpm[0x1234 / 4] = 0;
    msrpm[0x800 + 0x80 / 4] = 3;
    BEFORE_ACCESS(reserved_efer, SVM_EXIT_MSR);
    msrpm[0x800 + 0x80 / 4] = 0;
}

static void debug(void)
{
    guest_new(step_cpuid);
    intercept(SVM_EXIT_EXCEPTION_DB);
    intercept(SVM_EXIT_CPUID);
    guest_run();
    expect_exit("step_before_intercept", SVM_EXIT_EXCEPTION_DB, step_cpuid_at);
    write_dr0((uint32_t)cpuid__at);
    guest_new(cpuid_);
    intercept(SVM_EXIT_EXCEPTION_DB);
    intercept(SVM_EXIT_CPUID);
    vmcb.dr7 = X86_DR7_FIXED | 2;
    guest_run();
    expect_exit("breakpoint_before_intercept", SVM_EXIT_EXCEPTION_DB, cpuid__at);
    write_dr0(0);
}

int main(void)
{
    suite_begin();
    tables = identity_directory(4 << 20, 0, X86_PTE_P | X86_PTE_W | X86_PTE_U);
    privilege();
    above_exceptions();
    below_exceptions();
    before_access();
    debug();
    return suite_end("priority");
}
