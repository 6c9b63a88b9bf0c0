/* asid: translations of one address space identifier are no other's, and what TLB_CONTROL, INVLPG, INVLPGA and MOV
 * CR3 forget. APM 15.16.
 *
 * Nothing here depends on a translation being kept, only on its being forgotten when it must.
 *
 * expect: asid: 24 checks
 */
#include "page.h"
#include "suite.h"

#define WINDOW 0x40000000

GUEST(look, "", "movl 0x40000000, %ebx");
GUEST(look_invlpg_look, "movl 0x40000000, %ebx; movl pte, %eax; movl second, %ecx; movl %ecx, (%eax); "
                        "invlpg 0x40000000",
      "movl 0x40000000, %ecx");
GUEST(look_cr3_look, "movl 0x40000000, %ebx; movl pte, %eax; movl second, %ecx; movl %ecx, (%eax); movl %cr3, %eax; "
                     "movl %eax, %cr3",
      "movl 0x40000000, %ecx");
GUEST(look_pge_look, "movl 0x40000000, %ebx; movl pte, %eax; movl second, %ecx; movl %ecx, (%eax); movl %cr4, %eax; "
                     "xorl $0x80, %eax; movl %eax, %cr4",
      "movl 0x40000000, %ecx");

uint32_t *pte, second; /* what the guest itself changes: the entry of WINDOW, and the entry to make of it */

enum { RW = X86_PTE_P | X86_PTE_W | X86_PTE_U };

static uint32_t *space[3]; /* page directories: the host's, and two guests' */
static uint32_t frame[3];

static void guest_in(unsigned which, void (*code)(void))
{
    guest_new(code);
    vmcb.asid = which;
    vmcb.cr0 |= X86_CR0_PG;
    vmcb.cr3 = (uint32_t)space[which];
}

static uint32_t seen_by(unsigned which, uint32_t control)
{
    guest_in(which, look);
    vmcb.tlb_control = control;
    guest_run();
    return guest.ebx;
}

static void map(unsigned which, uint32_t to, uint32_t flags)
{
    *page_entry(space[which], WINDOW) = to | flags | X86_PTE_A | X86_PTE_D;
}

static uint32_t host_sees(void) { return *(volatile uint32_t *)WINDOW; }

static void apart(void)
{
    for (unsigned which = 0; which < 3; which++)
        map(which, frame[which], RW);
    paging_on(space[0]);
    expect_equal("host_first", host_sees(), 0xF0);
    expect_equal("guest_1", seen_by(1, SVM_TLB_ALL), 0xF1);
    expect_equal("guest_2", seen_by(2, SVM_TLB_NOTHING), 0xF2);
    expect_equal("guest_1_again", seen_by(1, SVM_TLB_NOTHING), 0xF1);
    expect_equal("host_again", host_sees(), 0xF0);
    expect_equal("guest_2_again", seen_by(2, SVM_TLB_NOTHING), 0xF2);
}

static void control(const char *name, uint32_t command, uint32_t flags)
{
    if (command != SVM_TLB_ALL && !svm_has(SVM_CPUID_FLUSH_BY_ASID)) {
        skip(name);
        return;
    }
    map(1, frame[1], flags);
    seen_by(1, SVM_TLB_ALL);
    map(1, frame[2], flags);
    expect_equal(name, seen_by(1, command), 0xF2);
    map(1, frame[1], RW);
    seen_by(1, SVM_TLB_ALL);
}

static void invlpga(uint32_t asid) { asm volatile("invlpga %0, %1" : : "a"(WINDOW), "c"(asid) : "memory"); }

static void by_instructions(void)
{
    map(1, frame[2], RW);
    invlpga(1);
    expect_equal("invlpga", seen_by(1, SVM_TLB_NOTHING), 0xF2);
    map(0, frame[1], RW);
    invlpga(0);
    expect_equal("invlpga_of_host", host_sees(), 0xF1);
    map(0, frame[0], RW);
    invlpg((void *)WINDOW);
    expect_equal("invlpg_in_host", host_sees(), 0xF0);
    pte = page_entry(space[1], WINDOW);
    second = frame[2] | RW;
    void (*const codes[])(void) = {look_invlpg_look, look_cr3_look, look_pge_look};
    static const char *const names[] = {"invlpg_in_guest", "cr3_in_guest", "pge_in_guest"};

    for (unsigned n = 0; n < 3; n++) {
        map(1, frame[1], n == 2 ? RW | X86_PTE_G : RW);
        guest_in(1, codes[n]);
        vmcb.tlb_control = SVM_TLB_ALL;
        vmcb.cr4 = n == 2 ? X86_CR4_PGE : 0;
        second = frame[2] | (n == 2 ? RW | X86_PTE_G : RW);
        guest_run();
        expect_equal(names[n], guest.ebx * 0x100 + guest.ecx, 0xF1F2);
    }
    map(1, frame[1], RW);
    expect_equal("host_not_concerned", host_sees(), 0xF0);
    expect_equal("other_guest_not_concerned", seen_by(2, SVM_TLB_NOTHING), 0xF2);
}

/* Global is global within an ASID. */
static void global(void)
{
    map(1, frame[1], RW | X86_PTE_G);
    guest_in(1, look);
    vmcb.cr4 = X86_CR4_PGE;
    vmcb.tlb_control = SVM_TLB_ALL;
    guest_run();
    expect_equal("global_in_1", guest.ebx, 0xF1);
    guest_in(2, look);
    vmcb.cr4 = X86_CR4_PGE;
    guest_run();
    expect_equal("not_in_2", guest.ebx, 0xF2);
    expect_equal("not_in_host", host_sees(), 0xF0);
    write_cr4(read_cr4() | X86_CR4_PGE);
    map(0, frame[0], RW | X86_PTE_G);
    write_cr3(read_cr3());
    invlpg((void *)WINDOW);
    host_sees();
    expect_equal("hosts_is_not_the_guests", seen_by(2, SVM_TLB_NOTHING), 0xF2);
    write_cr4(read_cr4() & ~X86_CR4_PGE);
}

int main(void)
{
    suite_begin();
    for (unsigned which = 0; which < 3; which++) {
        frame[which] = (uint32_t)frame_new();
        *(volatile uint32_t *)frame[which] = 0xF0 + which;
        space[which] = identity_directory(4 << 20, 0, RW);
    }
    apart();
    control("flush_all", SVM_TLB_ALL, RW);
    control("flush_asid", SVM_TLB_ASID, RW);
    control("flush_asid_global", SVM_TLB_ASID, RW | X86_PTE_G);
    control("flush_asid_local", SVM_TLB_ASID_LOCAL, RW);
    by_instructions();
    global();
    paging_off();
    return suite_end("asid");
}
