/* basic: into a guest and back by VMMCALL: registers, flags, the state that is loaded and saved. APM 15.5, 15.6.
 *
 * expect: basic: 29 checks
 */
#include "seg.h"
#include "suite.h"

GUEST(nothing, "", "nop");
GUEST(change_all, "", "movl $1, %eax; movl $2, %ebx; movl $3, %ecx; movl $4, %edx; movl $5, %esi; movl $6, %edi; "
                      "movl $7, %ebp; movl $0x8000, %esp; stc; std");
GUEST(look_at_flags, "pushfl", "popl %ebx");
GUEST(look_at_registers, "movl %cr2, %eax; movl %dr6, %ebx", "movl %dr7, %ecx");
GUEST(change_state, "movl $0x1234, %eax; movl %eax, %cr2; movl $0x3000, %eax; movl %eax, %cr3; movl $0x401, %eax",
      "movl %eax, %dr7; movw $0, %ax; movw %ax, %es");
GUEST(two_calls, "vmmcall", "incl %eax");

static struct vmcb other;

static void registers(void)
{
    guest_new(nothing);
    vmcb.rax = 0xA0000001;
    guest = (struct guest_registers){0xB, 0xC, 0xD, 0x51, 0xD1, 0xB9};
    guest_run();
    expect_equal("eax_in", vmcb.rax, 0xA0000001);
    expect("registers_in", guest.ebx == 0xB && guest.ecx == 0xC && guest.edx == 0xD && guest.esi == 0x51 &&
                               guest.edi == 0xD1 && guest.ebp == 0xB9);
    guest_new(change_all);
    guest_run();
    expect_equal("eax_out", vmcb.rax, 1);
    expect("registers_out", guest.ebx == 2 && guest.ecx == 3 && guest.edx == 4 && guest.esi == 5 && guest.edi == 6 &&
                                guest.ebp == 7);
    expect_equal("esp_out", vmcb.rsp, 0x8000);
    expect_equal("eflags_out", vmcb.rflags, X86_EFLAGS_FIXED | X86_EFLAGS_CF | X86_EFLAGS_DF);
    guest_new(look_at_flags);
    vmcb.rflags = X86_EFLAGS_FIXED | X86_EFLAGS_ZF | X86_EFLAGS_OF;
    guest_run();
    expect_equal("eflags_in", guest.ebx, X86_EFLAGS_FIXED | X86_EFLAGS_ZF | X86_EFLAGS_OF);
}

static void state(void)
{
    guest_new(look_at_registers);
    vmcb.cr2 = 0x22222222;
    vmcb.dr6 = X86_DR6_FIXED | X86_DR6_BS;
    vmcb.dr7 = X86_DR7_FIXED;
    guest_run();
    expect_equal("cr2_in", vmcb.rax, 0x22222222);
    expect_equal("dr6_in", guest.ebx, X86_DR6_FIXED | X86_DR6_BS);
    guest_new(change_state);
    vmcb.es.selector = SEL_KDATA;
    guest_run();
    expect_equal("cr2_out", vmcb.cr2, 0x1234);
    expect_equal("cr3_out", vmcb.cr3, 0x3000);
    expect_equal("dr7_out", vmcb.dr7, 0x401);
    expect_equal("es_out", vmcb.es.selector, 0);
    expect_equal("es_null_is_not_present", vmcb.es.attributes & X86_ATTR_P, 0);
    expect("cs_out", vmcb.cs.selector == SEL_KCODE && vmcb.cs.base == 0 && vmcb.cs.limit == 0xFFFFFFFF);
    expect_equal("cs_attributes", vmcb.cs.attributes & ~X86_TYPE_ACCESSED, 0xC9A);
    expect("tables_out", vmcb.gdtr.limit == GDT_ENTRIES * 8 - 1 && vmcb.idtr.base == (uint32_t)guest_idt);
    expect("paging_registers_out",
           vmcb.cr0 == (X86_CR0_PE | X86_CR0_ET) && vmcb.cr4 == 0 && vmcb.efer == X86_EFER_SVME);
    expect_equal("cpl_out", vmcb.cpl, 0);
}

static void exits(void)
{
    guest_new(two_calls);
    guest_run();
    expect_exit("first_call", SVM_EXIT_VMMCALL, two_calls);
    vmcb.rip += 3;
    guest_run();
    expect_exit("second_call", SVM_EXIT_VMMCALL, two_calls_next);
    expect_equal("went_on", vmcb.rax, 1);
    expect_equal("no_event_in_delivery", vmcb.exit_event & SVM_EVENT_V, 0);
    guest_new(nothing);
    guest_run();
    other = vmcb;
    guest_new(two_calls);
    guest_run();
    vmcb = other;
    guest_goto(nothing);
    guest_run();
    expect_exit("two_guests", SVM_EXIT_VMMCALL, nothing_next);
}

/* A host of our own around one VMRUN: its flags come back, EAX is the VMCB's address again. */
static void host_registers(void)
{
    uint32_t eax, flags;

    guest_new(change_all);
    asm volatile("pushl %%ebp; clgi; stc; vmrun; pushfl; stgi; popl %%ecx; popl %%ebp; cld"
                 : "=a"(eax), "=c"(flags)
                 : "0"(&vmcb)
                 : "ebx", "edx", "esi", "edi", "memory", "cc");
    expect_equal("host_eax", eax, (uint32_t)&vmcb);
    expect_equal("host_eflags", flags & (X86_EFLAGS_CF | X86_EFLAGS_DF), X86_EFLAGS_CF);
}

int main(void)
{
    suite_begin();
    expect_passes("round_trip", nothing, nothing_next);
    registers();
    state();
    exits();
    host_registers();
    return suite_end("basic");
}
