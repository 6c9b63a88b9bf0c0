/* nested_asid: two guests with nested tables of their own, told apart by ASID alone, and what makes a changed nested
 * table known. APM 15.16, 15.25.1.
 *
 * expect: nested_asid: 17 checks
 */
#include "nested.h"

#define LINEAR 0x40000000
#define GUEST_PHYSICAL 0x80000000

GUEST(look, "", "movl 0x40000000, %ebx");
GUEST(look_flat, "", "movl 0x80000000, %ebx");
GUEST(look_write_look, "movl 0x40000000, %ebx; movl %ebx, 0x40000004; movl %cr3, %eax; movl %eax, %cr3",
      "movl 0x40000000, %ecx");
GUEST(invalidate, "movl 0x40000000, %ebx; invlpg 0x40000000; movl %cr4, %eax; xorl $0x80, %eax; movl %eax, %cr4",
      "movl 0x40000000, %ecx");

static uint32_t *nested[3];
static uint32_t frame[3];

static uint32_t seen_by(unsigned which, void (*code)(void), int paging, uint32_t control)
{
    nested_new(code, paging);
    vmcb.asid = which;
    vmcb.n_cr3 = (uint32_t)nested[which];
    vmcb.tlb_control = control;
    guest_run();
    return vmcb.exit_code == SVM_EXIT_VMMCALL ? guest.ebx : (uint32_t)vmcb.exit_code;
}

static void apart(void)
{
    expect_equal("guest_1", seen_by(1, look, 1, SVM_TLB_ALL), 0xF1);
    expect_equal("guest_2", seen_by(2, look, 1, SVM_TLB_NOTHING), 0xF2);
    expect_equal("guest_1_again", seen_by(1, look, 1, SVM_TLB_NOTHING), 0xF1);
    expect_equal("guest_2_again", seen_by(2, look, 1, SVM_TLB_NOTHING), 0xF2);
    expect_equal("flat_1", seen_by(1, look_flat, 0, SVM_TLB_ASID), 0xF1);
    expect_equal("flat_2", seen_by(2, look_flat, 0, SVM_TLB_ASID), 0xF2);
    expect_equal("flat_1_again", seen_by(1, look_flat, 0, SVM_TLB_NOTHING), 0xF1);
}

static void changed(void)
{
    seen_by(1, look, 1, SVM_TLB_ALL);
    seen_by(2, look, 1, SVM_TLB_NOTHING);
    map_page(nested[1], GUEST_PHYSICAL, frame[0], NESTED_RW);
    expect_equal("flush_asid", seen_by(1, look, 1, SVM_TLB_ASID), 0xF0);
    expect_equal("other_guest_stays", seen_by(2, look, 1, SVM_TLB_NOTHING), 0xF2);
    map_page(nested[1], GUEST_PHYSICAL, frame[1], NESTED_RW);
    expect_equal("flush_all", seen_by(1, look, 1, SVM_TLB_ALL), 0xF1);
    map_page(nested[1], GUEST_PHYSICAL, 0, 0);
    expect_equal("taken_away", seen_by(1, look, 1, SVM_TLB_ASID), SVM_EXIT_NPF);
    map_page(nested[1], GUEST_PHYSICAL, frame[1], NESTED_RW);
    expect_equal("given_back", seen_by(1, look, 1, SVM_TLB_ASID), 0xF1);
    map_page(nested[1], GUEST_PHYSICAL, frame[1], X86_PTE_P | X86_PTE_U);
    expect_equal("made_read_only", seen_by(1, look_write_look, 1, SVM_TLB_ASID), SVM_EXIT_NPF);
    map_page(nested[1], GUEST_PHYSICAL, frame[1], NESTED_RW);
}

/* Its own invalidations leave a guest where it was. */
static void by_guest(void)
{
    seen_by(1, look_write_look, 1, SVM_TLB_ALL);
    expect("after_cr3", guest.ebx == 0xF1 && guest.ecx == 0xF1);
    seen_by(1, invalidate, 1, SVM_TLB_NOTHING);
    expect("after_invlpg_and_pge", guest.ebx == 0xF1 && guest.ecx == 0xF1);
}

int main(void)
{
    nested_begin();
    nested[0] = nested_tables;
    for (unsigned n = 0; n < 3; n++) {
        frame[n] = (uint32_t)frame_new();
        *(volatile uint32_t *)frame[n] = 0xF0 + n;
        if (n > 0)
            nested[n] = identity_directory(16 << 20, 0, NESTED_RW);
        map_page(nested[n], GUEST_PHYSICAL, frame[n], NESTED_RW);
    }
    map_page(guest_tables, LINEAR, GUEST_PHYSICAL, NESTED_RW);
    apart();
    changed();
    by_guest();
    return suite_end("nested_asid");
}
